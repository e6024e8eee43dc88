# make try    a real container in a minute, offline, on an image that comes with the install
# make test   everything a change must pass, at most 15 minutes on 2 cores (CI runs this)
# make exams soak bench   the long ones, before a release

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STATE := $(VENV)/state

.PHONY: try test lint unit kernel conformance sample vm exams soak bench clean host

try: $(VENV)/installed
	@tools/need-root "run a container" && $(BIN)/wharfie run --rm wharfie/hello

test: $(VENV)/dev host lint unit kernel conformance sample vm
	@$(BIN)/python tests/inventory.py --against $(STATE)/inventory

lint: $(VENV)/dev
	$(BIN)/ruff check src tests bench tools
	$(BIN)/mypy

unit: $(VENV)/dev
	$(BIN)/python -m pytest -q -n 2 tests/unit

kernel: $(VENV)/dev host
	$(BIN)/python -m pytest -q tests/kernel tests/contracts

conformance: $(VENV)/dev host
	$(BIN)/python -m pytest -q -n 2 --dist worksteal tests/conformance

# What tests need of the host, and how it looked before they ran.
host: $(VENV)/dev
	@tools/test-host
	@mkdir -p $(STATE) && $(BIN)/python tests/inventory.py > $(STATE)/inventory

# A minute of the long ones.
sample: $(VENV)/dev host
	WHARFIE_SOAK=sample $(BIN)/python -m pytest -q tests/soak

# One boot of a virtual machine with cgroup v2 (docs/adr/0008). Without plugins, which take seconds where Python is
# emulated.
vm: $(VENV)/dev host
	tools/vm --or-skip env PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(BIN)/python -m pytest -p no:cacheprovider tests/vm

exams: $(VENV)/dev host
	tools/exams

soak: $(VENV)/dev host
	$(BIN)/python -m pytest -q tests/soak

bench: $(VENV)/dev host
	tools/bench-host
	$(BIN)/python -m bench

$(VENV)/installed: pyproject.toml
	@tools/make-venv $(PYTHON) $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -e .
	@touch $@

$(VENV)/dev: $(VENV)/installed
	$(BIN)/pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
