# Diptych. `make` alone lists the targets; a comment after ## is a target's help.
.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory

# the folder of this file, also when called from elsewhere (make -f) and with spaces in the path
ROOT := $(shell dirname "$(strip $(MAKEFILE_LIST))")
IN_ROOT := cd "$(ROOT)" &&
PY := .venv/bin/python
# what checks the code and the lock but is no part of it, in an environment of its own
CHECKS := build/checks/bin
PYTHON ?= python3
# modules are compiled once, not by every process that imports them
export PYTHONDONTWRITEBYTECODE :=
# extra pip options for torch, e.g. an index of CPU builds (see README, "Smaller torch")
TORCH_OPTIONS ?=
SCENARIOS ?=
# a model of `diptych model list` that the report asks, live, instead of the one in the box
MODEL ?=
# FULL=1 measures the curves of labels anew before the report (about 5 minutes)
FULL ?=
# options of JupyterLab
ARGS ?=
# the language model: its preset, and a CSV of real labelled sentences to test it on, if there is one
PRESET ?= cpu
SENTENCES ?= ../shared/data/uci_sentiment_labelled_sentences.csv
PRETRAIN = $(PY) -m diptych.llmops.pretrain --preset $(PRESET) \
  $$(test -e "$(SENTENCES)" && echo --sentences "$(SENTENCES)")

PLATFORMS := linux macos windows
VERSIONS := 3.11.7 3.12 3.13 3.14

.PHONY: help setup checks calibration campaign report model model-eval test test-long test-models local-native lint types format coverage picture lab notebooks bench compat lock lock-check audit clean test-lab

help:  ## list the targets
	@$(IN_ROOT) grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 18

setup:  ## install everything into .venv (under 1 s when nothing changed)
	@$(IN_ROOT) if ! cat pyproject.toml requirements.lock | cmp -s - .venv/installed; then \
	  set -e; \
	  "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed; choose one with: make setup PYTHON=python3.12" >&2; exit 1; }; \
	  [ -x $(PY) ] && $(PY) -c '' 2>/dev/null || "$(PYTHON)" -m venv --clear .venv; \
	  echo "Installing into .venv (about two minutes, once)"; \
	  $(PY) -m pip install --quiet $(TORCH_OPTIONS) -c requirements.lock torch; \
	  $(PY) -m pip install --quiet -c requirements.lock -e '.[all,dev]'; \
	  $(PY) -m diptych.execution.kernels > .venv/installed; \
	  cat pyproject.toml requirements.lock > .venv/installed; \
	fi

report: setup  ## run the lifecycle and write site/index.html (SCENARIOS="sentiment structured" MODEL=qwen2.5-coder-0.5b FULL=1)
	@$(IN_ROOT) $(if $(FULL),$(PY) -m diptych model get minilm-l6-v2 && $(PY) -m diptych.reporting.contrast.stored &&) $(PY) -m diptych report $(SCENARIOS) $(if $(MODEL),-p "models=[local/$(MODEL)]")

model: setup  ## train, ship and measure the language model (PRESET=cpu, gpu or demo)
	@$(IN_ROOT) $(PRETRAIN) --ship --measure

model-eval: setup  ## measure the shipped language model and write its card
	@$(IN_ROOT) $(PRETRAIN) --only-measure

# three at once keep two cores busy: tests often wait for a process that they started
test: setup  ## run every test
	@$(IN_ROOT) $(PY) -m pytest -n 3

calibration: setup  ## coverage of the intervals, error rates of the gate and of alarms, by simulation (about 15 minutes)
	@$(IN_ROOT) $(PY) benchmarks/calibration.py

campaign: setup  ## attack what was built: kills, hostile requests, keys, hostile pages (about 45 minutes on two cores; ONLY=kills, RESUME=1, SCALE=0.1)
	@$(IN_ROOT) $(PY) benchmarks/campaign $(if $(ONLY),--only $(ONLY)) $(if $(RESUME),--resume) $(if $(SCALE),--scale $(SCALE))

test-long: setup  ## readers on 10,000 tables, 200 days of partial reruns, pages beside nbconvert, damaged answers, budgets (about 30 minutes)
	@$(IN_ROOT) DIPTYCH_LONG=1 $(PY) -m pytest -n 3 -m "long or longer"

test-lab: setup  ## a day in a real JupyterLab, hostile names, screenshots in build/lab (about 7 minutes; needs Chromium)
	@$(IN_ROOT) DIPTYCH_LONG=1 $(PY) -m pytest tests/execution/test_lab.py tests/execution/test_lab_day.py tests/execution/test_lab_names.py

