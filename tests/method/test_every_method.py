"""Every row of the table goes the whole way, and goes on where it was killed.

With the smallest net; test_end_to_end.py has a real one.
"""

import json

import jax
import numpy as np
import pytest

from aals_jax import types
from aals_jax.method import ensemble
from aals_jax.method.methods import METHODS
from aals_jax.report import page
from aals_jax.runs import run, stages
from aals_jax.runs.checkpoints import Checkpoints
from tests.runs.test_end_to_end import final_states
from tests.support.small import FINEST, Net
from tests.support.small_runs import run_until_killed, small_config

REMEMBERING = ["temporal_ensembling", "self_training"]


@pytest.fixture(scope="module")
def scratch(compiled_once):
    """A folder for all runs here, which share what they compile, however short."""
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    yield compiled_once
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


@pytest.fixture(autouse=True)
def smallest(monkeypatch):
    """The smallest net, and no page, which is test_end_to_end's."""
    monkeypatch.setattr(stages, "make_model", make_net)
    monkeypatch.setattr(page, "render", lambda **arguments: "")


def make_net(config, axis_name):
    return Net(axis_name, METHODS[config.method].head)


def config_of(method, scratch):
    config = small_config(scratch / "data", method=method)
    config.evaluation.replicates = 4
    config.boxes.finest_stride = FINEST
    return config


def finished(method, scratch):
    """The workdir of an undisturbed run."""
    workdir = scratch / method
    run.run(config_of(method, scratch), workdir)
    return workdir


@pytest.mark.parametrize("method", METHODS)
def test_a_method_runs_the_whole_way(scratch, method):
    workdir = finished(method, scratch)
    result = json.loads((workdir / "result.json").read_text())
    assert result["method"] == method
    assert result["metrics"].keys() == types.MODELS.keys()
    for metrics in result["metrics"].values():
        assert 0.0 <= metrics["auroc"]["value"] <= 1.0
    rows = [json.loads(x) for x in (workdir / "metrics.jsonl").read_text().splitlines()]
    uses_p = METHODS[method].weak is not None
    assert ("images/image_level" in rows[-1]) == uses_p
    assert ("images/image_level" in rows[0]) == (uses_p and METHODS[method].from_start)
    assert rows[-1].get("pseudo/distill_grad_norm", 1.0) > 0.0


@pytest.mark.parametrize("method", REMEMBERING)
def test_a_killed_run_remembers_bit_for_bit(scratch, monkeypatch, method):
    """Killed before the last save of stage 2, after one that holds the memory."""
    done, workdir = finished(method, scratch), scratch / f"{method}-killed"
    config = config_of(method, scratch)
    run_until_killed(monkeypatch, config, workdir, validation=4)
    run.run(config, workdir)
    pairs = zip(final_states(workdir), final_states(done), strict=True)
    for a, b in pairs:
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    first, second = ((w / "metrics.jsonl").read_text() for w in (workdir, done))
    assert losses_of(first) == losses_of(second)


def losses_of(history: str) -> list[dict]:
    rows = [json.loads(x) for x in history.splitlines()]
    return [{k: v for k, v in row.items() if "time/" not in k} for row in rows]


def test_every_image_of_p_is_remembered_in_its_own_row(scratch):
    """As many rows as P has images; those drawn have been seen, and only those."""
    workdir = finished("temporal_ensembling", scratch)
    checkpoints = Checkpoints(workdir / "checkpoints" / "distill")
    memory = checkpoints.restore(checkpoints.latest().step)["memory"]
    checkpoints.close()
    result = json.loads((workdir / "result.json").read_text())
    images = result["data"]["splits"]["train"]["image_level"]
    side = ensemble.memory_side(64 // 4, limit=64)
    assert memory["weight"].shape == (images, side, side)
    seen = memory["weight"].max(axis=(1, 2))
    drawn = 6 * 4  # images in 6 steps
    # each epoch has each image once: at least floor(drawn / images) times all
    assert np.sum(seen > 0) == min(drawn, images)
    times = np.rint(np.log(1 - seen.astype(np.float64)) / np.log(0.6))
    assert times.sum() == pytest.approx(drawn, abs=images)
