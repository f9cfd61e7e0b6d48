# `make help` is the table of contents.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes
COMPILE := UV_CUSTOM_COMPILE_COMMAND="make lock" $(VENV)/bin/uv pip compile --quiet \
	--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links
PINNED := requirements.txt requirements-dev.txt $(addsuffix /requirements.txt,docker client deploy)
AUDIT := $(VENV)/bin/pip-audit --strict --disable-pip --progress-spinner off
DATA ?= ../shared/data
BACKBONE ?= $(wildcard ../shared/weights/backbone/mobilenetv2_1.0_224_imagenet_notop.weights.h5)
RUN ?= runs/train
OUT ?= runs/bench/bench.json
URL ?= http://localhost:8000
SOURCE ?= 0

.DEFAULT_GOAL := help
.PHONY: help compose serve test lint format train evaluate export train-detector export-detector train-verifier thresholds bench fuzz soak chaos audit sbom detectors client image up down replicas replicas-down lock clean
REPLICAS := docker compose -f docker-compose.yml -f docker/proxy/compose.yml
DEPLOY := $(addprefix deploy-,doctor template plan push up status logs restart rollback scale run-local down iam-policy)
.PHONY: $(DEPLOY)

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

# --clear: an interrupted start may have left a broken environment.
$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is required; this is " + sys.version) if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv --clear $(VENV) || { echo "python3 -m venv failed; on Debian: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/service.installed: docker/requirements.txt | $(VENV)/bin/pip
	@echo "Installing the service's packages into $(VENV) ..."
	@$(PIP) -r docker/requirements.txt
	@touch $@

$(VENV)/client.installed: client/requirements.txt | $(VENV)/bin/pip
	@echo "Installing the client's packages into $(VENV) ..."
	@$(PIP) -r client/requirements.txt
	@touch $@

$(VENV)/deploy.installed: deploy/requirements.txt | $(VENV)/bin/pip
	@echo "Installing the deployment's packages into $(VENV) ..."
	@$(PIP) -r deploy/requirements.txt
	@touch $@

$(VENV)/all.installed: requirements.txt requirements-dev.txt | $(VENV)/bin/pip
	@echo "Installing everything into $(VENV) (about 3 GB, mostly TensorFlow) ..."
	@$(PIP) -r requirements.txt -r requirements-dev.txt
	@touch $@ $(VENV)/service.installed $(VENV)/client.installed $(VENV)/deploy.installed

serve: $(VENV)/service.installed ## Serve the page and the API on http://localhost:8000 (settings: docs/settings.md)
	@exec $(PY) -m gunicorn -c docker/gunicorn.conf.py $(ARGS)

test: $(VENV)/all.installed ## Set up and run all tests
	@$(PY) -m pytest $(ARGS)

lint: $(VENV)/all.installed ## Check format, style, types, imports and the links of the documentation
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/mdlinkcheck .

format: $(VENV)/all.installed ## Format the code
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

train: $(VENV)/all.installed ## Train on DATA into RUN; run again to resume (BACKBONE=ImageNet weights; by default Keras downloads them)
	@$(PY) -m model.training.train --data $(DATA) --run $(RUN) $(if $(BACKBONE),--backbone $(BACKBONE)) $(ARGS)

export: $(VENV)/all.installed ## Export the training in RUN as the served model; asks before it replaces one (ARGS=--yes)
	@$(PY) -m model.training.export --run $(RUN) $(ARGS)

train-detector: $(VENV)/all.installed ## Train the face detector on DATA into runs/detector; run again to resume
	@$(PY) -m model.training.detector.train --data $(DATA) $(ARGS)

export-detector: $(VENV)/all.installed ## Export the detector in runs/detector as a served one
	@$(PY) -m model.training.detector.export --data $(DATA) $(ARGS)

train-verifier: $(VENV)/all.installed ## Train the detector's second look after train and train-detector; run again to resume
	@$(PY) -m model.training.detector.verifier --data $(DATA) $(ARGS)

thresholds: $(VENV)/all.installed ## Choose from which probability on each stage of the model decides
	@$(PY) -m model.training.thresholds --data $(DATA) $(ARGS)

evaluate: $(VENV)/all.installed ## Evaluate the served model on the validation part of DATA
	@$(PY) -m model.training.evaluation.evaluate --data $(DATA) $(ARGS)

