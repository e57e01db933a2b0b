# Two commands: `make repro` regenerates the results, `make test` checks the code. `make help` lists the rest.

# Float32 convolutions on a CPU whose rounding does not depend on position (read before torch loads).
export MKL_CBWR := AVX2,STRICT
# Keep freed memory instead of returning it to the system: forward passes take half the time (2-core CPU, glibc).
export MALLOC_MMAP_THRESHOLD_ := 4294967296
export MALLOC_TRIM_THRESHOLD_ := 8589934592

PYTHON := .venv/bin/python
INSTALLED := .venv/.installed
ONLY :=
MIRROR :=
PROFILE :=
EXECUTOR :=
RECORDS :=
DATA :=
MINUTES :=
OUT :=
RESUME :=

# What the library's tests need besides torch; with NumPy 2.4 the interpreter of Triton 3.6 fails.
TESTED_WITH := 'numpy>=1.26,<2.4' 'setuptools>=77' hypothesis pandas pillow pytest pytest-xdist scikit-learn

.DEFAULT_GOAL := help
.PHONY: help install repro publish fetch stages test test-slow lab census residues decoders detectors bench gpu docs links article release clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | awk -F'|' '{printf "  %-14s %s\n", $$1, $$2}'

repro: $(INSTALLED) ## results of params.yaml's profiles  [PROFILE=quick] [ONLY=02] [MIRROR=folder with data sets] [EXECUTOR="slurm gpus=1"]
	@exec $(PYTHON) -m companion.pipeline.reproduce --profile "$(PROFILE)" --only "$(ONLY)" --mirror "$(MIRROR)" --executor "$(EXECUTOR)"

publish: $(INSTALLED) ## records to results/, figures, notebooks, README's tables  [PROFILE=quick] [RECORDS=folder of runs]
	@exec $(PYTHON) -m companion.publishing.publish --profile "$(PROFILE)" $(if $(RECORDS),--records "$(RECORDS)")

fetch: $(INSTALLED) ## inputs alone  [DATA="cifar10 voc-subset"] [MIRROR=folder]
	@exec $(PYTHON) -m companion.fetch $(DATA) --mirror "$(MIRROR)"

stages: $(INSTALLED) ## dvc.yaml, written anew from the studies
	@exec $(PYTHON) -m companion.pipeline.stages

ifndef TORCH
test: $(INSTALLED) ## lint, types, contracts of imports, tests  [TORCH=2.11: the library's tests under another torch]
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports
	$(PYTHON) -m pytest -n 2
else
# An environment of its own, of 5 GB; the library's tests alone, since the lock is the companion's.
test: .venv-torch-$(TORCH)/.installed
	.venv-torch-$(TORCH)/bin/python -m pytest -n 2 tests --ignore=tests/companion

.venv-torch-$(TORCH)/.installed: pyproject.toml
	@rm -rf $(@D)
	@if uv --version >/dev/null 2>&1; then uv venv --quiet --seed --python '>=3.11,<3.14' $(@D); else python3 -m venv $(@D); fi
	@if uv --version >/dev/null 2>&1; then pip="uv pip install --quiet --python $(@D)/bin/python"; \
	  else pip="$(@D)/bin/python -m pip install --quiet --disable-pip-version-check"; fi; \
	  $$pip 'torch==$(TORCH).*' torchvision $(TESTED_WITH) && $$pip --no-deps --no-build-isolation -e .
	@touch $@
endif

test-slow: $(INSTALLED) ## what takes minutes: kills, a DVC remote, the release archive, the zoo's families compiled
	$(PYTHON) -m pytest -m slow

lab: $(INSTALLED) ## the notebooks in JupyterLab
	JUPYTER_CONFIG_PATH="$(CURDIR)/.jupyter" $(PYTHON) -m jupyterlab --ServerApp.root_dir="$(CURDIR)" notebooks/00_start_here.py

census: $(INSTALLED) ## the zoo: do the networks in use convert, and are they bit-identical under shifts; thousands of random ones  (`make publish PROFILE=bench` publishes)
	$(PYTHON) -m companion.studies.zoo.census
	$(PYTHON) tests/oracle.py 0 5000

