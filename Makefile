# make demo | test | lint: each builds its own .venv first where there is none. PYTHON=python3.12 picks another Python.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint

demo: .venv/.installed
	$(BIN)/python edit.py

test: .venv/.installed
	$(BIN)/python -m pytest -q

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# torch goes first, by itself and at its pinned version: an unpinned install can bring several GB of CUDA packages.
.venv/.installed: setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt $$(grep '^torch==' constraints.txt)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@
