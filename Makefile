# Every check of the project is one command that exits non-zero when it falls short.
# `make help` lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

MINUTES ?= 10
SEEDS ?= 1000
# Seconds for each fuzz target; `make fuzz` sets it from MINUTES.
FUZZ_SECONDS ?= 5
export FUZZ_SECONDS
# More options for cargo test, e.g. TEST_OPTIONS=--no-fail-fast
TEST_OPTIONS ?=

.DEFAULT_GOAL := help
.PHONY: help setup test sim sim-bugs fuzz fuzz-short lint clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install the Debian packages that the commands below use, where missing (as root)
	@.ci/setup

test: setup ## all tests
	cargo test --release --workspace $(TEST_OPTIONS)

sim: ## the simulator on seeds 0 to SEEDS=1000
	cargo run --release -p sim -- run --seeds 0..$(SEEDS)

sim-bugs: ## every planted mistake until the simulator catches it
	cargo run --release -p sim -- bugs

fuzz: ## every fuzz target for MINUTES=10 minutes
	@FUZZ_SECONDS=$$(($(MINUTES) * 60)) fuzz/run

fuzz-short: ## every fuzz target for FUZZ_SECONDS=5 seconds
	@fuzz/run

lint: ## formatting and clippy, warnings refused
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --release --workspace --all-targets -- -D warnings

clean: ## remove everything that was built
	cargo clean
	rm -rf build fuzz/target fuzz/artifacts fuzz/corpus
