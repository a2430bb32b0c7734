# One command for each thing a developer does; `make` alone lists them.
# Every target sets itself up first: nothing has to be installed but Python 3.11+ with venv, and make.
# Where Rust is, the native data plane (native/) is built, checked and tested too; ZTM_NET=aio leaves it out.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SOURCES := src tests bench examples
NATIVE := $(VENV)/.native
NATIVE_SOURCES := $(shell find native/src -name '*.rs') \
  $(addprefix native/,Cargo.toml Cargo.lock pyproject.toml README.md ztm_native.pyi)
# Why the native data plane is left out; empty where it is not.
LACKS := $(shell native/lacks)
WITHOUT := $(if $(filter aio,$(ZTM_NET)),ZTM_NET is aio,$(if $(LACKS),not found: $(LACKS)))
# Tests wait more than they compute: as many processes as cores, and a file of tests stays in one of them.
WORKERS := -n logical --maxprocesses=4 --dist=loadfile
# The first of these that is Python 3.11 or newer and can make virtual environments; PYTHON=... names another.
PYTHONS := python3.11 python3.12 python3.13 python3.14 python3
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

.DEFAULT_GOAL := help
.PHONY: help setup check docs test test-all bench demo clean check-native test-native

help:
	@echo 'make setup      make .venv, with ztm and all that its development needs; where Rust is, the native data plane too'
	@echo 'make check      formatting, lint, types, which way imports point, and whether the manual is fresh'
	@echo 'make docs       make the manual anew: docs/cli.md and docs/man'
	@echo 'make test       the tests, without the long ones'
	@echo 'make test-all   all tests'
	@echo 'make bench      measure ztm beside direct TCP, nginx and ssh, and print one table'
	@echo 'make demo       a hub, two agents and a tunnel on this machine, until Ctrl-C (ONCE=1: ends by itself)'
	@echo 'make clean      remove all that the others made'

setup: $(READY)

$(READY): pyproject.toml
	@python=; \
	for each in $(or $(PYTHON),$(PYTHONS)); do \
	  if "$$each" -c '$(USABLE)' 2>/dev/null; then python=$$each; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo 'make setup: no Python 3.11 or newer that can make virtual environments was found.' >&2; \
	  echo 'On Debian and Ubuntu: apt-get install python3 python3-venv. Or name one: make setup PYTHON=/path/to/python3' >&2; \
	  exit 1; \
	fi; \
	if ! $(BIN)/python -c '$(USABLE)' 2>/dev/null; then \
	  echo "making $(VENV) with $$($$python --version)"; \
	  "$$python" -m venv --clear $(VENV) || exit 1; \
	fi
	@echo 'installing ztm and what its development needs into $(VENV)'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' || { \
	  echo 'make setup: pip could not install what ztm needs (see above).' >&2; \
	  echo 'Without a way to a package index, put the wheels of pyproject.toml into a directory and run' >&2; \
	  echo '  PIP_NO_INDEX=1 PIP_FIND_LINKS=DIRECTORY make setup' >&2; \
	  exit 1; \
	}
	@touch $@

ifeq ($(WITHOUT),)
setup: $(NATIVE)

$(NATIVE): $(READY) $(NATIVE_SOURCES)
	@echo 'building the native data plane (at first with OpenSSL, which takes minutes)'
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pip install --disable-pip-version-check --no-deps \
	  --no-build-isolation --force-reinstall ./native >$(VENV)/native.log 2>&1 || { \
	  tail -n 60 $(VENV)/native.log >&2; \
	  echo 'make setup: the native data plane could not be built (see above, and $(VENV)/native.log).' >&2; \
	  echo 'To go on without it: ZTM_NET=aio make setup' >&2; \
	  exit 1; \
	}
	@touch $@

check-native: setup
	cd native && cargo fmt --check
	cd native && cargo clippy --locked --release --all-targets -- -D warnings
	cd native && cargo clippy --locked --release --all-targets --features python -- -D warnings
	$(BIN)/python -m mypy.stubtest ztm_native --allowlist native/stubtest.allow

test-native: setup
	cd native && cargo test --locked --profile bench --quiet
else
setup: without-native

.PHONY: without-native
without-native: $(READY)
	@echo 'going on without the native data plane, in pure Python ($(WITHOUT));'
	@echo 'to have it, install Rust, a C compiler and perl, and run make setup again: native/README.md'

check-native test-native: setup
	@echo '$@ is skipped ($(WITHOUT))'
endif

check: check-native
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m ztm.cli.manual --check docs

docs: setup
	$(BIN)/python -m ztm.cli.manual docs

test: test-native
	$(BIN)/pytest $(WORKERS) -m 'not long'

test-all: test-native
	$(BIN)/pytest $(WORKERS)

bench: setup
	$(BIN)/python bench/run.py $(BENCH)

demo: setup
	@$(BIN)/python bench/demo $(if $(filter-out 0,$(ONCE)),--once)

clean:
	rm -rf $(VENV) build dist native/target native/fuzz/target src/*.egg-info .hypothesis \
	  .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
