# run and test each do all the set-up they need; nothing outside this folder changes.
PYTHON ?= python3.11

.PHONY: install run smoke test check docs beam clean

install: .venv/installed

run: .venv/installed
	.venv/bin/python launch.py --config configs/clavicle.py

# The command of `run` from end to end on few films: whether it works, not how well.
smoke: .venv/installed
	folder=$$(mktemp -d) && JAX_PLATFORMS=cpu .venv/bin/python launch.py \
	  --config configs/clavicle.py --workdir $$folder/run \
	  --config.data.dir=$$folder/datasets --config.phantom.images=160 \
	  --config.data.region_images=20 \
	  --config.log_every=5 --config.pretrain.warmup_steps=0 --config.pretrain.steps=10 \
	  --config.pretrain.eval_every=5 --config.distill.warmup_steps=0 \
	  --config.distill.steps=10 --config.distill.eval_every=5 \
	  --config.evaluation.replicates=20 && test -s $$folder/run/report.html && \
	  rm -r $$folder

test: .venv/tested
	JAX_PLATFORMS=cpu .venv/bin/python -m pytest --numprocesses 2 --dist loadfile

check: .venv/tested
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/pyright --pythonpath .venv/bin/python

# The API reference, from docstrings: docs/api/index.html, not kept in git.
docs: .venv/documented
	JAX_PLATFORMS=cpu .venv/bin/python -m pdoc --docformat google --math \
	  --output-directory docs/api aals_jax data configs

.venv/installed: requirements.lock
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --requirement requirements.lock
	touch $@

.venv/tested: .venv/installed requirements/test.lock
	.venv/bin/python -m pip install --quiet --requirement requirements/test.lock
	touch $@

.venv/documented: .venv/tested requirements/docs.txt
	.venv/bin/python -m pip install --quiet --requirement requirements/docs.txt
	touch $@

# The dataset's build on Apache Beam, in an environment of its own; `make test` uses it
# where it is.
beam: .venv-beam/installed

.venv-beam/installed: requirements/beam.lock
	$(PYTHON) -m venv .venv-beam
	.venv-beam/bin/python -m pip install --quiet --requirement requirements/beam.lock
	touch $@

clean:
	rm -rf .venv .venv-beam runs docs/api
