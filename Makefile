# Transom's commands. `make help` lists them.
#
# Everything lands in .venv, from the hashed lists in requirements/, through pip's own configuration of the index.
# A stamp in .venv carries the checksum of what was installed, so that a second run has nothing to do.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help up test slow check bench requirements clean

VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

help: ## Show this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 24

up: ## Install what is missing, then serve the embedded model and the gateway on 127.0.0.1
	@scripts/install local
	@exec $(BIN)/transom up $(ARGS)

test: ## Install what is missing, then run the tests (ARGS="-k word" for some)
	@scripts/install dev
	@exec $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not slow" $(ARGS)

slow: ## Run the tests that kill servers by the dozen, or load them for long
	@scripts/install dev
	@exec $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m slow $(ARGS)

check: ## Lint, formatting, types and layers
	@scripts/install dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: ## Measure Transom beside other gateways (see docs/benchmarks.md)
	@scripts/install dev
	@exec $(BIN)/python -m bench $(ARGS)

requirements: ## Resolve pyproject.toml again into the hashed lists of requirements/
	@scripts/install dev
	@scripts/pin $(BIN)/uv

clean: ## Remove the environment and every cache of this folder (never TRANSOM_HOME)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage dist
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
