# Everything is built from here; `make help` lists the targets. .venv is set up by the first target that needs it.
# Variables: PYTHON=python3.12, SCALE=smoke|cpu|paper, JOBS=runs at once, FLOWREPRO_DATA=/folder/of/data.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p -c 'import sys; exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)
SCALE ?= cpu
SINGLE ?= false
JOBS ?= $(shell getconf _NPROCESSORS_ONLN)
BIN := .venv/bin
RUN := $(BIN)/flowrepro
FIGURES := $(patsubst conf/figure/%.yaml,%,$(wildcard conf/figure/*/*.yaml))
PAPERS := $(sort $(patsubst %/,%,$(dir $(FIGURES))))
# the code behind all figures; each also depends on its own files and its paper's runs
SETTINGS := $(wildcard $(addprefix conf/,config.yaml $(addsuffix /*.yaml,dataset model phases regularizer scale sizes tuned)))
MEASURING := $(shell find $(addprefix flowrepro/,analysis data features flows measures metrics) -name '*.py')
DRAWING := $(wildcard flowrepro/pictures/*.py) $(filter-out $(FIGURES:%=flowrepro/figures/%.py),$(wildcard flowrepro/figures/*.py flowrepro/figures/*/*.py))

.PHONY: help demo test lint figures verify report bench wheel clean setup setup-dev lower-bounds always $(FIGURES) $(PAPERS)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-28s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '  make %-28s %s\n' '<paper>' 'the figures of one paper: $(PAPERS)'
	@for f in $(FIGURES); do printf '  make %-28s %s\n' "$$f" "$$(sed -n 's/^title: *//p' conf/figure/$$f.yaml)"; done

setup: .venv/ready ## install flowrepro into .venv
setup-dev: .venv/ready-dev ## the same, with the test dependencies

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "flowrepro needs Python 3.11, 3.12 or 3.13; set PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv .venv

.venv/ready: pyproject.toml tests/constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check -q -c tests/constraints.txt -e .
	touch $@

.venv/ready-dev: pyproject.toml tests/constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check -q -c tests/constraints.txt -e '.[dev]'
	touch .venv/ready .venv/ready-figures $@

# feature networks and UMAP, for the figures of the image papers
.venv/ready-figures: pyproject.toml tests/constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check -q -c tests/constraints.txt -e '.[features,umap]'
	touch .venv/ready $@

demo: .venv/ready ## a figure, a manifold and digits in ten minutes, without downloading data
	$(RUN) evaluate figure=linear_systems/fig2 output_dir=outputs/demo
	$(RUN) plot figure=linear_systems/fig2 output_dir=outputs/demo
	$(RUN) train dataset=sine scale=demo
	$(RUN) evaluate run=latest
	$(RUN) plot run=latest
	$(RUN) train dataset=digits2 scale=demo
	$(RUN) evaluate run=latest
	$(RUN) plot run=latest
	@echo
	@echo "Figure 2 of the first paper, its table and claims:  outputs/demo/figures/linear_systems/fig2/cpu/"
	@echo "The sine manifold (shortened: scale=demo) and the digits, pictures and tables:"
	@ls -d outputs/runs/*-*/plots outputs/runs/*-*/measures/*/

test: .venv/ready-dev ## set up and run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST)

lint: .venv/ready-dev ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A figure is made once here, and again when its code, its config or its paper's runs change, or its picture is missing;
# finished runs are left alone. The pictures of a fresh clone were made elsewhere, so stamps say what was made here.
define FIGURE_RULE
$(1): outputs/made/$(1)/$(SCALE)
outputs/made/$(1)/$(SCALE): conf/figure/$(1).yaml $(wildcard $(patsubst %/,conf/runs/%.yaml,$(dir $(1)))) flowrepro/figures/$(1).py $(SETTINGS) $(MEASURING) $(DRAWING) $(if $(wildcard outputs/figures/$(1)/$(SCALE)/figure.png),,always) | .venv/ready-figures
	$(RUN) train figure=$(1) scale=$(SCALE) jobs=$(JOBS)
	$(RUN) evaluate figure=$(1) scale=$(SCALE)
	$(RUN) plot figure=$(1) scale=$(SCALE)
	@mkdir -p $$(@D) && touch $$@
endef
$(foreach figure,$(FIGURES),$(eval $(call FIGURE_RULE,$(figure))))
$(foreach paper,$(PAPERS),$(eval $(paper): $(filter $(paper)/%,$(FIGURES))))

figures: $(FIGURES) report ## every figure at SCALE (default: cpu), then the report

verify: .venv/ready ## judge every stored table again; exit code 1 if the stored claims differ
	$(RUN) evaluate figure=all claims=verify

report: .venv/ready ## write outputs/report/index.html and the README's results; SINGLE=true: one file to be sent on
	$(RUN) plot figure=all single=$(SINGLE)

bench: .venv/ready-dev ## timings against other libraries on one core, into outputs/bench/bench.csv
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks

wheel: .venv/ready-dev ## build the wheel into dist/
	$(BIN)/python -m hatchling build -t wheel

lower-bounds: ## run the tests with the oldest versions that pyproject.toml allows, in .venv-lower
	$(PYTHON) -m venv .venv-lower
	sed -n '/^dependencies/,/^]/s/^ *"\([A-Za-z0-9-]*\)>=\([0-9.]*\).*/\1==\2/p' pyproject.toml > .venv-lower/bounds.txt
	.venv-lower/bin/python -m pip install -q -c .venv-lower/bounds.txt -e '.[dev]'
	OMP_NUM_THREADS=1 .venv-lower/bin/python -m pytest -n 2 -W default  # old versions warn of their own age

clean: ## remove the environments and built files, keep outputs
	rm -rf .venv .venv-lower dist *.egg-info
