# make demo   the main job on the built-in model and speech, into build/demo
# make test   all tests         make lint   ruff and mypy         make clean   remove what the others made
#
# Each target makes the environment .venv first where it is missing or out of date.

PYTHON ?= python3
# Unquoted on purpose below, so that pip options may follow: an index with the CPU build saves gigabytes.
TORCH ?= torch==2.13.0
BIN := .venv/bin

.PHONY: demo test lint clean
.DELETE_ON_ERROR:

demo: .venv/.stamp
	$(BIN)/speechquant quantize demo -o build/demo

test: .venv/.stamp
	$(BIN)/pytest

lint: .venv/.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests packages benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# torch goes in alone and first: with an open range in sight pip may take a newer build and gigabytes of CUDA.
.venv/.stamp: pyproject.toml constraints.txt packages/speechquant-demo/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "speechquant needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install $(TORCH)
	$(BIN)/python -m pip install -c constraints.txt \
		-e ".[demo,codecs]" -e ./packages/speechquant-demo --group dev
	@touch $@
