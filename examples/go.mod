module github.com/openkenar/openkenar/examples

go 1.26.0
