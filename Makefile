# Two commands matter: `make demo` and `make test`. Each works alone on a machine with Python, make and an index.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= demo
PYTEST := $(BIN)/python -m pytest

.PHONY: help demo test test-all lint types bench format clean

help:
	@echo "make demo      set up and segment sample photos; prints where the report is"
	@echo "make test      set up and run the tests (make test-all: the long ones too)"
	@echo "make lint      style, imports, secrets    make types   mypy"
	@echo "make bench     benchmarks                 make format  reformat the code"

demo: $(VENV)/.installed-demo
	$(BIN)/leopart weights fetch
	$(BIN)/leopart demo --out $(OUT)

test: $(VENV)/.installed-test
	$(PYTEST) -m "not slow and not gpu"

test-all: $(VENV)/.installed-test
	LEOPART_FUZZ_SECONDS=60 $(PYTEST) -m "not gpu"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	@git rev-parse --git-dir >/dev/null
	git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --baseline .secrets.baseline

types: $(VENV)/.installed-dev
	$(BIN)/mypy

bench: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Leopart needs Python 3.11 or later; run: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Leopart and what it needs into $(VENV); the first time takes minutes, PyTorch is large."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
		--constraint constraints.txt --editable ".[$*]"
	@touch $@
