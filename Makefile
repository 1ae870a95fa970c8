# Everything that is done with Tranship from a checkout. `make demo` and `make test` set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Tests wait for events more than they work.
WORKERS ?= 4

.PHONY: demo test check lint format bench soak docs clean

demo: $(READY) ## the main job, live: a server and a client move real files
	$(BIN)/tranship demo

test: $(READY) ## all tests but the long ones
	$(BIN)/pytest -m "not soak" -n $(WORKERS) --dist loadfile --no-loadscope-reorder

check: lint test ## what CI runs: format, lint, types, import layers, tests

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## side by side with the peers, as ratios: the main job, beside a black hole, then each protocol
	$(BIN)/python -m bench
	$(BIN)/python -m bench.hole
	$(BIN)/python -m bench.family
	for protocol in sftp ftp s3 webdav; do $(BIN)/python -m bench.$$protocol || exit 1; done

soak: $(READY) ## the long runs
	$(BIN)/pytest -m soak --timeout=0

docs: $(READY) ## docs/configuration.md from the options
	$(BIN)/python -m tranship.config.reference > docs/configuration.md

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group test --group check
	touch $@

clean:
	rm -rf $(VENV) build dist
