# Everything from a bare machine to a running service. Each target sets up what it needs; `make` lists them.
# Parameters come through the environment: PYTHON, DOCKER_HOST, VARIANT=full, PYTEST_ARGS, WORKBENCH_*.

BIN := .venv/bin
IMAGE_OPTIONS := $(if $(filter full,$(VARIANT)),--full)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help venv engine image programs demo stop test lint bench peers pins clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

venv: ## make the virtual environment .venv with the versions of constraints.txt
	@scripts/venv

engine: venv ## ensure a Docker engine (as root on Debian or Ubuntu: install and start it)
	@scripts/engine

image: engine ## build the sandbox image, or what of it is not up to date (VARIANT=full: more packages)
	@$(BIN)/workbench image build $(IMAGE_OPTIONS)

demo: image ## run a real session through the HTTP API and leave the service running
	@$(BIN)/workbench demo

stop: ## stop the demo's service, and the engine if make started it
	@if [ -x $(BIN)/workbench ]; then $(BIN)/workbench demo --stop; fi
	@scripts/engine stop

programs:
	@scripts/test_programs

test: image programs ## run every test (PYTEST_ARGS: options for pytest)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: venv ## check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: image ## measure speed, as ratios to a raw kernel
	@$(BIN)/workbench bench

peers: image ## measure beside other published systems (PEERS_ARGS: --quick, --json FILE, --only NAME)
	@$(BIN)/python -m bench.peers $(PEERS_ARGS)

pins: venv ## renew constraints.txt from pyproject.toml and the image's package lists
	@$(BIN)/python scripts/pins.py

clean: ## remove the virtual environment and caches; images and data stay
	@rm -rf .venv .cache/peers .cache/compat build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
