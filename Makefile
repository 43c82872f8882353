PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-quick lint leaderboard

help:
	@echo "make setup              make .venv with all that is needed, and ffmpeg where possible"
	@echo "make demo               get some openly licensed music and recommend among it"
	@echo "make demo SONGS=folder  the same with your own music"
	@echo "make test               run all tests and measure what they cover"
	@echo "make test-quick         run the tests that take no more than about 2 seconds each"
	@echo "make leaderboard DATA=folder  compare with other systems on a labelled library"
	@echo "make lint               check format, lint and types"

setup: $(STAMP)
	@sh tools/ffmpeg.sh

$(STAMP): pyproject.toml requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1);" \
	    "name another one, for example: make setup PYTHON=python3.12" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version); torch is large: this takes some minutes"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check \
	  --requirement requirements-dev.txt --editable .
	@$(BIN)/python -m pip --disable-pip-version-check check
	@touch $@

demo: setup
	$(BIN)/python tools/demo.py $(if $(SONGS),--songs "$(SONGS)")

test: setup
	$(PYTEST) --cov

test-quick: setup
	$(PYTEST) -m "not slow"

DATA ?= data
leaderboard: setup
	$(BIN)/python benchmarks/leaderboard.py --data "$(DATA)" $(FLAGS)

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
