"""Laws of the image-level curves, then numbers, then scikit-learn as oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from aals_jax import roc

exhaustive = settings(derandomize=True, deadline=None, max_examples=300, database=None)


@st.composite
def image_sets(draw, two_classes=False):
    """Few distinct scores, so that ties are the rule."""
    n = draw(st.integers(2 if two_classes else 0, 12))
    scores = draw(st.lists(st.integers(-3, 3), min_size=n, max_size=n))
    labels = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    if two_classes:
        labels[:2] = [0, 1]
    weights = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    return np.array(scores, float) / 4, np.array(labels, int), np.array(weights, float)


def pairwise_auroc(scores, labels):
    wins = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a in scores[labels == 1]
        for b in scores[labels == 0]
    ]
    return sum(wins) / len(wins) if wins else np.nan


def stepwise_average_precision(scores, labels):
    if not 0 < labels.sum() < len(labels):
        return np.nan
    total, recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        called = scores >= threshold
        now = labels[called].sum() / labels.sum()
        total += (now - recall) * labels[called].mean()
        recall = now
    return total


@exhaustive
@given(image_sets())
def test_auroc_is_the_share_of_pairs_in_the_right_order(images):
    scores, labels, _ = images
    np.testing.assert_equal(roc.auroc(scores, labels), pairwise_auroc(scores, labels))


@exhaustive
@given(image_sets())
def test_average_precision_is_the_step_sum_over_thresholds(images):
    scores, labels, _ = images
    expected = stepwise_average_precision(scores, labels)
    np.testing.assert_allclose(
        roc.average_precision(scores, labels), expected, rtol=0, atol=1e-14
    )


@exhaustive
@given(image_sets())
def test_an_integer_weight_is_a_repetition(images):
    scores, labels, weights = images
    times = weights.astype(int)
    again = np.repeat(scores, times), np.repeat(labels, times)
    for metric in (roc.auroc, roc.average_precision):
        weighted = metric(scores, labels, weights=weights)
        np.testing.assert_allclose(weighted, metric(*again), rtol=0, atol=1e-14)
    weighted = roc.sensitivity_at(scores, labels, specificity=0.5, weights=weights)
    repeated = roc.sensitivity_at_specificity(*again, specificity=0.5).sensitivity
    np.testing.assert_equal(weighted, repeated)


@exhaustive
@given(image_sets(two_classes=True))
def test_scikit_learn_agrees(images):
    scores, labels, weights = images
    weights = weights + 1
    for weight in (None, weights):
        assert roc.auroc(scores, labels, weights=weight) == pytest.approx(
            metrics.roc_auc_score(labels, scores, sample_weight=weight), abs=1e-12
        )
        assert roc.average_precision(scores, labels, weights=weight) == pytest.approx(
            metrics.average_precision_score(labels, scores, sample_weight=weight),
            abs=1e-12,
        )
    curve = roc.roc_curve(scores, labels)
    rate, sensitivity, threshold = metrics.roc_curve(
        labels, scores, drop_intermediate=False
    )
    np.testing.assert_array_equal(curve.false_positive_rate, rate)
    np.testing.assert_array_equal(curve.sensitivity, sensitivity)
    np.testing.assert_array_equal(curve.threshold, threshold)


@exhaustive
@given(image_sets(two_classes=True), st.integers(0, 10))
def test_operating_point_is_the_best_of_all_thresholds(images, tenths):
    scores, labels, _ = images
    wanted = tenths / 10
    found = roc.sensitivity_at_specificity(scores, labels, specificity=wanted)
    points = []
    for threshold in [np.inf, *sorted(set(scores), reverse=True)]:
        kept = np.sum(scores[labels == 0] < threshold) / np.sum(labels == 0)
        hit = np.sum(scores[labels == 1] >= threshold) / np.sum(labels == 1)
        if kept >= wanted:
            points.append((hit, kept, threshold))
    assert (found.sensitivity, found.specificity, found.threshold) == max(points)
    called = scores >= found.threshold  # the threshold reproduces the point
    assert np.mean(called[labels == 1]) == pytest.approx(found.sensitivity, abs=1e-14)


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
    assert np.isnan(roc.sensitivity_at(scores, labels, specificity=0.9))
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
