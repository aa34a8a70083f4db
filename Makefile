# Everything runs in .venv, which the first target that needs it makes. Nothing is installed globally.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test test-portable check bench faults docs clean

demo: $(READY)  ## fit a VAE on normal digits, score, judge, report
	$(BIN)/unlikelihood reproduce mnist-vae --quick --out reports/demo

test: $(READY)  ## every test, on all cores
	$(BIN)/python -m pytest -n auto

test-portable: $(READY)  ## the tests that train, as processors without and with AVX2 compute, with one thread and two
	ATEN_CPU_CAPABILITY=default OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m trains tests
	# Threads that wait by spinning take ten times as long where there are more of them than cores.
	ATEN_CPU_CAPABILITY=avx2 OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n auto -m trains tests

check: $(READY)  ## style, types, import directions, doctests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest src

bench: $(READY)  ## what the training loop, the imports and the latent search cost, and what many samples take of memory
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.search
	$(BIN)/python -m benchmarks.memory

faults: $(READY)  ## every reader, given files that are damaged in every way
	$(BIN)/python -m benchmarks.faults

docs: .venv/.docs  ## the pages under docs/_build, from docstrings and executed examples
	$(BIN)/python -m docs.pages
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build
	$(BIN)/python -m docs.links

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache docs/_build

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "unlikelihood needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

.venv/.docs: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@
