"""Two-by-two tables: closed forms, laws of odds, and no certainty from empty cells."""

import numpy as np
import pytest
from scipy import stats

from aals_jax.metrics import binomial, likelihood, operating, readings
from aals_jax.metrics.draws import Bootstrap, TruthDraws


def table(tp, fp, fn, tn):
    """called, label, patient: each image a patient of its own."""
    called = np.repeat([True, True, False, False], [tp, fp, fn, tn])
    label = np.repeat([True, False, True, False], [tp, fp, fn, tn])
    return called, label, np.arange(len(label))


def test_the_ratio_and_its_interval_are_those_of_the_closed_form():
    tp, fp, fn, tn = 34, 11, 6, 89
    called, label, patient = table(tp, fp, fn, tn)
    found = likelihood.likelihood_ratio(called, label, patient)
    value = (34 / 40) / (11 / 100)
    error = np.sqrt(1 / tp - 1 / (tp + fn) + 1 / fp - 1 / (fp + tn))
    error *= np.sqrt(140 / 139)
    assert found.value == pytest.approx(value)
    expected = value * np.exp([-1.959964 * error, 1.959964 * error])
    assert [found.low, found.high] == pytest.approx(expected, rel=1e-6)
    negative = likelihood.likelihood_ratio(~called, label, patient)
    assert negative.value == pytest.approx((6 / 40) / (89 / 100))


def test_images_of_one_patient_that_are_alike_add_nothing():
    called, label, patient = table(34, 11, 6, 89)
    once = likelihood.likelihood_ratio(called, label, patient)
    thrice = likelihood.likelihood_ratio(
        *(np.repeat(values, 3) for values in (called, label, patient))
    )
    for end in ("value", "low", "high"):
        assert getattr(thrice, end) == pytest.approx(getattr(once, end))


def test_the_order_of_rows_and_the_names_of_patients_have_no_influence():
    rng = np.random.default_rng(0)
    called, label = rng.random((2, 60)) < 0.5
    patient = rng.integers(0, 25, 60)
    order = rng.permutation(60)
    first = likelihood.likelihood_ratio(called, label, patient)
    names = np.array([f"p{97 * p % 31}" for p in patient])
    second = likelihood.likelihood_ratio(called[order], label[order], names[order])
    assert second.low == pytest.approx(first.low)
    assert second.high == pytest.approx(first.high)


@pytest.mark.parametrize(
    "cells", [(10, 0, 5, 20), (0, 4, 9, 16), (15, 3, 0, 20), (9, 20, 4, 0)]
)
def test_an_empty_cell_leaves_a_wide_interval_around_the_value(cells):
    found = likelihood.likelihood_ratio(*table(*cells))
    assert found.low <= found.value <= found.high
    assert found.high > 1.5 * found.low
    if not cells[1]:
        assert np.isinf(found.value) and "no upper limit" in found.reason


