# One entry point for people, hooks and CI. Tools are pinned in tools/go.mod.
SHELL := /bin/bash
TOOL := go tool -modfile=$(CURDIR)/tools/go.mod

# The program, the package of apps, and the examples. The tests of the last two
# start the program, which Go does not see: it must not remember their results.
MODULES := . kenar examples
in = @set -e; for module in $(1); do (cd $$module; set -x; $(2)); done
each = $(call in,$(MODULES),$(1))
others = $(call in,$(filter-out .,$(MODULES)),$(1))

.DEFAULT_GOAL := help
.PHONY: help run test contract check fuzz screenshots ci nightly

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## start dev mode
	go run ./cmd/openkenar dev

test: ## run the tests
	go test ./...
	$(call others,go test -count=1 ./...)

check: contract ## format, vet, lint, and the tests with the race detector
	@diff=$$($(TOOL) gofumpt -d .) && test -z "$$diff" || { echo "$$diff"; exit 1; }
	$(call each,go vet ./...)
	$(call each,$(TOOL) golangci-lint run ./...)
	go test -race -shuffle=on -timeout=30m ./...
	$(call others,go test -race -shuffle=on -count=1 ./...)

contract: ## the documents of the contract are valid, and break nobody who relies on the last release
	$(TOOL) validate openapi.json
	$(TOOL) validate openapi-host.json
	go test ./internal/contract

fuzz: ## run each fuzz target FUZZTIME times (200000x)
	bash tools/fuzz.sh $(or $(FUZZTIME),200000x)

screenshots: ## pictures of every page in both languages, light and dark, wide and narrow, into PICTURES (build/screenshots)
	go test ./internal/server -run '^TestPictures$$' -count=1 -args -pictures $(abspath $(or $(PICTURES),build/screenshots))

ci: export CI := true
ci: check ## what CI runs; FUZZTIME is 50000x here
	go generate ./... && git diff --exit-code
	$(call each,go mod verify)
	bash tools/fuzz.sh $(or $(FUZZTIME),50000x)
	go test ./...
	TEST_ENGINE=postgres go test ./internal/server

nightly: ## known vulnerabilities (needs network), long fuzz (5000000x), tests 20 times
	$(call each,$(TOOL) govulncheck ./...)
	bash tools/fuzz.sh $(or $(FUZZTIME),5000000x)
	$(call each,go test -count=20 -timeout=2h ./...)
