"""Shares and rates over patients, against closed forms, scipy and published numbers."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from aals_jax.metrics import binomial, proportions

Z = stats.norm.ppf(0.975)


def counted(hits, number):
    """Patient i has `number[i]` images, the first `hits[i]` of them counted."""
    patient = np.repeat(np.arange(len(number)), number)
    over = np.concatenate([np.arange(m) < y for y, m in zip(hits, number, strict=True)])
    return over, np.ones(len(over)), patient


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_one_image_a_patient_has_the_plain_interval_of_scipy(level):
    for n in (1, 2, 7, 30):
        for x in range(n + 1):
            found = proportions.proportion(
                *counted((np.arange(n) < x).astype(int), np.ones(n, int)), level=level
            )
            test = stats.binomtest(x, n)
            expected = test.proportion_ci(level, method="wilson")
            np.testing.assert_allclose(
                [found.value, found.low, found.high],
                [x / n, expected.low, expected.high],
                atol=1e-12,
            )
            assert found.design_effect == 1.0
            assert found.low < found.high


@pytest.mark.parametrize(
    ("hits", "number", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_examples(hits, number, low, high):
    found = proportions.wilson(hits / number, number)
    np.testing.assert_allclose(found, [low, high], atol=5e-5)


def test_all_or_none_is_that_of_clopper_and_pearson():
    for n in (1, 3, 10, 200):
        for x in (0, n):
            exact = stats.binomtest(x, n).proportion_ci(method="exact")
            found = binomial.clopper_pearson(x / n, n)
            np.testing.assert_allclose(found, [exact.low, exact.high], atol=1e-12)
    with pytest.raises(ValueError, match="of number=3"):
        binomial.clopper_pearson(1.5, 3)


@given(st.lists(st.booleans(), min_size=2, max_size=30), st.integers(2, 9))
def test_copies_within_a_patient_add_nothing(once, copies):
    plain = proportions.proportion(*counted(once, np.ones(len(once), int)))
    copied = proportions.proportion(
        *counted(copies * np.array(once), np.full(len(once), copies))
    )
    assert copied.design_effect == pytest.approx(copies)
    np.testing.assert_allclose(
        [copied.value, copied.low, copied.high], [plain.value, plain.low, plain.high]
    )


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=20
    ).filter(lambda pairs: any(a + b for a, b in pairs))
)
def test_a_share_has_a_width_and_holds_its_value(pairs):
    hits, misses = np.array(pairs).T
    number = hits + misses
    found = proportions.proportion(*counted(hits, number))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0.01
    most = np.sum(number**2) / number.sum()
    assert 1.0 <= found.design_effect <= most + 1e-12
    # never wider than if all images of a patient were one
    widest = proportions.wilson(found.value, number.sum() / most)
    assert widest[0] <= found.low + 1e-12 and found.high <= widest[1] + 1e-12
    # failures are successes seen from the other side
    turned = proportions.proportion(*counted(misses, number))
    np.testing.assert_allclose(
        [turned.low, turned.high], [1 - found.high, 1 - found.low], atol=1e-12
    )


def test_independent_images_of_many_patients_count_fully_and_like_ones_do_not():
    rng = np.random.default_rng(0)
    number = np.full(4000, 5)
    for shared, expected in ((0.0, 1.0), (0.5, 1 + 4 / 3)):
        effect = rng.normal(0, np.sqrt(shared), 4000)
        chance = special.ndtr(effect / np.sqrt(1 - shared))
        found = proportions.design_effect(rng.binomial(number, chance), number)
        # two images agree with a covariance of asin(shared) / (2 pi), of 1/4
        assert found == pytest.approx(expected, abs=0.1)


def test_order_and_names_of_patients_change_nothing():
    rng = np.random.default_rng(1)
    number = rng.integers(1, 6, 25)
    over, under, patient = counted(rng.binomial(number, 0.8), number)
    order = rng.permutation(len(over))
    renamed = rng.permutation(100)[patient]
    for function in (proportions.proportion, proportions.rate):
        first = function(over, under, patient)
        again = function(over[order], under[order], renamed[order])
        np.testing.assert_allclose(
            [first.low, first.high, first.design_effect],
            [again.low, again.high, again.design_effect],
        )


def test_the_score_limits_of_a_rate_solve_their_equation_and_are_wilsons_limit():
    for value, units in ((0.0, 5), (0.3, 40), (2.5, 11)):
        low, high = proportions.poisson_score(value, units)
        for end in (low, high):
            if end > 0:
                assert (value - end) ** 2 == pytest.approx(Z**2 * end / units)
        assert low <= value < high
        rare = proportions.wilson(value * 1e-6, units * 1e6)
        np.testing.assert_allclose(np.array(rare) * 1e6, [low, high], rtol=1e-5)


def test_a_rate_widens_with_what_images_differ_by():
    even, crowded = np.ones(60), np.zeros(60)
    crowded[:6] = 10
    patient, images = np.arange(60), np.ones(60)
    first, second = (
        proportions.rate(count, images, patient) for count in (even, crowded)
    )
    assert first.value == second.value == 1.0
    assert first.design_effect == 1.0
    # variance 9 of counts with mean 1
    assert second.design_effect == pytest.approx(9, rel=0.15)
    assert second.high - second.low > 2.5 * (first.high - first.low)
    nothing = proportions.rate(np.zeros(60), images, patient)
    assert nothing.low == 0.0
    assert nothing.high == pytest.approx(Z**2 / 60)


def most_pairs(label, patient):
    """The most pairs of a positive and a negative that share no patient, by trying."""
    pairs = {
        (patient[i], patient[j])
        for i, j in itertools.product(np.flatnonzero(label), np.flatnonzero(~label))
        if patient[i] != patient[j]
    }

    def most(left):
        best = 0
        for a, b in left:
            rest = {p for p in left if not {a, b} & set(p)}
            best = max(best, 1 + most(frozenset(rest)))
        return best

    return most(frozenset(pairs))


def test_independent_pairs_are_as_many_as_can_be_found_by_trying():
    rng = np.random.default_rng(2)
    for _ in range(60):
        n = rng.integers(2, 9)
        patient, label = rng.integers(0, 5, n), rng.random(n) < 0.5
        found = proportions.independent_pairs(label, patient)
        assert found == most_pairs(label, patient)


def test_nothing_to_count_has_a_reason():
    for function in (proportions.proportion, proportions.rate):
        for size in (0, 3):
            found = function(np.zeros(size), np.zeros(size), np.arange(size))
            assert np.isnan([found.value, found.low, found.high]).all()
            assert found.reason == "nothing to count"
    assert proportions.effective_number([], np.empty(0, int)) == 0.0
    with pytest.raises(ValueError, match="one length"):
        proportions.proportion(np.ones(2), np.ones(3), np.arange(3))