def test_the_box_covers_where_the_false_positive_rate_is_small():
    """Empty cells are frequent here; the true ratio is 0.8 / 0.02 = 40."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        tp, fp = rng.binomial(40, 0.8), rng.binomial(60, 0.02)
        found = likelihood.likelihood_ratio(*table(tp, fp, 40 - tp, 60 - fp))
        covered += found.low <= 40 <= found.high
    assert covered >= 380


def test_predictive_values_at_the_own_prevalence_are_those_that_are_counted():
    called, label, patient = table(34, 11, 6, 89)
    positive = likelihood.likelihood_ratio(called, label, patient)
    negative = likelihood.likelihood_ratio(~called, label, patient)
    own = 40 / 140
    assert likelihood.at_prevalence(positive, own).value == pytest.approx(34 / 45)
    npv = likelihood.complement(likelihood.at_prevalence(negative, own))
    assert npv.value == pytest.approx(89 / 95)
    assert npv.low < npv.value < npv.high


def test_predictive_values_at_another_prevalence_are_those_of_such_a_set():
    """Weighting the negatives 13-fold makes the set that is meant."""
    called, label, patient = table(34, 11, 6, 89)
    positive = likelihood.likelihood_ratio(called, label, patient)
    rare = 40 / (40 + 13 * 100)
    found = likelihood.at_prevalence(positive, rare)
    assert found.value == pytest.approx(34 / (34 + 13 * 11))
    # the standard form: normal on the logit scale, with the error of log LR
    logit = np.log(found.value / (1 - found.value))
    half = np.log(positive.high / positive.value)
    ends = 1 / (1 + np.exp(-(logit + np.array([-half, half]))))
    assert [found.low, found.high] == pytest.approx(ends)
    with pytest.raises(ValueError, match="prevalence"):
        likelihood.at_prevalence(positive, 1.0)


def test_one_class_or_one_patient_has_no_ratio_but_a_reason():
    called, label, patient = table(3, 0, 2, 0)
    assert "one class" in likelihood.likelihood_ratio(called, label, patient).reason
    called, label, patient = table(3, 1, 2, 4)
    one = likelihood.likelihood_ratio(called, label, np.zeros(10, int))
    few = likelihood.likelihood_ratio(called, label, patient)
    assert one.low < few.low < few.value < few.high < one.high
    assert one.high > 100 * one.value  # one patient says next to nothing
    nothing = likelihood.likelihood_ratio(np.zeros(10, bool), label, patient)
    assert np.isnan(nothing.value) and nothing.reason


def test_clopper_pearson_is_the_binomial_test_turned_round():
    for hits, number in ((0, 12), (3, 12), (12, 12), (5, 400)):
        exact = stats.binomtest(hits, number).proportion_ci(method="exact")
        found = binomial.clopper_pearson(hits / number, number)
        assert found == pytest.approx((exact.low, exact.high))


def test_operating_points_get_their_counts():
    rng = np.random.default_rng(3)
    n = 50
    label = rng.random(n) < 0.4
    score = np.round(rng.random(n) + 0.3 * label, 2)
    box, none = np.array([[0.0, 0.0, 9.0, 9.0]]), np.empty((0, 4))
    truth = readings.Truth(
        label, np.ones(n, bool), np.arange(n), [box if y else none for y in label], {}
    )
    spots = [np.array([[5.0, 5.0, s], [50.0, 5.0, s / 2]]) for s in score]
    reading = readings.read(truth, score, spots, hit=readings.Hit())
    points = operating.apply(
        operating.choose(truth, reading),
        truth,
        reading,
        chosen_on="here",
        draws=TruthDraws(truth, Bootstrap(50)),
    )
    for point in likelihood.extend(points, truth, reading, prevalence=0.01):
        cells, measured = point["counts"], point["measured"]
        hits = cells["true_positive"]
        assert measured["sensitivity"]["value"] == pytest.approx(
            hits / (hits + cells["false_negative"])
        )
        if point["level"] == "lesion":
            rate = measured["false_positives_per_image"]["value"]
            assert cells["false_positive"] == pytest.approx(n * rate)
            assert "true_negative" not in cells
        else:
            assert sum(cells.values()) == n
            assert measured["ppv_at_prevalence"]["value"] <= measured["ppv"]["value"]
            assert measured["npv_at_prevalence"]["value"] > 0.95
    one_class = likelihood.extend(
        [{"name": "x", "level": "image", "threshold": None, "measured": {}}],
        truth,
        reading,
    )
    assert "counts" not in one_class[0]


def test_intervals_cover_with_several_alike_images_a_patient():
    """15 patients with 3 positive images and 40 with 3 negative ones; half of the
    variance of a score is the patient's. The true ratio is 0.8 / 0.25."""
    rng = np.random.default_rng(2)
    label = np.repeat(np.arange(55) < 15, 3)
    patient = np.repeat(np.arange(55), 3)
    limit = np.where(label, stats.norm.ppf(0.8), stats.norm.ppf(0.25))
    covered = 0
    for _ in range(400):
        own = rng.normal(size=55)[patient] + rng.normal(size=165)
        called = own / np.sqrt(2) < limit
        found = likelihood.likelihood_ratio(called, label, patient)
        covered += found.low <= 3.2 <= found.high
    assert 368 <= covered <= 396  # 92 to 99 %
