# Thin: each target is a cargo or dtvn command. The names are those of the original DTVN (and of DSEQ for the load
# targets). `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The compiler cache makes a second build of RocksDB cheap; it is used where it is installed.
ifneq ($(shell command -v ccache 2> /dev/null),)
  ifeq ($(origin CC),default)
    export CC := ccache gcc
  endif
  ifeq ($(origin CXX),default)
    export CXX := ccache g++
  endif
endif

TARGET := $(or $(CARGO_TARGET_DIR),target)
DTVN := $(TARGET)/debug/dtvn
DATA := ./data/devnet
# Where node0 of a development network is: its key is derived from its name, and its peer id so too.
NODE0 := /ip4/127.0.0.1/tcp/4001/p2p/12D3KooWLtBkKrip2jyaRzhUphqYyVXGUPMMbmpBWHZMYXaueb9C

# Of `load`: nodes (commas between), requests, and how many at a time.
NODES ?= http://127.0.0.1:8081,http://127.0.0.1:8082,http://127.0.0.1:8083,http://127.0.0.1:8084
REQUESTS ?= 50
CONCURRENCY ?= 5

## Build

all: build

# `dtvn --version` and /api/v1/status tell the commit.
build release: export DTVN_COMMIT := $(shell git rev-parse --short HEAD 2> /dev/null)

build: prerequisites ## Build dtvn, and bin/ with the names of the original's programs
	cargo build --locked --package dtvn
	@mkdir -p bin
	@for name in dtvn validator simulator; do ln -sfn "$$(realpath $(DTVN))" "bin/$$name"; done

release: prerequisites ## Build dtvn for shipping and for figures that count
	cargo build --locked --release --package dtvn

clean: ## Remove bin/, data/, *.db and what was built
	rm -rf bin data *.db
	cargo clean

## Test

test: prerequisites ## All tests, and bugs that are planted to see that the simulator finds them
	cargo test --locked --workspace
	cargo test --locked --package dtvn-simulation --features canary --test planted

test-unit: prerequisites ## Tests without whole networks: fast
	cargo test --locked --workspace --exclude dtvn-integration

test-integration: prerequisites ## Whole networks of real processes
	cargo test --locked --package dtvn-integration

test-integration-single: prerequisites ## One of them: TEST=name
	@test -n "$(TEST)" || { echo "say which: make test-integration-single TEST=name" >&2; exit 2; }
	@tests=$$(cargo test --locked --package dtvn-integration -- --list $(TEST)); \
	grep -q ': test$$' <<< "$$tests" || { \
	  echo "no test has $(TEST) in its name; cargo test --package dtvn-integration -- --list shows all" >&2; exit 1; }
	cargo test --locked --package dtvn-integration -- --nocapture $(TEST)

test-coverage: prerequisites ## Tests with a coverage report in HTML (cargo-llvm-cov)
	@cargo llvm-cov --version > /dev/null 2>&1 || { echo "cargo-llvm-cov is missing: cargo install cargo-llvm-cov" >&2; exit 2; }
	cargo llvm-cov --locked --workspace --html

ci: ## What every change must pass: formatting, lints, all tests
	.ci/run

## Code

fmt: ## Format
	cargo fmt --all

lint: prerequisites ## Lint; warnings are errors
	cargo lint

vet: lint ## The same

tidy: ## Find dependencies that are not used (cargo-machete), and check the lock file
	cargo metadata --locked --format-version 1 > /dev/null
	@if cargo machete --version > /dev/null 2>&1; then cargo machete; else echo "cargo-machete is not installed: unused dependencies not looked for"; fi

deps: prerequisites ## Install what the build needs, fetch the crates
	cargo fetch --locked

proto: ## Nothing: messages are Rust types
	@echo "nothing to generate: messages are Rust types, in messages/"

dev-setup: deps build ## All that a developer needs

prerequisites:
	@.ci/prerequisites

## Run

run-validator: build ## One node of four: node0
	bin/validator -id node0 -port 4001 -api-port 8080 -data-dir ./data/node0 -primary -total-nodes 4

run-bootstrap: build ## A node without a vote beside run-network or run-validator, to find others by
	bin/validator -id bootstrap -port 4000 -api-port 8000 -data-dir ./data/bootstrap -bootstrap-node -total-nodes 4 \
	  -bootstrap $(NODE0)

run-network: build ## A network of four on this machine, and a ticket's way through it; Ctrl-C stops it
	$(DTVN) devnet -n 4 --data-dir $(DATA) --demo

start: build ## The same in the background
	$(DTVN) devnet -n 4 --data-dir $(DATA) --detach

stop: ## Stop it
	$(DTVN) devnet stop --data-dir $(DATA)

run-simulator: build ## Simulate a network with Byzantine nodes
	bin/simulator -nodes 7 -byzantine 2 -tickets 100 -duration 60s -latency 50ms -packet-loss 0.01

run-simulator-partition: build ## The same with network partitions
	bin/simulator -nodes 7 -byzantine 2 -tickets 100 -duration 120s -latency 100ms -packet-loss 0.05 -partition

## Look at and load a running network

read-all: ## All nodes in one table
	$(DTVN) watch --once --nodes $(NODES)

checksum: ## Do all nodes have the same history?
	$(DTVN) checksum --nodes $(NODES)

load-quick: ## 10 requests, 3 at a time
	$(DTVN) load --preset quick --nodes $(NODES)

load-medium: ## 100 requests, 9 at a time
	$(DTVN) load --preset medium --nodes $(NODES)

load-heavy: ## 1,000 requests, 30 at a time
	$(DTVN) load --preset heavy --nodes $(NODES)

load: ## NODES=url,... REQUESTS=50 CONCURRENCY=5
	$(DTVN) load --nodes $(NODES) --requests $(REQUESTS) --concurrency $(CONCURRENCY)

bench: release ## Figures of a network of its own
	$(TARGET)/release/dtvn bench

help: ## This list
	@awk -F ':.*## ' '/^## /{print "\n" substr($$0, 4) ":"} /^[a-z-]+:.*## /{printf "  %-26s %s\n", $$1, $$2}' Makefile

.PHONY: all build release clean test test-unit test-integration test-integration-single test-coverage ci fmt lint vet \
  tidy deps proto dev-setup prerequisites run-validator run-bootstrap run-network start stop run-simulator \
  run-simulator-partition read-all checksum load-quick load-medium load-heavy load bench help
