# Two commands: `make run` serves, `make test` tests. The rest is for contributors.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install install-dev run test check format lock

help: ## Shows this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

.venv/.installed: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

.venv/.installed-dev: requirements-dev.lock .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

install: .venv/.installed ## Makes .venv with what serving needs.

install-dev: .venv/.installed-dev ## Adds what tests and checks need.

run: install ## Serves on 127.0.0.1:8080 with config.yaml.
	$(BIN)/headgate serve --config config.yaml

test: install-dev ## Runs the tests.
	$(BIN)/python -m pytest

check: install-dev ## Formatting, lints, types, floors.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install-dev ## Formats the code.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## Renews the lock files.
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --group build pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --group dev --extra redis --extra postgres --extra otlp pyproject.toml -o requirements-dev.lock
