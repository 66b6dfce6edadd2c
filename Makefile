# Every target does its own set-up, virtual environment included: nothing is needed but Python >= 3.9 and make.

PYTHON ?= python3
PYTEST_ARGS ?=
IMAGE ?= smentry
VERSIONS := 3.9 3.10 3.11 3.12 3.13
MINORS := $(patsubst 3.%,%,$(VERSIONS))

VENV := .venv
RUN := $(VENV)/bin/python
# Files of tests side by side: most of them wait for processes, or start an interpreter.
QUICK := --numprocesses 3 --dist loadfile -m "not engine and not slow" --ignore tests/engine --ignore tests/training/frameworks
LONG := --numprocesses 3 --dist loadfile --no-loadscope-reorder -m "engine or slow" --ignore tests/training/frameworks

.DEFAULT_GOAL := help
.PHONY: help demo demo-docker image test test-quick test-pythons parity frameworks fuzz stress bench failures lint wheel clean
.PHONY: $(MINORS:%=test-python-%)

help:
	@echo "make demo          a training job is stopped and saved, by smentryctl without a container engine"
	@echo "make demo-docker   the same in a container, and then without smentry"
	@echo "make image         the image 'smentry' (BASE_IMAGE=... to build on another base)"
	@echo "make test          all tests; those that need a container engine skip where none answers"
	@echo "make test-quick    the tests that need no engine, in a minute or two"
	@echo "make test-pythons  the quick tests on every Python from 3.9 to 3.13 found here"
	@echo "make parity        smentry and the AWS training toolkit start the same program, side by side"
	@echo "make frameworks    smentry.training with PyTorch, transformers, Lightning, XGBoost and Keras, the real ones"
	@echo "make fuzz          a million random steps against the promises of the lifecycle"
	@echo "make stress        1,000 stops of random programs at random moments"
	@echo "make bench         the budgets, measured; writes docs/performance.md"
	@echo "make failures      every way to fail, in containers; writes the table of docs/contract.md"
	@echo "make lint          ruff, mypy, import-linter"
	@echo "make wheel         dist/smentry-*.whl"
	@echo "make clean         remove what the targets above have made"

# $(call venv,PYTHON,DIRECTORY): a new virtual environment with a pip that knows dependency groups (25.1).
define venv
@$(1) -c 'import sys; sys.exit(sys.version_info < (3, 9))' \
	|| { echo "make: $(1) is $$($(1) --version 2>&1 || echo missing), expected Python 3.9 or newer: make PYTHON=..." >&2; exit 1; }
@$(1) -c 'import ensurepip, venv' 2>/dev/null \
	|| { echo "make: $(1) cannot make virtual environments: install python3-venv, or give another: make PYTHON=..." >&2; exit 1; }
@echo "setting up $(2)"
@rm -rf $(2) && $(1) -m venv $(2)
@$(2)/bin/python -m pip --disable-pip-version-check install --quiet --upgrade 'pip>=25.1'
endef
INSTALL = $(@D)/bin/python -m pip --disable-pip-version-check install --quiet

$(VENV)/ready: pyproject.toml
	$(call venv,$(PYTHON),$(VENV))
	@$(INSTALL) --editable '.[ctl,test]' --group dev
	@touch $@

# Without what only tests and lint need: the demo is for somebody who has just cloned. To compile all of boto3 takes longer than to
# install it, and next to nothing of it is used.
.venv-demo/ready: pyproject.toml
	$(call venv,$(PYTHON),.venv-demo)
	@$(INSTALL) --no-compile --editable '.[ctl]'
	@touch $@

demo: .venv-demo/ready
	@PYTHON="$(CURDIR)/.venv-demo/bin/python" docker/demo.sh

demo-docker: .venv-demo/ready
	@PYTHON="$(CURDIR)/.venv-demo/bin/python" docker/demo.sh --docker

image: .venv-demo/ready
	@PYTHON="$(CURDIR)/.venv-demo/bin/python" docker/build.sh $(IMAGE)