test-models: setup  ## tests with real models, which it fetches: 600 MB (about 10 minutes on two quiet cores)
	@$(IN_ROOT) $(PY) -m diptych model get smollm2-135m qwen2.5-coder-0.5b minilm-l6-v2
	@$(IN_ROOT) DIPTYCH_REAL_MODELS=1 $(PY) -m pytest tests/llmops/test_real_models.py tests/core/data/test_embeddings.py tests/core/data/test_near_copies.py tests/core/monitoring/test_meaning_drift.py tests/mlops/models/test_embeddings.py tests/llmops/server/test_embeddings.py

local-native: setup  ## build llama.cpp for this processor (needs cmake and a C++ compiler; about 5 minutes)
	@$(IN_ROOT) $(PY) -m diptych.llmops.server.native

lint: setup  ## check style, and format of code and notebooks
	@$(IN_ROOT) $(PY) -m ruff check . && $(PY) -m ruff format --check .

checks:
	@$(IN_ROOT) if ! cmp -s .ci/checks.txt build/checks/installed; then \
	  "$(PYTHON)" -m venv --clear build/checks && $(CHECKS)/python -m pip install --quiet -r .ci/checks.txt \
	    && cp .ci/checks.txt build/checks/installed; \
	fi

types: setup checks  ## check the types of the public face and of core, and that Python 3.11 has all that is used
	@$(IN_ROOT) $(CHECKS)/mypy --python-executable $(PY) && $(CHECKS)/vermin -q --violations -t=3.11- --no-tips \
	    --exclude int.is_integer --exclude str.decode lib

coverage: setup  ## run the tests of core and the face, with a floor for the lines that they reach
	@$(IN_ROOT) $(PY) -m coverage erase && $(PY) -m coverage run -m pytest -q tests/core tests/face tests/test_face.py \
	  && $(PY) -m coverage combine -q && $(PY) -m coverage report

format: setup  ## fix what can be fixed
	@$(IN_ROOT) $(PY) -m ruff check --fix . && $(PY) -m ruff format .

lab: setup  ## open the notebooks in JupyterLab (ARGS="--port 9000")
	@$(IN_ROOT) exec $(PY) -m diptych lab $(ARGS)

notebooks: setup  ## run every notebook in order, without cached runs, store the outputs, draw the picture of the README
	@$(IN_ROOT) $(PY) -m diptych notebooks && $(PY) benchmarks/picture.py

picture: setup  ## draw the picture of the README from the stored outputs
	@$(IN_ROOT) $(PY) benchmarks/picture.py

bench: setup  ## measure drift, serving, client, evaluation, kernels, tables and metrics beside other tools
	@$(IN_ROOT) for name in drift serving client evaluation kernels tables metrics; do $(PY) benchmarks/$$name.py || exit 1; done

compat: setup  ## run papermill's own tests and Jupyter's kernel tests on warm kernels
	@$(IN_ROOT) $(PY) benchmarks/compat.py

lock: setup checks  ## pin what is installed now, and the core for every system with hashes
	@$(IN_ROOT) $(PY) -m pip freeze --exclude-editable | grep -Ev '^(nvidia|cuda|triton)' \
	    | sed -E 's/\+cpu$$//; s/^xgboost-cpu==(.*)/xgboost==\1\n&/' > requirements.lock \
	  && $(CHECKS)/uv pip compile -q pyproject.toml -c requirements.lock --universal --python-version 3.11.7 \
	    --generate-hashes --no-annotate --no-header -o requirements-hashed.txt

lock-check: checks  ## whether each pin has a wheel for Linux, macOS, Windows and Python 3.11 to 3.14
	@$(IN_ROOT) failed=0; for platform in $(PLATFORMS); do for version in $(VERSIONS); do \
	  if MACOSX_DEPLOYMENT_TARGET=14.0 $(CHECKS)/uv pip compile -q pyproject.toml --all-extras -c requirements.lock --only-binary :all: \
	    --python-platform $$platform --python-version $$version > /dev/null; \
	  then echo "ok $$platform $$version"; else echo "no wheels: $$platform $$version"; failed=1; fi; \
	done; done; exit $$failed

audit: setup checks  ## known weaknesses of the pins (asks PyPI), and build/sbom.json with all that is installed
	@$(IN_ROOT) $(CHECKS)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	    -o build/sbom.json .venv && $(CHECKS)/pip-audit --no-deps --disable-pip -r requirements.lock

clean:  ## remove runs, data tables, models and pages (.venv stays)
	@$(IN_ROOT) home="$${DIPTYCH_HOME:-.diptych}"; \
	if [ -n "$$DIPTYCH_HOME" ] && [ -d "$$home" ] && [ ! -e "$$home/.workspace" ]; then \
	  echo "$$home was there before Diptych and may hold other files; remove what you do not need" \
	    "yourself, or mark it as a workspace with: touch '$$home/.workspace'" >&2; exit 1; \
	fi; \
	rm -rf -- "$$home" site build
