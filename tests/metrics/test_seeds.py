"""Seeds and several comparisons: laws of the pairing, closed forms, simulation."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from aals_jax.metrics import intervals, seeds
from aals_jax.metrics.draws import Draws
from aals_jax.metrics.intervals import Drawn
from tests.support.simulations import auroc_of, simulated


def drawn(seed, *, shift=1.0, replicates=300, images=120):
    """A system on the images of `simulated`, and its statistic."""
    _, labels = simulated(images)
    own = np.random.default_rng(seed)
    scores = own.normal(size=images) + shift * labels
    statistic = auroc_of(scores, labels)
    draws = Draws(range(images), replicates=replicates, seed=0)
    return intervals.draw(draws, {"": statistic})[""], statistic


def normal(rng, count, *, effect=0.0, seed_sd=0.0, images=40, replicates=200):
    """Mean differences of `count` seeds on shared patients, bootstrapped."""
    patients = rng.normal(size=images)
    effects = effect + seed_sd * rng.normal(size=count)
    weights = rng.multinomial(images, np.full(images, 1 / images), size=replicates)
    means = weights @ patients / images
    return [Drawn(e + patients.mean(), e + means) for e in effects]


def nothing(like):
    return [Drawn(0.0, np.zeros_like(each.replicates)) for each in like]


def test_spread_is_the_sample_of_the_textbook():
    found = seeds.spread([0.7, 0.8, 0.9])
    assert found.values == (0.7, 0.8, 0.9)
    assert found.mean == pytest.approx(0.8)
    assert found.deviation == pytest.approx(0.1)
    assert np.isnan(seeds.spread([0.7]).deviation)
    assert np.isnan(seeds.spread([]).mean)


def test_a_run_paired_with_itself_differs_by_nothing_with_p_1():
    runs = [drawn(seed)[0] for seed in range(3)]
    for found in (
        seeds.within_seed(runs[0], runs[0]),
        seeds.across_seeds(runs, runs),
        seeds.over_seeds([0.0, 0.0, 0.0]),
    ):
        assert (found.value, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_a_minus_b_is_b_minus_a_turned_round():
    a = [drawn(seed, shift=1.5)[0] for seed in range(3)]
    b = [drawn(seed + 10)[0] for seed in range(3)]
    pairs = [
        (seeds.across_seeds(a, b), seeds.across_seeds(b, a)),
        (seeds.within_seed(a[0], b[0]), seeds.within_seed(b[0], a[0])),
        (seeds.over_seeds([0.1, 0.3]), seeds.over_seeds([-0.1, -0.3])),
    ]
    for one, other in pairs:
        turned = (-other.value, -other.high, -other.low, other.p_value)
        assert (one.value, one.low, one.high, one.p_value) == pytest.approx(turned)
        assert one.low < one.value < one.high


def test_one_seed_is_the_paired_bootstrap_of_the_readings():
    (a, a_statistic), (b, b_statistic) = drawn(1, shift=1.3), drawn(2)
    expected = intervals.paired_bootstrap(
        Draws(range(120), replicates=300, seed=0), a_statistic, b_statistic
    )
    for found in (seeds.within_seed(a, b), seeds.across_seeds([a], [b])):
        for name in ("value", "p_value", "rejected", "replicates"):
            assert getattr(found, name) == pytest.approx(getattr(expected, name))
        ends = np.percentile(a.replicates - b.replicates, [2.5, 97.5])
        np.testing.assert_allclose([found.low, found.high], ends)


def test_a_rejected_draw_of_patients_is_so_for_all_seeds():
    a = [drawn(seed)[0] for seed in range(2)]
    a[1].replicates[:7] = np.nan
    found = seeds.across_seeds(a, nothing(a))
    assert (found.rejected, found.replicates) == (7, 300)
    a[0].replicates[:] = np.nan
    found = seeds.within_seed(*a)
    assert np.isnan([found.low, found.p_value]).all() and found.reason


def test_seeds_that_scatter_widen_the_interval():
    rng = np.random.default_rng(0)
    together = normal(rng, 5)
    apart = [
        Drawn(each.value + e, each.replicates + e)
        for each, e in zip(together, np.linspace(-2, 2, 5), strict=True)
    ]
    narrow, wide = (seeds.across_seeds(x, nothing(x)) for x in (together, apart))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_replicates_of_unequal_number_are_not_paired():
    with pytest.raises(ValueError, match=r"\[100, 300\] draws can't be paired"):
        seeds.within_seed(drawn(0)[0], drawn(0, replicates=100)[0])
    folds = {0: drawn(0)[0], 1: drawn(0, replicates=100)[0]}
    with pytest.raises(ValueError, match="same evaluation"):
        seeds.over_folds(folds)


def test_the_mean_of_folds_has_their_variance_over_their_number():
    """Equal draws in all folds would leave the variance of one."""
    values = np.random.default_rng(0).normal(size=4_000)
    found = seeds.over_folds({f: Drawn(0.5 + f, values) for f in range(5)})
    assert found.value == 2.5
    assert np.var(found.replicates) == pytest.approx(np.var(values) / 5, rel=0.1)


def test_folds_stay_paired_between_systems():
    a, b = (
        {f: drawn(10 * f + s, shift=shift)[0] for f in range(3)}
        for s, shift in ((1, 1.5), (2, 1.0))
    )
    difference = {f: Drawn(0, a[f].replicates - b[f].replicates) for f in a}
    joint = seeds.over_folds(a).replicates - seeds.over_folds(b).replicates
    assert joint == pytest.approx(seeds.over_folds(difference).replicates)


def test_t_interval_is_that_of_scipy():
    differences = [0.01, 0.03, -0.005, 0.02]
    found = seeds.over_seeds(differences)
    expected = stats.ttest_1samp(differences, 0.0)
    limits = expected.confidence_interval(0.95)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((limits.low, limits.high))
    single = seeds.over_seeds([0.2])
    assert single.value == 0.2 and np.isnan(single.low) and "two seeds" in single.reason
    assert seeds.over_seeds([0.2, 0.2]).p_value == 0


@pytest.mark.parametrize("seed_sd", [0.0, 0.3])
def test_two_levels_cover_the_truth_about_as_often_as_they_say(seed_sd):
    """95 % in name; with five seeds the seed level is narrow, see the docstring."""
    rng, hits, rejections, rounds = np.random.default_rng(1), 0, 0, 400
    for _ in range(rounds):
        sample = normal(rng, 5, effect=0.2, seed_sd=seed_sd)
        found = seeds.across_seeds(sample, nothing(sample))
        hits += found.low <= 0.2 <= found.high
        shifted = [Drawn(d.value - 0.2, d.replicates - 0.2) for d in sample]
        rejections += seeds.across_seeds(shifted, nothing(sample)).p_value < 0.05
    assert 0.86 < hits / rounds < 0.98
    assert 0.02 < rejections / rounds < 0.14


def test_a_planted_difference_is_found():
    rng = np.random.default_rng(2)
    found = [
        seeds.across_seeds(sample, nothing(sample)).p_value < 0.05
        for sample in (normal(rng, 5, effect=0.8, seed_sd=0.1) for _ in range(50))
    ]
    assert np.mean(found) > 0.9


def test_holm_is_the_example_worked_by_hand():
    # sorted 0.01, 0.02, 0.03, 0.04: times 4, 3, 2, 1 = 0.04, 0.06, 0.06, 0.04
    found = seeds.holm([0.03, 0.01, 0.04, 0.02])
    assert found == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert seeds.holm([0.6, 0.7]) == [1.0, 1.0]
    assert seeds.holm([]) == []


def test_holm_counts_no_comparison_that_was_not_made():
    found = seeds.holm([np.nan, 0.02, 0.5])
    assert np.isnan(found[0]) and found[1:] == pytest.approx([0.04, 0.5])


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_lies_between_the_raw_p_and_bonferroni_and_keeps_the_order(raw):
    found = seeds.holm(raw)
    for p, q in zip(raw, found, strict=True):
        assert p <= q <= min(1.0, p * len(raw)) + 1e-12
    for (p, q), (r, s) in itertools.combinations(zip(raw, found, strict=True), 2):
        assert (q <= s) if p <= r else (q >= s)
