# make demo   set up and walk the whole way on phantoms; ends with the path of a report
# make test   set up and run the tests
# make lint   ruff and mypy
# make test-fast    in a minute and a half, for daily work: without the files of slow tests
# make test-long    tests that take minutes; make test-search: property tests on examples drawn anew;
# make test-seeds   tests of what a network has learnt, each for ten seeds
# make test-label   the tests with MONAI Label's server, in an environment beside .venv
# make test-deploy  the tests with MONAI Deploy's SDK, in another one
# make bench  measurements side by side with a peer

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LABEL_VENV ?= $(VENV)_label
DEPLOY_VENV ?= $(VENV)_deploy
TORCH := $(shell grep '^torch==' constraints.txt)
# Networks to compare with, and what reads object storage. Without their requirements, which would bring another build
# of torch; what the latter really needs is in the list.
NO_DEPS := torchvision|timm|litdata|boto3|botocore|s3transfer|jmespath|obstore|lightning-utilities|tifffile
NO_DEPS := $(shell grep -E '^($(NO_DEPS))==' constraints.txt)
PIP := $(BIN)/python -m pip --disable-pip-version-check

# A process more than cores, since tests wait for what they start; each test file in one of them. The networks are small,
# so one thread each is fastest. In the order of collection: the files that take longest come first, see tests/conftest.py.
WORKERS := $(shell $(PYTHON) -c "import os; print(len(os.sched_getaffinity(0)) + 1)" 2>/dev/null || echo auto)
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# Where the environment forbids it, each of the commands that tests start would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: hashes audit-deps demo test test-fast test-long test-search test-seeds test-label test-deploy lint bench clean

demo: $(VENV)/.demo
	$(BIN)/radimagenet demo --out demo_output

test: $(VENV)/.test
	$(BIN)/python -m pytest -m "not long" $(PARALLEL)

test-fast: $(VENV)/.test
	$(BIN)/python -m pytest -m "not long and not slow" -n auto --dist loadfile --no-loadscope-reorder

test-long: $(VENV)/.test
	$(BIN)/python -m pytest -m long $(PARALLEL)

test-search: $(VENV)/.test
	HYPOTHESIS_PROFILE=search $(BIN)/python -m pytest -m "hypothesis and not long" $(PARALLEL)

test-seeds: $(VENV)/.test
	for seed in 0 1 2 3 4 5 6 7 8 9; do $(BIN)/python -m pytest -m learns --seed $$seed $(PARALLEL) || exit 1; done

test-label: $(LABEL_VENV)/.label
	$(LABEL_VENV)/bin/python -m pytest tests/integrations/test_monai_label.py

test-deploy: $(DEPLOY_VENV)/.deploy
	$(DEPLOY_VENV)/bin/python -m pytest tests/integrations/test_monai_deploy.py

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.test
	$(BIN)/python benchmarks/packed_store.py
	$(BIN)/python benchmarks/augmentation.py
	$(BIN)/python benchmarks/train_step.py
	$(BIN)/python benchmarks/encoders.py
	$(BIN)/python benchmarks/inference.py
	$(BIN)/python benchmarks/delong.py
	$(BIN)/python benchmarks/probe.py
	$(BIN)/python benchmarks/input_pipeline.py
	$(BIN)/python benchmarks/end_to_end.py
	$(BIN)/python benchmarks/streaming_evaluation.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/pack.py --images 20000

# Hashes of all files of the tested versions. Not of torch: each of its builds, for the CPU or a CUDA, has other files.
hashes: $(VENV)/.base
	$(PIP) install --quiet uv pip-audit
	grep -E '^[A-Za-z]' constraints.txt | grep -v '^torch==' > $(VENV)/tested.txt
	printf '%s\n' '# Written by `make hashes` from constraints.txt. Without torch: its builds differ; see SECURITY.md.' > constraints-hashes.txt
	$(BIN)/uv pip compile --quiet --no-deps --generate-hashes --no-header --no-annotate --python-version 3.11 \
		$(VENV)/tested.txt >> constraints-hashes.txt

# Known vulnerabilities of the tested versions; asks an advisory service.
audit-deps: $(VENV)/.base
	$(PIP) install --quiet pip-audit
	$(BIN)/pip-audit --strict --disable-pip --require-hashes -r constraints-hashes.txt

# torch goes first and by its exact version, so that no other requirement chooses a build for us.
$(VENV)/.base: constraints.txt pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed, this is ' + sys.version)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet "$(TORCH)"
	$(PIP) install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.demo $(VENV)/.lint: $(VENV)/.%: $(VENV)/.base
	$(PIP) install --quiet -c constraints.txt -e ".[$*]"
	touch $@

$(VENV)/.test: $(VENV)/.base
	$(PIP) install --quiet -c constraints.txt -e ".[test]"
	$(PIP) install --quiet --no-deps $(NO_DEPS)
	touch $@

# Beside .venv, whose packages they see, so that nothing of the clients' gets in there and torch is there once.
$(LABEL_VENV)/.label: requirements/monai_label.txt
$(DEPLOY_VENV)/.deploy: requirements/monai_deploy.txt
# The SDK is a part of MONAI's own folder, so MONAI is installed there again.
$(DEPLOY_VENV)/.deploy: AGAIN := --ignore-installed
$(LABEL_VENV)/.label $(DEPLOY_VENV)/.deploy: $(VENV)/.test
	$(PYTHON) -m venv $(@D)
	echo "import site; site.addsitedir('$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')')" \
		> $$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/beside.pth
	$(@D)/bin/python -m pip --disable-pip-version-check install --quiet --no-deps $(AGAIN) -r requirements/monai_$(subst .,,$(@F)).txt
	touch $@

clean:
	rm -rf $(VENV) $(LABEL_VENV) $(DEPLOY_VENV) demo_output .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
