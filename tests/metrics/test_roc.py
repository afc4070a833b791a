"""Laws of the image-level curves against counts by hand, then numbers."""

import collections

import numpy as np
import pytest

from aals_jax.metrics import roc
from aals_jax.metrics.draws import Draws
from tests.support import brute_force


@brute_force.many_cases
def test_auroc_is_the_share_of_pairs_in_the_right_order(rng):
    """A replicate is a repetition: image i is written weights[i] times."""
    scores, labels, weights = brute_force.random_scores(rng)
    values = roc.auroc(scores, labels, weights=weights)
    np.testing.assert_equal(roc.auroc(scores, labels), values[0])
    for row, value in zip(weights.astype(int), values, strict=True):
        expected = brute_force.pairwise_auroc(scores.repeat(row), labels.repeat(row))
        np.testing.assert_equal(value, expected)


@brute_force.many_cases
def test_average_precision_is_the_step_sum_over_thresholds(rng):
    scores, labels, weights = brute_force.random_scores(rng)
    values = roc.average_precision(scores, labels, weights=weights)
    np.testing.assert_equal(roc.average_precision(scores, labels), values[0])
    for row, value in zip(weights.astype(int), values, strict=True):
        expected = brute_force.stepwise_average_precision(
            scores.repeat(row), labels.repeat(row)
        )
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-14)


@brute_force.few_cases
def test_operating_point_is_the_best_of_all_thresholds(rng):
    scores, labels, weights = brute_force.random_scores(rng)
    rates = np.array([0.0, 0.1, 0.5, 0.7, 1.0])
    values = roc.sensitivity_at_rates(scores, labels, rates=rates, weights=weights)
    for row, found in zip(weights.astype(int), values, strict=True):
        s, y = scores.repeat(row), labels.repeat(row)
        if not 0 < y.sum() < len(y):
            assert np.isnan(found).all()
            continue
        points = []  # sensitivity, specificity, threshold
        for threshold in [np.inf, *sorted(set(s), reverse=True)]:
            kept = np.sum(s[y == 0] < threshold) / np.sum(y == 0)
            hit = np.sum(s[y == 1] >= threshold) / np.sum(y == 1)
            points.append((hit, kept, threshold))
        alarms = [np.sum(s[y == 0] >= t) / np.sum(y == 0) for *_, t in points]
        for rate, value in zip(rates, found, strict=True):
            under = [p[0] for p, a in zip(points, alarms, strict=True) if a <= rate]
            assert value == max(under)
        for wanted in (0.0, 0.3, 0.9, 1.0):
            best = roc.sensitivity_at_specificity(s, y, specificity=wanted)
            assert (best.sensitivity, best.specificity, best.threshold) == max(
                point for point in points if point[1] >= wanted
            )


def test_the_random_cases_hold_the_hard_ones():
    """Of 500 of them: how many have ties across the classes, or one class, or none."""
    kinds = collections.Counter()
    for seed in range(500):
        scores, labels, _ = brute_force.random_scores(np.random.default_rng(seed))
        kinds["tie"] += bool(set(scores[labels == 1]) & set(scores[labels == 0]))
        kinds["one class"] += len(set(labels)) == 1
        kinds["no image"] += not len(scores)
    assert min(kinds.values()) >= 15, kinds


@pytest.mark.parametrize("block", [1, 100, 1 << 19])
def test_the_block_changes_nothing(block, monkeypatch):
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 9, 40) / 8, rng.integers(0, 2, 40)
    weights = rng.integers(0, 4, (3, 5, 40)).astype(float)
    before = roc.auroc(scores, labels, weights=weights)
    monkeypatch.setattr(roc, "_BLOCK", block)
    np.testing.assert_array_equal(roc.auroc(scores, labels, weights=weights), before)


@pytest.mark.parametrize("metric", [roc.auroc, roc.average_precision])
def test_replicates_at_once_equal_a_loop(metric):
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 9, 40) / 8, rng.integers(0, 2, 40)
    weights = rng.random((3, 5, 40)) * rng.integers(0, 2, (3, 5, 40))
    at_once = metric(scores, labels, weights=weights)
    assert at_once.shape == (3, 5)
    for index in np.ndindex(3, 5):
        one = metric(scores, labels, weights=weights[index])
        assert at_once[index] == pytest.approx(float(one), abs=1e-14)
    ones = metric(scores, labels, weights=np.ones(40))
    assert ones == metric(scores, labels)


