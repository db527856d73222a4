# Two commands are all a newcomer needs: `make sweep` and `make test`. Both set up .venv first.

PYTHON ?= python3
BIN := .venv/bin
STORE ?= runs
SPACE ?= search_spaces/lambda.yaml
READY := .venv/.ready
READY_TEST := .venv/.ready-test
READY_DASHBOARD := .venv/.ready-dashboard

.PHONY: help sweep paper-tiny test ui dashboard report docs lint format clean

help:
	@echo 'make sweep    run search_spaces/lambda.yaml on this machine (SPACE=FILE for another, ARGS=--resume)'
	@echo 'make paper-tiny   every table and figure of the paper, shrunk to digits and minutes'
	@echo 'make test     run every check that CI runs'
	@echo 'make ui       browse the results in MLflow, on 127.0.0.1:5000'
	@echo 'make dashboard   browse the search in optuna-dashboard, on 127.0.0.1:5001'
	@echo 'make report   build the report of the sweep in $(STORE) again'
	@echo 'make docs     build the documentation as a site, build/docs/index.html'
	@echo 'make format   put the code into its format'

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo 'Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.12 ...'; exit 2; }
	@echo 'setting up .venv: a minute or two, 2 to 3 GB with PyTorch'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(READY_TEST): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

$(READY_DASHBOARD): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dashboard]'
	@touch $@

sweep: $(READY)
	$(BIN)/python -m pipeline.sweep --space $(SPACE) --store $(STORE) $(ARGS)

report: $(READY)
	$(BIN)/python -m reports.build --store $(STORE)

paper-tiny: $(READY)
	$(BIN)/python -m pipeline.sweep --space search_spaces/paper --set scale=tiny --store $(STORE)/paper-tiny $(ARGS)
	$(BIN)/python -m reports.build --store $(STORE)/paper-tiny --paper

ui: $(READY)
	@echo 'MLflow: http://127.0.0.1:5000 (Ctrl-C ends it)'
	MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow server \
		--backend-store-uri sqlite:///$(abspath $(STORE))/mlflow.db \
		--default-artifact-root file://$(abspath $(STORE))/artifacts \
		--host 127.0.0.1 --port 5000 --workers 1

# Read-only: the studies are the sweeps' ledger, and the page has a button that deletes them.
dashboard: $(READY_DASHBOARD)
	@[ -n "$$SPIKEPROOF_STUDY_URI" ] || [ -f '$(STORE)/study.db' ] || \
		{ echo 'no study in $(STORE): run a sweep first, or name its store: make dashboard STORE=DIR'; exit 2; }
	@echo 'optuna-dashboard: http://127.0.0.1:5001 (Ctrl-C ends it)'
	@$(BIN)/optuna-dashboard --host 127.0.0.1 --port 5001 \
		"$${SPIKEPROOF_STUDY_URI:-sqlite:///file:$(abspath $(STORE))/study.db?mode=ro&uri=true}"

docs: $(READY_TEST)
	$(BIN)/python -m sphinx --fresh-env --fail-on-warning --keep-going --quiet --conf-dir docs . build/docs
	@echo build/docs/index.html

lint: $(READY_TEST)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

format: $(READY_TEST)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
