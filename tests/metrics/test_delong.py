"""DeLong against its definition over all pairs, a bootstrap, and a known truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from aals_jax.metrics import delong, intervals, roc
from aals_jax.metrics.draws import Draws
from tests.support.simulations import auroc_of, simulated


def plain_delong(models, labels):
    """Values and covariance from all pairs, with the O(n^2) kernel written out."""
    positive = np.flatnonzero(labels == 1)
    negative = np.flatnonzero(labels == 0)
    kernel = np.array(
        [
            [[(s[i] > s[j]) + 0.5 * (s[i] == s[j]) for j in negative] for i in positive]
            for s in models
        ]
    )
    by_positive, by_negative = kernel.mean(axis=2), kernel.mean(axis=1)
    covariance = sum(
        (part - part.mean(axis=1, keepdims=True))
        @ (part - part.mean(axis=1, keepdims=True)).T
        / (part.shape[1] - 1)
        / part.shape[1]
        for part in (by_positive, by_negative)
    )
    return kernel.mean(axis=(1, 2)), covariance


@pytest.mark.parametrize("levels", [None, 2])
def test_delong_equals_its_definition_over_all_pairs(levels):
    for seed in range(20):
        a, labels = simulated(30, seed, levels=levels)
        b, _ = simulated(30, seed + 100, levels=levels)
        labels[:4] = [0, 0, 1, 1]
        values, covariance = plain_delong([a, b], labels)
        fast, fast_covariance, _ = delong._delong([a, b], labels)
        np.testing.assert_allclose(fast, values, atol=1e-14)
        np.testing.assert_allclose(fast_covariance, covariance, atol=1e-14)
        paired = delong.auroc_difference(a, b, labels)
        error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
        difference = values[0] - values[1]
        assert paired.value == pytest.approx(difference, abs=1e-14)
        assert paired.high == pytest.approx(difference + 1.959963985 * error)
        assert paired.p_value == pytest.approx(
            special.erfc(abs(difference) / error / np.sqrt(2))
        )


@given(st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.25, 3.0]), max_size=30))
def test_mid_ranks_are_those_of_scipy(values):
    ranks = delong.mid_ranks(np.array(values))
    np.testing.assert_array_equal(ranks, stats.rankdata(values))


def test_delong_is_the_auroc_and_agrees_with_the_bootstrap():
    scores, labels = simulated(600, 3)
    found = delong.auroc_interval(scores, labels)
    drawn = intervals.patient_bootstrap(
        Draws(range(600), seed=0), auroc_of(scores, labels)
    )
    assert found.value == pytest.approx(float(roc.auroc(scores, labels)), abs=1e-14)
    assert found.value == drawn.value or abs(found.value - drawn.value) < 1e-14
    assert found.low == pytest.approx(drawn.low, abs=0.005)
    assert found.high == pytest.approx(drawn.high, abs=0.005)


def test_paired_delong_agrees_with_the_paired_bootstrap():
    a, labels = simulated(600, 3)
    b = a + np.random.default_rng(9).normal(size=600)
    found = delong.auroc_difference(a, b, labels)
    drawn = intervals.paired_bootstrap(
        Draws(range(600), seed=0), auroc_of(a, labels), auroc_of(b, labels)
    )
    assert found.low == pytest.approx(drawn.low, abs=0.005)
    assert found.high == pytest.approx(drawn.high, abs=0.005)


def test_delong_covers_the_truth_as_often_as_it_says():
    truth = float(special.ndtr(1 / np.sqrt(2)))  # two normals, one apart
    found = [delong.auroc_interval(*simulated(80, seed)) for seed in range(500)]
    inside = np.mean([each.low <= truth <= each.high for each in found])
    assert inside == pytest.approx(0.95, abs=0.025)


def test_delong_at_the_edges():
    perfect = delong.auroc_interval(np.arange(6.0), np.array([0, 0, 0, 1, 1, 1]))
    assert (perfect.value, perfect.low, perfect.high) == (1.0, 1.0, 1.0)
    assert "perfect separation" in perfect.reason
    single = delong.auroc_interval(np.array([0.1, 0.4, 0.3]), np.array([0, 0, 1]))
    assert single.value == 0.5
    assert np.isnan(single.low)
    assert "two of each class" in single.reason
    same = delong.auroc_difference(*[simulated()[0]] * 2, simulated()[1])
    assert (same.value, same.p_value) == (0.0, 1.0)


def test_one_class_has_no_value_and_a_reason():
    scores, labels = np.arange(5.0), np.zeros(5, int)
    for found in (
        delong.auroc_interval(scores, labels),
        delong.auroc_difference(scores, np.ones(5), labels),
    ):
        assert np.isnan([found.value, found.low, found.high, found.p_value]).all()
        assert "one class only" in found.reason


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="one length"):
        delong.auroc_interval(np.array([1.0, 2.0]), np.array([0]))
    with pytest.raises(ValueError, match="labels are"):
        delong.auroc_interval(np.array([1.0, 2.0]), np.array([0, 3]))
