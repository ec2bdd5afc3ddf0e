# One entry point for people, hooks and CI. Tools are pinned in tools/go.mod.
SHELL := /bin/bash
TOOL := go tool -modfile=tools/go.mod

.DEFAULT_GOAL := help
.PHONY: help run test check fuzz screenshots ci nightly

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## start dev mode
	go run ./cmd/openkenar dev

test: ## run the tests
	go test ./...

check: ## format, vet, lint, and the tests with the race detector
	@diff=$$($(TOOL) gofumpt -d .) && test -z "$$diff" || { echo "$$diff"; exit 1; }
	go vet ./...
	$(TOOL) golangci-lint run ./...
	go test -race -shuffle=on -timeout=30m ./...

fuzz: ## run each fuzz target FUZZTIME times (200000x)
	bash tools/fuzz.sh $(or $(FUZZTIME),200000x)

screenshots: ## pictures of every page in both languages, light and dark, wide and narrow, into PICTURES (build/screenshots)
	go test ./internal/server -run '^TestPictures$$' -count=1 -args -pictures $(abspath $(or $(PICTURES),build/screenshots))

ci: export CI := true
ci: check ## what CI runs; FUZZTIME is 50000x here
	go generate ./... && git diff --exit-code
	go mod verify
	bash tools/fuzz.sh $(or $(FUZZTIME),50000x)
	go test ./...
	TEST_ENGINE=postgres go test ./internal/server

nightly: ## known vulnerabilities (needs network), long fuzz (5000000x), tests 20 times
	$(TOOL) govulncheck ./...
	bash tools/fuzz.sh $(or $(FUZZTIME),5000000x)
	go test -count=20 -timeout=2h ./...
