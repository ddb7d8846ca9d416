PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# One process a core, each with one thread.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

.DEFAULT_GOAL := help
.PHONY: help install quickstart seeds test test-slow check format clean

help:           ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMP): setup.py pyproject.toml requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python >= 3.11 is needed; this is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 install"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "error: no virtual environment could be made; on Debian: apt install python3-venv"; exit 2; }
	@echo "installing into $(VENV): about 3.5 GB to download, 8 GB on disk, 2-5 minutes"
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	@touch $(STAMP)

install: $(STAMP) ## Make .venv and install everything (done by the other targets by themselves)

quickstart: $(STAMP) ## Digits: SimCLR, features, active learning with 3 strategies; less than 3 minutes on 2 cores
	$(BIN)/python experiments/ssl/main.py experiment=quickstart
	$(BIN)/python experiments/active_learning/main.py -m experiment=quickstart strategy=random,margin,typiclust random_seed=0,1,2
	$(BIN)/python experiments/report/main.py runs=output/quickstart/active_learning

seeds: $(STAMP) ## The systems of the five seed documents at reduced size, checked; 10 minutes
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev,export,bench]"
	$(BIN)/python experiments/seeds/main.py

test: $(STAMP)  ## Run the tests (slow and gpu ones excluded)
	$(PYTEST)

test-slow: $(STAMP) ## Run the slow tests too
	$(PYTEST) -m "not gpu"

check: $(STAMP) ## Lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

format: $(STAMP) ## Format the code
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format -q .

clean:          ## Remove caches; output/, data/ and .venv stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
