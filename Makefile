# `make` lists the targets. All of them call cargo.

CARGO   ?= cargo
PREFIX  ?= /usr/local
DESTDIR ?=
# Further arguments of run, bench, changes and conformance: make bench ARGS=--help
ARGS    ?=
# Variables of make that the scripts of a release read.
export KEY
# Further arguments of bench-address.
ADDRESS_ARGS ?=
# Further arguments of bench-boot.
BOOT_ARGS ?=
# Further arguments of bench-cluster.
CLUSTER_ARGS ?=
# Further arguments of bench-farm.
FARM_ARGS ?=
# Further arguments of bench-volume.
VOLUME_ARGS ?=
# A program that writes the manual for site; without it, one is built.
SITE_PROGRAM ?=
# Seconds of each target of fuzz.
FUZZ_SECONDS ?= 60

export PATH := $(PATH):$(HOME)/.cargo/bin

bin  = $(DESTDIR)$(PREFIX)/bin
doc  = $(DESTDIR)$(PREFIX)/share/doc/evenkeel
man  = $(DESTDIR)$(PREFIX)/share/man/man1
bash = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
zsh  = $(DESTDIR)$(PREFIX)/share/zsh/site-functions
unit = $(DESTDIR)$(PREFIX)/lib/systemd/system
fish = $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
lib  = $(DESTDIR)$(PREFIX)/lib

built  = target/release/evenkeel
writer = $(built)
pages  = target/pages

# The parts that `make run` builds, and the others, each of which builds with them alone.
small = --no-default-features --features proxy,address
others = cluster volume guest boot farm console demonstration

