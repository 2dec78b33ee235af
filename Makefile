# make demo    install, run the default experiment, show its table
# make report  run what is missing and write results/report.html; CONFIG="--configfile mine.yaml" for another run
# make unlock  after make demo was killed with no chance to clean up
# make test    install, check the code, run all tests
# make check, make unit, make workflow   the parts of it: lint and types, unit tests, runs of the workflow
# make coverage   the quick unit tests, and which lines of the library they do not reach
# make kills   kill a whole run twenty times and compare what it ends with
# make bench   time the parts that must be fast
# make bench-gpu   what one GPU gives, in under five minutes
# make docs    renew config/README.md from the schema, models/facts.json from the models, the rooms' picture, the site
# make site    the documents and the library's docstrings as a site, build/site/index.html; a broken link fails
# make pins    renew requirements*.txt from requirements*.in

PYTHON ?= python3
CORES ?= $(shell $(PYTHON) -c "import os; print(len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count())")
VENV := .venv
BIN := $(VENV)/bin
# PYTEST_ARGS="-m 'not slow'" leaves out the slow tests.
PYTEST_ARGS ?=
REPORT := all results/report/landing.rst

# Every job starts a Python of its own; containers often set this, and each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE
export UV_COMPILE_BYTECODE := 1

.PHONY: demo report unlock test check unit workflow coverage kills bench bench-gpu docs site pins clean

$(VENV)/uv: requirements.txt
	@$(PYTHON) -c 'import os, re, sys; place = os.getcwd(); sys.exit("the path of this folder has a blank or a sign of the shell, with which no job would start: " + place + "; move it to another folder") if re.search(r"[\s\x22\x27\\$$&;()<>|*?`:]", place) else None'
	$(PYTHON) -c 'import sys; sys.exit("prune3d needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; name another with PYTHON=") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv==0.13.9
	touch $@

$(VENV)/installed: $(VENV)/uv requirements.txt
	$(BIN)/uv pip install --quiet --python $(VENV) -r requirements.txt
	touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.txt
	$(BIN)/uv pip install --quiet --python $(VENV) -r requirements-dev.txt
	touch $@

$(VENV)/installed-docs: $(VENV)/installed-dev requirements-docs.txt
	$(BIN)/uv pip install --quiet --python $(VENV) -r requirements-docs.txt
	touch $@

demo: $(VENV)/installed
	$(BIN)/snakemake --cores $(CORES) --rerun-incomplete --quiet rules
	@$(BIN)/python scripts/show_results.py

report: $(VENV)/installed
	$(BIN)/snakemake --cores $(CORES) --rerun-incomplete --quiet rules $(CONFIG) -- $(REPORT)
	$(BIN)/snakemake --quiet all $(CONFIG) --report results/report.html \
	  --report-metadata results/report/metadata.yaml --report-stylesheet rules/captions/report.css -- $(REPORT)
	@echo "results/report.html"

unlock: $(VENV)/installed
	$(BIN)/snakemake --unlock

check: $(VENV)/installed-dev site
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

test: check unit workflow

unit: $(VENV)/installed-docs
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/unit tests/fuzz $(PYTEST_ARGS)

workflow: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/workflow $(PYTEST_ARGS)
	$(BIN)/python -m pytest tests/slurm $(PYTEST_ARGS)

coverage: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" --cov --cov-report term-missing:skip-covered tests/unit

kills: $(VENV)/installed-dev
	PRUNE3D_KILLS=20 $(BIN)/python -m pytest tests/workflow/test_kills.py

bench: $(VENV)/installed-dev
	$(BIN)/python tests/bench/run.py
	$(BIN)/python tests/bench/scale.py 1000 10000

bench-gpu: $(VENV)/installed-dev
	$(BIN)/python tests/bench/gpu.py --out results/bench-gpu

docs: $(VENV)/installed
	PYTHONPATH=scripts $(BIN)/python -m prune3d.workflow.config_reference
	PYTHONPATH=scripts $(BIN)/python -m prune3d.pruning.measure_models
	$(BIN)/python tests/bench/rooms.py
	$(MAKE) site

# Pages are read anew each time (-E), since those that did not change would not be warned of again.
site: $(VENV)/installed-docs
	$(BIN)/python -m sphinx -E --quiet --fail-on-warning -c docs/site -d build/doctrees . build/site

pins: $(VENV)/uv
	for name in requirements requirements-dev requirements-docs; do \
	  $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	    --no-header --no-annotate $$name.in -o $$name.txt; \
	done

clean:
	rm -rf results .snakemake
