# run and test each do all the set-up they need; nothing outside this folder changes.
PYTHON ?= python3.11

.PHONY: install run test check beam clean

install: .venv/installed

run: .venv/installed
	.venv/bin/python launch.py --config configs/clavicle.py

test: .venv/tested
	JAX_PLATFORMS=cpu .venv/bin/python -m pytest --numprocesses 2

check: .venv/tested
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/pyright --pythonpath .venv/bin/python

.venv/installed: requirements.lock
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --requirement requirements.lock
	touch $@

.venv/tested: .venv/installed requirements-test.lock
	.venv/bin/python -m pip install --quiet --requirement requirements-test.lock
	touch $@

# The dataset's build on Apache Beam, in an environment of its own; `make test` uses it
# where it is.
beam: .venv-beam/installed

.venv-beam/installed: requirements-beam.lock
	$(PYTHON) -m venv .venv-beam
	.venv-beam/bin/python -m pip install --quiet --requirement requirements-beam.lock
	touch $@

clean:
	rm -rf .venv .venv-beam runs
