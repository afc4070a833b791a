"""Laws of a fitted sigmoid: closed forms, symmetries, and what can't be fitted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special

from aals_jax.metrics import roc, sigmoid


def sample(seed, images=60, slope=1.3, intercept=-0.7):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=images) * 2
    labels = rng.random(images) < special.expit(slope * z + intercept)
    labels[:2] = False, True
    return special.expit(z), labels


def test_it_is_the_minimum_of_the_loss_by_another_way():
    scores, labels = sample(0)
    ones, zeros = labels.sum(), (~labels).sum()
    target = np.where(labels, (ones + 1) / (ones + 2), 1 / (zeros + 2))

    def loss(w):
        z = w[0] * special.logit(scores) + w[1]
        return np.sum(np.logaddexp(0, z) - target * z)

    found = optimize.minimize(loss, [1.0, 0.0], method="Nelder-Mead", tol=1e-12).x
    fitted = sigmoid.fit(scores, labels)
    np.testing.assert_allclose([fitted.slope, fitted.intercept], found, atol=1e-5)


def test_the_mean_probability_is_that_of_the_targets():
    scores, labels = sample(1)
    ones, zeros = labels.sum(), (~labels).sum()
    expected = ones * (ones + 1) / (ones + 2) + zeros / (zeros + 2)
    fitted = sigmoid.fit(scores, labels)
    np.testing.assert_allclose(fitted(scores).sum(), expected, rtol=1e-8)


def test_calibrated_scores_of_many_images_stay():
    scores, labels = sample(2, images=100_000, slope=1.0, intercept=0.0)
    fitted = sigmoid.fit(scores, labels)
    np.testing.assert_allclose([fitted.slope, fitted.intercept], [1, 0], atol=0.03)


@given(st.integers(0, 50), st.floats(0.2, 4), st.floats(-2, 2))
def test_what_rises_in_logits_is_undone(seed, slope, shift):
    scores, labels = sample(seed)
    try:
        expected = sigmoid.fit(scores, labels)(scores)
    except ValueError:
        return
    moved = special.expit(slope * special.logit(scores) + shift)
    got = sigmoid.fit(moved, labels)(moved)
    inside = (moved > 1e-5) & (moved < 1 - 1e-5)
    if inside.all():
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_other_names_for_the_classes_turn_it_round():
    scores, labels = sample(3)
    there, back = sigmoid.fit(scores, labels), sigmoid.fit(1 - scores, ~labels)
    np.testing.assert_allclose(there(scores), 1 - back(1 - scores), atol=1e-8)


def test_it_keeps_the_order_and_stays_within_0_and_1():
    scores, labels = sample(4)
    got = sigmoid.fit(scores, labels)(np.linspace(0, 1, 101))
    assert np.all(np.diff(got) >= 0) and got[0] > 0 and got[-1] < 1
    order = roc.auroc(sigmoid.fit(scores, labels)(scores), labels)
    assert order == roc.auroc(scores, labels)


def test_separated_classes_have_a_finite_slope():
    """One image of each class: the targets are 1/3 and 2/3, and both are met."""
    fitted = sigmoid.fit(np.array([0.2, 0.8]), np.array([0, 1]))
    expected = np.log(2) / np.log(4)
    np.testing.assert_allclose(
        [fitted.slope, fitted.intercept], [expected, 0], atol=1e-8
    )


@pytest.mark.parametrize(
    ("scores", "labels", "told"),
    [
        ([0.1, 0.9], [1, 1], "one class"),
        ([0.1, 2.0], [0, 1], "outside 0 to 1"),
        ([0.9, 0.1], [0, 1], "not higher than"),
        ([0.5, 0.5], [0, 1], "not higher than"),
    ],
)
def test_what_has_no_rising_map_is_refused_with_its_reason(scores, labels, told):
    with pytest.raises(ValueError, match=told):
        sigmoid.fit(np.array(scores), np.array(labels))
