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
# The end-to-end programs and what they run.
E2E := cargo run --release --quiet -p e2e --bin
N ?=

.PHONY: demo build-e2e kill-test upgrade-test powercut-test judges bench idle-test
.PHONY: help setup test sim sim-bugs fuzz fuzz-short lint clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install the Debian packages that the commands below use, where missing (as root)
	@.ci/setup

demo: setup ## the main job on scratch disk files: place, serve, kill, fail, rebuild, verify
	@cargo run --release -p cli -- demo

test: setup ## all tests
	cargo test --release --workspace $(TEST_OPTIONS)

sim: ## the simulator on seeds 0 to SEEDS=1000
	cargo run --release -p sim -- run --seeds 0..$(SEEDS)

sim-bugs: ## every planted mistake until the simulator catches it
	cargo run --release -p sim -- bugs

build-e2e: setup
	@cargo build --release -p cli -p e2e

kill-test: build-e2e ## the data plane killed with -9 N=50 times under fio on ext4 and on xfs
	@$(E2E) kill-test -- --kills $(or $(N),50)

upgrade-test: build-e2e ## the data plane replaced N=20 times under fio on ext4
	@$(E2E) upgrade-test -- --count $(or $(N),20)

powercut-test: build-e2e ## N=50 power cuts: what answered flushes name must be there
	@$(E2E) powercut-test -- --cuts $(or $(N),50)

judges: build-e2e build/fsx/bin/fsx ## fsx, fio verify, mkfs and fsck, fstrim
	@$(E2E) judges

bench: build-e2e build/peer ## speed beside qemu-storage-daemon 10 and the raw loop device
	@$(E2E) bench

idle-test: build-e2e ## processor time of 100 attached volumes that do nothing
	@$(E2E) idle-test

build/fsx/bin/fsx:
	cargo install --quiet --root build/fsx fsx

build/peer:
	-@e2e/get-peer $@ # without it the bench says what it could not compare with

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
