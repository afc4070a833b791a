"""Swapped readings: laws, the exact test of McNemar, and all swaps counted by hand."""

import itertools

import numpy as np
import pytest
from scipy import special, stats

from aals_jax.metrics import calibration, froc, permutation, readings, roc

HIT = readings.Hit()
BOX = np.array([[0.0, 0.0, 10.0, 10.0]])


def share(first, second):
    """The statistic of two systems that are right, or wrong, on each image."""
    values = np.concatenate([first, second]).astype(float)
    return lambda weights: weights @ values / len(first)


def p_of(first, second, patient=None, **settings):
    patient = np.arange(len(first)) if patient is None else patient
    return permutation.swap_test(
        share(first, second), patient, first != second, **settings
    )


def test_of_two_shares_it_is_the_exact_test_of_mcnemar():
    for better, worse in ((0, 3), (1, 1), (5, 1), (9, 2), (12, 0)):
        first = np.array([1] * better + [0] * worse + [1, 0] * 10)
        second = np.array([0] * better + [1] * worse + [1, 0] * 10)
        expected = stats.binomtest(worse, better + worse).pvalue
        assert p_of(first, second).p_value == pytest.approx(expected)


def test_three_patients_give_a_quarter_at_the_least_and_no_difference_gives_1():
    first, second = np.ones(6), np.ones(6)
    second[:3] = 0
    assert p_of(first, second).p_value == 0.25
    same = p_of(first, first)
    assert same.p_value == 1.0 and "the same" in same.method


def test_images_of_a_patient_are_swapped_together():
    first, second = np.ones(12), np.zeros(12)
    assert p_of(first, second, np.repeat([7, 3, 5], 4)).p_value == 0.25
    assert p_of(first, second).p_value == 2 / 2**12


def test_beyond_twelve_patients_swaps_are_drawn_and_count_themselves():
    first, second = np.ones(40), np.zeros(40)
    found = p_of(first, second, permutations=999)
    assert found.p_value == 1 / 1000
    assert "999 swaps, seed 0" in found.method
    rng = np.random.default_rng(0)
    first, second = (rng.random((2, 40)) < [[0.6], [0.4]]).astype(float)
    better, worse = np.sum(first > second), np.sum(first < second)
    expected = stats.binomtest(int(worse), int(better + worse)).pvalue
    drawn = p_of(first, second, permutations=20_000).p_value
    assert drawn == pytest.approx(expected, abs=4 * np.sqrt(expected / 20_000))


def test_alike_systems_are_seldom_told_apart():
    rng = np.random.default_rng(3)
    found = []
    for _ in range(400):
        patient = np.repeat(np.arange(9), 4)
        shared = rng.normal(size=9)[patient]
        first, second = (special.ndtr(shared + rng.normal(size=(2, 36))) > 0.5) * 1.0
        found.append(p_of(first, second, patient).p_value)
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(found) <= level) < level + 2.6 * np.sqrt(
            level * (1 - level) / 400
        )


