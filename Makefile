# make demo   the main job on the bundled checkpoint
# make test   lint, types and tests, with every extra installed
# make bench  the benchmarks
#
# Everything is installed into .venv; nothing has to be done by hand before.

PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.10; do \
  $$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
TYPED := ghostedge runtime/ghostedge_runtime convert/ghostedge_convert quantize/ghostedge_quantize benchmarks examples tests/arm/emulate.py tests/arm/infer.py
PROJECTS := pyproject.toml runtime/pyproject.toml convert/pyproject.toml quantize/pyproject.toml
OUT := out
GLYPHS := examples/glyphs
CALIB := $(OUT)/glyphs/calib
EVAL := $(OUT)/glyphs/eval

.PHONY: demo test environments lint types unit bench clean

demo: $(VENV)/.convert $(CALIB) $(EVAL)
	$(BIN)/ghostedge convert $(GLYPHS)/ghostnet_050_glyphs.safetensors --int8 \
	  --calib $(CALIB) --eval $(EVAL) -o $(OUT)/demo

test: lint types unit

environments: $(VENV)/.all $(VENV)/.tflite_runtime

lint: $(VENV)/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.all
	$(BIN)/mypy $(TYPED)

# A worker a core leaves none for more threads: with them the tests take a fifth more CPU time.
unit: environments
	OMP_NUM_THREADS=1 GHOSTEDGE_TFLITE_RUNTIME_PYTHON="$$(cat $(VENV)/.tflite_runtime)" \
	  $(BIN)/python -m pytest -n auto --dist loadfile

bench: $(VENV)/.all
	$(BIN)/python benchmarks/run_all.py

clean:
	rm -rf $(VENV) $(VENV)-tflite-runtime $(OUT)

$(CALIB): | $(VENV)/.convert
	$(BIN)/python $(GLYPHS)/generate.py $@ --images 300 --seed 2

$(EVAL): | $(VENV)/.convert
	$(BIN)/python $(GLYPHS)/generate.py $@ --images 1500 --seed 3

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "GhostEdge needs Python 3.10, 3.11 or 3.12; pass PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.convert: $(VENV)/bin/python $(PROJECTS)
	$(PIP) -e runtime -e convert -e quantize -e ".[convert]"
	@touch $@

$(VENV)/.all: $(VENV)/bin/python $(PROJECTS)
	$(PIP) -e runtime -e convert -e quantize -e ".[all,dev]"
	@touch $@ $(VENV)/.convert

# The interpreter of 32-bit ARM boards and older systems: last released for Python 3.11, needs
# NumPy 1, so it lives apart. The file holds its path, or nothing where there is no wheel.
$(VENV)/.tflite_runtime: $(VENV)/bin/python
	@$(BIN)/python -m venv $(VENV)-tflite-runtime
	@if $(VENV)-tflite-runtime/bin/python -m pip install --quiet --disable-pip-version-check \
	  "tflite-runtime==2.14" "numpy<2" 2>/dev/null; \
	then echo "$(CURDIR)/$(VENV)-tflite-runtime/bin/python" > $@; \
	else echo "no tflite-runtime 2.14 wheel for this Python: its tests will skip"; : > $@; fi
