# `make help` lists the targets. PYTHON chooses the interpreter: make demo PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
TOOLS := .local/tools
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)
# Tool environments follow the interpreter: a change of PYTHON makes them anew.
LOCKS := requirements.lock tools/uv.txt $(wildcard localcloud/requirements/*.txt)
STAMP := $(VENV)/.stamp-$(shell $(PYTHON) -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])')

TEMPLATES := template.yaml $(filter-out deploy/slack-app.yaml,$(wildcard deploy/*.yaml))
RESOLVE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --generate-hashes

.DEFAULT_GOAL := help
.PHONY: help setup build demo chaos chaos-mutants test unit browser screenshots integration least-privilege failure-matrix load scale bench-cold-start bench bench-checks bench-dashboard check lint types template-lint supply-chain schema lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

setup: $(STAMP) ## Make .venv with drctl, and the environments of the emulator and of the SAM CLI

$(STAMP): pyproject.toml $(LOCKS)
	@rm -rf $(VENV) $(TOOLS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement tools/uv.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirement requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(call tool,ministack,localcloud/requirements/ministack.txt)
	@$(call tool,sam,localcloud/requirements/sam.txt)
	@touch $@

# An environment of its own for a tool: $(call tool,NAME,LOCK)
tool = $(BIN)/uv venv --quiet --clear --python $(BIN)/python $(TOOLS)/$(1) && \
  $(BIN)/uv pip install --quiet --python $(TOOLS)/$(1) --require-hashes --requirement $(2)

$(TOOLS)/%/.stamp: tools/%.txt $(STAMP)
	@$(call tool,$*,$<)
	@touch $@

build: setup ## Build for AWS, with the layers compiled and packed: make build RUNTIME=python3.12
	$(TOOLS)/sam/bin/sam build --parameter-overrides PythonRuntime=$(or $(RUNTIME),python3.13)
	$(BIN)/python -m localcloud.packing --runtime $(or $(RUNTIME),python3.13)

demo: setup ## Local cloud up, stack deployed, one application through all four phases: make demo APP=erp
	$(BIN)/python -m localcloud.demo $(if $(APP),--app $(APP))

chaos: setup ## Faults, commands and an unreliable network on the deployed stack: make chaos SEED=7 MINUTES=10 MUTANT=epoch
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(MUTANT),--mutant $(MUTANT))

chaos-mutants: setup ## The product without each of its guards: how soon the chaos run misses it
	$(BIN)/python -m tests.chaos --mutants $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES))

test: unit browser integration ## Everything: unit, property, model, contract, browser, integration

unit: setup ## The tests that need no emulator
	@rm -rf .local/authorisations
	$(BIN)/pytest -n 2 tests/unit tests/property tests/model tests/contract tests/chaos
	$(BIN)/python -m tests.privileges.page

browser: setup ## The pages in a headless Chromium, wherever one is found
	$(BIN)/pytest -n 2 tests/browser

screenshots: setup ## The pictures of docs/images, taken anew
	$(BIN)/python -m tests.browser.screenshots
	SCREENSHOTS=1 REQUIRE_BROWSER=1 $(BIN)/pytest -n 2 tests/browser/test_approval_page.py tests/browser/test_approval_mail.py -k screenshots

integration: setup ## The tests that deploy the real template to the local cloud
	$(BIN)/pytest -n 2 --dist loadfile tests/integration

least-privilege: setup ## Write docs/least-privilege.md from what the last tests were allowed
	$(BIN)/python -m tests.privileges.page --write

failure-matrix: setup ## Run the tests of the failure matrix and write docs/failure-matrix.md from what came of them
	-$(BIN)/pytest -n 2 --dist loadfile -m failure --junitxml=.local/failure-matrix.xml tests
	$(BIN)/python -m tests.failures.page .local/failure-matrix.xml

load: setup ## Many executions at once, and docs/performance.md from what was measured: make load EXECUTIONS=100 LAYERS=5 RESOURCES=10
	$(BIN)/python -m localcloud.load $(if $(EXECUTIONS),--executions $(EXECUTIONS)) $(if $(LAYERS),--layers $(LAYERS)) $(if $(RESOURCES),--resources $(RESOURCES))

scale: setup ## The largest layer, the largest execution, many executions; their section of docs/performance.md: make scale SIZES=1x1x500
	$(BIN)/python -m localcloud.scale $(if $(SIZES),--sizes $(SIZES))

bench: setup ## This product and nested state machines, side by side; their section of docs/performance.md
	$(BIN)/python -m tests.bench

bench-cold-start: setup ## What each function imports and how large it is; its section of docs/performance.md
	$(BIN)/python -m tests.bench.cold_start

bench-checks: setup ## How soon checks notice an end, and how many it takes; their section of docs/performance.md
	$(BIN)/python -m tests.bench.checks

bench-dashboard: setup ## The dashboard's first page with 5,000 executions in the table; its section of docs/performance.md
	$(BIN)/python -m tests.bench.dashboard $(if $(EXECUTIONS),--executions $(EXECUTIONS))

schema: setup ## Write what is generated from the modules: the manifests' schema, the target accounts' role and forwarding rules, docs/modules.md
	$(BIN)/python -m dr_engine.schema > manifests/schema.json.new && mv manifests/schema.json.new manifests/schema.json
	$(BIN)/python -m dr_core.application > manifests/application.schema.json.new && mv manifests/application.schema.json.new manifests/application.schema.json
	$(BIN)/python -m dr_engine.target_role > deploy/TargetAccountsAssumeRole.yaml.new && mv deploy/TargetAccountsAssumeRole.yaml.new deploy/TargetAccountsAssumeRole.yaml
	$(BIN)/python -m dr_engine.forwarding > deploy/ForwardEvents.yaml.new && mv deploy/ForwardEvents.yaml.new deploy/ForwardEvents.yaml
	$(BIN)/python -m dr_engine.module_docs > docs/modules.md.new && mv docs/modules.md.new docs/modules.md

check: lint types template-lint supply-chain test ## All that must pass: lint, types, templates, dependencies, tests

lint: setup ## ruff and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup ## mypy --strict
	$(BIN)/mypy

template-lint: $(TOOLS)/checkov/.stamp ## sam validate, cfn-lint and checkov over every template
	AWS_DEFAULT_REGION=us-west-2 $(TOOLS)/sam/bin/sam validate --lint --template template.yaml
	$(BIN)/cfn-lint --regions us-west-2 --include-checks I3510 -- $(TEMPLATES) # I3510: a statement's resources fit its actions
	$(TOOLS)/checkov/bin/checkov --config-file .checkov.yaml --file $(TEMPLATES)

supply-chain: $(TOOLS)/supply-chain/.stamp ## Secrets, licences, the bill of materials, and known vulnerabilities where they can be asked for
	$(BIN)/python -m tools.supply_chain

lock: setup ## Resolve the pinned direct dependencies anew, with the hashes of their files
	for f in layers/dependencies/requirements layers/people_dependencies/requirements localcloud/requirements/ministack localcloud/requirements/sam tools/uv tools/checkov tools/supply-chain; do \
	  $(RESOLVE) $$f.in -o $$f.txt; done
	$(RESOLVE) --all-extras pyproject.toml -c layers/dependencies/requirements.txt -c layers/people_dependencies/requirements.txt -o requirements.lock

clean: ## Remove what setup and the local cloud made
	rm -rf $(VENV) .local .aws-sam .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info
