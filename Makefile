# Every target sets up what it needs: a machine with Python 3.10 or newer (with venv and pip) and make is enough.
PYTHON ?= python3
BIN := .venv/bin
CONSTRAINTS ?= constraints.txt
DEVICE ?= cpu
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS))

.DEFAULT_GOAL := help
.PHONY: help demo demo-images test gpu test-slow wheel docs quality style clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: .venv/.demo  ## fine-tune MiniLM on BBC News headlines three ways and compare (5 minutes on 2 cores)
	$(BIN)/python scripts/demo.py --output_dir runs/demo

demo-images: .venv/.demo-images  ## train a small ResNet on digits eight ways, with and without mixing, and compare
	$(BIN)/python scripts/demo_images.py --output_dir runs/demo-images

test: .venv/.test  ## run the default test suite (no network; CPU, or DEVICE=cuda)
	TEST_DEVICE=$(DEVICE) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto

gpu: .venv/.test .venv/.demo  ## on a machine with a GPU: tests, benchmarks and runs there, written to docs/results/gpu
	OMP_NUM_THREADS=1 $(BIN)/python scripts/prove_gpu.py

test-slow: .venv/.test .venv/.demo .venv/.cluster  ## run the tests that take minutes
	$(BIN)/python -m pytest -q -m slow

wheel: .venv/.test  ## build the wheel, install it apart from the checkout, and use it there
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m slow tests/test_wheel.py

docs: .venv/.docs .venv/.demo  ## build the site into docs/_build/html: notebooks run, warnings are errors
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

quality: .venv/.quality  ## check style, formatting and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell $$(git ls-files '*.md' '*.py' '*.cff' '*.yml')

style: .venv/.quality  ## mend what can be mended automatically
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the virtual environment and the demo's results
	rm -rf .venv runs

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 10) else "Python 3.10 or newer is needed, this is " + sys.version.split()[0] + "; name another with make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv

.venv/.%: setup.cfg pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) -e '.[$*]'
	@touch $@
