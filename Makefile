# Two commands matter: `make demo` and `make test`. Each works alone on a machine with Python, make and an index.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= demo
# A process a core, but no more than eight; what a file sets up is set up once.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

.PHONY: help demo test test-all test-portable test-oldest test-pythons lint types bench format clean

help:
	@echo "make demo      set up and segment sample photos; prints where the report is"
	@echo "make test      set up and run the tests (make test-all: the long ones too)"
	@echo "make test-portable  the tests as other processors, versions and Pythons run them"
	@echo "make lint      style, imports, secrets    make types   mypy"
	@echo "make bench     benchmarks                 make format  reformat the code"

demo: $(VENV)/.installed-demo
	$(BIN)/leopart weights fetch
	$(BIN)/leopart demo --out $(OUT)

test: $(VENV)/.installed-test
	$(PYTEST) -m "not slow and not gpu"

test-all: $(VENV)/.installed-test
	LEOPART_FUZZ_SECONDS=60 $(PYTEST) -m "not gpu"

# Sums differ between processors: in their order, in what is rounded in between, and in the number formats.
# test-as-KIND-THREADS runs the numeric tests as a processor of that kind would, in so many threads; with several
# threads in one process, or they would wait for each other.
NUMERIC := $(addprefix tests/,clustering evaluation export features models training/methods) \
	$(addprefix tests/training/test_,module.py optimisation.py distributed.py) \
	$(addprefix tests/segment/test_,fitting.py part_model.py refinement.py saved.py) \
	$(addprefix tests/segment/test_,segments.py objects.py photo_masks.py)
AS_default := ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE
AS_avx2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_CBWR=AVX2
PYTHONS ?= python3.12 python3.13

test-portable: test-as-default-1 test-as-default-4 test-as-avx2-1 test-as-avx2-4 test-oldest test-pythons

test-as-%: $(VENV)/.installed-test
	$(AS_$(word 1,$(subst -, ,$*))) $(if $(filter %-1,$*),$(PYTEST),$(BIN)/python -m pytest) --threads $(word 2,$(subst -, ,$*)) --without-bf16 \
		-m "not slow and not gpu and not network" $(NUMERIC)

# The oldest versions that pyproject.toml allows, on the Python of `make`. They warn of their own age.
test-oldest: $(VENV)-oldest/.installed
	$(PYTEST:$(BIN)%=$(VENV)-oldest/bin%) -W default -m "not slow and not gpu"

$(VENV)-oldest/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-oldest
	grep -oE '"[A-Za-z0-9-]+>=[0-9.]+' pyproject.toml | tr -d '"' | sed 's/>=/==/' > $(VENV)-oldest/oldest.txt
	$(VENV)-oldest/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
		--constraint $(VENV)-oldest/oldest.txt --editable ".[test]"
	@touch $@

test-pythons:
	@for python in $(PYTHONS); do \
		$$python -c "" 2>/dev/null || { echo "Skipped $$python: it is not installed."; continue; }; \
		$(MAKE) PYTHON=$$python VENV=$(VENV)-$${python##*/} test || exit 1; \
	done

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
	rm -rf $(VENV) $(VENV)-* demo build dist .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Leopart needs Python 3.11 or later; run: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Leopart and what it needs into $(VENV); the first time takes minutes, PyTorch is large."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
		--constraint constraints.txt --editable ".[$*]"
	@touch $@
