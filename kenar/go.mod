module github.com/openkenar/openkenar/kenar

go 1.26.0
