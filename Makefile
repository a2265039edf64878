# Assay: `make run` shows the whole road once, `make test` proves it.
# Everything that is missing is installed first: Debian packages by apt (with sudo
# when that is needed), parts of the toolchain by rustup.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

JAILER_DIR := target/jailer
JAILER := $(JAILER_DIR)/assay-jailer
export ASSAY_JAILER := $(CURDIR)/$(JAILER)
# Tests alone use it: it leaves out walls that they name.
export ASSAY_JAILER_BROKEN := $(CURDIR)/$(JAILER_DIR)-broken/assay-jailer
# libtss2 prints the TPM's every refusal; ours are typed errors.
export TSS2_LOG := all+none

.PHONY: help
help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install what is missing
	@tests/setup

.PHONY: jailer
jailer: setup
	@tests/jailer $(JAILER_DIR)

.PHONY: build
build: jailer ## Build everything that is installed, optimised, into target/release
	@cargo build --release --package assay-agent --package assay-validator --package assay-demo --package assay-nvml-sim
	@install -m 0755 $(JAILER) $(JAILER:jailer=probe) target/release/

.PHONY: run
run: ## One machine proves itself to one validator and runs a job; state in run/
	@$(MAKE) --no-print-directory build
	@target/release/assay-demo --dir run

.PHONY: test
test: jailer broken ## Run every test; the summary is the last line
	@tests/run

.PHONY: test-vm
test-vm: jailer ## Run jobs in an emulated machine, under the kernels of Debian 12 and 13
	@tests/vm/run

.PHONY: test-units
test-units: build ## Boot Debian 12 and 13 with the systemd units installed, and look at what they do
	@tests/units/run

.PHONY: test-vectors
test-vectors: setup ## Judge the test data by its own expectations; BACKEND=portable or ring for one alone
	@tests/vectors/run $(BACKEND)

.PHONY: lint
lint: setup ## Format, clippy, documentation
	@cargo fmt --all --check
	@cargo clippy --quiet --workspace --all-targets -- -D warnings
	@RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps

.PHONY: deny
deny: setup ## Licences, bans and sources of every dependency
	@command -v cargo-deny >/dev/null || cargo install --quiet --locked cargo-deny
	@cargo deny --log-level error check bans licenses sources

.PHONY: bench
bench: build ## Measure; prints ratios and figures
	@cargo build --release --package assay-bench
	@target/release/assay-bench

.PHONY: fuzz
fuzz: setup ## One target under libFuzzer: make fuzz T=eventlog S=600; all of them: tests/fuzz/all S
	@tests/fuzz/one $(T) $(or $(S),600)

.PHONY: mutants
mutants: setup ## Break every check of the listed files, and see that a test notices; under an hour
	@command -v cargo-mutants >/dev/null || cargo install --quiet --locked cargo-mutants
	@cargo run --quiet --package assay-mutants -- $(P)

.PHONY: clean-run
clean-run: ## Forget the demo's state
	@rm -rf run

.PHONY: broken
broken: setup ## The jailer whose walls tests may leave out, into target/jailer-broken; in no package
	@tests/jailer $(JAILER_DIR)-broken --features broken-walls
