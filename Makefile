# `make help` lists the targets.

PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DO_NOT_TRACK := true
export DVC_NO_ANALYTICS := 1
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help env demo demo-dvc results ui test test-fast check lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: .venv/installed ## make the environment in .venv from requirements.lock

.venv/installed: requirements.lock
	@$(PYTHON) pipelines/preflight.py --gigabytes 9
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	@touch $@

demo: env ## run every sample recipe from archive to error rate, print the results
	@$(PYTHON) pipelines/preflight.py --gigabytes 2
	@$(BIN)/python -m stages check
	@$(BIN)/python -m pipelines.train
	@$(BIN)/python -m pipelines.results

demo-dvc: env ## the same by plain dvc repro, stage after stage
	@$(PYTHON) pipelines/preflight.py --gigabytes 2
	@$(BIN)/python -m stages check
	@$(BIN)/dvc repro
	@$(BIN)/python -m pipelines.results

results: env ## print the table of results again
	@$(BIN)/python -m pipelines.results

ui: env ## open MLflow's UI on the recorded runs; PORT=5001 for another port than 5000
	@$(BIN)/python -m pipelines.ui --port $(or $(PORT),5000)

test: env ## run all tests (realdata ones where THAW_ARCHIVES or ../shared/archives is)
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-fast: env ## run the unit tests alone
	@$(BIN)/python -m pytest tests/unit

check: env ## format, lint and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

lock: ## resolve requirements.lock anew
	@test -x $(BIN)/uv || { $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet uv; }
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate \
		--no-header --no-emit-index-url --group dev pyproject.toml --output-file requirements.lock

clean: ## remove what can be made again: scratch files and caches, not data, results or recorded runs
	@rm -rf .pytest_cache .mypy_cache .ruff_cache
	@test ! -d .thaw || find .thaw -mindepth 1 -maxdepth 1 ! -name runs -exec rm -rf {} +
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
