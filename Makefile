# Everything of Pharos that a developer or a continuous-integration machine runs. `make help` lists it.
# What it downloads or builds beside the Go build cache goes to .cache/ and bin/, both ignored by git.
SHELL := /bin/bash
.DEFAULT_GOAL := help
GO ?= go
CONFORM := $(GO) run ./conformance/run --serve bin/pharos
ARGS ?=
SECONDS ?= 20

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-24s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/pharos
	$(GO) build -o bin/pharos ./cmd/pharos

.PHONY: test
test: ## everything CI checks, from a clean clone: lint, unit tests, fuzzing, demo, conformance
	scripts/ci.sh

.PHONY: test-go
test-go: ## the Go tests only
	$(GO) test ./...

SEEDS ?= 1000
.PHONY: sim
sim: ## SEEDS jobs made up from fresh seeds, against an oracle (internal/sim; default 1000)
	$(GO) test ./internal/sim -count 1 -v -timeout 0 -seeds $(SEEDS)

.PHONY: test-java
test-java: build ## the tests of sdks/java
	PHAROS_BINARY=$(CURDIR)/bin/pharos mvn -q -B -f sdks/java test

.PHONY: test-python
test-python: build setup-python ## the tests of sdks/python
	PYTHONPATH=$(CURDIR)/sdks/python PHAROS_BINARY=$(CURDIR)/bin/pharos "$${PHAROS_CACHE:-.cache}/venv/bin/python" -m pytest -q sdks/python/tests $(ARGS)

.PHONY: test-notebook
test-notebook: build ## notebooks that use sdks/python, executed by nbconvert (700 MB)
	scripts/notebook-test.sh

.PHONY: test-sdk-go test-typescript
test-sdk-go: ## the tests of sdks/go
	cd sdks/go && $(GO) test ./...
test-typescript: build setup-node ## the tests of sdks/typescript
	PHAROS_BINARY=$(CURDIR)/bin/pharos NODE_PATH="$${PHAROS_CACHE:-$(CURDIR)/.cache}/node/node_modules" node --test sdks/typescript/test/

.PHONY: dist release-check
dist: ## what users install, in dist/ (ARGS="program python"; PLATFORMS="linux/amd64" for some platforms only)
	scripts/dist.sh $(ARGS)
release-check: ## install that in empty environments and run each SDK's word count (ARGS="python java go typescript")
	scripts/release-check.sh $(ARGS)

.PHONY: lint
lint: ## gofmt, go vet, staticcheck, generated documents up to date
	scripts/lint.sh

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (default 60s)
	scripts/fuzz.sh

.PHONY: demo
demo: ## a Python and a Go word count of the King James Bible, through the runner, checked
	scripts/demo.sh

.PHONY: stream stream-go
stream: ## a Python pipeline without an end: watch it for SECONDS (20), then it is drained
	scripts/stream.sh python $(SECONDS)
stream-go: ## the same in Go
	scripts/stream.sh go $(SECONDS)

.PHONY: crash upgrade-drill snapshot-drill
crash: ## kill runners and workers, compare what comes out (ARGS="--kills 200 --seed 7"); see docs/durability.md
	scripts/setup-crash.sh
	$(GO) run ./crash $(ARGS)
upgrade-drill: ## a job of the commit before is taken over by this one
	scripts/upgrade-drill.sh
snapshot-drill: build ## a changed pipeline goes on from a snapshot of a stream; see docs/snapshots.md
	scripts/setup-python.sh
	$(GO) run ./crash --snapshot --ci

.PHONY: bench
bench: build setup-prism ## compare with Prism; writes docs/performance.md (ARGS="--repeats 5 --workloads gbk,combine")
	$(GO) run ./bench/compare --prism "$${PHAROS_CACHE:-.cache}/bin/prism" $(ARGS)

.PHONY: bench-jobs
bench-jobs: build setup-prism ## 100 small jobs at the same time, beside Prism (ARGS="--jobs 100 --repeats 3")
	$(GO) run ./bench/jobs --prism "$${PHAROS_CACHE:-.cache}/bin/prism" $(ARGS)

.PHONY: bench-large
bench-large: build setup-prism ## data larger than memory beside GNU sort, streams with and without --data; writes docs/performance.md
	$(GO) run ./bench/large --prism "$${PHAROS_CACHE:-.cache}/bin/prism" $(ARGS)

.PHONY: conformance
conformance: conformance-java conformance-python conformance-go conformance-typescript conformance-xlang ## every kit, whole

.PHONY: conformance-python
conformance-python: build setup-python ## Beam's Python tests (ARGS="--filter REGEX")
	$(CONFORM) --kit python $(ARGS)

.PHONY: conformance-java
conformance-java: build setup-java ## Beam's Java ValidatesRunner tests
	$(CONFORM) --kit java $(ARGS)

.PHONY: conformance-go
# Tests with another runner in them are compiled by the kit itself.
conformance-go: build $(if $(findstring --runner,$(ARGS)),,setup-go) setup-python ## Beam's Go tests
	$(CONFORM) --kit go $(ARGS)

.PHONY: conformance-typescript
conformance-typescript: build setup-node setup-python ## Beam's TypeScript tests and ours
	$(CONFORM) --kit typescript $(ARGS)

.PHONY: conformance-xlang
conformance-xlang: build setup-java setup-python ## a pipeline of Java and Python
	$(CONFORM) --kit xlang $(ARGS)

.PHONY: sdk-versions
sdk-versions: ## the oldest, the newest and more versions of each SDK (ARGS="python java"); see docs/sdk-versions.md
	scripts/sdk-versions.sh $(ARGS)

.PHONY: test-operator
test-operator: setup-pyflink ## the library `operator`: PyFlink's harness in every mode beside a real Flink, and our own
	PYTHONPATH=sdks/python "$${PHAROS_CACHE:-.cache}/operator/bin/python" -m pytest -q sdks/python/tests
	PHAROS_FLINK_REFERENCE=1 $(GO) test -timeout 60m ./operator/... $(ARGS)

.PHONY: bench-operator
bench-operator: setup-pyflink ## functions through `operator` beside Flink's and a bare echo (ARGS="-modes row,flink")
	$(GO) run ./bench/operator -cache "$${PHAROS_CACHE:-.cache}" $(ARGS)

.PHONY: example-duckdb
example-duckdb: setup-pyflink ## SQL that calls Python functions, beside DuckDB's own (ARGS="-rows 10000000")
	scripts/example-duckdb.sh $(ARGS)

.PHONY: setup-python setup-java setup-go setup-node setup-prism setup-pyflink
setup-pyflink: ## PyFlink with its Flink, and what pharos_beam.udf runs on (1 GB)
	@scripts/setup-pyflink.sh
setup-python: ## .cache/venv with Beam's Python SDK
	@scripts/setup-python.sh
setup-java: ## Beam's Java SDK from Maven, and our runner and kit compiled
	@scripts/setup-java.sh
setup-go: ## Beam's Go tests, compiled (long the first time)
	@scripts/setup-go.sh
setup-node: ## Beam's TypeScript SDK from npm, and our kit compiled
	@scripts/setup-node.sh
setup-prism: ## .cache/bin/prism, Beam's own runner, to compare with
	@scripts/setup-prism.sh

.PHONY: docs
docs: ## write the generated documents again
	$(GO) run ./conformance/report

.PHONY: clean
clean: ## remove what make has built and downloaded
	rm -rf bin dist .cache conformance/results bench/results conformance/java/target sdks/java/target