def test_a_monotone_transform_changes_nothing_but_the_threshold():
    rng = np.random.default_rng(1)
    scores, labels = rng.integers(0, 20, 60) / 8, rng.integers(0, 2, 60)
    changed = np.exp(scores) - 7
    assert roc.auroc(changed, labels) == roc.auroc(scores, labels)
    assert roc.average_precision(changed, labels) == roc.average_precision(
        scores, labels
    )
    before = roc.sensitivity_at_specificity(scores, labels, specificity=0.8)
    after = roc.sensitivity_at_specificity(changed, labels, specificity=0.8)
    assert after.sensitivity == before.sensitivity
    assert after.threshold == np.exp(before.threshold) - 7


def test_the_sign_of_the_scores_mirrors_the_auroc():
    rng = np.random.default_rng(2)
    scores, labels = rng.integers(0, 9, 50), rng.integers(0, 2, 50)
    assert roc.auroc(-scores, labels) == pytest.approx(1 - roc.auroc(scores, labels))


def test_numbers():
    scores, labels = np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])
    assert roc.auroc(scores, labels) == 0.75
    assert roc.average_precision(scores, labels) == pytest.approx(5 / 6)
    assert roc.auroc(np.zeros(4), labels) == 0.5
    ten = np.arange(10) / 10
    labels = np.array([0] * 9 + [1])
    point = roc.sensitivity_at_specificity(
        np.append(ten, 0.85), np.append(np.zeros(10, int), 1), specificity=0.9
    )
    # 9 of 10 negatives lie below 0.85: exactly 0.9 is "at least 0.9".
    assert point == roc.OperatingPoint(1.0, 0.9, 0.85)
    assert roc.sensitivity_at_specificity(
        ten, 1 - labels, specificity=1.0
    ) == roc.OperatingPoint(0.0, 1.0, np.inf)


@pytest.mark.parametrize("labels", [[0, 0], [1, 1], []])
def test_one_class_has_no_value_and_a_reason(labels):
    scores, labels = np.arange(len(labels)) / 4, np.array(labels, int)
    assert np.isnan(roc.auroc(scores, labels))
    assert np.isnan(roc.average_precision(scores, labels))
    assert np.isnan(roc.sensitivity_at_rates(scores, labels, rates=[0.1])).all()
    point = roc.sensitivity_at_specificity(scores, labels, specificity=0.9)
    assert np.isnan(point.sensitivity)
    curve = roc.roc_curve(scores, labels)
    assert (
        np.isnan(curve.sensitivity).all() or np.isnan(curve.false_positive_rate).all()
    )
    assert roc.undefined_reason(labels).startswith("one class only")
    assert roc.undefined_reason(np.array([0, 1])) == ""


def test_a_replicate_that_lost_a_class_is_nan_and_the_others_are_not():
    weights = np.array([[1, 1, 1], [0, 1, 1], [1, 1, 0], [0, 0, 0]])
    values = roc.auroc(np.array([0.2, 0.5, 0.9]), np.array([0, 0, 1]), weights=weights)
    np.testing.assert_equal(values, [1.0, 1.0, np.nan, np.nan])


@pytest.mark.parametrize(
    ("scores", "labels", "weights", "message"),
    [
        ([0.1, np.nan], [0, 1], None, r"scores\[1\] is nan"),
        ([0.1, 0.2], [0, 2], None, "labels are"),
        ([0.1], [0, 1], None, "one length"),
        ([0.1, 0.2], [0, 1], [1.0], "must end in"),
        ([0.1, 0.2], [0, 1], [1.0, -1.0], "not negative"),
        ([0.1, 0.2], [0, 1], [1.0, np.nan], "finite"),
    ],
)
def test_bad_input_is_named(scores, labels, weights, message):
    with pytest.raises(ValueError, match=message):
        roc.auroc(scores, labels, weights=weights)


@pytest.mark.parametrize("specificity", [-0.1, 1.1])
def test_a_specificity_is_a_share(specificity):
    with pytest.raises(ValueError, match="specificity="):
        roc.sensitivity_at_specificity([0.1], [0], specificity=specificity)


def test_weights_of_draws_take_a_faster_way_to_the_same_numbers():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 30, 200) / 30, rng.integers(0, 2, 200)
    draws = Draws(rng.integers(0, 60, 200), replicates=100, seed=0)
    rates = np.linspace(0, 1, 11)
    for drawn in draws:
        plain = np.array(drawn)
        assert type(drawn) is roc.DrawnWeights and type(plain) is np.ndarray
        for metric in (roc.auroc, roc.average_precision):
            found = metric(scores, labels, weights=drawn)
            np.testing.assert_array_equal(found, metric(scores, labels, weights=plain))
        found, expected = (
            roc.sensitivity_at_rates(scores, labels, rates=rates, weights=weights)
            for weights in (drawn, plain)
        )
        np.testing.assert_array_equal(found, expected)
