# kmi: `make demo` shows it, `make test` checks it. CONTRIBUTING.md explains the rest.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Two processes: the suite waits for other processes more than it computes.
JOBS ?= 2

.PHONY: demo test lint unit e2e bench docs clean

demo: $(VENV)/installed
	@$(BIN)/kmi demo

# Every test, after the checks that need no run.
test: lint unit

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@if [ -x $(BIN)/mypy ]; then $(BIN)/mypy && $(BIN)/mypy --python-version 3.10 tests docs benchmarks; \
	else echo "mypy: skipped, it needs Python 3.10 or newer"; fi

unit: $(VENV)/installed-dev
	$(BIN)/python -m compileall -q kmi
	$(BIN)/python -m pytest -n $(JOBS) --ignore=tests/e2e $(ARGS)

# The real clients, installed into a cache outside of the tree.
e2e: $(VENV)/installed-dev
	$(BIN)/python tests/e2e/clients.py
	$(BIN)/python -m pytest -n $(JOBS) tests/e2e

bench: $(VENV)/installed-dev
	$(BIN)/python -m compileall -q kmi
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.shell
	$(BIN)/python -m benchmarks.health
	$(BIN)/python -m benchmarks.proxy

docs: $(VENV)/installed
	$(BIN)/python -m docs.generate

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 9))' || \
	  { echo "kmi needs Python 3.9 or newer; say: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "can't make $(VENV); on Debian and Ubuntu: apt install python3-venv"; exit 1; }

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/installed

clean:
	rm -rf .venv .venv-* build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
