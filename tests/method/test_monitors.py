"""Laws of the monitors of a step, by hand on two small maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import logit

from aals_jax.method import monitors, sharpening
from aals_jax.method.methods import METHODS
from aals_jax.runtime import devices
from tests.support import small

CENTER = 0.4


def weak_of(valid):
    return small.make_batch().weak.replace(valid=jnp.asarray(valid, jnp.float32))


def of_targets(teacher, target, valid):
    logits = (logit(jnp.asarray(m, jnp.float32)) for m in (teacher, target))
    return monitors.of_targets(*logits, weak_of(valid), center=CENTER, axis_name=None)


def test_shares_and_lifts_are_those_counted_by_hand():
    """Of the first image's four pixels the last is padding; the other two are dead."""
    teacher = [[[0.5, 0.3], [0.1, 0.9]], [[0.2, 0.2], [0.2, 0.1]], [[0.1] * 2] * 2]
    target = [[[0.7, 0.3], [0.05, 0.99]], [[0.2, 0.25], [0.2, 0.1]], [[0.1] * 2] * 2]
    valid = [[[1, 1], [1, 0]], [[1, 1], [1, 1]], [[1, 1], [1, 1]]]
    found = of_targets(teacher, target, valid)
    expected = {
        "pseudo/mean_peak": (0.5 + 0.2 + 0.1) / 3,
        "pseudo/share_dead": 2 / 3,
        "pseudo/share_raised_pixels": (1 / 3 + 1 / 4) / 3,
        "pseudo/mean_target": (1.05 / 3 + 0.75 / 4 + 0.1) / 3,
        "pseudo/lift_mean": (0.2 + 0.05) / 3,
        "pseudo/lift_largest": 0.2,
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)


def test_strength_4_at_t_0_4_lifts_a_target_by_a_fifth_at_most():
    """The operator worked out over a grid of peaks in float64, outside of JAX."""
    peak = np.linspace(0.4, 0.999, 5000)
    odds = np.log(peak / (1 - peak))
    raised = odds + 3 * (1 - peak) * (odds - np.log(0.4 / 0.6))
    expected = np.max(1 / (1 + np.exp(-raised)) - peak)
    maps = jnp.asarray(odds, jnp.float32).reshape(-1, 1, 1)
    target = sharpening.sharpen(maps, max_strength=4.0, center=CENTER)
    weak = weak_of(np.ones((5000, 1, 1)))
    found = monitors.of_targets(maps, target, weak, center=CENTER, axis_name=None)
    np.testing.assert_allclose(found[monitors.LARGEST], expected, rtol=1e-4)
    assert 0.19 < expected < 0.21


def test_a_target_below_the_map_has_no_lift_and_neither_has_an_image_without_film():
    found = of_targets([[[0.5]], [[0.1]]], [[[0.2]], [[0.9]]], [[[1]], [[0]]])
    assert found["pseudo/lift_mean"] == found[monitors.LARGEST] == 0


def test_the_largest_lift_of_four_devices_is_the_largest_of_all():
    teacher = np.full((8, 1, 1), 0.5, np.float32)
    target = np.linspace(0.5, 0.85, 8, dtype=np.float32)[::-1].reshape(8, 1, 1)
    weak = small.make_batch().weak.replace(valid=np.ones((8, 1, 1), np.float32))

    def step(state, batch):
        given, made = (logit(x) for x in batch[:2])
        return state, monitors.of_targets(
            given, made, batch[2], center=CENTER, axis_name=devices.AXIS
        )

    four = jax.devices()[:4]
    mapped = devices.data_parallel(step, devices=four)
    state = devices.replicate(jnp.zeros(()), devices=four)
    _, found = mapped(state, devices.shard((teacher, target, weak), devices=four))
    found = devices.to_host(found)
    np.testing.assert_allclose(found[monitors.LARGEST], 0.35, rtol=1e-5)
    np.testing.assert_allclose(found["pseudo/lift_mean"], 0.175, rtol=1e-5)


@pytest.mark.parametrize("guidance", [None, {"a running map": 1}])
def test_what_is_no_map_of_a_teacher_has_no_monitors(guidance):
    weak = weak_of(np.ones((8, 1, 1)))
    assert monitors.of_targets(guidance, None, weak, center=0.4, axis_name=None) == {}


@pytest.mark.parametrize("method", METHODS)
def test_a_row_says_that_it_sharpens_where_some_target_exceeds_the_guides_map(method):
    row, functions = METHODS[method], small.bound(method)
    maps = 3.0 * jax.random.normal(jax.random.key(0), (8, 8, 8))
    weak = small.make_batch().weak
    target = functions.target(maps, weak) if row.guide else maps
    assert row.sharpens == bool(np.any((target > maps) & (weak.valid > 0)))
