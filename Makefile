# run: the whole matrix at laptop scale · test, test-slurm, check, bench, chaos, fix: for those who change the code.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
RUN_FLAGS ?=
CHAOS_FLAGS ?=
TEST_PROCESSES ?= 2

# One thread a process: the study's bits depend on it, and two cores are shared by several processes.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

.PHONY: run test test-slurm test-slurm-long check bench chaos fix install
.DEFAULT_GOAL := run

run: $(INSTALLED)
	$(BIN)/echo-matrix run $(RUN_FLAGS)

test: $(INSTALLED)
	$(BIN)/python -m pytest -m "not bench and not slurm" \
		--numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

# Needs root: installs Debian's SLURM and starts one on loopback for the tests.
test-slurm: $(INSTALLED)
	cluster/slurm/dev install
	$(BIN)/python -m pytest tests/slurm -m "slurm and not long"

# A quarter of an hour: the whole laptop matrix on SLURM beside Ray, and a driver that sleeps for three minutes.
test-slurm-long: $(INSTALLED)
	cluster/slurm/dev install
	$(BIN)/python -m pytest tests/slurm -m "slurm and long" --override-ini=timeout=3600

check: $(INSTALLED)
	$(BIN)/ruff format --check . cluster/slurm/dev
	$(BIN)/ruff check . cluster/slurm/dev
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/import_budget.py

bench: $(INSTALLED)
	$(BIN)/python -m pytest tests/bench -m bench -s -q

# Hours: kills the small study 200 times and writes the table of docs/reliability.md; started again, it goes on.
chaos: $(INSTALLED)
	$(BIN)/python tests/chaos --write $(CHAOS_FLAGS)

fix: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(INSTALLED)

# Only a change of what is asked for installs anything.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else \
	"python " + sys.version.split()[0] + " is not supported; allowed: 3.11 to 3.13; try: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(INSTALLED)
