# The only build file: each target sets up what it needs in .venv, so a fresh clone needs nothing but Python 3.11.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: setup demo test test-all check lint types bench clean

setup: $(VENV)/.ready
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,track]'
	touch $@

demo: setup            ## the whole loop on real handwriting
	$(BIN)/mintage make digits --minutes 2

test: setup            ## every fast test
	$(BIN)/pytest

test-all: setup        ## also the slow ones: the full grid, kill -9
	$(BIN)/pytest -m ''

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

check: lint types test ## what CI runs

clean:
	rm -rf $(VENV) build dist runs .pytest_cache .mypy_cache .ruff_cache
