# `make help` lists the targets. PYTHON chooses the interpreter: make demo PYTHON=python3.12
PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
TOOLS := .local/tools
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)
# Tool environments follow the interpreter: a change of PYTHON makes them anew.
STAMP := $(VENV)/.stamp-$(shell $(PYTHON) -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])')

.DEFAULT_GOAL := help
.PHONY: help setup demo chaos chaos-mutants test unit browser screenshots integration failure-matrix load check lint types template-lint schema lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

setup: $(STAMP) ## Make .venv with drctl, and the environments of the emulator and of the SAM CLI

$(STAMP): pyproject.toml requirements-dev.txt cli/requirements.txt cli/requirements-pdf.txt layers/dependencies/requirements.txt layers/people_dependencies/requirements.txt $(wildcard localcloud/requirements/*.txt)
	@rm -rf $(VENV) $(TOOLS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[dev,pdf]'
	$(BIN)/uv venv --quiet --python $(BIN)/python $(TOOLS)/ministack
	$(BIN)/uv pip install --quiet --python $(TOOLS)/ministack --requirement localcloud/requirements/ministack.txt
	$(BIN)/uv venv --quiet --python $(BIN)/python $(TOOLS)/sam
	$(BIN)/uv pip install --quiet --python $(TOOLS)/sam --requirement localcloud/requirements/sam.txt
	@touch $@

demo: setup ## Local cloud up, stack deployed, one application through all four phases: make demo APP=erp
	$(BIN)/python -m localcloud.demo $(if $(APP),--app $(APP))

chaos: setup ## Faults, commands and an unreliable network on the deployed stack: make chaos SEED=7 MINUTES=10 MUTANT=epoch
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(MUTANT),--mutant $(MUTANT))

chaos-mutants: setup ## The product without each of its guards: how soon the chaos run misses it
	$(BIN)/python -m tests.chaos --mutants $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES))

test: unit browser integration ## Everything: unit, property, model, contract, browser, integration

unit: setup ## The tests that need no emulator
	$(BIN)/pytest -n 2 tests/unit tests/property tests/model tests/contract tests/chaos

browser: setup ## The pages in a headless Chromium, wherever one is found
	$(BIN)/pytest -n 2 tests/browser

screenshots: setup ## The pictures of docs/images, taken anew
	$(BIN)/python -m tests.browser.screenshots
	SCREENSHOTS=1 REQUIRE_BROWSER=1 $(BIN)/pytest -n 2 tests/browser/test_approval_page.py tests/browser/test_approval_mail.py -k screenshots

integration: setup ## The tests that deploy the real template to the local cloud
	$(BIN)/pytest -n 2 --dist loadgroup tests/integration

failure-matrix: setup ## Run the tests of the failure matrix and write docs/failure-matrix.md from what came of them
	-$(BIN)/pytest -n 2 --dist loadgroup -m failure --junitxml=.local/failure-matrix.xml tests
	$(BIN)/python -m tests.failures.page .local/failure-matrix.xml

load: setup ## Many executions at once, and docs/performance.md from what was measured: make load EXECUTIONS=100 LAYERS=5 RESOURCES=10
	$(BIN)/python -m localcloud.load $(if $(EXECUTIONS),--executions $(EXECUTIONS)) $(if $(LAYERS),--layers $(LAYERS)) $(if $(RESOURCES),--resources $(RESOURCES))

schema: setup ## Write what is generated from the modules: the manifests' schema, the target accounts' role, docs/modules.md
	$(BIN)/python -m dr_engine.schema > manifests/schema.json.new && mv manifests/schema.json.new manifests/schema.json
	$(BIN)/python -m dr_core.application > manifests/application.schema.json.new && mv manifests/application.schema.json.new manifests/application.schema.json
	$(BIN)/python -m dr_engine.target_role > deploy/TargetAccountsAssumeRole.yaml.new && mv deploy/TargetAccountsAssumeRole.yaml.new deploy/TargetAccountsAssumeRole.yaml
	$(BIN)/python -m dr_engine.module_docs > docs/modules.md.new && mv docs/modules.md.new docs/modules.md

check: lint types template-lint test ## All of CI: lint, types, templates, tests

lint: setup ## ruff and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup ## mypy --strict
	$(BIN)/mypy

template-lint: setup ## sam validate --lint
	AWS_DEFAULT_REGION=us-west-2 $(TOOLS)/sam/bin/sam validate --lint --template template.yaml
	$(BIN)/cfn-lint deploy/TargetAccountsAssumeRole.yaml

lock: setup ## Resolve the pinned direct dependencies anew
	for f in layers/dependencies/requirements layers/people_dependencies/requirements localcloud/requirements/ministack localcloud/requirements/sam; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate $$f.in -o $$f.txt; done

clean: ## Remove what setup and the local cloud made
	rm -rf $(VENV) .local .aws-sam .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info
