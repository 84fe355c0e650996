# SPDX-License-Identifier: GPL-3.0-or-later
# Everything that the project does to itself. `make help` lists it.
# All that is made lies in .build/ (the demo in .demo/), which git ignores. Outside the checkout, only pip's and
# uv's own caches are written.

PYTHON ?= python3
# CORE=2.17 and the like: test with that ansible-core, in an environment of its own. Each core has a file
# tests/requirements/core-*.txt.
CORE ?=
# What needs no Airflow runs beside what waits for one.
ifeq ($(CORE),)
WITHOUT_AIRFLOW := unit,sanity,lint,lint-docs,build
else # what does not depend on the core is left out
WITHOUT_AIRFLOW := unit,sanity
endif

BUILD := .build
VENV := $(BUILD)/$(if $(CORE),core-$(CORE),venv)
REQUIREMENTS := tests/requirements/$(if $(CORE),core-$(CORE),controller).txt
BIN := $(VENV)/bin
UV := $(BIN)/uv
LINK := $(BUILD)/collections/ansible_collections/fleetops/airflow
# For tools that start others of the same environment by name.
WITH_TOOLS := PATH="$(CURDIR)/$(BIN):$$PATH"

# Run each quoted command, and fail at the end when one did.
each = failed=0; for command in $(1); do echo "--- $$command"; $(WITH_TOOLS) $$command || failed=1; done; exit $$failed

# Ansible sees this checkout, and none of the settings of whoever calls make.
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/$(BUILD)/collections
export ANSIBLE_CONFIG := $(CURDIR)/$(BUILD)/ansible.cfg
export ANSIBLE_HOME := $(CURDIR)/$(BUILD)/ansible
export PYTHONPATH := $(CURDIR)/$(BUILD)/collections
export UV_PYTHON_DOWNLOADS := never
unexport VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help venv test test-all unit simulation sanity lint lint-docs build story integration end-to-end test-cores test-matrix test-ways test-fleet test-host-faults test-remediation test-night test-network-faults bench system-deps fleet-up fleet-down format changelog lock demo demo-picture demo-down clean

# What a newcomer wants first; the others by the headings of this file.
FIRST := demo demo-down test test-all
help: ## list the targets
	@echo "Start here:"
	@for target in $(FIRST); do sed -nE "s/^($$target):.*## (.*)/  make \1\t\2/p" Makefile; done | expand -t 30
	@sed -nE -e 's/^# --- ([a-z ]+) -+$$/\n\1:/p' -e '/^($(subst $() ,|,$(FIRST))):/d' \
	  -e 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 30
	@echo
	@echo "PYTHON chooses the interpreter (now: $(PYTHON)), after 'make clean' if there was another before."
	@echo "CORE chooses the ansible-core of the tests: 2.17, 2.18, 2.19, 2.21 or devel."

# --- environments -----------------------------------------------------------------------------

venv: $(VENV)/.ready ## make the environment of the tests, .build/venv (with CORE=2.17: .build/core-2.17)

# .build/collections is the path by which Python, Ansible and mypy know the checkout as
# ansible_collections.fleetops.airflow.
$(VENV)/.ready: $(REQUIREMENTS) $(VENV)/.uv-ready
	@echo "--- filling $(VENV)"
	@mkdir -p $(dir $(LINK)) "$(ANSIBLE_HOME)"
	@ln -sfn ../../../.. $(LINK)
	@: > "$(ANSIBLE_CONFIG)"
	@$(UV) pip install --quiet --python $(BIN)/python -r $(REQUIREMENTS)
	@touch $@

$(VENV)/.uv-ready: tests/requirements/bootstrap.txt
	@$(PYTHON) tests/tools/check_python.py
	@echo "--- making $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -r tests/requirements/bootstrap.txt
	@touch $@

$(BUILD)/importer/.ready: tests/requirements/importer.txt $(VENV)/.ready
	@echo "--- making .build/importer"
	@$(UV) venv --quiet --clear --python $(BIN)/python $(BUILD)/importer
	@$(UV) pip install --quiet --python $(BUILD)/importer/bin/python -r tests/requirements/importer.txt
	@touch $@