bench: $(VENV)/all.installed ## Compare the speed with the tutorials' service on scenes of DATA; OUT=FILE for the JSON (requires hey)
	@$(PY) -m bench --data $(DATA) --output $(OUT) $(ARGS)

fuzz: $(VENV)/all.installed ## Send INPUTS (100,000) damaged inputs, then search MINUTES (60) for the most expensive ones
	@$(PY) -m bench.hardening.fuzz --inputs $(or $(INPUTS),100000) --output runs/hardening/fuzz.json $(ARGS)
	@$(PY) -m bench.hardening.decode --output runs/hardening/decode.json
	@$(PY) -m bench.hardening.cost --minutes $(or $(MINUTES),60) --output runs/hardening/cost.json

soak: $(VENV)/all.installed ## Send REQUESTS (200,000) good and bad requests, for an hour at most, and watch memory, descriptors, threads
	@$(PY) -m bench.hardening.soak --requests $(or $(REQUESTS),200000) --output runs/hardening/soak.json $(ARGS)

chaos: $(VENV)/all.installed ## Overload, attack, kill, stop, replace and starve the service; about 35 minutes (TRIALS='kill term' runs only these)
	@$(PY) -m bench.hardening.chaos $(TRIALS) --output runs/hardening/chaos.json $(ARGS)

# First look up a version with known vulnerabilities, to check that the database answers.
audit: $(VENV)/all.installed ## Check all pinned packages for known vulnerabilities (ARGS: options of pip-audit)
	@echo 'jinja2==2.4.1' | $(AUDIT) --no-deps -r /dev/stdin $(ARGS) 2>/dev/null | grep -q '^jinja2 ' || { \
		echo "NOT AUDITED: the vulnerability database does not answer." >&2; \
		echo "Run it where PyPI can be reached, or use another database: make audit ARGS='--vulnerability-service osv'" >&2; exit 2; }
	@$(AUDIT) --require-hashes $(addprefix -r ,$(PINNED)) $(ARGS)

sbom: $(VENV)/all.installed ## List the packages and weights of the image as CycloneDX in runs/sbom.json
	@$(PY) docker/sbom.py $(ARGS)

detectors: $(VENV)/service.installed ## Install the optional detector 'ssd' (10.7 MB)
	@$(PY) -m model.detectors.fetch

client: $(VENV)/client.installed ## Check SOURCE (camera number, file, folder or address) with the service at URL
	@$(PY) -m client --url $(URL) --source $(SOURCE) $(ARGS)

compose:
	@docker compose version >/dev/null 2>&1 || { echo "Docker with compose v2 is required: https://docs.docker.com/get-docker" >&2; exit 1; }
	@docker info >/dev/null 2>&1 || { echo "The Docker engine is not running, or you have no access to it." >&2; exit 1; }

image: compose ## Build the container image (PLATFORM=linux/arm64 for a Raspberry Pi 5 or Graviton)
	$(if $(PLATFORM),DOCKER_DEFAULT_PLATFORM=$(PLATFORM)) docker compose build

up: compose ## Build and start the container on PORT (8000), and wait until it is ready
	docker compose up --build --detach --wait

down: compose ## Stop and remove the container
	docker compose down --remove-orphans

replicas: compose ## Start two containers behind HAProxy on PORT; run again to replace them without a failed request
	$(REPLICAS) build mask twin
	$(REPLICAS) up --no-deps --detach --wait mask
	$(REPLICAS) up --no-deps --detach --wait twin
	$(REPLICAS) up --no-deps --detach --wait proxy

replicas-down: compose ## Stop and remove the replicas and HAProxy
	$(REPLICAS) down --remove-orphans

deploy-up: ## Run this checkout on AWS ECS with the settings in deploy.toml; other deploy-* commands: docs/aws.md
$(DEPLOY): deploy-%: $(VENV)/deploy.installed
	@exec $(PY) -m deploy $* $(ARGS)

lock: $(VENV)/all.installed ## Compile the hashed requirement sets from the two pyproject.toml
	$(COMPILE) pyproject.toml client/pyproject.toml --group card -o requirements.txt
	$(COMPILE) pyproject.toml -c requirements.txt -o docker/requirements.txt
	$(COMPILE) client/pyproject.toml -c requirements.txt -o client/requirements.txt
	$(COMPILE) --group deploy -c requirements.txt -o deploy/requirements.txt
	$(COMPILE) --group dev -c requirements.txt -o requirements-dev.txt

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
