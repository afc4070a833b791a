"""Calibration: laws against plain loops, then numbers by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import calibration as peer
from sklearn import metrics

from aals_jax.metrics import calibration

many = settings(derandomize=True, deadline=None, max_examples=300, database=None)


@st.composite
def readings(draw):
    n = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    levels = draw(st.sampled_from([2, 10, 1000]))
    scores = rng.integers(0, levels + 1, n) / levels
    return scores, rng.integers(0, 2, n), rng.integers(0, 4, n).astype(float)


def plain_error(scores, labels, weights, bins):
    total = 0.0
    for b in range(bins):
        inside = [
            i
            for i, s in enumerate(scores)
            if b / bins <= s and (s < (b + 1) / bins or b == bins - 1)
        ]
        total += abs(sum(weights[i] * (scores[i] - labels[i]) for i in inside))
    return total / weights.sum() if weights.sum() else np.nan


@many
@given(readings(), st.integers(1, 15))
def test_the_error_is_that_of_a_plain_loop(case, bins):
    scores, labels, weights = case
    for w in (np.ones(len(scores)), weights):
        value = calibration.expected_calibration_error(
            scores, labels, weights=w, bins=bins
        )
        expected = plain_error(scores, labels, w, bins)
        np.testing.assert_allclose(value, expected, atol=1e-12)


@many
@given(readings())
def test_an_integer_weight_is_a_repetition(case):
    scores, labels, weights = case
    again = np.repeat(np.arange(len(scores)), weights.astype(int))
    for metric in (calibration.brier_score, calibration.expected_calibration_error):
        weighted = metric(scores, labels, weights=weights)
        if not len(again):
            assert np.isnan(weighted)
            continue
        repeated = metric(scores[again], labels[again])
        np.testing.assert_allclose(weighted, repeated, atol=1e-12)


@many
@given(readings())
def test_the_error_is_at_most_that_of_finer_bins_and_brier_is_sklearns(case):
    scores, labels, _ = case
    coarse, fine = (
        calibration.expected_calibration_error(scores, labels, bins=b) for b in (5, 20)
    )
    assert coarse <= fine + 1e-12  # merging bins cancels gaps, never adds any
    expected = metrics.brier_score_loss(labels, scores, labels=[0, 1])
    assert calibration.brier_score(scores, labels) == pytest.approx(expected)


def test_the_curve_is_sklearns_on_scores_off_the_edges():
    rng = np.random.default_rng(0)
    scores = rng.random(500)
    labels = rng.random(500) < scores**2
    found = calibration.reliability(scores, labels)
    observed, mean = peer.calibration_curve(labels, scores, n_bins=10)
    np.testing.assert_allclose(found.observed, observed)
    np.testing.assert_allclose(found.mean_score, mean)
    assert found.count.sum() == 500


def test_scores_that_are_the_shares_are_calibrated():
    scores = np.repeat([0.25, 0.75], 8)
    labels = np.array([1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0])
    assert calibration.expected_calibration_error(scores, labels) == 0.0
    assert calibration.brier_score(scores, labels) == 0.1875
    found = calibration.reliability(scores, labels)
    np.testing.assert_array_equal(found.observed, found.mean_score)


def test_numbers():
    scores, labels = np.array([0.0, 0.3, 1.0, 0.3]), np.array([0, 1, 1, 0])
    # bins: [0], [0.3, 0.3], [1]: gaps 0, |0.6 - 1| = 0.4, 0
    found = calibration.expected_calibration_error(scores, labels)
    assert found == pytest.approx(0.4 / 4)
    assert calibration.brier_score(scores, labels) == pytest.approx((0.49 + 0.09) / 4)


def test_replicates_at_once_and_a_bin_that_lost_its_images():
    scores, labels = np.array([0.15, 0.85, 0.95]), np.array([0, 1, 0])
    weights = np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    found = calibration.reliability(scores, labels, weights=weights)
    np.testing.assert_array_equal(
        found.observed, [[0, 1, 0], [0, np.nan, np.nan], [np.nan] * 3]
    )
    error = calibration.expected_calibration_error(scores, labels, weights=weights)
    np.testing.assert_allclose(error, [(0.15 + 0.15 + 0.95) / 3, 0.15, np.nan])


def test_what_is_no_probability_has_a_reason_and_no_value():
    for scores in ([0.5, 1.2], [-0.1, 0.5], [np.nan, 0.5], [-np.inf, 0.5]):
        assert "not probabilities" in calibration.undefined_reason(np.array(scores))
        with pytest.raises(ValueError, match="not probabilities"):
            calibration.brier_score(np.array(scores), np.array([0, 1]))
    assert calibration.undefined_reason(np.array([0.0, 1.0])) == ""
    with pytest.raises(ValueError, match="bins=0"):
        calibration.reliability(np.array([0.5]), np.array([1]), bins=0)
    with pytest.raises(ValueError, match="labels are"):
        calibration.brier_score(np.array([0.5]), np.array([2]))