# The quick ones, then the others. pytest's 5 is "none was chosen": with PYTEST_ARGS one half may be empty.
test: $(VENV)/ready
	@$(RUN) -m pytest $(QUICK) $(PYTEST_ARGS) || [ $$? = 5 ]
	@$(RUN) -m pytest $(LONG) $(PYTEST_ARGS) || [ $$? = 5 ]

test-quick: $(VENV)/ready
	@$(RUN) -m pytest $(QUICK) $(PYTEST_ARGS)

# A Python that the machine does not have is named and left out; that none was found at all is an error.
test-pythons: $(MINORS:%=test-python-%)
	@ls .venv-3.*/ready >/dev/null 2>&1 || { echo "make: none of Python $(VERSIONS) was found" >&2; exit 1; }

# The last one that works, pyenv's versions after those on PATH: a pyenv shim is there but fails for a version not active.
$(MINORS:%=test-python-%): test-python-%:
	@python=; for found in python3.$* python3 "$$HOME"/.pyenv/versions/3.$*.*/bin/python3.$*; do \
		if "$$found" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, $*))' 2>/dev/null; \
		then python=$$found; fi; \
	done; \
	if [ -z "$$python" ]; then rm -rf .venv-3.$*; echo "Python 3.$*: not found, left out"; exit 0; fi; \
	echo "Python 3.$*: $$($$python --version) ($$python)"; \
	$(MAKE) --no-print-directory MINOR=$* PYTHON="$$python" .venv-3.$*/ready \
		&& .venv-3.$*/bin/python -m pytest -q $(QUICK) $(PYTEST_ARGS)

.venv-3.$(MINOR)/ready: pyproject.toml
	$(call venv,$(PYTHON),$(@D))
	@$(INSTALL) --editable '.[ctl,test]'
	@touch $@

# Apart from the other tests: it brings a command called `train`, which smentry would find on PATH.
.venv-parity/ready: pyproject.toml
	$(call venv,$(PYTHON),.venv-parity)
	@$(INSTALL) --group parity
	@$(INSTALL) --no-deps 'sagemaker-train>=1.0'  # only for the files that the SDK sends
	@touch $@

parity: $(VENV)/ready .venv-parity/ready
	@SMENTRY_PARITY_PYTHON="$(CURDIR)/.venv-parity/bin/python" \
		$(RUN) -m pytest tests/sagemaker/test_parity.py tests/sagemaker/test_drivers.py \
			tests/sagemaker/test_launch_parity.py $(PYTEST_ARGS)

# Apart as well: torch and its like are more than a gigabyte. They run programs of two and more processes, so few at a time.
.venv-frameworks/ready: pyproject.toml
	$(call venv,$(PYTHON),.venv-frameworks)
	@$(INSTALL) --no-compile --editable '.[test]' --group frameworks
	@touch $@

frameworks: .venv-frameworks/ready
	@OMP_NUM_THREADS=1 .venv-frameworks/bin/python -m pytest --numprocesses 2 --dist loadfile tests/training/frameworks $(PYTEST_ARGS)

fuzz: $(VENV)/ready
	@SMENTRY_FUZZ_STEPS=1000000 $(RUN) -m pytest tests/pid1/test_promises.py -k fuzz -s $(PYTEST_ARGS)

stress: $(VENV)/ready
	@SMENTRY_STOPS=1000 $(RUN) -m pytest tests/pid1/test_stress.py -s $(PYTEST_ARGS)

bench: $(VENV)/ready
	@$(RUN) -m tests.bench

failures: $(VENV)/ready
	@SMENTRY_REQUIRE_ENGINE=1 SMENTRY_WRITE_FAILURES=1 $(RUN) -m pytest -q tests/engine/test_failures.py $(PYTEST_ARGS)

lint: $(VENV)/ready
	@$(RUN) -m ruff check
	@$(RUN) -m ruff format --check
	@$(RUN) -m mypy
	@$(VENV)/bin/lint-imports

wheel: .venv-demo/ready
	@rm -rf dist
	@.venv-demo/bin/python -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir dist .
	@ls dist/*.whl

clean:
	rm -rf .venv .venv-demo .venv-parity .venv-frameworks .venv-3.* dist build *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find smentry tests -name __pycache__ -prune -exec rm -rf {} +
