"""The step on an accelerator against the CPU; skipped on machines without one.

JAX_PLATFORMS=cuda,cpu python -m pytest tests/runs/test_accelerator.py
"""

import functools

import jax
import numpy as np
import optax
import pytest

from aals_jax.method import sharpening, steps
from aals_jax.models.detector import Detector
from tests.support import small

SIDE = 64
STEPS = 5
CPU = "cpu"
ACCELERATOR = jax.default_backend()

pytestmark = pytest.mark.skipif(
    ACCELERATOR == CPU, reason="no accelerator, or JAX_PLATFORMS=cpu"
)


@functools.cache
def trained(platform, dtype="float32", method="aals"):
    """The student after some steps of SGD, and the metrics of each; on the host."""
    tx = optax.sgd(0.1)
    net = Detector("narrow", 16, 16, dtype=dtype)
    device = jax.devices(platform)[0]
    step = jax.jit(
        steps.make_distill_step(
            method,
            net,
            tx,
            constants=small.constants(),
            distill_weight=1.0,
            ramp_steps=0,
            ema_decay=0.9,
            axis_name=None,
        )
    )
    found = []
    # the full float32: an accelerator's usual product of float32 has fewer bits
    with jax.default_device(device), jax.default_matmul_precision("float32"):
        state = steps.init_state(net, tx, jax.random.key(0), side=SIDE)
        state = steps.restart(state.student, tx)
        for seed in range(STEPS):
            state, metrics = step(state, small.make_batch(side=SIDE, seed=seed))
            found.append({k: float(v) for k, v in metrics.items()})
    assert {d.platform for d in jax.tree.leaves(state)[0].devices()} == {
        device.platform
    }
    return jax.device_get(state), found


@pytest.mark.parametrize("method", ["aals", "mean_teacher"])
def test_float32_agrees_with_the_cpu(method):
    (here, ours), (there, theirs) = (
        trained(platform, method=method) for platform in (ACCELERATOR, CPU)
    )
    for a, b in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-6)
    assert moved(here, there) < 1e-3 * moved(there, start())


def test_bfloat16_stays_near_float32():
    rounded, exact = trained(ACCELERATOR, "bfloat16")[1], trained(ACCELERATOR)[1]
    for a, b in zip(rounded, exact, strict=True):
        assert a["loss/total"] == pytest.approx(b["loss/total"], rel=0.02)


def test_sharpening_agrees_with_the_cpu_to_rounding():
    logits = np.random.default_rng(0).normal(0, 6, (4, 48, 48)).astype(np.float32)
    valid = np.ones_like(logits)
    on = {}
    for platform in (ACCELERATOR, CPU):
        with jax.default_device(jax.devices(platform)[0]):
            sharp = sharpening.sharpen(
                logits, max_strength=4.0, center=0.4, valid=valid
            )
        on[platform] = np.asarray(sharp)
    np.testing.assert_allclose(on[ACCELERATOR], on[CPU], rtol=2e-6, atol=2e-6)


def start():
    net = Detector("narrow", 16, 16)
    return steps.init_state(net, optax.sgd(0.1), jax.random.key(0), side=SIDE)


def moved(a, b):
    """How far the weights of two states lie apart, in the Euclidean norm."""
    differences = jax.tree.map(
        lambda x, y: np.sum((np.asarray(x) - np.asarray(y)) ** 2),
        a.student["params"],
        b.student["params"],
    )
    return float(np.sqrt(sum(jax.tree.leaves(differences))))
