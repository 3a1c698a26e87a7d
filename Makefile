# Everything runs in .venv, which is made from the requirements files when one of them has changed.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

# A stamp is named by the content of what it was installed from: an unchanged .venv costs no time, whatever the clock says.
sum = $(shell cat $(1) | cksum | tr -s ' ' '-')
RUNTIME := $(VENV)/.installed-$(call sum,requirements.txt)
CSST := $(VENV)/.installed-csst-$(call sum,requirements.txt pyproject.toml setup.py)
DEV := $(VENV)/.installed-dev-$(call sum,requirements.txt requirements-dev.txt)
SITE := $(VENV)/.installed-docs-$(call sum,requirements-docs.txt)

PIP_INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check --no-compile --prefer-binary

# make demo SEED=1 is another run, beside runs/demo.
SEED ?=
DEMO := --workdir=runs/demo$(if $(SEED),-$(SEED) --config.seed=$(SEED))

# Tests compile more than they compute, and compiling keeps one core busy. A file's fixtures are made once. Files come in
# the order of their names: those of few tests would come last, and whole runs are among them.
PYTEST := $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Tests start a hundred processes; without bytecode each would compile the sources of JAX and TensorFlow again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test test-fast test-all lint format docs clean

help:
	@echo 'make install    .venv with csst_jax and the command csst in it'
	@echo 'make demo       the whole pipeline on generated street scenes: teacher, pseudo labels, student (SEED=1 for another seed)'
	@echo 'make test       linters, all fast tests, and of every capability one test from end to end'
	@echo 'make test-fast  the tests that take no more than a few seconds each'
	@echo 'make test-all   the tests that make test leaves out'
	@echo 'make lint       ruff and mypy'
	@echo 'make format     rewrites the code as the linter wants it'
	@echo 'make docs       builds the documentation as a site in site/; a broken link is an error'
	@echo 'make clean      removes .venv, site/ and all caches, and leaves data/ and runs/'
	@echo 'PYTHON=python3.12 chooses the interpreter for .venv (3.11 to 3.13; default python3)'

install: $(CSST)
	@echo 'Done. `. $(VENV)/bin/activate` makes csst a command of this shell; csst alone lists what it does.'

demo: $(RUNTIME)
	$(RUN) -m data_prep.synthetic --data_dir=data --overwrite
	$(RUN) -m csst_jax.main --config=configs/demo.py $(DEMO)

test: lint
	$(PYTEST) -m 'not slow or essential'

test-fast: $(DEV)
	$(PYTEST) -m 'not slow'

test-all: $(DEV)
	$(PYTEST) -m 'slow and not essential'

lint: $(DEV)
	$(RUN) -m ruff check --quiet
	$(RUN) -m ruff format --check --quiet
	$(RUN) -m mypy

format: $(DEV)
	$(RUN) -m ruff check --fix --quiet
	$(RUN) -m ruff format

docs: $(SITE)
	$(VENV)/bin/zensical build --strict --clean
	@echo 'open site/index.html'

clean:
	rm -rf $(VENV) site .jax_cache .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUN):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "error: $(PYTHON) must be Python 3.11, 3.12 or 3.13 and is: $$($(PYTHON) --version 2>&1)." \
	    "Choose another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); \
	  echo "error: $(PYTHON) -m venv failed (on Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }

$(RUNTIME): $(RUN)
	@echo 'Installing requirements.txt into $(VENV) (a minute or two) ...'
	@$(PIP_INSTALL) -r requirements.txt
	@touch $@

# Editable: the code stays here, and a change counts at once.
$(CSST): $(RUNTIME)
	@$(PIP_INSTALL) --no-deps --editable .
	@touch $@

$(DEV): $(RUN)
	@echo 'Installing requirements-dev.txt into $(VENV) (a minute or two) ...'
	@$(PIP_INSTALL) -r requirements.txt -r requirements-dev.txt
	@touch $@ $(RUNTIME)

$(SITE): $(RUN)
	@echo 'Installing requirements-docs.txt into $(VENV) ...'
	@$(PIP_INSTALL) -r requirements-docs.txt
	@touch $@
