# Two commands do all the set-up on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := $(VENV)/.peers

# Two processes even where there are more cores: most of the suite waits for sockets and processes, whose time limits are
# real. ARGS come later and win: `make test ARGS=-n0` is one process.
PARALLEL := --numprocesses 2 --dist worksteal
CORES := $(shell getconf _NPROCESSORS_ONLN)

SOURCES := framework apps deploy tests benchmarks
ASYNC_EVERYWHERE := ASYNC101,ASYNC105,ASYNC106,ASYNC110,ASYNC113,ASYNC115,ASYNC116,ASYNC118,ASYNC119,ASYNC125,ASYNC200,ASYNC210,ASYNC251,ASYNC300
# Of our own code only (tests do such things on purpose): that Cancelled is raised again, that cleanup is shielded, that nobody writes an async generator.
ASYNC_OURS := ASYNC100,ASYNC111,ASYNC120,ASYNC122,ASYNC102,ASYNC103,ASYNC104,ASYNC112,ASYNC121,ASYNC900
# These catch BaseException by trade: they keep it, settle what the request ends with, and raise that; what they await
# then runs in a scope that the floor of `_scope` has shielded. `beside_quart` and `without` show what happens without.
KEEPERS := /(_answer|_bounds|_companions|_dependency|_endpoint|_instant|_leaving|_lifespan|_middleware|_resolve|_respond|_scope|_services|_tasks|_threads|_ws_serve)\.py|/cli/run\.py|/contrib/_response\.py|/server/|/testing/|/beside_quart/|/tour/without\.py|/test_
OURS := ^(framework|apps)/
ASYNC_FILES := grep -rlE --include='*.py' '\<(async|await|trio)\>' $(SOURCES)
ASYNC := xargs -n 30 -P $(CORES) $(BIN)/flake8-async

.PHONY: demo test check lint async mypy pyright bench peers docs clean

demo: $(READY)
	$(BIN)/trivet run apps.tour:app --bind 127.0.0.1:8000

test: $(READY)
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

check: lint async mypy pyright  # `make -j2 check` runs two of them at a time

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# By its own command: flake8 itself refuses codes of more than three letters. It is the slowest of the checks, and looks at
# each file by itself: so all cores take files, some at a time, and no file twice, nor one in which nothing is awaited.
async: $(READY)
	$(ASYNC_FILES) | grep -vE '$(OURS)' | $(ASYNC) --enable $(ASYNC_EVERYWHERE)
	$(ASYNC_FILES) | grep -E '$(OURS)' | grep -E '$(KEEPERS)' | $(ASYNC) --enable $(ASYNC_EVERYWHERE)
	$(ASYNC_FILES) | grep -E '$(OURS)' | grep -vE '$(KEEPERS)' | $(ASYNC) --enable $(ASYNC_EVERYWHERE),$(ASYNC_OURS)

mypy: $(READY)
	$(BIN)/mypy
	$(BIN)/mypy tests/typing deploy

pyright: $(READY)
	$(BIN)/pyright --project pyproject.toml

peers: $(PEERS)

bench: $(PEERS)
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(READY)
	$(BIN)/python -m pytest tests/docs $(ARGS)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

# The servers and frameworks that only the benchmarks need: a hundred megabytes that nobody else has to wait for.
$(PEERS): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	touch $(PEERS)

clean:
	rm -rf $(VENV) build dist
