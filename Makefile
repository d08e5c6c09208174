# Everything happens in .venv; the machine needs Python 3.11 or later, git and make, no more.
PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3,$(shell $(name) -c 'import sys; print("$(name)" if sys.version_info >= (3, 11) else "")' 2>/dev/null)))
BIN := .venv/bin
DB ?= postgres
export UV_PYTHON_DOWNLOADS := never
# Hundreds of short processes are run in tests: each would compile its modules anew.
export UV_COMPILE_BYTECODE := 1
export VIRTUAL_ENV := $(CURDIR)/.venv
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help bench demo endurance faults test test-snowflake fuzz audit lint docs dist lock clean

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

.venv/ready: requirements/uv.txt requirements/dev.txt pyproject.toml
	@echo "Setting up .venv with $(PYTHON)"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/uv.txt
	@$(BIN)/uv pip sync --quiet --require-hashes requirements/dev.txt
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.meltano-tool/ready: requirements/meltano.txt meltano.yml .venv/ready
	@echo "Setting up Meltano and the tap"
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .meltano-tool
	@$(BIN)/uv pip sync --quiet --python .meltano-tool/bin/python --require-hashes requirements/meltano.txt
	@.meltano-tool/bin/meltano --log-level=warning install extractor tap-nudgescribe
	@touch $@

.meltano-tool/%: .meltano-tool/ready
	@echo "Setting up target-$*"
	@.meltano-tool/bin/meltano --log-level=warning install loader target-$*
	@touch $@

.meltano-tool/round-trip: requirements/dbt.txt .meltano-tool/ready
	@echo "Setting up tap-postgres, dbt and target-nudgescribe"
	@.meltano-tool/bin/meltano --log-level=warning install tap-postgres dbt target-nudgescribe
	@touch $@

.fakesnow/ready: requirements/fakesnow.txt .meltano-tool/round-trip
	@echo "Setting up the Snowflake plugins and a local server for them"
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .fakesnow
	@$(BIN)/uv pip sync --quiet --python .fakesnow/bin/python --require-hashes requirements/fakesnow.txt
	@.meltano-tool/bin/meltano --log-level=warning install tap-snowflake target-snowflake
	@touch $@

demo: .meltano-tool/$(DB)  ## Extract a lively local account into a real warehouse, twice (DB=postgres or duckdb)
	@$(BIN)/python -m demo $(DB)

# The DuckDB that target-duckdb loads whole has no wheels for Python 3.13.
WAREHOUSES := postgres $(shell $(PYTHON) -c 'import sys; print("duckdb" if sys.version_info < (3, 13) else "")')

benchmarks/.peers/ready: benchmarks/requirements.txt .venv/ready
	@echo "Setting up the peers to measure against"
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python benchmarks/.peers
	@$(BIN)/uv pip sync --quiet --python benchmarks/.peers/bin/python --require-hashes benchmarks/requirements.txt
	@touch $@

bench: benchmarks/.peers/ready  ## Measure speed and memory as ratios within one run (BENCH="--quick" for a look)
	@$(BIN)/python -m benchmarks $(BENCH)

# A local Azure, where npm is there to install it. Without it, its tests are skipped.
AZURE := $(if $(shell command -v npm),.azurite/ready)

.azurite/ready:
	@echo "Setting up Azurite"
	@npm install --silent --no-audit --no-fund --no-package-lock --prefix .azurite azurite@3.35.0
	@touch $@

faults: .venv/ready  ## Run both plugins while everything fails, and count (FAULTS="--runs 200 --seed 7")
	@$(BIN)/python -m campaign $(FAULTS)

endurance: .venv/ready  ## Run both plugins night after night: nothing may grow (ENDURANCE="--nights 50")
	@$(BIN)/python -m campaign.endurance $(ENDURANCE)

test: .venv/ready $(WAREHOUSES:%=.meltano-tool/%) .meltano-tool/round-trip $(AZURE)  ## Run all tests
	@echo "Running the tests"
	@$(BIN)/python -m pytest

test-snowflake: .fakesnow/ready  ## Run the tests of the Snowflake plugins, against a local server
	@echo "Running the tests of Snowflake"
	@$(BIN)/python -m pytest --no-cov tests/snowflake

fuzz: .venv/ready  ## Try many more inputs on what parses bytes of others (FUZZ_EXAMPLES=20000)
	@FUZZ_EXAMPLES=$(or $(FUZZ_EXAMPLES),20000) $(BIN)/python -m pytest --no-cov tests/test_fuzz.py

PINS := $(foreach file,$(wildcard requirements/*.txt) benchmarks/requirements.txt,-r $(file))

audit: .venv/ready  ## Look for known vulnerabilities in what is pinned (ADVISORIES=folder: without network)
ifdef ADVISORIES
	@$(BIN)/uv tool run --with 'setuptools<81' safety==2.3.5 check --output text --db $(ADVISORIES) $(PINS)
else
	@$(BIN)/uv tool run pip-audit --strict --disable-pip --require-hashes $(PINS)
endif

lint: .venv/ready  ## Check style, types and dependencies
	@echo "Checking style, types and dependencies"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/deptry .

docs: .venv/ready  ## Write what is generated: settings, plugin definitions, docs/api.md
	@$(BIN)/python -m docs

dist: .venv/ready  ## Build the archives of a release, and make sure of them
	@$(BIN)/python .ci/distribution.py

lock: .venv/ready  ## Renew the hashed requirements
	@echo uv | $(COMPILE) - --output-file requirements/uv.txt
	@$(COMPILE) --group dev pyproject.toml --output-file requirements/dev.txt
	@printf 'dlt\npandas\npyarrow\n' | $(COMPILE) - --output-file benchmarks/requirements.txt
	@echo meltano==4.4.1 | $(COMPILE) - --output-file requirements/meltano.txt
	@printf 'fakesnow[server]==0.12.1\nsnowflake-connector-python<5\n' | $(COMPILE) - --output-file requirements/fakesnow.txt
	@printf 'dbt-core<1.12\ndbt-duckdb\ndbt-postgres\n' | $(COMPILE) - --output-file requirements/dbt.txt

clean:  ## Remove what the other targets made
	rm -rf .venv .azurite .fakesnow .meltano .meltano-tool .coverage dist benchmarks/.peers benchmarks/.data
