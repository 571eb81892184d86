# `make up` and `make test` are the whole set-up on a fresh machine with python3 >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help up test check format lock openapi authorization bench drill clean

help: ## Show these commands
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

up: $(VENV)/.runtime ## Start Visiona on this machine; Ctrl-C stops it
	@exec $(BIN)/visiona up

test: $(VENV)/.development ## Run the whole test suite, browser journeys included
	@$(BIN)/python scripts/find_browser.py
	@$(BIN)/python -m pytest -m "not drill" --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

drill: $(VENV)/.development ## Run the slow fault drills
	@$(BIN)/python -m pytest -m drill --timeout=1800 $(ARGS)

check: $(VENV)/.development ## Lint, types, import contracts, written documents
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports
	@$(BIN)/python scripts/openapi.py --check
	@$(BIN)/python scripts/authorization.py --check

format: $(VENV)/.development ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

openapi: $(VENV)/.development ## Write docs/openapi.json anew
	@$(BIN)/python scripts/openapi.py

authorization: $(VENV)/.development ## Write docs/authorization.md anew
	@$(BIN)/python scripts/authorization.py

bench: $(VENV)/.development ## Measure speed and memory, as ratios in one run
	@$(BIN)/python -m benchmarks $(ARGS)

lock: $(VENV)/.development ## Resolve the dependencies anew (needs uv: pip install uv)
	uv pip compile --universal --generate-hashes --python-version 3.11 --extra build \
	  --no-emit-index-url --upgrade pyproject.toml -o requirements.lock
	uv pip compile --universal --generate-hashes --python-version 3.11 --extra build --extra dev \
	  --no-emit-index-url -c requirements.lock pyproject.toml -o requirements-dev.lock

clean: ## Remove what set-up and tests made; your data in .visiona stays
	rm -rf $(VENV) .pytest_cache .ruff_cache .import_linter_cache .hypothesis test-results

# Installing is complete only when its stamp exists: an interrupted one is done again.
$(VENV)/.runtime: requirements.lock pyproject.toml
	@scripts/install requirements.lock "$(PYTHON)" "$(VENV)"
	@touch $@

$(VENV)/.development: requirements-dev.lock requirements.lock pyproject.toml
	@scripts/install requirements-dev.lock "$(PYTHON)" "$(VENV)"
	@touch $(VENV)/.runtime $@
