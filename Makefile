# Two commands: `make run` serves, `make test` tests. The rest is for contributors.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help install install-dev packages sdks run test corpus fuzz check format docs pool-test gpu-test gpu-dry bench routing-bench costs-bench bench-packages profile pii-bench lock

help: ## Shows this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "CPython 3.11 or later is needed: make PYTHON=python3.11 …")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-build-isolation --no-deps -e .
	@touch $@

.venv/.installed-dev: requirements-dev.lock .venv/.installed
	$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

install: .venv/.installed ## Makes .venv with what serving needs.

install-dev: .venv/.installed-dev ## Adds what tests and checks need.

# The servers that tests start by themselves, on free ports. Where they cannot be installed, those tests say so and skip.
packages:
	@missing=""; \
	command -v redis-server >/dev/null || missing="$$missing redis-server"; \
	command -v openssl >/dev/null || missing="$$missing openssl"; \
	command -v chromium >/dev/null || missing="$$missing chromium fonts-dejavu-core"; \
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$$missing postgresql"; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing$$missing"; \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $$missing >/dev/null; \
	elif [ -n "$$missing" ]; then echo "not installed, and tests that need them are skipped:$$missing"; fi

# The clients that tests run, each generation of OpenAI's SDK in an environment of its own. Where one cannot be
# installed, its tests say so and skip.
sdks:
	@$(MAKE) --no-print-directory --jobs=3 build/sdks/openai-2/.installed build/sdks/openai-3/.installed \
		tests/sdks/node/node_modules/.installed

build/sdks/%/.installed: tests/sdks/%.lock
	@echo "installing clients into $(@D)"
	@{ test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D); } && $(@D)/bin/python -m pip --disable-pip-version-check \
		--quiet install --no-compile --require-hashes -r $< && touch $@ \
		|| echo "not installed, and tests that need them are skipped: the clients of $<"

tests/sdks/node/node_modules/.installed: tests/sdks/node/package-lock.json
	@{ command -v npm && cd $(<D) && npm ci --silent --ignore-scripts --no-audit --no-fund && touch node_modules/.installed; } \
		>/dev/null || echo "not installed, and tests that need it are skipped: the SDK for Node"

run: install ## Serves on 127.0.0.1:8080 with config.yaml.
	$(BIN)/headgate serve --config config.yaml

test: install-dev packages sdks ## Runs the tests; installs what they need (Debian packages too, as root).
	$(BIN)/python -m pytest

storm: install-dev packages ## Lets 100,000 random sequences of faults and 200 kills loose on the gateway: ARGS="--seed 7".
	$(BIN)/python -m tests.storms $(ARGS)

corpus: install-dev ## Holds every recorded answer to its proof at full length: byte by byte, cut at every event.
	HEADGATE_CORPUS_FULL=1 $(BIN)/python -m pytest tests/corpus

fuzz: install-dev ## Feeds each decoder and reader of requests 10 million bytes of mutated traffic: ARGS="--seed 7".
	$(BIN)/python -m tests.fuzz $(ARGS)

check: install-dev ## Formatting, lints, types, floors.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install-dev ## Formats the code.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: install-dev ## Renews the pages that are made from the code.
	$(BIN)/python -m gateway.config.reference > docs/config.md
	$(BIN)/python -m gateway.telemetry.reference > docs/metrics.md
	$(BIN)/python docs/generate.py

bench: install-dev bench-packages ## Measures Headgate beside nginx, Portkey and LiteLLM (25 minutes); writes docs/benchmarks.md.
	$(BIN)/python tests/bench --peers --write docs/benchmarks.md

costs-bench: install-dev ## Measures a million receipts in SQLite: writing, and each question, at rest and under load.
	$(BIN)/python tests/bench/costs.py $(ARGS)

routing-bench: install-dev ## Measures ways of routing to replicas, in simulated time; writes docs/replica-routing.md.
	$(BIN)/python tests/bench/replicas.py --write docs/replica-routing.md

profile: install-dev bench-packages ## Shows where the microseconds of a call go: build/profile.svg.
	$(BIN)/python tests/bench/flames.py

# What drives and answers the load. Where it cannot be installed, the bench says so and is skipped.
bench-packages:
	@if [ "$$(id -u)" = 0 ] && ! { command -v wrk && ls /usr/sbin/nginx; } >/dev/null 2>&1; then \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install wrk nginx-light >/dev/null; fi

pool-test: install-dev ## Tests against two replicas of real vLLM, on a CPU; installs it into build/pool once.
	$(BIN)/python -m tests.pool

gpu-test: install-dev ## Tests on a GPU: throughput and TTFT beside vLLM alone, sizing, harm; writes docs/gpu-test.md.
	$(BIN)/python -m tests.gpu --write docs/gpu-test.md $(ARGS)

gpu-dry: install-dev ## The same on the simulator's vLLM, where there is no GPU; speed is not judged.
	$(BIN)/python -m tests.gpu --dry

pii-bench: install-dev ## Measures the detectors of personal data and secrets.
	$(BIN)/python tests/bench/pii.py

lock: ## Renews the lock files.
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --group build pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --group dev --extra redis --extra postgres --extra otlp --extra bedrock --extra vertex pyproject.toml -o requirements-dev.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --override tests/pool/overrides.txt tests/pool/requirements.in -o tests/pool/requirements.lock
	for sdk in openai-2 openai-3; do uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header tests/sdks/$$sdk.in -o tests/sdks/$$sdk.lock; done
	for lock in peers/litellm py-spy; do uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header tests/bench/$$lock.in -o tests/bench/$$lock.lock; done
	cd tests/sdks/node && npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-audit --no-fund
	cd tests/bench/peers/portkey && npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-audit --no-fund
