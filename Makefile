# Argosy. `make` alone says what there is.
SHELL := /bin/sh
export CGO_ENABLED ?= 0
GO ?= go
VERSION ?= $(shell git describe --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
BIN := $(CURDIR)/bin
GOLANGCI_VERSION := v2.15.0
TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/argosy-tools

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/argosy (static, one file)
	@mkdir -p $(BIN)
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/argosy ./cmd/argosy
	@ln -sf argosy $(BIN)/fleetctl
	$(GO) build -trimpath -o $(BIN)/hello ./examples/hello

.PHONY: demo
demo: build ## A one-machine cluster: a healthy start, five failures with their reasons; ctrl-c ends it
	@BIN=$(BIN) ./examples/demo.sh

.PHONY: hosts
hosts: build ## Hosts to play with, as root: make hosts N=5; kill, cut, freeze them; ctrl-c ends it
	$(GO) build -o $(BIN)/hosts ./hosttest/light/cmd/hosts
	@$(BIN)/hosts -n $(or $(N),3) -argosy $(BIN)/argosy

.PHONY: deps
deps: # What the tests need from Debian; without root it says what is left out.
	@./.ci/deps

.PHONY: test
test: deps ## All tests with the race detector (needs gcc); installs what it needs from Debian when root
	@./.ci/test

.PHONY: hosts-test
hosts-test: deps ## The long scenarios on light hosts, as root: power losses (ARGOSY_RUNS=50), growing under load, servers away
	ARGOSY_HOSTS_TEST=full ARGOSY_REQUIRE_HOSTS=1 $(GO) test ./hosttest/scenario -count=1 -v -timeout 60m $(if $(RUN),-run $(RUN))

.PHONY: sim
sim: ## Simulate: make sim SEEDS=100000, or SEED=7 to replay one
	$(GO) test ./sim -count=1 -timeout 2h -run 'Test' -planted-splits 150 -splits 300 -splits-long 1h -seeds=$(or $(SEEDS),10000) $(if $(SEED),-seed=$(SEED))

.PHONY: fuzz
fuzz: ## Every fuzz target for FUZZTIME (30s)
	./.ci/fuzz $(or $(FUZZTIME),30s)

.PHONY: golden
golden: ## Write golden files and generated documents anew
	$(GO) test ./reason ./plan ./api ./cmd/argosy -update

.PHONY: lint
lint: $(TOOLS)/golangci-lint ## gofmt, vet, golangci-lint, go mod tidy -diff
	$(GO) mod tidy -diff
	$(GO) vet ./...
	$(TOOLS)/golangci-lint run ./...

$(TOOLS)/golangci-lint:
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

.PHONY: bench
bench: build ## The measurements of bench/ (docs/performance.md explains them)
	$(GO) test ./bench/... -run xxx -bench . -benchtime 1x -count 1

.PHONY: clean
clean: ## Remove bin/
	rm -rf $(BIN)
