"""Laws of the schedules: closed forms, and when something is due."""

import doctest

import jax.numpy as jnp
import numpy as np
import pytest

from aals_jax.method import optim
from aals_jax.runs import loop


def rates(shape, steps, **changes):
    options = {"peak": 0.3, "warmup_steps": 10, "steps": 50} | changes
    rate = optim.learning_rate(shape, **options)
    return np.array([rate(step) for step in steps])


@pytest.mark.parametrize("shape", ["constant", "cosine"])
def test_warm_up_is_a_line_from_zero_to_the_peak(shape):
    np.testing.assert_allclose(
        rates(shape, range(11)), 0.3 * np.arange(11) / 10, rtol=1e-6
    )


@pytest.mark.parametrize("shape", ["constant", "cosine"])
def test_without_warm_up_the_first_step_has_the_peak(shape):
    np.testing.assert_allclose(rates(shape, [0], warmup_steps=0), 0.3, rtol=1e-6)


def test_constant_stays_at_the_peak():
    np.testing.assert_allclose(rates("constant", [10, 49, 500]), 0.3, rtol=1e-6)


def test_cosine_falls_as_half_a_wave_to_zero_at_the_last_step():
    steps = np.arange(10, 51)
    expected = 0.15 * (1 + np.cos(np.pi * (steps - 10) / 40))
    np.testing.assert_allclose(rates("cosine", steps), expected, atol=1e-7)
    assert rates("cosine", [50])[0] == 0.0


def test_an_unknown_shape_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"'linear'.*'constant' or 'cosine'"):
        rates("linear", [0])


@pytest.mark.parametrize("step", [0, 1, 7, 20, 21, 1_000])
def test_ramp_up_is_the_formula_and_then_one(step):
    expected = np.exp(-5 * (1 - min(step / 20, 1)) ** 2)
    np.testing.assert_allclose(optim.ramp_up(jnp.int32(step), 20), expected, rtol=1e-6)


def test_no_ramp_is_full_weight_at_once():
    assert optim.ramp_up(jnp.int32(0), 0) == 1.0


def test_due_each_so_many_steps_and_always_at_the_last():
    due = [s for s in range(12) if loop.is_due(s, every=4, last=11)]
    assert due == [4, 8, 11]
    assert [s for s in range(9) if loop.is_due(s, every=100, last=8)] == [8]


def test_nothing_is_due_before_the_first_step():
    assert not loop.is_due(0, every=1, last=0)


def test_the_examples_in_the_docstrings_hold():
    failed, tried = doctest.testmod(loop)
    assert tried > 0
    assert failed == 0
