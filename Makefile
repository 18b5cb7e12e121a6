# What a person types. Everything but `check` and `demo-clean` installs what it needs first (.ci/setup).

# Where rustup puts cargo, for a shell that does not know it yet.
export PATH := $(HOME)/.cargo/bin:$(PATH)

DEMO = target/release/examples/demo

.PHONY: help setup setup-bench demo demo-keep demo-clean test bench check

help:
	@echo 'make demo        real packets judged by the real gateway, in network namespaces'
	@echo 'make demo-keep   the same, left up to play with'
	@echo 'make demo-clean  takes away what demo-keep left'
	@echo 'make test        every test'
	@echo 'make bench       figures; see benches/README.md'
	@echo 'make check       formatting and lints'

setup:
	@.ci/setup

setup-bench:
	@.ci/setup bench
	@benches/peers/prepare

demo demo-keep: setup
	cargo build --release --locked --workspace --bins --examples
	$(DEMO) $(if $(filter demo-keep,$@),--keep)

demo-clean:
	$(DEMO) --clean

test: setup
	cargo build --locked --workspace --all-targets
	cargo test --locked --workspace --no-fail-fast

# The rows of every bench that keeps any end in one table; those of an earlier run go first.
bench: setup-bench
	cargo build --release --locked --workspace --bins
	rm -rf target/bench/rows
	cargo bench --locked --workspace
	@cat target/bench/table.md

check:
	cargo fmt --all -- --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
