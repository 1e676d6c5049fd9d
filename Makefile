# The README's two commands. Each sets up everything it needs in .venv; nothing else on the machine is touched.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Everything that a test needs; mkl (1 GB) is not among it: products are tested on the BLAS that is there.
EXTRAS := cpu,media,reference,hub,bpe,cer,cluster,speakers,dev

.PHONY: demo test lint clean

demo: $(VENV)/.ready
	$(BIN)/mlx-funasr demo --out demo-run --overwrite

test: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/pyright --pythonpath $(BIN)/python

# torch is named first and pinned, so that no other package drags in a different build of it. Nothing is compiled
# beforehand: of 22,800 files most are never imported, and all of them would take a minute of one core.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --no-compile -c constraints.txt torch
	$(BIN)/python -m pip install -q --no-compile -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

clean:
	rm -rf $(VENV) demo-run .pytest_cache .ruff_cache .hypothesis
