"""Array shapes of the metrics, checked by name: n images, r replicates, l limits."""

import numpy as np
import pytest
from jaxtyping import Float64, Int64, jaxtyped

from aals_jax.metrics import calibration, delong, froc, intervals, matching, roc
from aals_jax.metrics.draws import Draws

N, R = 12, 7


@pytest.fixture
def case():
    """Scores f64[n], labels i64[n] and weights f64[r, n]."""
    rng = np.random.default_rng(0)
    (weights,) = Draws(np.arange(N) // 2, replicates=R, seed=0, chunk=R)
    return rng.random(N), np.arange(N) % 3 == 0, weights


@pytest.mark.parametrize(
    "metric",
    [
        roc.auroc,
        roc.average_precision,
        calibration.brier_score,
        calibration.expected_calibration_error,
    ],
)
def test_a_metric_gives_one_value_a_replicate(case, metric):
    scores, labels, weights = case
    values = metric(scores, labels, weights=weights)
    with jaxtyped("context"):
        assert isinstance(weights, Float64[np.ndarray, "r n"])
        assert isinstance(scores, Float64[np.ndarray, "n"])
        assert isinstance(values, Float64[np.ndarray, "r"])


def test_curves_add_an_axis_of_points(case):
    scores, labels, weights = case
    rates = np.linspace(0, 1, 5)
    sensitivity = roc.sensitivity_at_rates(scores, labels, rates=rates, weights=weights)
    observed = calibration.reliability(scores, labels, weights=weights).observed
    low, high = intervals.share_band(
        roc.sensitivity_at_rates(scores, labels, rates=rates),
        sensitivity,
        patients=N,
        trials=N,
    )
    with jaxtyped("context"):
        assert isinstance(weights, Float64[np.ndarray, "r n"])
        assert isinstance(rates, Float64[np.ndarray, "l"])
        assert isinstance(sensitivity, Float64[np.ndarray, "r l"])
        assert isinstance(low, Float64[np.ndarray, "l"])
        assert isinstance(high, Float64[np.ndarray, "l"])
        assert isinstance(observed, Float64[np.ndarray, "r bins"])
    assert isinstance(delong.mid_ranks(scores), Float64[np.ndarray, "12"])


def test_a_match_and_its_froc_data_agree_in_lesions_and_images(case):
    _, labels, weights = case
    box = np.array([[0.0, 0.0, 4.0, 4.0]])
    lesions = [box[: int(positive)] for positive in labels]
    detections = [np.array([[2.0, 2.0, 0.1 * i + 0.1]]) for i in range(N)]
    match = matching.match_images(detections, lesions)
    data = froc.matched_data(match, N)
    sensitivity = froc.sensitivity_at(data, froc.COUNT_LIMITS, weights=weights)
    with jaxtyped("context"):
        assert isinstance(match.lesion_score, Float64[np.ndarray, "m"])
        assert isinstance(match.lesion_image, Int64[np.ndarray, "m"])
        assert isinstance(match.lesion_of, Int64[np.ndarray, "n"])
        assert isinstance(data.units, Float64[np.ndarray, "n"])
        assert isinstance(data.total_false, Int64[np.ndarray, "n"])
        assert isinstance(weights, Float64[np.ndarray, "r n"])
        assert isinstance(sensitivity, Float64[np.ndarray, "r 6"])
