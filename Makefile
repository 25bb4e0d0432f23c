# rollcast for developers. `make` alone lists what there is.

.PHONY: help run test lint bench bench-smoke bench-build bench-test

help: # this list
	@sed -n 's/^\([a-z-]*\):.*# /make \1\t/p' Makefile | expand -t 20

run: # start the server on http://127.0.0.1:5000
	cargo run --release --locked

test: # install what the tests need, where it is missing, then run all of them
	features=$$(tests/setup.sh) && cargo test --locked --features "$$features"

lint: # check format and common mistakes
	cargo fmt --check
	cargo clippy --locked --all-targets --all-features -- -D warnings

bench: bench-build # measure beside the peers, into docs/bench; 15 minutes on a machine with nothing else to do
	bench/setup.sh
	target/release/rollcast-bench all

bench-smoke: bench-build # a minute's run of the same, into target/bench/smoke
	bench/setup.sh
	target/release/rollcast-bench all --smoke --out target/bench/smoke

bench-build: # the server, the load generator and its peers
	cargo build --release --locked
	cd bench && cargo build --release --locked --workspace

bench-test: # check the load generator itself
	cd bench && cargo fmt --check --all
	cd bench && cargo clippy --locked --workspace --all-targets -- -D warnings
	cd bench && cargo test --locked
