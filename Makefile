# make demo | test | lint | docs: each builds its own .venv first if it has none. PYTHON=python3.12: another Python.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint docs

demo: .venv/.installed
	$(BIN)/python edit.py

# Two processes of one thread each: tests are of tiny models, which more threads do not make faster.
test: .venv/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation as a site, in site/; a broken link is an error. The variable silences news of the theme's makers.
docs: .venv/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# torch goes first, by itself and at its pinned version: an unpinned install can bring several GB of CUDA packages.
.venv/.installed: setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt $$(grep '^torch==' constraints.txt)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@
