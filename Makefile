.DEFAULT_GOAL := help
.PHONY: help install quickstart table figures test test-slow mutations reliability lint bench gpu bench-check docs release-check clean
PYTHON ?= python3
BIN := .venv/bin
# Photographs and backbones for tests and results, where they lie beside the checkout.
export LIT_INPAINT_DATA ?= $(if $(wildcard ../shared/data),$(abspath ../shared/data))
export LIT_INPAINT_WEIGHTS ?= $(if $(wildcard ../shared/weights),$(abspath ../shared/weights))
export OMP_NUM_THREADS ?= 2

help:  ## print the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

# Without study and mlflow, whose own bounds hold back what others need, and docs, which has a target of its own.
EXTRAS := dev,app,sweep,metrics,diffusers,hub,datasets,export,figure,tensorboard,wandb-reports

install: .venv/installed  ## make .venv and install lit-inpaint with the extras that its tests need

.venv/core: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/installed: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[$(EXTRAS)]'
	touch .venv/core $@

quickstart: .venv/core  ## train a network for two minutes and measure it beside the classics; DATA=folder: on your photographs
	$(BIN)/python -m experiments.train.quickstart $(if $(DATA),--data '$(DATA)')

table: install  ## measure the rows of the zoo again, on the first 20 images of each (10 minutes at most on 2 cores)
	$(BIN)/python -m benchmarks.zoo table

test: install  ## the tests (12 minutes at most on 2 cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow' -n 2 --dist loadgroup

test-slow: install  ## the slow tests, which .ci/run runs as well
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n 2 --dist loadgroup

mutations: install  ## plant each fault of tests/mutations.toml and see that its test fails (4 minutes on 2 cores)
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutations.py

reliability: install  ## kills, signals, flipped bits, torn journals, double starts (15 minutes on one core)
	OMP_NUM_THREADS=1 $(BIN)/python tests/reliability.py

lint: install  ## ruff and mypy
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

figures: install  ## the README's picture of the page, from runs/quickstart; the commit stands in its EXIF
	$(BIN)/python -m benchmarks.figures

PUBLISHED := $(if $(PUBLIC),--public $(PUBLIC))

bench: install  ## every method's speed, masks and data, on one core; PUBLIC=folder with the published code beside ours
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.masks $(PUBLISHED)
	$(if $(LIT_INPAINT_DATA),OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.data $(LIT_INPAINT_DATA)/bsds500/train)
	$(if $(LIT_INPAINT_DATA),OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.feeding $(LIT_INPAINT_DATA)/bsds500/train)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.ssim
	$(if $(LIT_INPAINT_DATA),OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.evaluation $(LIT_INPAINT_DATA)/bsds500/test $(PUBLISHED))
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.utilisation
	$(if $(PUBLIC),OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.attention $(PUBLISHED))
	$(if $(PUBLIC),OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.steps $(PUBLISHED))

NOTEBOOKS ?= 1
DEVICE ?= cuda
gpu: install  ## what only a GPU can show, into gpu.json; resumes. DEVICE=cpu: the same, small; PART="compare ddp": only these
	$(BIN)/python -m benchmarks.gpu --device $(DEVICE) --out gpu$(if $(filter cpu,$(DEVICE)),-cpu).json $(if $(PART),--part $(PART))

bench-check: install  ## name what got slower by more than 15 % since benchmarks/ratios.json; PUBLIC as for bench
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.check $(PUBLISHED) $(if $(LIT_INPAINT_DATA),--data $(LIT_INPAINT_DATA)/bsds500/train)

.venv/docs: .venv/installed
	$(BIN)/pip install --quiet --editable '.[$(EXTRAS),docs]'
	touch $@

docs: .venv/docs  ## the site, with its notebooks run, into docs/_build/html (8 minutes at most on 2 cores); NOTEBOOKS=: without
	DOCS_NOTEBOOKS=$(NOTEBOOKS) $(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	$(BIN)/python -m docs.extension.check docs/_build/html

PYTHONS ?= $(PYTHON)
release-check:  ## wheel and sdist: built, checked, installed one by one into a clean environment, used, uninstalled; PYTHONS="python3.11 python3.13"; LOWEST=1: oldest packages
	test -x .venv/release/bin/python || $(PYTHON) -m venv .venv/release
	.venv/release/bin/pip install --quiet build twine
	.venv/release/bin/python tests/release.py $(foreach python,$(PYTHONS),--python $(python)) $(if $(LOWEST),--lowest)

clean:  ## remove what can be made again, runs excepted
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
