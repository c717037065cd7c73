# Small commands, the same for people and for CI. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help

.PHONY: help venv demo test test-all lint format cluster-up cluster-down bench lock wheel clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

venv: .venv/.ready  ## the locked environment in .venv

.venv/.ready: requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "wasm-node needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: venv  ## run a real wasm pod here, no cluster needed
	@set -x; $(BIN)/wasm-node run hello
	@set -x; cat examples/local.yaml; $(BIN)/wasm-node run examples/local.yaml

lint: venv  ## format, lint, types, layers; never writes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=agent $(BIN)/lint-imports
	$(BIN)/codespell

format: venv  ## write what lint would complain about, where it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: venv lint  ## everything, with a real control plane (20 minutes warm)
	$(BIN)/python -m e2e.cluster build
	$(BIN)/pytest -m 'not long' -n 2

test-all: venv lint  ## test, and what takes long; writes docs/test-all.md
	$(BIN)/python -m e2e.cluster build
	$(BIN)/python -m e2e.report docs/test-all.md -n 2

cluster-up: venv  ## a real control plane, a registry and one wasm node, on loopback
	@$(BIN)/python -m e2e.cluster up

cluster-down: venv  ## end it without a trace
	@$(BIN)/python -m e2e.cluster down

bench: venv  ## side by side with kwok; prints the table of docs/benchmarks.md
	$(BIN)/python -m e2e.bench

lock: venv  ## resolve requirements.lock anew
	$(BIN)/uv pip compile --quiet pyproject.toml --group dev --universal --generate-hashes \
	  --no-emit-index-url --no-header --python-version 3.11 -o requirements.lock

wheel: venv  ## dist/wasm_node-*.whl
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation -w dist .

clean:  ## remove what was made here (not the caches)
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache
