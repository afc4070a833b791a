"""Logistic recalibration against closed forms and another library; net benefit."""

import warnings

import numpy as np
import pytest
from scipy import special
from sklearn.linear_model import LogisticRegression

from aals_jax.metrics import recalibration


def case(seed=0, n=400, stretch=1.0, shift=0.0):
    """Scores whose true slope is 1 / stretch; each image a patient of its own."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(0, 1.5, n)
    labels = rng.random(n) < special.expit(logit)
    return special.expit(stretch * logit + shift), labels, np.arange(n)


def test_it_is_the_fit_of_another_library():
    scores, labels, patient = case(stretch=2.0, shift=0.5)
    found = recalibration.slope_and_intercept(scores, labels, patient)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what `no penalty` is called differs
        model = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000)
        model.fit(special.logit(scores)[:, None], labels)
    slope, intercept = found["calibration_slope"], found["calibration_intercept"]
    assert slope.value == pytest.approx(model.coef_[0, 0], rel=1e-5)
    assert intercept.value == pytest.approx(model.intercept_[0], rel=1e-4)


def test_the_score_equations_hold_at_the_maximum():
    scores, labels, patient = case(3)
    found = recalibration.slope_and_intercept(scores, labels, patient)
    logit = special.logit(scores)
    b, a = (
        found[name].value for name in ("calibration_slope", "calibration_intercept")
    )
    left = labels - special.expit(a + b * logit)
    assert abs(left.sum()) < 1e-7 and abs((left * logit).sum()) < 1e-7
    shift = found["calibration_in_the_large"].value
    assert abs(np.sum(labels - special.expit(shift + logit))) < 1e-7


def test_two_scores_have_a_closed_form():
    """A saturated fit: both groups' logits are met exactly, and so is the error."""
    scores = np.repeat([0.2, 0.7], [50, 40])
    labels = np.r_[np.arange(50) < 20, np.arange(40) < 24]
    found = recalibration.slope_and_intercept(scores, labels, np.arange(90))
    low, high = special.logit([0.4, 0.6])
    between = special.logit(0.7) - special.logit(0.2)
    slope = found["calibration_slope"]
    assert slope.value == pytest.approx((high - low) / between)
    error = np.sqrt(1 / 20 + 1 / 30 + 1 / 24 + 1 / 16) / between * np.sqrt(90 / 89)
    assert slope.high - slope.value == pytest.approx(1.959964 * error, rel=1e-6)


def test_stretching_the_logit_divides_the_slope():
    scores, labels, patient = case(1)
    other, *_ = case(1, stretch=3.0)
    first = recalibration.slope_and_intercept(scores, labels, patient)
    second = recalibration.slope_and_intercept(other, labels, patient)
    for end in ("value", "low", "high"):
        slopes = [getattr(f["calibration_slope"], end) for f in (first, second)]
        assert slopes[0] == pytest.approx(3 * slopes[1])


def test_copies_of_a_patient_add_nothing_and_the_interval_covers():
    scores, labels, patient = case(2)
    once = recalibration.slope_and_intercept(scores, labels, patient)
    copies = recalibration.slope_and_intercept(
        *(np.repeat(values, 4) for values in (scores, labels, patient))
    )
    for name in once:
        assert copies[name].high == pytest.approx(once[name].high)
    covered = 0
    for seed in range(200):
        slope = recalibration.slope_and_intercept(*case(seed, n=200))
        slope = slope["calibration_slope"]
        covered += slope.low <= 1 <= slope.high
    assert 180 <= covered <= 199


def test_what_has_no_recalibration_says_why():
    scores, labels, patient = case()
    for changed, words in (
        (np.where(np.arange(400) == 5, 0.0, scores), "exactly 0 or 1"),
        (scores * 3, "not probabilities"),
        (np.full(400, 0.5), "equal"),
    ):
        found = recalibration.slope_and_intercept(changed, labels, patient)
        assert words in found["calibration_slope"].reason
        assert np.isnan(found["calibration_slope"].value)
    one = recalibration.slope_and_intercept(scores, np.ones(400), patient)
    assert "one class" in one["calibration_slope"].reason
    apart = recalibration.slope_and_intercept(
        np.r_[0.1, 0.2, 0.8, 0.9], np.r_[0, 0, 1, 1], np.arange(4)
    )
    assert "separate" in apart["calibration_slope"].reason


def test_net_benefit_by_hand_and_between_its_limits():
    scores = np.array([0.9, 0.6, 0.4, 0.2])
    labels = np.array([1, 0, 1, 0])
    found = recalibration.net_benefit(scores, labels, thresholds=(0.25, 0.5))
    assert found == pytest.approx([2 / 4 - 1 / 4 / 3, 1 / 4 - 1 / 4])
    scores, labels, _ = case()
    found = recalibration.net_benefit(scores, labels)
    assert np.all(found <= np.mean(labels))
    # below every score everybody is called
    low = recalibration.net_benefit(scores, labels, thresholds=(1e-6,))
    everybody = recalibration.net_benefit_of_all(float(np.mean(labels)), (1e-6,))
    assert low == pytest.approx(everybody)
    high = recalibration.net_benefit(scores * 0.5, labels, thresholds=(0.6,))
    assert high == pytest.approx(0)  # nobody is


def test_a_weight_is_a_copy_and_calibrated_scores_do_not_lose():
    scores, labels, _ = case(4, n=60)
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 3, (4, 60)).astype(float)
    found = recalibration.net_benefit(scores, labels, weights=weights)
    for row, weight in zip(found, weights.astype(int), strict=True):
        copies = np.repeat(scores, weight), np.repeat(labels, weight)
        assert row == pytest.approx(recalibration.net_benefit(*copies))
    scores, labels, _ = case(5, n=20_000)
    better = recalibration.net_benefit(scores, labels)
    everybody = recalibration.net_benefit_of_all(float(np.mean(labels)))
    assert np.all(better >= np.maximum(everybody, 0) - 5e-3)
    with pytest.raises(ValueError, match="above 0 and below 1"):
        recalibration.net_benefit(scores, labels, thresholds=(1.0,))


def test_numbers_of_statsmodels():
    """GLM with cluster-robust errors of statsmodels 0.15.0, times G / (G - 1)."""
    rng = np.random.default_rng(11)
    logit = np.round(rng.normal(0, 1.5, 120), 2)
    labels = rng.random(120) < special.expit(logit)
    scores, patient = special.expit(1.5 * logit + 0.4), np.arange(120) // 3
    found = recalibration.slope_and_intercept(scores, labels, patient)
    expected = {
        "calibration_slope": (0.9814973197686839, 0.20415002812391606),
        "calibration_intercept": (-0.26783198347661297, 0.2657990865378914),
        "calibration_in_the_large": (-0.2751413889287685, 0.24209400690790545),
    }
    for name, (value, error) in expected.items():
        assert found[name].value == pytest.approx(value)
        half = (found[name].high - found[name].low) / 2
        assert half / special.ndtri(0.975) == pytest.approx(error)


@pytest.mark.parametrize("certain", [0.6, 0.999, 1 - 1e-9])
@pytest.mark.parametrize("n", [40, 4000])
def test_no_interval_where_the_scores_separate_the_classes(certain, n):
    """No image is on the wrong side: an interval would shrink to nothing."""
    labels = np.arange(n) % 2 == 0
    rng = np.random.default_rng(0)
    scores = special.expit(special.logit(certain) * rng.uniform(0.9, 1.1, n))
    for sign in (labels, ~labels):
        found = recalibration.slope_and_intercept(
            np.where(sign, scores, 1 - scores), labels, np.arange(n)
        )
        for interval in found.values():
            assert np.isnan([interval.low, interval.high]).all()
            assert "separate the classes" in interval.reason
    one_wrong = np.where(labels, scores, 1 - scores)
    one_wrong[:2] = 0.5
    shift = recalibration.slope_and_intercept(one_wrong, labels, np.arange(n))
    shift = shift["calibration_in_the_large"]
    assert shift.low < shift.value < shift.high