# Names of the test seams, which no program outside of tests may contain.
seams := $(shell grep -rhA 1 -F 'cfg(feature = "test-seams")' crates/*/src | sed -n 's/.*"\(EVENKEEL_[A-Z_]*\)".*/\1/p')

# The development tasks, built with the features that the tests give the libraries: those of
# `cargo run --package xtask` are others, and would build the cluster and its crates again.
xtask = $(CARGO) build --locked --workspace --bin xtask --test scenarios && \
	CARGO=$(CARGO) $${CARGO_TARGET_DIR:-target}/debug/xtask

# The oldest supported compiler, as Cargo.toml states it.
oldest := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

.PHONY: help run demo-platform build test test-parts test-peers test-programs test-long fuzz bench changes conformance soak tidy screenshots manual site mdbook install install-files deb apt-repository rpm tarball image reproducible release-check install-haproxy install-keepalived toolchain
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

run: toolchain ## build quickly and run the demo
	$(CARGO) run --profile demo -p evenkeel $(small) -- demo $(ARGS)

demo-platform: toolchain ## build quickly and run a whole platform with the web console (as root)
	$(CARGO) run --profile demo -p evenkeel -- demo --platform $(ARGS)

build: toolchain ## build the release binary, target/release/evenkeel
	$(CARGO) build --release -p evenkeel
	test -n '$(seams)' && ! grep -aoF $(seams:%=-e %) $(built)

test: toolchain ## install missing test programs (as root) and run all tests
	$(MAKE) --jobs 2 test-peers test-programs
	$(xtask) test

test-parts: toolchain ## test the program with the parts of make run only, build it with each other part, and check the fuzz targets
# The fuzz targets are not in the workspace, so that nothing else needs nightly. Their check needs
# neither nightly nor libFuzzer.
	CUSTOM_LIBFUZZER_PATH=/nonexistent/libfuzzer.a $(CARGO) check --locked --manifest-path fuzz/Cargo.toml \
		--target-dir $${CARGO_TARGET_DIR:-target}
	$(CARGO) test --locked -p evenkeel $(small)
	for part in $(others); do \
		$(CARGO) check --locked -p evenkeel $(small),$$part || exit 1; \
	done
	$(CARGO) build --locked -p evenkeel
	test -n '$(seams)' && ! grep -aoF $(seams:%=-e %) $${CARGO_TARGET_DIR:-target}/debug/evenkeel

test-peers:
	scripts/install-test-peers

# What is built and what is installed take about as long as each other.
test-programs:
	$(CARGO) test --locked --workspace --no-run

test-long: toolchain test-parts ## run simulations with many more seeds, all faults of volumes and guests, and test-parts (hours)
	scripts/install-test-peers
	CLUSTER_SEEDS=500 CLUSTER_SCENARIOS=50 LEASE_SEEDS=50000 ROLLOUT_SEEDS=3000 EVENKEEL_SEED=1 \
		$(CARGO) test -p evenkeel-cluster --lib -- simul
	CARGO_PROFILE_DEV_PACKAGE_OPENRAFT_DEBUG_ASSERTIONS=true CARGO_PROFILE_DEV_PACKAGE_VALIDIT_DEBUG_ASSERTIONS=true \
		CARGO_TARGET_DIR=target/asserted CLUSTER_SEEDS=100 \
		$(CARGO) test -p evenkeel-cluster --lib -- histories_hold
	GUEST_SEEDS=100000 AGREEMENT_SEEDS=300 $(CARGO) test -p evenkeel-guest --lib -- simulation agreement
	FARM_SEEDS=400 $(CARGO) test -p evenkeel-farm --lib -- simulation
	$(CARGO) test -p evenkeel-cluster -p evenkeel-address -p evenkeel --tests -- --ignored
	EVENKEEL_MUTANTS=30000 $(CARGO) test -p evenkeel-proxy --test configurations -- mutation
	VOLUME_LONG=1 $(CARGO) test -p scenarios -- --include-ignored --test-threads 1

fuzz: ## fuzz what reads bytes, guided by coverage, each for FUZZ_SECONDS (needs nightly and cargo-fuzz)
	for target in $$($(CARGO) +nightly fuzz list); do \
		$(CARGO) +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -timeout=10 || exit 1; \
	done

bench: build ## compare with haproxy, then (as root) with keepalived, Kea, dnsmasq, etcd, xrdp, nbdkit, QEMU and GlusterFS
	$(CARGO) xtask bench $(ARGS)
	$(CARGO) xtask bench-address $(ADDRESS_ARGS)
	$(CARGO) xtask bench-boot $(BOOT_ARGS)
	$(CARGO) xtask bench-cluster $(CLUSTER_ARGS)
	$(CARGO) xtask bench-farm $(FARM_ARGS)
	$(CARGO) xtask bench-volume $(VOLUME_ARGS)

changes: build ## reload under load, compared with haproxy
	$(CARGO) xtask changes $(ARGS)

conformance: build ## run HAProxy's regression tests (as root): HAPROXY_SOURCE=DIR is its repository
	HAPROXY_SOURCE='$(abspath $(HAPROXY_SOURCE))' $(CARGO) xtask conformance $(ARGS)

soak: build ## traffic with one reload or fault each second, for SECONDS (300), by SEED
	$(CARGO) xtask changes --case soak --only right --rounds $(or $(SECONDS),300) --seed $(or $(SEED),1) $(ARGS)

tidy: toolchain ## check format, lints, house rules, licences and advisories
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
# With the examples, cargo gives the crates the features with which clippy has checked them;
# without, it would check those that have others once more. The other programs have the name
# of their library, whose pages would be overwritten.
	RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' \
		$(CARGO) doc --locked --workspace --lib --bin xtask --bin evenkeel-sample --examples \
		--no-deps --document-private-items
	$(xtask) tidy
	$(CARGO) check --locked -p evenkeel $(small)
	@if $(CARGO) +$(oldest) --version >/dev/null 2>&1; then \
		$(CARGO) +$(oldest) check --locked --workspace --target-dir target/oldest; \
	else \
		echo 'Rust $(oldest) is not installed: the oldest supported compiler was not checked'; \
	fi
	@if ! $(CARGO) deny --version >/dev/null 2>&1; then \
		echo 'cargo-deny is not installed: licences and advisories not checked'; \
	else \
		$(CARGO) deny check licenses bans sources && \
		if $(CARGO) deny fetch db >/dev/null 2>&1; then \
			$(CARGO) deny check --disable-fetch advisories; \
		else \
			echo 'advisory database not reachable: advisories not checked'; \
		fi; \
	fi

screenshots: toolchain ## take the pictures of docs/console.md and check the pages' accessibility
	scripts/install-test-peers
	mkdir -p docs/pictures
	CI=true CONSOLE_PICTURES='$(abspath docs/pictures)' $(CARGO) test --locked --workspace \
		--test scenarios -- --ignored console::pictures

manual: build ## write the reference manual as HTML, target/manual/index.html
	$(built) manual --html target/manual

site: toolchain mdbook ## write the guides and the manual as one site with a search, target/site/index.html
	test -n '$(SITE_PROGRAM)' || $(CARGO) build --profile demo -p evenkeel
	scripts/make-site $(or $(SITE_PROGRAM),$${CARGO_TARGET_DIR:-target}/demo/evenkeel) target/site

install: build install-files ## install binary, manual, completions, examples and systemd files below PREFIX

# For packages: `writer` is a program that runs on this machine and has the same text as `built`.
install-files:
	mkdir -p $(pages)
	$(writer) man >$(pages)/evenkeel.1
	$(writer) completions bash >$(pages)/evenkeel.bash
	$(writer) completions zsh >$(pages)/_evenkeel
	$(writer) completions fish >$(pages)/evenkeel.fish
	rm -rf $(pages)/manual && $(writer) manual --html $(pages)/manual >/dev/null
	install -D -m 755 $(built) $(bin)/evenkeel
	install -d $(doc)/pictures $(doc)/examples $(doc)/monitoring
	install -m 644 $(pages)/manual/* docs/*.md docs/*.png LICENSE packaging/windows/*.ps1 $(doc)
	install -m 644 docs/pictures/* $(doc)/pictures
	install -m 644 examples/*.cfg $(doc)/examples
	install -m 644 packaging/monitoring/* $(doc)/monitoring
	install -D -m 644 -t $(lib)/sysusers.d packaging/sysusers.d/*.conf
	install -D -m 644 packaging/tmpfiles.d/evenkeel-haproxy.conf $(lib)/tmpfiles.d/evenkeel-haproxy.conf
	install -D -m 644 $(pages)/evenkeel.1 $(man)/evenkeel.1
	install -D -m 644 $(pages)/evenkeel.bash $(bash)/evenkeel
	install -D -m 644 $(pages)/_evenkeel $(zsh)/_evenkeel
	install -D -m 644 $(pages)/evenkeel.fish $(fish)/evenkeel.fish
	for unit in $(filter-out evenkeel-arbiter.service,$(notdir $(wildcard packaging/systemd/*.service))); do \
		sed 's,/usr/bin/evenkeel,$(PREFIX)/bin/evenkeel,' packaging/systemd/$$unit >$(pages)/$$unit && \
		install -D -m 644 $(pages)/$$unit $(unit)/$$unit || exit 1; \
	done

deb: ## build the Debian packages, into target/deb
	scripts/make-deb $(DEB_ARGS)

apt-repository: ## sign the Debian packages as a repository, into target/apt: KEY=FINGERPRINT is a key of gpg
	scripts/make-apt-repository

rpm: ## build packages for rpm with the same files, into target/rpm
	scripts/make-rpm

tarball: ## build the static program and the small arbiter as archives, into target/dist (KEY=FILE signs, by minisign)
	scripts/make-tarball $(TARBALL_ARGS)
	scripts/make-tarball --package evenkeel-arbiter --profile arbiter $(TARBALL_ARGS)

image: ## build an image that takes the place of HAProxy's, into target/dist
	scripts/make-image $(IMAGE_ARGS)

reproducible: ## build the archive twice in different folders, and compare them byte by byte
	scripts/check-reproducible $(REPRODUCIBLE)

release-check: ## build all that a release consists of, and check it (installs what is missing, as root)
	scripts/install-test-peers
	scripts/check-release

install-haproxy: install ## also link it under the name haproxy
	@if [ -e $(bin)/haproxy ] && [ ! -L $(bin)/haproxy ]; then \
		echo '$(bin)/haproxy exists and is not a link: left unchanged' >&2; exit 1; \
	fi
	ln -sf evenkeel $(bin)/haproxy

install-keepalived: install ## also link it under the name keepalived
	@if [ -e $(bin)/keepalived ] && [ ! -L $(bin)/keepalived ]; then \
		echo '$(bin)/keepalived exists and is not a link: left unchanged' >&2; exit 1; \
	fi
	ln -sf evenkeel $(bin)/keepalived

toolchain:
	@command -v $(CARGO) >/dev/null || { \
		echo 'cargo is missing. To get Rust on Debian 13 or later:'; \
		echo '  apt install rustup && rustup default stable'; \
		echo 'on other systems see https://rustup.rs'; \
		exit 1; } >&2

mdbook:
	@command -v python3 >/dev/null || { echo 'python3 is missing: apt install python3'; exit 1; } >&2
	@command -v mdbook >/dev/null || { \
		echo 'mdbook is missing. To build it with cargo:'; \
		echo '  cargo install --locked mdbook --no-default-features --features search'; \
		exit 1; } >&2
