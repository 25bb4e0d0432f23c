# For developers and packagers. `make` alone lists the targets. Works with GNU make and BSD make.

# Where `make install` puts files. A package build sets PREFIX=/usr and DESTDIR=<its folder>.
PREFIX = /usr/local
DESTDIR =
# The program to install; `make build` makes it.
PROGRAM = target/release/rollcast
# Decides between the rc.d script (FreeBSD) and the systemd unit (Linux).
OS != uname -s
# Programs in /usr have their configuration in /etc.
ETCDIR != case '$(PREFIX)' in /usr) echo /etc ;; *) echo '$(PREFIX)/etc' ;; esac
STATEDIR != case '$(OS)' in FreeBSD) echo /var/db/rollcast ;; *) echo /var/lib/rollcast ;; esac
# Templates and static files up to 0.1. Since 0.2 they are in the program.
OLD_SHARE = $(PREFIX)/share/rollcast
EXAMPLES = $(PREFIX)/share/examples/rollcast
CONFIG = $(ETCDIR)/rollcast/Rocket.toml
UNITS = $(PREFIX)/lib/systemd/system
MAN = $(PREFIX)/share/man/man1
BASH = $(PREFIX)/share/bash-completion/completions/rollcast
FISH = $(PREFIX)/share/fish/vendor_completions.d/rollcast.fish
# Debian's zsh reads another folder for packages.
ZSH != case '$(PREFIX)' in /usr) echo /usr/share/zsh/vendor-completions/_rollcast ;; \
	*) echo '$(PREFIX)/share/zsh/site-functions/_rollcast' ;; esac
RC = $(PREFIX)/etc/rc.d/rollcast
NEWSYSLOG = $(PREFIX)/etc/newsyslog.conf.d/rollcast.conf
PERIODIC = $(PREFIX)/etc/periodic/daily/410.rollcast
# Debian's supervisord has its socket and pid file directly in /var/run.
RUNDIR != case '$(OS)' in FreeBSD) echo /var/run/supervisor ;; *) echo /var/run ;; esac
# The files in deploy/ contain the paths of FreeBSD and /usr/local.
SET_PATHS = sed -e 's|/usr/local/etc/rollcast|@ETC@|g' -e 's|=/etc/rollcast|=@ETC@|g' \
	-e 's|/usr/local|$(PREFIX)|g' -e 's|@ETC@|$(ETCDIR)/rollcast|g' \
	-e 's|/var/db/rollcast|$(STATEDIR)|g' \
	-e 's|/var/run/supervisor/|$(RUNDIR)/|g'
# Rocket.toml in the repository keeps the database beside itself.
SET_CONFIG = sed -e 's|^database = "var/rolls.db"|database = "$(STATEDIR)/rolls.db"|'

.PHONY: help run build install uninstall deb test torture targets clients lint bench bench-smoke bench-build bench-test deny fuzz

help: # list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*# /make \1 /p' Makefile | while read -r make name text; do \
		printf '%s %-12s%s\n' "$$make" "$$name" "$$text"; done

run: # start the server on http://127.0.0.1:5000
	cargo run --release --locked

# Panics name source files, but not the folders of the machine that built the program.
REMAP = --remap-path-prefix=$${CARGO_HOME:-$$HOME/.cargo}=cargo --remap-path-prefix=$$PWD=rollcast

build: # build the program that `make install` installs
	RUSTFLAGS="$$RUSTFLAGS $(REMAP)" cargo build --release --locked --features jemalloc

$(PROGRAM):
	@echo 'cannot find $(PROGRAM): run make build first' >&2; exit 1

