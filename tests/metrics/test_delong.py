"""DeLong and Obuchowski against their definitions over all pairs, and a bootstrap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from aals_jax.metrics import delong, intervals, roc
from aals_jax.metrics.draws import Draws
from tests.support.simulations import auroc_of, simulated


def plain_obuchowski(models, labels, patients):
    """Values and covariance from all pairs, each sum of Obuchowski's written out.

    With one image a patient these are DeLong's sums.
    """
    positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    kernel = np.array(
        [
            [[(s[i] > s[j]) + 0.5 * (s[i] == s[j]) for j in negative] for i in positive]
            for s in models
        ]
    )
    values = kernel.mean(axis=(1, 2))
    ids = sorted(set(patients.tolist()))
    m, n = len(positive), len(negative)
    beats = np.zeros((len(models), len(ids)))
    beaten = np.zeros_like(beats)
    for k, name in enumerate(ids):
        for i in np.flatnonzero(patients[positive] == name):
            beats[:, k] += kernel[:, i].mean(axis=1) - values
        for j in np.flatnonzero(patients[negative] == name):
            beaten[:, k] += kernel[:, :, j].mean(axis=1) - values
    i10, i01 = (len(set(patients[rows])) for rows in (positive, negative))
    s10 = i10 / ((i10 - 1) * m) * beats @ beats.T
    s01 = i01 / ((i01 - 1) * n) * beaten @ beaten.T
    s11 = len(ids) / (len(ids) - 1) * beats @ beaten.T
    return values, s10 / m + s01 / n + (s11 + s11.T) / (m * n)


PATIENTS = {
    "one image each": lambda rng, labels: np.arange(len(labels)),
    "several, of both classes": lambda rng, labels: rng.integers(0, 40, len(labels)),
    "several, of one class": lambda rng, labels: (
        20 * labels + rng.integers(0, 20, len(labels))
    ),
}


@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("patients", PATIENTS)
def test_the_variance_equals_its_definition_over_all_pairs(levels, patients):
    for seed in range(10):
        a, labels = simulated(70, seed, levels=levels)
        b, _ = simulated(70, seed + 100, levels=levels)
        ids = PATIENTS[patients](np.random.default_rng(seed), labels)
        values, covariance = plain_obuchowski([a, b], labels, ids)
        single = delong.auroc_interval(a, labels, patients=ids)
        paired = delong.auroc_difference(a, b, labels, patients=ids)
        kinds = [len(set(ids[labels == k])) for k in (0, 1)]
        t = stats.norm if patients == "one image each" else stats.t(min(kinds) - 1)
        half = t.ppf(0.975) * np.sqrt(covariance[0, 0]) / values[0] / (1 - values[0])
        assert single.value == pytest.approx(values[0], abs=1e-14)
        assert special.logit(single.high) == pytest.approx(
            special.logit(values[0]) + half
        )
        error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
        difference = values[0] - values[1]
        assert paired.value == pytest.approx(difference, abs=1e-14)
        assert paired.high == pytest.approx(difference + t.ppf(0.975) * error)
        assert paired.p_value == pytest.approx(2 * t.sf(abs(difference) / error))
        assert ("Obuchowski" in paired.method) == (patients != "one image each")


def test_one_image_a_patient_is_delong_and_says_what_it_takes_for_granted():
    scores, labels = simulated()
    plain = delong.auroc_interval(scores, labels)
    given = delong.auroc_interval(scores, labels, patients=np.arange(120)[::-1])
    assert plain == given
    assert plain.method.startswith("DeLong") and "independent" in plain.note
    twice = delong.auroc_interval(scores, labels, patients=np.arange(120) // 2)
    assert "DeLong" not in twice.method and "patients" in twice.note


def test_copies_of_images_within_a_patient_add_nothing():
    """DeLong's variance would fall by their number."""
    a, labels = simulated(100, 2)
    b = a + np.random.default_rng(0).normal(size=100)
    many = np.repeat(np.arange(100), 8)
    once = delong.auroc_difference(a, b, labels)
    copied = delong.auroc_difference(a[many], b[many], labels[many], patients=many)
    t = stats.t(min(labels.sum(), 100 - labels.sum()) - 1)
    errors = (once.high - once.value) / stats.norm.ppf(0.975)
    assert copied.value == pytest.approx(once.value)
    assert copied.high - copied.value == pytest.approx(errors * t.ppf(0.975))
    assert copied.p_value == pytest.approx(2 * t.sf(abs(once.value) / errors))
    blind = delong.auroc_difference(a[many], b[many], labels[many])
    assert blind.high - blind.low < 0.4 * (once.high - once.low)


def test_the_order_of_images_changes_nothing():
    a, labels = simulated(90, 5)
    ids, order = np.arange(90) // 2, np.random.default_rng(0).permutation(90)
    one = delong.auroc_interval(a, labels, patients=ids)
    two = delong.auroc_interval(a[order], labels[order], patients=ids[order])
    np.testing.assert_allclose([one.low, one.high], [two.low, two.high], rtol=1e-12)


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


def test_at_the_edges_there_is_a_reason_and_no_width_of_zero():
    labels = np.repeat([0, 1], 12)
    for scores, value in ((np.arange(24.0), 1.0), (-np.arange(24.0), 0.0)):
        perfect = delong.auroc_interval(scores, labels)
        assert perfect.value == value
        assert np.isnan([perfect.low, perfect.high]).all()
        assert "perfect separation" in perfect.reason
    constant = delong.auroc_interval(np.ones(24), labels)
    assert constant.value == 0.5 and "variance is 0" in constant.reason
    single = delong.auroc_interval(np.array([0.1, 0.4, 0.3]), np.array([0, 0, 1]))
    assert single.value == 0.5
    assert np.isnan(single.low)
    assert "only 1 patient with a positive image" in single.reason
    same = delong.auroc_difference(*[simulated()[0]] * 2, simulated()[1])
    assert (same.value, same.p_value) == (0.0, 1.0)
    assert np.isnan(same.low) and "variance 0" in same.reason
    apart = delong.auroc_difference(np.arange(24.0), -np.arange(24.0), labels)
    assert apart.value == 1.0
    assert np.isnan([apart.low, apart.p_value]).all()
    assert "variance 0" in apart.p_reason


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
    with pytest.raises(ValueError, match="3 patients for 2 images"):
        delong.auroc_interval(np.arange(2.0), np.array([0, 1]), patients=range(3))