def pair(seed=0, n=12, patients=6):
    """The truth of n images, and how two systems with scales of their own read them."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2 == 0
    truth = readings.Truth(
        label=label,
        judged=np.ones(n, bool),
        patient=(np.arange(n) % patients).astype(str),
        lesions=[BOX[: int(positive)] for positive in label],
        groups={},
    )
    systems = []
    for scale in (1.0, 0.3):
        found = []
        for positive in label:
            hits = [[5, 5, scale * rng.random()]] * int(positive and rng.random() < 0.8)
            false = [[50, 50 + k, scale * rng.random()] for k in range(rng.integers(3))]
            found.append(np.array([*hits, *false]).reshape(-1, 3))
        score = np.array([rows[:, 2].max(initial=0.0) for rows in found])
        systems.append(readings.read(truth, score, found, hit=HIT))
    return truth, *systems


def froc_of(data):
    return lambda weights: froc.froc_score(data, froc.COUNT_LIMITS, weights=weights)


def auroc_of(truth, reading):
    return lambda weights: roc.auroc(reading.score, truth.label, weights=weights)


def test_the_common_scale_keeps_the_metrics_of_each_system():
    for seed in range(30):
        truth, first, second = pair(seed)
        twice, reading = permutation.both(truth, first, second, on_ranks=True)
        n = len(truth)
        weights = np.repeat([[1.0, 0.0], [0.0, 1.0]], n, axis=1)
        np.testing.assert_array_equal(
            auroc_of(twice, reading)(weights),
            [roc.auroc(each.score, truth.label) for each in (first, second)],
        )
        for limits in (froc.COUNT_LIMITS, (0.0,), (0.3, 0.7)):
            np.testing.assert_array_equal(
                froc.froc_score(reading.count, limits, weights=weights),
                [froc.froc_score(each.count, limits) for each in (first, second)],
            )


def test_a_monotone_transform_of_one_system_changes_nothing():
    truth, first, second = pair(4)
    bent = readings.read(
        truth,
        np.exp(7 * second.score),
        [
            np.column_stack([rows[:, :2], np.exp(7 * rows[:, 2])])
            for rows in second.detections
        ],
        hit=HIT,
    )
    patient = np.arange(12) % 6
    every = np.ones(12, bool)
    p_values = []
    for other in (second, bent):
        twice, reading = permutation.both(truth, first, other, on_ranks=True)
        p_values.append(
            [
                permutation.swap_test(statistic, patient, every).p_value
                for statistic in (froc_of(reading.count), auroc_of(twice, reading))
            ]
        )
    assert p_values[0] == p_values[1]
    assert min(p_values[0]) >= 2 / 2**6


def test_swapping_the_systems_changes_nothing():
    truth, first, second = pair(5)
    patient, every = np.arange(12) % 6, np.ones(12, bool)
    found = [
        permutation.swap_test(
            froc_of(permutation.both(truth, *each, on_ranks=True)[1].count),
            patient,
            every,
        ).p_value
        for each in ((first, second), (second, first))
    ]
    assert found[0] == found[1]


def test_all_swaps_are_those_counted_by_hand():
    """Brier scores, whose readings are swapped as they are."""
    truth, first, second = pair(6)
    patient = np.arange(12) % 6
    twice, reading = permutation.both(truth, first, second, on_ranks=False)

    def brier(weights):
        return calibration.brier_score(reading.score, twice.label, weights=weights)

    differs = permutation.differing_scores(first, second)
    found = permutation.swap_test(brier, patient, differs).p_value
    errors = np.array([(each.score - truth.label) ** 2 for each in (first, second)])
    by_patient = [np.mean((errors[0] - errors[1])[patient == k]) / 6 for k in range(6)]
    sums = [
        abs(np.dot(signs, by_patient)) for signs in itertools.product([1, -1], repeat=6)
    ]
    observed = abs(np.sum(by_patient))
    assert found == np.mean(np.array(sums) >= observed - 1e-12)


def test_what_differs_is_seen_in_hits_and_in_false_positives():
    truth, first, _ = pair(7)
    none = permutation.differing_matches(first, first, len(truth))
    assert not none.any()
    assert not permutation.differing_scores(first, first).any()
    image = int(first.match.lesion_image[np.isfinite(first.match.lesion_score)][0])
    rows = [each.copy() for each in first.detections]
    rows[image][0, 2] += 0.001
    moved = readings.read(truth, first.score, rows, hit=HIT)
    differs = permutation.differing_matches(first, moved, len(truth))
    assert np.flatnonzero(differs).tolist() == [image]
    rows[1] = np.concatenate([rows[1], [[60.0, 60.0, 0.5]]])
    more = readings.read(truth, first.score, rows, hit=HIT)
    differs = permutation.differing_matches(first, more, len(truth))
    assert np.flatnonzero(differs).tolist() == sorted({1, image})


def test_the_order_of_images_changes_nothing():
    truth, first, second = pair(8, n=40, patients=20)
    order = np.random.default_rng(0).permutation(40)
    patient = np.arange(40) % 20
    found = []
    for rows in (np.arange(40), order):
        one, two = (each.select(truth, rows, hit=HIT) for each in (first, second))
        twice, reading = permutation.both(truth.select(rows), one, two, on_ranks=True)
        differs = permutation.differing_matches(one, two, 40)
        found += [
            permutation.swap_test(
                statistic, patient[rows], differs, permutations=500, seed=1
            ).p_value
            for statistic in (froc_of(reading.count), auroc_of(twice, reading))
        ]
    assert found[:2] == found[2:]
