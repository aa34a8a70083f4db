# Everything runs in .venv, which the first target that needs it makes. Nothing is installed globally.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# Python may keep what it has compiled: tests start many processes, which otherwise compile each module of the package.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-portable check bench faults docs dist lock audit oldest locked clean

demo: $(READY)  ## fit Auto to whatever data are at hand, decide, rank, show where; then the VAE of the thesis
	$(BIN)/unlikelihood reproduce demo --out reports/demo

test: $(READY)  ## every test, on all cores
	$(BIN)/python -m pytest -n auto --dist worksteal

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

bench: $(READY)  ## what common work and the latent search cost, how much of it is arithmetic, what many samples take of memory
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.floor
	$(BIN)/python -m benchmarks.search
	$(BIN)/python -m benchmarks.memory

faults: $(READY)  ## every reader, given files that are damaged in every way
	$(BIN)/python -m benchmarks.faults

docs: .venv/.docs  ## the pages under docs/_build, from docstrings and executed examples
	$(BIN)/python -m docs.pages
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build
	$(BIN)/python -m docs.links
	$(BIN)/python -m pytest tests/test_built_docs.py  # in a browser, if there is one

dist: $(READY) .venv/.tools  ## wheel, sdist, and a CycloneDX list of what is installed with them, under dist/
	$(BIN)/python -m hatchling build --directory dist
	.venv/.tools/bin/cyclonedx-py environment .venv --pyproject pyproject.toml --output-file dist/sbom.json

lock: .venv/.tools  ## lock.txt: hashes of the versions in constraints.txt, but of torch, whose CPU builds have others
	echo "torch; sys_platform == 'never'" > .venv/.tools/override.txt
	.venv/.tools/bin/uv pip compile pyproject.toml --extra dev --constraint constraints.txt --quiet --no-header \
		--override .venv/.tools/override.txt --generate-hashes --no-annotate --python-version 3.11 --output-file lock.txt

audit: .venv/.tools  ## known vulnerabilities of the versions in lock.txt, asked of PyPI
	.venv/.tools/bin/pip-audit --require-hashes --disable-pip --requirement lock.txt

oldest: .venv/.tools  ## the tests that train nothing, on the oldest versions that pyproject.toml allows, but of torch
	echo "torch; sys_platform == 'never'" > .venv/.tools/override.txt
	.venv/.tools/bin/uv pip compile pyproject.toml --extra dev --resolution lowest-direct --quiet --no-header \
		--override .venv/.tools/override.txt --no-annotate --python-version 3.11 --output-file .venv/.tools/oldest.txt
	$(PYTHON) -m venv .venv/.oldest
	.venv/.oldest/bin/pip install --quiet --constraint constraints.txt torch
	.venv/.oldest/bin/pip install --quiet --no-deps --requirement .venv/.tools/oldest.txt
	.venv/.oldest/bin/pip install --quiet --no-deps --editable .
	.venv/.oldest/bin/python -m pytest -n auto -W default -m "not trains" tests --ignore tests/test_distribution.py

locked:  ## .venv as `make test` makes it, but of files with the hashes in lock.txt alone
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --require-hashes --no-deps --requirement lock.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $(READY)

clean:
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache docs/_build

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "unlikelihood needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

.venv/.docs: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

.venv/.tools: $(READY)
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet cyclonedx-bom pip-audit uv
