# rollcast for developers. `make` alone lists what there is.

.PHONY: help run test lint

help: # this list
	@sed -n 's/^\([a-z]*\):.*# /make \1\t/p' Makefile | expand -t 12

run: # start the server on http://127.0.0.1:5000
	cargo run --release --locked

test: # install what the tests need, where it is missing, then run all of them
	features=$$(tests/setup.sh) && cargo test --locked --features "$$features"

lint: # check format and common mistakes
	cargo fmt --check
	cargo clippy --locked --all-targets --all-features -- -D warnings
