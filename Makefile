# mcp-sidecar. 'make help' lists the targets. Nothing here needs more than Go and
# make, unless it says so.

GO      ?= go
BIN     := bin
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# The race detector needs cgo and so a C compiler. Without one the suite runs
# without it, and says so.
CC_FOUND := $(shell command -v "$$($(GO) env CC)" 2>/dev/null)
CGO      := $(shell $(GO) env CGO_ENABLED)
RACE     := $(if $(and $(CC_FOUND),$(filter 1,$(CGO))),-race,)

FUZZTIME ?= 10s

.DEFAULT_GOAL := help
.PHONY: help build scenarios scenarios-postgres test check format vet lint bench bench-guards train-injection fuzz mutants conformance up down clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build mcp-sidecar, docserver and scenarios into bin/
	@mkdir -p $(BIN)
	$(GO) build -trimpath -o $(BIN)/mcp-sidecar ./proxy
	$(GO) build -trimpath -o $(BIN)/docserver ./upstream
	$(GO) build -trimpath -o $(BIN)/scenarios ./scenarios

scenarios: build ## run the attacks directly and through the sidecar
	$(BIN)/scenarios

scenarios-postgres: build ## the same, with documents and policy in a private PostgreSQL server (needs its binaries)
	$(BIN)/scenarios --postgres

test: ## run the whole test suite (with the race detector when a C compiler is there)
	@$(if $(RACE),true,echo "no C compiler: the tests run without the race detector")
	$(GO) test $(RACE) -count=1 -shuffle=on -timeout 20m ./... ./.ci/conformance

check: format vet lint test ## format, vet, lint and test

format: ## fail when a file is not formatted
	@out=$$(gofmt -l bench deploy guards policy proxy scenarios upstream .ci); \
	if [ -n "$$out" ]; then echo "not formatted (run gofmt -w):"; echo "$$out"; exit 1; fi

vet: ## run go vet, also for Windows and macOS
	$(GO) vet ./... ./.ci/mutants ./.ci/conformance
	$(GO) run ./.ci/mutants -check
	CGO_ENABLED=0 GOOS=windows $(GO) build -o /dev/null ./proxy
	CGO_ENABLED=0 GOOS=darwin $(GO) build -o /dev/null ./proxy

lint: ## run golangci-lint in its pinned version (downloads and builds it once)
	$(GO) run $(GOLANGCI) run ./... ./.ci/mutants ./.ci/conformance

bench: build ## measure what the sidecar costs (BENCHARGS=--quick: less exactly, --help: the rest)
	$(GO) build -trimpath -o $(BIN)/bench ./bench
	$(BIN)/bench $(BENCHARGS)

bench-guards: ## measure what the guards find, on labelled texts in CORPORA_DIR (BENCHARGS=-help: the rest)
	$(GO) run ./bench/guards $(BENCHARGS)

train-injection: ## make the injection guard's model anew, from labelled texts in CORPORA_DIR and the project's templates
	$(GO) run ./guards/injection/train

fuzz: ## run every fuzz target for FUZZTIME (default 10s)
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$target"; \
	    $(GO) test $$pkg -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x; \
	  done; \
	done

mutants: ## remove one check at a time and see the suite turn red
	$(GO) run ./.ci/mutants

conformance: ## compare with and without the sidecar: the official suite, npm servers (needs npm)
	$(GO) run ./.ci/conformance

up: ## start the demo in containers (needs a container engine with compose); alice's token is in deploy/secrets
	@sh deploy/secrets.sh
	docker compose up --build --wait

down: ## end it; the data stays
	docker compose down

clean: ## remove bin/
	rm -rf $(BIN)
