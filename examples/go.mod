module github.com/openkenar/openkenar/examples

go 1.26.0

require (
	github.com/openkenar/openkenar/kenar v0.0.0
	golang.org/x/oauth2 v0.37.0
)

require github.com/standard-webhooks/standard-webhooks/libraries v0.0.1 // indirect

replace github.com/openkenar/openkenar/kenar => ../kenar
