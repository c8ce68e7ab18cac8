# make run: create the environment, install, start `mtad dev`.     make test: lint, types and tests.
# Needed: Python 3.11 or newer with pip and venv. PYTHON=… chooses the interpreter, VENV=… the folder.

VENV ?= .venv
OLDEST := 3.11
NEW_ENOUGH := import sys; sys.exit(sys.version_info < tuple(map(int, "$(OLDEST)".split("."))))

# Each is asked for its version: a name on the path may be an older one, or the wrapper of one that is not installed.
ifeq ($(origin PYTHON),undefined)
PYTHON := $(shell for python in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$python -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && command -v $$python && break; done)
endif

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
SOURCES := pyproject.toml setup.cfg
TESTS ?=

.DEFAULT_GOAL := help
.PHONY: help run test check lint types bench clean

help:
	@echo 'make run     start mtad dev, the zero-configuration server (ARGS="--data DIR …" for its options)'
	@echo 'make test    lint, types and tests (TESTS="tests/smtp -k pipelining" for some of them)'
	@echo 'make lint    ruff: rules and format'
	@echo 'make types   mypy --strict'
	@echo 'make bench   the short form of the benchmarks'
	@echo 'make clean   remove the environment and everything made'

# The stamps stand for "installed from these files", so that it is done once.
$(BIN)/python:
	@if [ -z '$(PYTHON)' ]; then \
		echo 'mtad needs Python $(OLDEST) or newer, and none was found. Install one, or name it: make PYTHON=/path/to/python3' >&2; exit 1; fi
	@$(PYTHON) -c '$(NEW_ENOUGH)' || { \
		echo "mtad needs Python $(OLDEST) or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1 | head -n 1). Name another: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
		echo 'The environment could not be made; on Debian and Ubuntu: apt-get install python3-venv' >&2; rm -rf $(VENV); exit 1; }

$(VENV)/.installed: $(SOURCES) | $(BIN)/python
	$(PIP) install -q -e .
	@touch $@

$(VENV)/.installed-test: $(SOURCES) | $(BIN)/python
	$(PIP) install -q -e '.[test]'
	@touch $@ $(VENV)/.installed

run: $(VENV)/.installed
	$(BIN)/mtad dev $(ARGS)

test: lint types
	$(BIN)/python -m pytest $(TESTS)

check: test

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

bench: $(VENV)/.installed
	PATH="$(abspath $(BIN)):$$PATH" bench/run.sh --short

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
