PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint

help:
	@echo "make setup              make .venv with all that is needed, and ffmpeg where possible"
	@echo "make demo               get some openly licensed music and recommend among it"
	@echo "make demo SONGS=folder  the same with your own music"
	@echo "make test               run the tests"
	@echo "make lint               check format, lint and types"

setup: $(STAMP)

$(STAMP): pyproject.toml requirements.txt requirements-dev.txt tools/ffmpeg.sh
	sh tools/ffmpeg.sh
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt --editable .
	$(BIN)/python -m pip check
	touch $@

demo: setup
	$(BIN)/python tools/demo.py $(if $(SONGS),--songs "$(SONGS)")

test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