install: $(PROGRAM) # install under PREFIX (/usr/local); keeps an edited configuration
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(ETCDIR)/rollcast'
	install -m 0755 '$(PROGRAM)' '$(DESTDIR)$(PREFIX)/bin/rollcast'
	install -m 0755 deploy/backup/rollcast-backup '$(DESTDIR)$(PREFIX)/bin/rollcast-backup'
	rm -rf '$(DESTDIR)$(OLD_SHARE)/templates' '$(DESTDIR)$(OLD_SHARE)/static'
	@! test -d '$(DESTDIR)$(OLD_SHARE)' || rmdir '$(DESTDIR)$(OLD_SHARE)' || true
	@set -e; config='$(DESTDIR)$(CONFIG)'; \
	cmp -s "$$config" "$$config.sample" && edited=no || edited=yes; \
	$(SET_CONFIG) Rocket.toml >"$$config.sample"; \
	chmod 0644 "$$config.sample"; \
	if [ -e "$$config" ] && [ $$edited = yes ]; then \
		echo "kept the edited $$config; the new defaults are in $$config.sample"; \
		if grep -q '^[a-z]*_dir *= *"$(OLD_SHARE)/' "$$config"; then \
			echo "remove template_dir and static_dir from $$config: the files are in the program now"; \
		fi; \
	else \
		install -m 0644 "$$config.sample" "$$config"; \
	fi
	install -d '$(DESTDIR)$(MAN)'
	@set -e; pages='$(DESTDIR)$(MAN)'; '$(PROGRAM)' man "$$pages"; chmod 0644 "$$pages"/rollcast*.1
	@set -e; for shell in 'bash $(BASH)' 'fish $(FISH)' 'zsh $(ZSH)'; do \
		file="$(DESTDIR)$${shell#* }"; install -d "$${file%/*}"; \
		'$(PROGRAM)' completions $${shell%% *} >"$$file"; chmod 0644 "$$file"; \
	done
	@set -e; examples='$(DESTDIR)$(EXAMPLES)'; cd deploy; \
	for file in nginx/*.conf caddy/* apache/* haproxy/* supervisor/*.conf certbot/* backup/*.cron prometheus/* nats/*; do \
		install -d "$$examples/$${file%/*}"; \
		$(SET_PATHS) "$$file" >"$$examples/$$file"; \
		chmod 0644 "$$examples/$$file"; \
	done
	@set -e; put() { \
		install -d "$${3%/*}"; $(SET_PATHS) "$$2" >"$$3"; chmod "$$1" "$$3"; \
	}; \
	case '$(OS)' in \
	FreeBSD) \
		put 0755 deploy/freebsd/rollcast '$(DESTDIR)$(RC)'; \
		put 0755 deploy/backup/410.rollcast '$(DESTDIR)$(PERIODIC)'; \
		put 0644 deploy/freebsd/newsyslog.conf '$(DESTDIR)$(NEWSYSLOG)' ;; \
	Linux) for unit in rollcast.service rollcast-backup.service rollcast-backup.timer; do \
		put 0644 "deploy/systemd/$$unit" "$(DESTDIR)$(UNITS)/$$unit"; done ;; \
	esac
	@echo 'installed under $(DESTDIR)$(PREFIX), with $(DESTDIR)$(CONFIG); data goes to $(STATEDIR)'

uninstall: # remove the installed files; keeps configuration and data
	rm -rf '$(DESTDIR)$(OLD_SHARE)' '$(DESTDIR)$(EXAMPLES)'
	rm -f '$(DESTDIR)$(PREFIX)/bin/rollcast' '$(DESTDIR)$(PREFIX)/bin/rollcast-backup' \
		'$(DESTDIR)$(CONFIG).sample' '$(DESTDIR)$(MAN)'/rollcast.1 '$(DESTDIR)$(MAN)'/rollcast-*.1 \
		'$(DESTDIR)$(BASH)' '$(DESTDIR)$(FISH)' '$(DESTDIR)$(ZSH)'
	@case '$(OS)' in \
	FreeBSD) rm -f '$(DESTDIR)$(RC)' '$(DESTDIR)$(NEWSYSLOG)' '$(DESTDIR)$(PERIODIC)' ;; \
	Linux) rm -f '$(DESTDIR)$(UNITS)'/rollcast.service '$(DESTDIR)$(UNITS)'/rollcast-backup.* ;; \
	esac
	@echo 'kept $(DESTDIR)$(ETCDIR)/rollcast and $(STATEDIR)'

deb: build # build a Debian package, target/rollcast_<version>_<architecture>.deb
	@deploy/debian/build.sh

test: # install missing programs that the tests need, then run all tests
	@tests/run.sh

# Campaigns run one after the other, because each uses the whole machine.
torture: # run the whole fault campaign, about 105 minutes; writes target/torture.md
	features=$$(tests/setup.sh) && rm -f target/tmp/faults/*.row target/tmp/fleet/*.row && \
		case ",$$features," in *,fleet,*) fleet='--test fleet' ;; *) fleet= ;; esac && \
		ROLLCAST_TORTURE=1 cargo test --locked --no-fail-fast --features "$$features" \
		--test faults $$fleet -- --nocapture --test-threads=1; \
	code=$$?; \
	for suite in faults fleet; do \
		echo "| fault | injected | lost | repeated | recovered in | control | \`cargo test --test $$suite …\` |"; \
		echo '|---|---|---|---|---|---|---|'; cat target/tmp/$$suite/*.row; echo; \
	done >target/torture.md; exit $$code

targets: # measure CPU, memory and layout shifts of the live page; 25 minutes on an idle machine
	features=$$(tests/setup.sh) && ROLLCAST_TARGETS=1 cargo test --locked --features "$$features" \
		--test browser targets:: -- --nocapture --test-threads=1

clients: # judge public clients of event streams, into docs/clients.md; about an hour
	tests/setup.sh >/dev/null
	crates/lab/adapters/setup.sh
	cargo run --release --locked -p lab --example clients

# All features except jemalloc: it adds one line of code, and its C library takes long to build.
lint: # check formatting and run clippy
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets \
		--features browser,clients,fleet,doctor,deploy,machine -- -D warnings

bench: bench-build # compare with similar servers, into docs/bench; 30 minutes on an idle machine
	bench/setup.sh
	target/release/rollcast-bench all

bench-smoke: bench-build # the same in one minute, into target/bench/smoke
	bench/setup.sh
	target/release/rollcast-bench all --smoke --out target/bench/smoke

bench-build: build # build the server, the load generator and the similar servers
	cd bench && cargo build --release --locked --workspace

bench-test: # test the load generator itself
	cd bench && cargo fmt --check --all
	cd bench && cargo clippy --locked --workspace --all-targets -- -D warnings
	cd bench && cargo test --locked

DENY = target/tools/bin/cargo-deny --config deny.toml --locked
DENIED = --hide-inclusion-graph bans licenses sources
# deny.toml is one list for all manifests, so each leaves some entries unused.
UNUSED = -A unmatched-skip -A unnecessary-skip -A license-not-encountered \
	-A license-exception-not-encountered

# cargo-deny is built here without optimisation, which takes a minute.
deny: # check licences, duplicates and sources of all dependencies (deny.toml)
	CARGO_PROFILE_DEV_DEBUG=false cargo install --quiet --locked --debug --no-default-features \
		--root target/tools --version =0.20.2 cargo-deny
	$(DENY) --manifest-path Cargo.toml --workspace check -D unmatched-skip -D unnecessary-skip \
		-A license-exception-not-encountered $(DENIED)
	$(DENY) --manifest-path bench/Cargo.toml --workspace check $(UNUSED) $(DENIED)
	$(DENY) --manifest-path fuzz/Cargo.toml check $(UNUSED) $(DENIED)
	@# Control: a manifest with forbidden dependencies must be refused.
	@$(DENY) --manifest-path tests/deny/Cargo.toml check $(UNUSED) $(DENIED) >target/tools/denied 2>&1; \
	for error in duplicate rejected wildcard; do \
		grep -q "^error.$$error" target/tools/denied || { \
			cat target/tools/denied; echo "make: expected tests/deny to be refused ($$error)" >&2; exit 1; \
		}; \
	done

# CI tests the same properties without nightly (tests/faults/input.rs). Inputs that fail are in
# fuzz/artifacts; minimise them and add them to fuzz/seeds.
SECONDS = 60
fuzz: # search for input that breaks a property, SECONDS=60 per target; needs a nightly toolchain
	cargo install --quiet --locked --debug --root target/tools --version =0.13.2 cargo-fuzz
	for target in values events configuration log query lab; do \
		mkdir -p fuzz/corpus/$$target && RUSTUP_TOOLCHAIN=nightly target/tools/bin/cargo-fuzz run \
			--sanitizer none $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-max_total_time=$(SECONDS) || exit 1; \
	done
