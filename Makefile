# Two commands: `make demo` and `make test`. Nothing else is needed first but Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint sanitize bench wheel clean

demo: .venv/.demo
	@$(BIN)/lamina demo

# AMX's instructions in plain C++, for tests of half precision where the processor lacks them.
test: .venv/.test
	-$(BIN)/python native/build.py --emulate-tiles --into build/emulated
	$(BIN)/python -m pytest -n auto

lint: .venv/.lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run -Werror native/*.cc native/*.h native/tests/*

# The native kernels watched by the compiler's sanitizers: some of their tests under AddressSanitizer and
# UndefinedBehaviorSanitizer, and, since XLA itself is not watched, programs of their own for data races. Bytes
# of 255 are not a number: fresh memory that is read before it is written shows in the results.
sanitize: .venv/.test
	CXX=g++ $(BIN)/python native/build.py --sanitize address,undefined --only avx2 --into build/address
	CXX=g++ $(BIN)/python native/build.py --sanitize address,undefined --emulate-tiles --into build/address
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0:malloc_fill_byte=255:max_malloc_fill_size=16777216 \
	  UBSAN_OPTIONS=print_stacktrace=1 \
	  LAMINA_KERNELS=avx2 LAMINA_KERNELS_FOLDER=$(CURDIR)/build/address \
	  $(BIN)/python -m pytest -q -s -rs -p no:cacheprovider \
	  tests/kernels/native/test_native_memory.py tests/kernels/native/test_native_half.py \
	  -k 'memory or errs and not (convolution and linear)'
	CXX=g++ $(BIN)/python native/build.py --check --sanitize thread --only avx2 --into build/thread
	CXX=g++ $(BIN)/python native/build.py --check --sanitize thread --emulate-tiles --into build/thread
	build/thread/check-avx2
	build/thread/check-emulated

bench: .venv/.oracles
	$(BIN)/python -m benchmarks.kernels
	$(BIN)/python -m benchmarks

wheel: .venv/.wheel
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@# The tag in its name must be the one that its libraries have: CI installs it by that.
	.venv/.wheel/bin/auditwheel show dist/lamina-*.whl | tr '\n' ' ' | tee dist/audit.txt; echo
	grep -qF "\"$$(ls dist/lamina-*.whl | sed 's/.*-none-//; s/\.whl//')\"" dist/audit.txt

clean:
	rm -rf .venv build demo dist

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Lamina needs Python 3.11 or newer, this is " + sys.version.split()[0] + ". Name one: make PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv

.venv/.demo: .venv/bin/python pyproject.toml
	@echo "Installing Lamina into .venv (once; a minute or three) …"
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

# All of the above in one go, as CI does.
.venv/.all: .venv/bin/python pyproject.toml
	@$(PIP) --editable '.[test,lint,oracles]'
	@touch .venv/.demo .venv/.test .venv/.lint .venv/.oracles $@

.venv/.wheel: .venv/bin/python
	$(BIN)/python -m venv $@
	@$@/bin/python -m pip install --quiet --disable-pip-version-check auditwheel==6.8.2
