# run: the whole matrix at laptop scale · test-fast, test, test-root, test-long, check, reference, docs, bench, bench-page, chaos,
# chaos-s3, adversaries, calibrate, fix: for those who change the code.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
RUN_FLAGS ?=
CHAOS_FLAGS ?=
# One more than the cores of a small machine: a third of the time is spent waiting for services.
TEST_PROCESSES ?= 3

# One thread a process: the study's bits depend on it, and two cores are shared by several processes.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

.PHONY: run test-fast test test-root test-long root-packages check reference docs bench bench-page chaos chaos-s3 adversaries calibrate fix install
.DEFAULT_GOAL := run

run: $(INSTALLED)
	$(BIN)/echo-matrix run $(RUN_FLAGS)

# The lanes of the tests; tests/lanes.py says which test is in which.
PYTEST := $(BIN)/python -m pytest
IN_PARALLEL := --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

# At every edit, under a minute: no Ray, DeepSpeed, MLflow or sleeping.
test-fast: $(INSTALLED)
	$(PYTEST) -m fast $(IN_PARALLEL) --numprocesses 2

# All that needs no root.
test: $(INSTALLED)
	$(PYTEST) -m "fast or service" $(IN_PARALLEL)

# Needs root: installs Debian's SLURM, PostgreSQL, Chromium and pdflatex, and axe-core from npm; starts MLflow on loopback, and a SLURM in
# each of two processes.
test-root: $(INSTALLED) root-packages
	$(PYTEST) -m root --numprocesses 2 --dist load

# Before an issue is closed: whole matrices, calibrations, then hours of kills. Needs root.
test-long: $(INSTALLED) root-packages
	$(PYTEST) -m long --override-ini=timeout=3600
	ECHO_MATRIX_FUZZ=5000 $(PYTEST) tests/hostile/test_fuzz_matrix.py
	$(MAKE) chaos chaos-s3

root-packages:
	cluster/slurm/dev install
	$(BIN)/python cluster/mlflow/dev install
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core \
		texlive-latex-base texlive-latex-recommended >/dev/null
	command -v npm >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends npm >/dev/null
	$(BIN)/python tests/root/axe_core.py

check: $(INSTALLED)
	$(BIN)/ruff format --check . cluster/slurm/dev cluster/mlflow/dev
	$(BIN)/ruff check . cluster/slurm/dev cluster/mlflow/dev
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/import_budget.py

# What the code declares, as pages: matrix.yaml, cluster files, commands, states.
reference: $(INSTALLED)
	$(BIN)/python tests/docs/write_reference.py

# An hour on quiet cores; installs the peers of the extra `bench` into build/bench-peers and writes build/bench.json.
bench: $(INSTALLED)
	$(BIN)/python -m pytest tests/bench -m bench -s -q

# What `make bench` measured, as docs/benchmarks.md and its figures.
bench-page: $(INSTALLED)
	$(BIN)/python tests/bench/write_page.py

# Every metric of every branch against videos that remember nothing: half a minute, before a metric is added or changed.
adversaries: $(INSTALLED)
	$(BIN)/python tests/adversary_table.py

# How often the report's limits miss in simulated worlds: some minutes; writes the table of docs/reference/calibration.md.
calibrate: $(INSTALLED)
	$(BIN)/python -m reports.statistics.calibration --write docs/reference/calibration.md
	$(BIN)/python -m reports.statistics.calibration.marks --write docs/reference/calibration.md
	$(BIN)/python -m workloads.study.calibration --write docs/explanation/findings.md
	$(BIN)/python -m workloads.study.race_calibration --write docs/how-to/race.md

# Hours: kills the small study 200 times and writes the table of docs/explanation/reliability.md; started again, it goes on.
chaos: $(INSTALLED)
	$(BIN)/python tests/chaos --write $(CHAOS_FLAGS)

# The same with the artifacts in a bucket of a SeaweedFS on loopback, and with machines that are lost: 50 kills.
chaos-s3: $(INSTALLED)
	$(BIN)/python tests/chaos --s3 --kills 50 --folder /tmp/echo-matrix-chaos-s3 --write $(CHAOS_FLAGS)

# The documentation as a site, in build/site/.
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

fix: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(INSTALLED)

# Only a change of what is asked for installs anything.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else \
	"python " + sys.version.split()[0] + " is not supported; allowed: 3.11 to 3.13; try: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'installing into $(VENV): about 3 GB, some minutes without further messages'
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(INSTALLED)
