# pgbourse needs Python 3.11 or later and make, nothing else. `make` alone lists the commands.

PYTHON  ?= python3
VENV    := .venv
SECONDS ?= 60
JOBS    ?= auto
PYTEST  := $(VENV)/bin/python -m pytest -n $(JOBS) --dist loadgroup -rs

.PHONY: help run test test-containers test-on lint wheels bench docs man soak fuzz clean

help:
	@echo 'make run    create the environment, start PostgreSQL and serve on 127.0.0.1:12345 (ARGS="--port 5000" adds options)'
	@echo 'make test   create the environment and run the tests (ARGS="-k match" narrows them, JOBS=0 runs them one at a time; PGBOURSE_TEST_DSN=… names a server)'
	@echo 'make test LONG=1   also the long tests, and more rounds of some; make test-containers   those of the images and of compose'
	@echo 'make test-on PG=15   run the tests of the SQL on an installed PostgreSQL of that version'
	@echo 'make lint   run ruff, mypy, sqlfluff, and squawk for the locks of migrations'
	@echo 'make wheels ask the package registry whether everything installs without a compiler, on every platform'
	@echo 'make bench  measure this machine, about 39 minutes (ARGS="--quick --output report.html": five, with plots)'
	@echo 'make docs   rewrite docs/sql.md from the catalog, and the output in docs/dba.md from a run'
	@echo 'make man    write manual pages to build/man, from what --help says'
	@echo 'make soak   run the reliability tests in their long form, 20 to 60 minutes: hundreds of crashes, thousands of random batches'
	@echo 'make fuzz   try to break framing and messages for SECONDS=60 (Linux; adds the fuzzer to the environment)'
	@echo 'make clean  remove the environment and everything built; data folders stay'

run: $(VENV)/.run
	@exec $(VENV)/bin/pgbourse serve $(ARGS)

test: $(VENV)/.dev
	$(if $(LONG),PGBOURSE_FAULT_ROUNDS=30 PGBOURSE_FUZZ_EXAMPLES=25 $(PYTEST),$(PYTEST) --short) $(ARGS)

test-containers: $(VENV)/.dev
	$(PYTEST) -n 0 tests/containers $(ARGS)

test-on: $(VENV)/.dev
	PGBOURSE_TEST_MAJOR=$(PG) $(PYTEST) tests/sql tests/dba tests/integration/test_migrate.py $(ARGS)

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/sqlfluff lint --nocolor --disable-progress-bar sql
	$(VENV)/bin/squawk --config .ci/squawk.toml sql/ledger.sql sql/migrations/*.sql

wheels: $(VENV)/.dev
	$(VENV)/bin/python .ci/wheels.py

bench: $(VENV)/.dev
	$(VENV)/bin/pgbourse bench $(ARGS)

docs: $(VENV)/.dev
	PGBOURSE_WRITE_DOCS=1 $(VENV)/bin/python -m pytest --quiet tests/sql/test_reference.py tests/dba/test_tour.py

man: $(VENV)/.dev
	mkdir -p build/man
	$(VENV)/bin/python -c 'from click_man.core import write_man_pages as write; from pgbourse.cli import cli; write("pgbourse", cli, target_dir="build/man")'

soak: $(VENV)/.dev
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[soak]'
	PGBOURSE_SOAK=1 PGBOURSE_FAULT_ROUNDS=300 PGBOURSE_FUZZ_SEEDS=1000 PGBOURSE_FUZZ_BATCHES=600 PGBOURSE_FUZZ_INPUTS=20000 \
	PGBOURSE_FUZZ_EXAMPLES=300 $(VENV)/bin/python -m pytest -o timeout=7200 tests/faults tests/fuzz \
		tests/sql/test_model.py tests/integration/test_concurrency.py tests/integration/test_stateful.py $(ARGS)

fuzz: $(VENV)/.dev
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	$(VENV)/bin/python -m tests.fuzz framing $$(( $(SECONDS) / 2 ))
	$(VENV)/bin/python -m tests.fuzz messages $$(( ($(SECONDS) + 1) / 2 ))

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find gateway tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The first Python of these that is new enough. A Python that is named is tried first.
$(VENV)/bin/python:
	@for python in $(PYTHON) python3.14 python3.13 python3.12 python3.11; do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			exec $$python -m venv $(VENV); \
		fi; \
	done; \
	echo 'pgbourse needs Python 3.11 or later; name it with: make PYTHON=/path/to/python3' >&2; exit 1

$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.run