residues: $(INSTALLED) ## the slow sweep of exactness: torchvision's families at full size, all residues, awkward images
	$(PYTHON) -m companion.studies.exactness.residues

decoders: $(INSTALLED) ## segmentation architectures x encoders: do they convert, and move along bit for bit
	$(PYTHON) -m companion.studies.going_back_up.benchmarks.decoders

detectors: $(INSTALLED) ## torchvision's detectors: do they convert, and find the same sets bit for bit
	$(PYTHON) -m companion.studies.detection.benchmarks.architectures

bench: $(INSTALLED) ## forward passes and training steps beside the plain network; `make publish PROFILE=bench` puts them into the README
	$(PYTHON) -m companion.studies.cost.benchmarks.speed
	$(PYTHON) -m companion.studies.cost.benchmarks.training

gpu: $(INSTALLED) ## a piece of GPU time: exactness, speed, Table 2; resumable  MINUTES=25 OUT=folder [RESUME=folder]
	@[ -n "$(MINUTES)" ] && [ -n "$(OUT)" ] || { echo "Say how long and where to: make gpu MINUTES=25 OUT=folder" >&2; exit 1; }
	$(PYTHON) -m companion.studies.gpu --minutes "$(MINUTES)" --out "$(OUT)" $(if $(RESUME),--resume "$(RESUME)")

docs: $(INSTALLED) ## build/docs/index.html: the site, of docs/, the published notebooks and the docstrings; a warning is an error
	@rm -rf docs/reference
	@$(PYTHON) -m sphinx -q -W --keep-going -b html -c docs -d build/doctrees . build/docs
	@echo build/docs/index.html

links: $(INSTALLED) ## do the site's links to other places lead anywhere (asks the network)
	@$(PYTHON) -m sphinx -q -b linkcheck -c docs -d build/doctrees . build/links

article: $(INSTALLED) ## build/article: the replication report as a PDF, every number of it from results/
	@$(PYTHON) -m companion.publishing.article.build

release: $(INSTALLED) ## dist: a source archive of the last commit that runs without git, and its checksum
	@$(PYTHON) -m companion.publishing.release

install: $(INSTALLED) ## only build .venv from requirements.lock

clean: ## remove what runs and tools wrote (not .venv, data, checkpoints, DVC's cache)
	rm -rf runs docs/reference .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist src/*.egg-info

# An environment knows its own path: one that was copied or moved along with the tree is built anew.
ifneq ($(shell cat $(INSTALLED) 2>/dev/null),$(CURDIR))
.PHONY: $(INSTALLED)
endif

# First of uv, python3.13, 3.12, 3.11 that works. The project itself is a second step: an editable install is
# refused under --require-hashes. The stamp comes last, so that an install that was cut short is taken up again.
$(INSTALLED): requirements.lock pyproject.toml
	@if [ -e $@ ] && [ "$$(cat $@)" != "$(CURDIR)" ]; then rm -rf .venv; fi; rm -f $@
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || { rm -rf .venv; \
	  uv venv --quiet --seed --python '>=3.11,<3.14' .venv 2>/dev/null \
	  || python3.13 -m venv .venv 2>/dev/null || { rm -rf .venv; python3.12 -m venv .venv 2>/dev/null; } \
	  || { rm -rf .venv; python3.11 -m venv .venv 2>/dev/null; } \
	  || { rm -rf .venv; echo "Install uv, or Python 3.11 to 3.13 with its venv module" \
	       "(on Debian and Ubuntu: apt install python3-venv), then run make again." >&2; exit 1; }; }
	@echo "Installing requirements.lock into .venv (5.9 GB the first time)"
	@if uv --version >/dev/null 2>&1; then pip="uv pip install --quiet --python $(PYTHON)"; \
	  else pip="$(PYTHON) -m pip install --quiet --disable-pip-version-check"; fi; \
	  $$pip --require-hashes -r requirements.lock && $$pip --no-deps --no-build-isolation -e .
	@[ -e .git ] || $(PYTHON) -m dvc config --local core.no_scm true
	@printf '%s' "$(CURDIR)" > $@
