# Small commands, the same for people and for CI. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help

.PHONY: help venv engine engine-check demo test test-all chaos e2e-kind lint format cluster-up cluster-down bench bench-thousands mutants docs manifests image sbom lock wheel release-check clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

venv: .venv/.ready  ## the locked environment in .venv

.venv/.ready: requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "wasm-node needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

engine: venv  ## the native engine in .venv, where cargo is (a quarter of an hour, once)
	@$(BIN)/python -m e2e.cluster.engine

engine-check: venv  ## format, lint and unit tests of the native engine, where cargo is
	@$(BIN)/python -m e2e.cluster.engine check

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

test: engine engine-check lint  ## everything, with a real control plane (20 minutes warm)
	$(BIN)/python -m e2e.cluster build
	$(BIN)/pytest -m 'not long' -n 2 --ignore=e2e/tierb
	$(BIN)/pytest -m 'not long' e2e/tierb

test-all: engine engine-check lint  ## test, and what takes long; writes docs/test-all.md
	$(BIN)/python -m e2e.cluster build
	$(BIN)/python -m e2e.report docs/test-all.md -n 2 --ignore=e2e/tierb --ignore=e2e/tierc \
	  -- e2e/tierb -- e2e/tierc

SEED ?= 1
FAULTS ?= 200
chaos: engine  ## FAULTS drawn from SEED, and an audit of what came of them (ten minutes for 200)
	$(BIN)/python -m e2e.cluster build
	SEED=$(SEED) FAULTS=$(FAULTS) $(BIN)/pytest e2e/chaos/test_chaos.py -k hundreds

e2e-kind: venv  ## the chart on a cluster of kind, as its users have it; in test-all too
	$(BIN)/python -m e2e.cluster build kind
	$(BIN)/pytest e2e/tierc

cluster-up: engine  ## a real control plane, a registry and one wasm node; TIER=b: two hosts and the chart; TIER=kind: kind and the chart
	@$(BIN)/python -m e2e.cluster up $(TIER)

cluster-down: venv  ## end it without a trace
	@$(BIN)/python -m e2e.cluster down

mutants: venv  ## small faults in plan/ that no test notices; a quarter of an hour; in test-all too
	$(BIN)/python -m tests.mutation.mutants

bench: engine  ## side by side with kwok and wasmtime serve, probes, crowds; writes docs/benchmarks.md
	$(BIN)/python -m e2e.bench
	$(BIN)/python -m e2e.bench.http
	$(BIN)/python -m e2e.bench.probes
	$(BIN)/python -m e2e.bench.crowds

bench-install: venv  ## helm install to Ready, and what idling costs, on two hosts
	$(BIN)/python -m e2e.bench.install

bench-thousands: engine  ## thousands of idle HTTP pods on one node: what each costs
	$(BIN)/python -m e2e.bench.thousands

LOCKS ?= .
lock: venv  ## resolve requirements.lock and, out of it, requirements-image.lock anew
	$(BIN)/uv pip compile --quiet pyproject.toml --group dev --universal --generate-hashes \
	  --no-emit-index-url --no-header --python-version 3.11 -o $(LOCKS)/requirements.lock
	$(BIN)/uv pip compile --quiet pyproject.toml --group wheel --universal --generate-hashes \
	  --constraint $(LOCKS)/requirements.lock \
	  --no-annotate --no-emit-index-url --no-header --python-version 3.11 \
	  -o $(LOCKS)/requirements-image.lock

docs: venv  ## the pages of docs/ as HTML, in dist/docs
	$(BIN)/python -m docs.reference
	$(BIN)/sphinx-build -nW --keep-going -q docs dist/docs

manifests: venv  ## deploy/*.yaml and docs/values.md, out of the chart
	$(BIN)/python -m deploy.render
	$(BIN)/python -m docs.chart_values

IMAGE ?= wasm-node:$(shell sed -n 's/^appVersion: //p' charts/wasm-node/Chart.yaml)
OUTPUT ?= $(if $(PLATFORMS),type=registry,type=docker)
image:  ## build IMAGE with docker; PLATFORMS=linux/amd64,linux/arm64 pushes it for both
	docker buildx build --tag $(IMAGE) $(if $(PLATFORMS),--platform $(PLATFORMS)) \
	  --output $(OUTPUT) $(if $(filter type=docker,$(OUTPUT)),,--sbom=true) \
	  --build-arg VERSION=$(lastword $(subst :, ,$(IMAGE))) \
	  --build-arg REVISION=$$(git rev-parse HEAD) \
	  --build-arg CREATED=$$(git show -s --format=%cI HEAD) .

DIST ?= dist
sbom: venv  ## dist/wasm-node.cdx.json: what the image is built from (CycloneDX)
	mkdir -p $(DIST)
	$(BIN)/uv tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements \
	  --pyproject pyproject.toml --output-file $(DIST)/wasm-node.cdx.json requirements-image.lock

release-check: engine  ## build all of a release into dist/wasm-node-VERSION and check it
	$(BIN)/python -m deploy.release

wheel: venv  ## dist/wasm_node-*.whl
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation -w dist .

clean:  ## remove what was made here (not the caches)
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache
