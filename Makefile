# Every target builds the environment it needs: one per interpreter, `PYTHON=python3.12 make test` picks another.
PYTHON ?= python3
NEWEST ?= $(shell .ci/newest-python $(PYTHON))
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
ENV := .venv/$(VERSION)
BIN := $(ENV)/bin
ARGS ?=

.PHONY: help train test test-latest .test-latest lint types bench docs notebooks clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

train: $(ENV)/.train  ## the main job: compare optimizers on real data (ARGS='--task text --steps 500')
	$(BIN)/python -m benchmarks.train $(ARGS)

test: lint types $(ENV)/.test  ## lint, types, doctests and the whole suite
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

test-latest:  ## the contracts that a version can break and the train step, on the newest Python and JAX that can be found
	@if [ -n "$(NEWEST)" ]; then $(MAKE) PYTHON=$(NEWEST) .test-latest; \
	else echo "no Python newer than $(VERSION) found: $(VERSION) already has the newest JAX here"; fi

.test-latest: $(ENV)/.test
	CONTRACTS=newest $(BIN)/python -m pytest -n auto --dist worksteal tests/contracts tests/optimizers/training tests/benchmarks $(ARGS)

lint: $(ENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(ENV)/.test
	$(BIN)/mypy

bench: $(ENV)/.bench  ## ratios against the peers, in one run (ARGS='--list')
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(ENV)/.docs  ## the site, into build/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir build/docs

notebooks: $(ENV)/.notebooks  ## execute the notebooks, into build/notebooks
	$(BIN)/jupyter nbconvert --to notebook --execute --output-dir build/notebooks notebooks/*.ipynb

clean:  ## remove environments and build products
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache

# The environment with the extra "%" installed; rebuilt when pyproject.toml changes.
$(ENV)/.%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(ENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	@touch $@

.PRECIOUS: $(ENV)/.%