$(BUILD)/eda/.ready: tests/requirements/eda.txt $(VENV)/.ready
	@echo "--- making .build/eda"
	@$(UV) venv --quiet --clear --python $(BIN)/python $(BUILD)/eda
	@$(UV) pip install --quiet --python $(BUILD)/eda/bin/python -r tests/requirements/eda.txt
	@touch $@

# Each *.in file with the oldest Python on which its environment is made.
PINNED := controller:3.11 importer:3.11 hosts:3.8 eda:3.11 core-2.17:3.11 core-2.18:3.11 core-2.19:3.11 core-2.21:3.12
lock: $(VENV)/.uv-ready ## pin the newest releases that the *.in files allow
	@for name in $(PINNED); do \
	  file=tests/requirements/$${name%:*}; echo "--- $$file.txt"; \
	  { echo "# SPDX-License-Identifier: GPL-3.0-or-later"; \
	    $(UV) pip compile --quiet --universal --python-version $${name#*:} --no-emit-index-url \
	      --no-emit-find-links --custom-compile-command "make lock" $$file.in; \
	  } > $$file.new && mv $$file.new $$file.txt || { rm -f $$file.new; exit 1; }; \
	done

# --- the tests --------------------------------------------------------------------------------

test: venv ## what has to pass before every commit (15 minutes on 2 cores); the last lines say what passed
	@$(PYTHON) tests/tools/run_parts.py "make test" $(WITHOUT_AIRFLOW) story

test-all: venv ## the same and every other test that is not a target of its own (45 minutes on 2 cores)
	@CFG_EXAMPLES=10000 $(PYTHON) tests/tools/run_parts.py "make test-all" simulation -- $(WITHOUT_AIRFLOW) integration

unit: venv ## unit tests, on this Python and on those that managed hosts may have
	$(BIN)/python -m pytest tests/unit
	$(if $(CORE),,$(BIN)/python tests/tools/unit_on_hosts.py)

# By itself, so that its two minutes are not those of something else too.
simulation: venv ## 100,000 schedules of triggers against a model of Airflow and of a network that fails (1 minute)
	SIMULATION_SCHEDULES=100000 $(BIN)/python -m pytest tests/unit/plugins/test_simulation.py

sanity: venv ## ansible-test sanity, with no ignore entries
	$(BIN)/python tests/tools/sanity.py

# Each of the tools has its say, whatever the ones before it said.
LINT := "ruff check" "ruff format --check" "mypy" "ansible-lint --offline --nocolor"
LINT += "zizmor --offline --no-progress --persona pedantic .github"
LINT += "check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/ci.yml"
LINT += "check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml"
lint: venv ## ruff, mypy, ansible-lint, and the files of GitHub
	@$(call each,$(LINT))

LINT_DOCS := antsibull-docs --config-file tests/tools/antsibull-docs.cfg lint-collection-docs
DOCS := "$(LINT_DOCS) --plugin-docs --validate-collection-refs=all ." "antsibull-changelog lint"
lint-docs: venv ## check the documentation of the plugins, the roles and the change log
	@$(call each,$(DOCS))

build: venv $(BUILD)/importer/.ready ## build, install and import the collection as Galaxy would
	$(BIN)/python tests/tools/package.py

# Two Airflows at once: much of the time is spent waiting for one to start.
INTEGRATION := $(BIN)/python -m pytest --verbose --numprocesses 2 --dist loadscope --durations 30 tests/integration
integration: venv $(BUILD)/eda/.ready system-deps ## all tests against real Airflows
	$(INTEGRATION)

story: venv $(BUILD)/eda/.ready system-deps ## of those the main story of each module and role, on Airflow 2.11 and 3.3
	AIRFLOW_VERSIONS=2.11.2,3.3.2 $(INTEGRATION) -m story

end-to-end: venv ## one test from the role to the end of a DAG run, on Airflow 2.11 and 3.3
	$(BIN)/python -m pytest --verbose --numprocesses 2 --dist loadscope tests/integration/roles/test_end_to_end.py

test-cores: ## unit, sanity and end-to-end on each supported ansible-core (19 minutes on 2 cores)
	@$(PYTHON) tests/tools/check_python.py
	@$(PYTHON) tests/tools/cores.py

test-matrix: venv ## the modules on every Airflow release; writes the tables of docs/compatibility.md (45 minutes)
	$(BIN)/python tests/tools/matrix.py
	AIRFLOW_ACCESS=all $(BIN)/python -m pytest --verbose tests/integration/host/test_anonymous_access.py

test-ways: venv system-deps ## install and start Airflow in every way; writes the tables of docs/ways-to-start.md (15 minutes)
	AIRFLOW_WAYS=write $(BIN)/python -m pytest --verbose tests/integration/host/test_ways_to_start.py

FLEET_TESTS := tests/integration/roles/test_fleet.py tests/integration/roles/test_fleet_users.py
test-fleet: venv system-deps ## roles and users on hosts of all seven kinds
	AIRFLOW_FLEET=all $(BIN)/python -m pytest --verbose $(FLEET_TESTS)

test-host-faults: venv system-deps ## break a host in eleven ways; writes the table in docs/host-faults.md
	AIRFLOW_FLEET=airflow-2-11-2 AIRFLOW_FAULTS=all $(BIN)/python -m pytest --verbose tests/integration/host/test_faults.py

test-remediation: venv $(BUILD)/eda/.ready system-deps ## break two Airflows under a rulebook; writes docs/remediation-times.md
	AIRFLOW_FLEET=airflow-2-11-2,airflow-3-3-2-simple AIRFLOW_REMEDIATION=all \
	  $(BIN)/python -m pytest --verbose tests/integration/roles/test_remediation.py

NIGHT ?= 60
test-night: venv $(BUILD)/eda/.ready system-deps ## faults at random for NIGHT minutes; writes docs/remediation-night.md
	AIRFLOW_FLEET=airflow-2-11-2,airflow-3-3-2-simple AIRFLOW_NIGHT=$(NIGHT) \
	  $(BIN)/python -m pytest --verbose --capture no tests/integration/roles/test_night.py

test-network-faults: venv ## 500 triggers, and changes of runs, through a network that fails; writes docs/faults.md (1 hour)
	$(BIN)/python tests/tools/faults.py

$(BUILD)/bench/.ready: tests/requirements/bench.txt $(VENV)/.ready
	@echo "--- filling .build/bench"
	@$(UV) pip install --quiet --no-deps --python $(BIN)/python --target $(BUILD)/bench -r tests/requirements/bench.txt
	@touch $@

bench: venv $(BUILD)/bench/.ready ## what a task costs beside a ping, ini_file and uri, and a bare restart; on 30 hosts too (20 minutes)
	$(BIN)/python tests/benchmark/bench.py
	$(BIN)/python tests/benchmark/bench_triggers.py
	$(BIN)/python tests/benchmark/fleet.py

system-deps: ## install the Debian packages that tests need, where root may do that
	@$(PYTHON) tests/tools/packages.py

# --- the fleet --------------------------------------------------------------------------------

FLEET := $(BUILD)/fleet
LIGHT ?= 3
fleet-up: venv system-deps ## boot systemd hosts with seven Airflows, and LIGHT=3 hosts without (root, Debian; 1 minute)
	@$(BIN)/python tests/testbed/fleet.py up --folder $(FLEET) --light $(LIGHT)

fleet-down: ## end them
	@$(PYTHON) tests/testbed/fleet.py down --folder $(FLEET)

# --- the rest ---------------------------------------------------------------------------------

format: venv ## lay out the Python code as `make lint` wants it
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

changelog: venv ## write the fragments into CHANGELOG.md, under the version of galaxy.yml
	$(WITH_TOOLS) $(BIN)/antsibull-changelog release --reload-plugins --refresh --update-existing

demo: ## show the whole story on a real Airflow
	@$(PYTHON) tests/tools/check_python.py
	@$(PYTHON) demo/demo.py up

demo-picture: venv ## run the demo and draw docs/demo.svg from what it prints
	$(BIN)/python demo/picture.py

demo-down: ## end what `make demo` started
	@$(PYTHON) demo/demo.py down

clean: $(if $(wildcard $(FLEET)),fleet-down) ## remove everything that make made, except the demo
	rm -rf $(BUILD) tests/output .pytest_cache .mypy_cache .ruff_cache .hypothesis .ansible
