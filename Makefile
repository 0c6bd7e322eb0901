# Two commands: `make demo` and `make test`. Nothing else is needed first but Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint bench clean

demo: .venv/.demo
	@$(BIN)/lamina demo

test: .venv/.test
	$(BIN)/python -m pytest -n auto

lint: .venv/.lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run -Werror native/*.cc native/*.h

bench: .venv/.oracles
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv demo

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Lamina needs Python 3.11 or newer, this is " + sys.version.split()[0] + ". Name one: make PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv

.venv/.demo: .venv/bin/python pyproject.toml
	@echo "Installing Lamina into .venv (once; about a minute) …"
	@$(PIP) --editable .
	@touch $@

.venv/.test: .venv/.demo
	@$(PIP) --editable '.[test]'
	@touch $@

.venv/.lint: .venv/.test
	@$(PIP) --editable '.[test,lint]'
	@touch $@

.venv/.oracles: .venv/.test
	@$(PIP) --editable '.[test,oracles]'
	@touch $@
