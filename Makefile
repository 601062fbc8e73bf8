# Every target sets up what it needs: a virtual environment with the versions in constraints.txt.
#
#   make demo     fit real tables, print a comparison, write a picture   (CSV=FILE: your own table)
#   make test     lint, type check, tests, doctests
#   make check    lint and type check alone
#   make docs     the documentation, into docs/_build/html
#   make bench    time a fit and scoring beside other libraries
#   make release  the wheel and the archive, into dist, and the wheel tried in an environment of its own

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CODE := sknvp tests examples benchmarks docs
INSTALL := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PIP := $(BIN)/python $(INSTALL) --no-compile
TRIED := dist/venv/bin/python $(INSTALL)

.PHONY: demo test check docs bench release clean

demo: $(VENV)/demo
	$(BIN)/python examples/demo.py $(if $(CSV),--csv "$(CSV)")

# The second run does without the native library: the parts of flows, and the laws of fits and scores of tables.
LAWS := flows test_common.py test_conditional.py test_density_laws.py test_discrete.py test_fuzz.py test_missing_cells.py \
	test_outlier.py test_partial_fit.py test_scikit_learn.py test_stacking.py test_transformer.py
test: check $(VENV)/test
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal
	SKNVP_PURE_PYTHON=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(LAWS:%=tests/%) \
		--ignore-glob "*image*" --ignore tests/flows/test_contract.py --ignore tests/flows/test_native_library.py \
		-k "not (images or clones or bad_parameter or package_loads_torch)"

check: $(VENV)/test
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy

docs: $(VENV)/docs
	$(BIN)/sphinx-build --fail-on-warning --keep-going -b html docs docs/_build/html

bench: $(VENV)/benchmark
	$(BIN)/python benchmarks/compare.py

release: $(VENV)/test
	rm -rf dist
	$(BIN)/python -m hatchling build --directory dist
	$(PYTHON) -m venv dist/venv
	$(TRIED) torch
	$(TRIED) "$$(echo dist/*.whl)[plot]" mypy pandas
	dist/venv/bin/python tests/smoke.py
	cp tests/test_type_hints.py dist
	cd dist && venv/bin/mypy --strict --config-file= test_type_hints.py

# pip first, as that of an older Python takes longer to resolve. Then torch, by its pin: the extras take what is there.
# Where pip knows of a build for CPUs alone (by its configuration or PIP_EXTRA_INDEX_URL) that one comes; elsewhere on
# Linux, the one for GPUs and gigabytes of libraries.
$(VENV)/torch: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sknvp needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) pip
	$(PIP) torch
	touch $@

# What each extra of pyproject.toml brings; the native library is compiled anew when its source changes. Files of Python
# are compiled at the end, on all cores; pip would do so on one. Some packages hold a few that cannot be compiled.
NATIVE := $(wildcard sknvp/flows/native/source/*) sknvp/flows/native/compile.py
$(VENV)/demo $(VENV)/test $(VENV)/docs $(VENV)/benchmark: $(VENV)/%: $(VENV)/torch pyproject.toml $(NATIVE)
	$(PIP) --editable ".[$*]"
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib sknvp || true
	touch $@

clean:
	rm -rf $(VENV) dist docs/_build .mypy_cache .pytest_cache .ruff_cache
