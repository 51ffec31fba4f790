# `make run` and `make test` need git, make and Python >= 3.11; everything else is set up here.
PYTHON ?= python3
# Build of torch: empty is the one in requirements.lock (with CUDA on Linux), cpu has no CUDA libraries; TORCH_INDEX
# takes it from an index of your own instead. It counts when .venv is made: remove .venv to choose again.
TORCH ?=
TORCH_FROM = $(if $(TORCH_INDEX),--index $(TORCH_INDEX),--torch-backend $(TORCH))
# Port of the MLflow UI; 0 is 5000, or the next that is free
PORT ?= 0
VENV = .venv
BIN = $(VENV)/bin
LOWEST = $(VENV)-lowest
# processes that the tests are spread over, one more than two cores since they often wait for servers; 0 runs them
# in pytest's own, as a debugger wants it
JOBS ?= 3
PYTEST = PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n $(JOBS) --max-worker-restart=0
# which tests `make test-lowest` runs: all, or files and options of pytest
TESTS ?=
UV = $(BIN)/uv
# what the package itself is built with
BUILD_PINS = --build-constraints requirements-uv.lock
READY = $(VENV)/.ready
# The image: its name and base, an index of CPU builds of torch, Debian packages to compile networks with.
# Weights in deploy/weights are baked in.
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' cyclegan/__init__.py)
IMAGE ?= localhost/cyclegan-pipeline:$(VERSION)
BASE ?= docker.io/library/python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3
TORCH_INDEX ?=
COMPILER ?=
BUILD_FLAGS ?=
ENGINE ?= $(shell docker info >/dev/null 2>&1 && echo docker || echo podman)

# Without it every process that the tests and the pipeline start would compile torch and MLflow again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run repro kfp-local ui test test-slow test-all fuzz lint screenshots docs format lock compile clean wheel sbom audit image test-lowest test-containers \
  cluster cluster-down

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; '$(PYTHON)' is older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock

$(READY): requirements.lock pyproject.toml | $(UV)
ifeq ($(TORCH)$(TORCH_INDEX),)
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
else
	@# other builds of torch carry other hashes and want other libraries, or none, of NVIDIA's
	awk '/^[a-z0-9]/ {drop = /^(torch|torchvision|triton)==|^(nvidia|cuda)-/ && !/^nvidia-ml-py/} !drop' \
	  requirements.lock > $(VENV)/others.lock
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r $(VENV)/others.lock --no-deps
	$(UV) pip install --quiet --python $(BIN)/python $(TORCH_FROM) \
	  $$(sed -nE 's/^(torch|torchvision)==([^ ;]+).*/\1==\2/p' requirements.lock)
endif
	$(UV) pip install --quiet --python $(BIN)/python --no-deps $(BUILD_PINS) --editable .
	@touch $@

run: $(READY)  ## all five steps on the sample data: fetch, preprocess, train, evaluate, register
	$(BIN)/cyclegan run --params params.yaml

repro: $(READY)  ## the same through DVC: only what changed runs again
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro --pull

kfp-local: $(READY)  ## the compiled Kubeflow pipeline on this machine
	$(BIN)/python -m pipeline run

ui: $(READY)  ## the MLflow UI of the runs; PORT=5001 chooses the port
	@$(BIN)/cyclegan ui --port $(PORT)

test: $(READY)  ## the tests (no GPU, no Docker, no network), without the slow ones
	$(PYTEST) -m "not slow"

test-slow: $(READY)  ## the slow ones: compiled networks, several processes, whole pipelines
	$(PYTEST) -m slow

test-all: test test-slow  ## every test

fuzz: $(READY)  ## damaged files and addresses by the thousand: each must be valid or refused in one sentence
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.fuzz

lint: $(READY)  ## style, types, dependencies, spelling, wording, links, and whether the compiled pipelines are current
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/codespell
	$(BIN)/python -m tools.prose
	$(BIN)/python -m tools.links
	$(BIN)/python -m pipeline compile --check

screenshots: $(READY)  ## the pictures of pages in docs/images, from runs on the sample data (needs Chromium)
	$(BIN)/python -m tools.screenshots $(FOLDER)

docs: $(READY)  ## the documentation site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(READY)  ## rewrite the code in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(UV)  ## resolve the dependencies again into requirements.lock, and those of the MLflow image and of uv
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --all-extras --group dev --group docs --custom-compile-command 'make lock' pyproject.toml -o requirements.lock
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command 'make lock' --constraint requirements.lock deploy/mlflow/requirements.in \
	  -o deploy/mlflow/requirements.lock
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command 'make lock' --constraint requirements.lock requirements-uv.in -o requirements-uv.lock

compile: $(READY)  ## compile the Kubeflow pipelines to YAML
	$(BIN)/python -m pipeline compile

sbom: $(UV)  ## the bill of materials of requirements.lock, CycloneDX, in dist/
	mkdir -p dist
	$(UV) tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements requirements.lock \
	  --pyproject pyproject.toml --output-reproducible --of JSON -o dist/sbom.cdx.json

audit: $(UV)  ## the packages of requirements.lock against the published vulnerabilities (needs PyPI's JSON interface)
	$(UV) tool run --quiet pip-audit==2.10.1 --strict --requirement requirements.lock --require-hashes \
	  --disable-pip --progress-spinner off

wheel: $(UV)  ## build the wheel and the source archive, in dist/
	$(UV) build --quiet $(BUILD_PINS) --require-hashes --out-dir dist

image:  ## build the image that the pipeline's steps run in (docker or podman)
	$(ENGINE) build --build-arg BASE=$(BASE) --build-arg TORCH_INDEX=$(TORCH_INDEX) \
	  --build-arg COMPILER="$(COMPILER)" --build-arg VERSION=$(VERSION) \
	  --build-arg REVISION=$$(git describe --always --abbrev=40 --dirty --exclude='*') $(BUILD_FLAGS) -t $(IMAGE) .

test-lowest: $(UV)  ## the tests with the oldest dependencies that pyproject.toml allows (on Python 3.11)
	$(UV) venv --quiet --clear --python $(PYTHON) $(LOWEST)
	$(UV) pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --all-extras \
	  --group dev --requirements pyproject.toml
	$(UV) pip install --quiet --python $(LOWEST)/bin/python --no-deps $(BUILD_PINS) --editable .
	PATH="$(CURDIR)/$(LOWEST)/bin:$$PATH" $(LOWEST)/bin/python -m pytest $(TESTS)

test-containers: $(READY) image  ## the compiled pipeline in containers of that image
	CYCLEGAN_TEST_IMAGE=$(IMAGE) $(BIN)/python -m pytest tests/containers

cluster: $(READY) image  ## a cluster on this machine by kind with KFP, MLflow and the sample's run (needs docker)
	IMAGE=$(IMAGE) deploy/cluster/up.sh

cluster-down:  ## remove that cluster
	deploy/cluster/down.sh

clean:  ## remove what the sample's runs wrote, and caches (not your datasets/, runs/ or mlflow.db)
	rm -rf outputs runs/city local_outputs .pytest_cache .mypy_cache .ruff_cache .hypothesis site
