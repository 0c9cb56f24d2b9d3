# kmi: `make demo` shows it, `make test` checks it. CONTRIBUTING.md explains the rest.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Four processes for two cores: a good part of the suite is waiting for other processes.
JOBS ?= 4

# The suite starts thousands of processes; each would compile again what it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint unit e2e sweep coverage bench fuzz dev docs hooks recording clean

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
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --ignore=tests/e2e $(ARGS)

# The real clients, installed into a cache outside of the tree; and the web page in a real browser.
e2e: $(VENV)/installed-dev
	$(BIN)/python tests/e2e/clients.py
	$(BIN)/python -m pytest -n $(JOBS) tests/e2e

# What no test runs: pure modules are to be covered whole. A test that sees the environment of a
# measured program may fail here, and here only; the report comes all the same.
coverage: $(VENV)/installed-dev
	rm -rf .coverage
	mkdir .coverage
	-$(BIN)/python -m coverage run -m pytest -n $(JOBS) --dist worksteal --ignore=tests/e2e $(ARGS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage json --quiet -o .coverage/report.json
	$(BIN)/python -m tests.coverage_gaps .coverage/report.json

# Every fault at every call of every command that writes; the suite takes a part of these.
# ARGS="undo bind" sweeps some commands.
sweep: $(VENV)/installed-dev
	$(BIN)/python -m tests.test_fault_sweep $(ARGS)

# All figures of the project; ARGS="--only startup,proxy" measures a part.
bench: $(VENV)/installed-dev
	$(BIN)/python -m compileall -q kmi
	$(BIN)/python -m benchmarks --json benchmarks/results.json $(ARGS)
	$(BIN)/python -m docs.generate

# Mutated files against every parser, for longer than the tests do; finds go to fuzz-finds/.
fuzz: SECONDS ?= 300
fuzz: $(VENV)/installed-dev
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)
	$(BIN)/python -m tests.store_model --long

docs: $(VENV)/installed
	$(BIN)/python -m docs.generate

# The moving picture in the README, of a session that really takes place.
recording: $(VENV)/installed
	$(BIN)/python -m docs.recording

# Everything for work on kmi: an environment with kmi as it lies here, and the tools.
dev: $(VENV)/installed-dev
	@echo "ready: $(BIN)/kmi is this checkout; 'make test' checks it"

# The checks of `make lint` at each commit, by pre-commit (which is not installed for you).
hooks: $(VENV)/installed-dev
	@command -v pre-commit >/dev/null || { echo "pre-commit is not on PATH: pipx install pre-commit"; exit 1; }
	pre-commit install

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
	rm -rf .coverage .venv .venv-* build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
