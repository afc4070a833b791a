"""Laws of the bootstrap over patients."""

import numpy as np
import pytest
from scipy import special, stats

from aals_jax.metrics import draws as draws_module
from aals_jax.metrics import froc, intervals, roc
from aals_jax.metrics.draws import Draws
from tests.support.simulations import auroc_of, simulated


def weighted_mean(values):
    return lambda weights: weights @ values / weights.sum(axis=1)


def test_the_same_seed_gives_the_same_interval_and_another_does_not():
    scores, labels = simulated()

    def run(seed):
        draws = Draws(range(120), replicates=200, seed=seed)
        return intervals.patient_bootstrap(draws, auroc_of(scores, labels))

    assert run(1) == run(1)
    assert run(1).low != run(2).low


def test_the_chunk_changes_nothing():
    scores, labels = simulated()
    results = {
        intervals.patient_bootstrap(
            Draws(np.arange(120) // 3, replicates=101, seed=0, chunk=chunk),
            auroc_of(scores, labels),
        )
        for chunk in (1, 7, 101, 1000)
    }
    assert len(results) == 1


def test_renamed_patients_give_the_same_interval():
    scores, labels = simulated()
    ids = np.random.default_rng(5).integers(0, 40, 120)
    results = {
        intervals.patient_bootstrap(
            Draws(names, replicates=100, seed=0), auroc_of(scores, labels)
        )
        for names in (ids, [f"p{1000 - i}" for i in ids], [(i, "x") for i in ids])
    }
    assert len(results) == 1


def test_images_of_a_patient_are_drawn_together():
    patients = [0, 0, 1, 2, 1]

    def statistic(weights):
        np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
        np.testing.assert_array_equal(weights[:, 2], weights[:, 4])
        drawn = weights[:, 0] + weights[:, 2] + weights[:, 3]
        np.testing.assert_array_equal(drawn, np.full(len(weights), 3.0))
        return weights[:, 0]

    values = np.concatenate(
        [statistic(w) for w in Draws(patients, replicates=3000, seed=0, chunk=100)]
    )
    # Binomial(3, 1/3): mean 1, variance 2/3.
    assert values.mean() == pytest.approx(1.0, abs=0.05)
    assert values.var() == pytest.approx(2 / 3, abs=0.06)


@pytest.mark.parametrize("kept", [1 << 25, 0], ids=["kept", "drawn again"])
def test_each_pass_gives_the_same_weights_and_patients_are_drawn_once(
    monkeypatch, kept
):
    """Unless the set is too large to keep: then the same numbers are drawn again."""
    seeds, default_rng = [], np.random.default_rng

    def count_generators(seed):
        seeds.append(seed)
        return default_rng(seed)

    monkeypatch.setattr(draws_module, "_KEPT", kept)
    monkeypatch.setattr(np.random, "default_rng", count_generators)
    draws = Draws(np.arange(120) // 3, replicates=500, seed=3)
    passes = [list(draws) for _ in range(3)]
    assert seeds == [3] if kept else [3] * 3
    assert sum(map(len, passes[0])) == 500
    for other in passes[1:]:
        for first, again in zip(passes[0], other, strict=True):
            np.testing.assert_array_equal(first, again)


def test_a_pass_given_up_half_way_harms_no_later_one():
    draws = Draws(range(50), replicates=90, seed=0, chunk=20)
    next(iter(draws))
    expected = Draws(range(50), replicates=90, seed=0, chunk=90)
    np.testing.assert_array_equal(np.concatenate([*draws]), *expected)


def test_large_sets_are_yielded_in_blocks_of_32_mib_and_not_kept():
    draws = Draws(range(200_000), replicates=200, seed=0)
    block = next(iter(draws))
    assert block.nbytes <= 1 << 25 and len(block) == 20
    assert draws.replicates * draws.num_images > 1 << 25


def test_the_interval_of_a_mean_is_the_normal_one():
    values = np.random.default_rng(0).normal(size=400)
    found = intervals.patient_bootstrap(
        Draws(range(400), seed=0), weighted_mean(values)
    )
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.15 * half)
    assert (found.rejected, found.replicates, found.seed) == (0, 2000, 0)


def test_few_patients_widen_the_interval():
    values = np.repeat(np.random.default_rng(0).normal(size=20), 20)
    width = [
        found.high - found.low
        for found in (
            intervals.patient_bootstrap(Draws(ids, seed=0), weighted_mean(values))
            for ids in (np.arange(400), np.arange(400) // 20)
        )
    ]
    assert width[1] / width[0] == pytest.approx(np.sqrt(20), rel=0.15)


def test_replicates_with_one_class_are_rejected_and_counted():
    labels = np.array([1, 0, 0, 0])
    found = intervals.patient_bootstrap(
        Draws(range(4), seed=0), auroc_of(np.array([0.9, 0.1, 0.2, 0.95]), labels)
    )
    # The positive is missing with 0.75^4 = 0.316, the negatives with 0.25^4 = 0.004.
    assert found.rejected / found.replicates == pytest.approx(0.320, abs=0.03)
    assert found.value == pytest.approx(2 / 3)
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0


def test_no_value_has_a_reason():
    labels = np.zeros(5, int)
    statistic = auroc_of(np.arange(5.0), labels)
    for found in (
        intervals.patient_bootstrap(
            Draws(range(5), seed=0), statistic, reason=roc.undefined_reason(labels)
        ),
        intervals.paired_bootstrap(
            Draws(range(5), seed=0), statistic, statistic, reason="one class only"
        ),
    ):
        assert np.isnan([found.value, found.low, found.high, found.p_value]).all()
        assert found.rejected == found.replicates
        assert "one class only" in found.reason
    unnamed = intervals.patient_bootstrap(Draws(range(5), seed=0), statistic)
    assert unnamed.reason == "the statistic is nan on the whole set"


def test_froc_in_a_bootstrap_equals_froc_of_repeated_images():
    rng = np.random.default_rng(0)
    points = [rng.random((4, 3)) * (8, 8, 1) for _ in range(30)]
    boxes = [[[2, 2, 6, 6]] if i % 3 == 0 else [] for i in range(30)]
    data = froc.count_data(points, boxes)
    (weights,) = Draws(range(30), replicates=20, seed=0, chunk=20)
    values = froc.froc_score(data, froc.COUNT_LIMITS, weights=weights)
    for row, value in zip(weights.astype(int), values, strict=True):
        again = np.repeat(np.arange(30), row)
        repeated = froc.count_data(
            [points[i] for i in again], [boxes[i] for i in again]
        )
        assert value == froc.froc_score(repeated, froc.COUNT_LIMITS)


def test_several_statistics_on_one_draw_are_those_of_each_alone():
    scores, labels = simulated()
    statistics = {
        "auroc": auroc_of(scores, labels),
        "nothing": auroc_of(scores, np.zeros_like(labels)),
        "mean": weighted_mean(scores),
    }
    draws, reason = Draws(np.arange(120) // 2, replicates=300, seed=4), "one class only"
    drawn = intervals.draw(draws, statistics)
    reasons = {"nothing": reason}
    together = {
        name: intervals.percentile_interval(
            drawn[name], seed=4, reason=reasons.get(name, "")
        )
        for name in drawn
    }
    assert list(together) == list(statistics)
    assert np.isnan(together["nothing"].value)
    assert together["nothing"].reason == reason
    for name in ("auroc", "mean"):
        alone = intervals.patient_bootstrap(draws, statistics[name])
        # by repr, as nan is not equal to itself
        assert repr(together[name]) == repr(alone)


def test_paired_replicates_are_shared():
    scores, labels = simulated()
    statistic = auroc_of(scores, labels)
    same = intervals.paired_bootstrap(Draws(range(120), seed=0), statistic, statistic)
    assert (same.value, same.p_value) == (0.0, 1.0)
    assert np.isnan([same.low, same.high]).all()
    assert same.reason == intervals.NO_SPREAD
    shifted = intervals.paired_bootstrap(
        Draws(range(120), seed=0), statistic, lambda w: statistic(w) - 0.25
    )
    assert shifted.value == pytest.approx(0.25)
    assert np.isnan([shifted.low, shifted.high, shifted.p_value]).all()
    assert shifted.p_reason == shifted.reason == intervals.NO_SPREAD
    better = intervals.paired_bootstrap(
        Draws(range(120), seed=0), statistic, lambda w: statistic(w) ** 2
    )
    assert better.p_value == 2 / 2001  # the least that 2,000 replicates can say


def test_kept_replicates_of_two_systems_are_paired():
    rng = np.random.default_rng(1)
    a, labels = simulated()
    b, ids = a + rng.normal(size=120), np.arange(120) // 2
    first, second = auroc_of(a, labels), auroc_of(b, labels)
    draws = Draws(ids, replicates=300, seed=4)
    paired = intervals.paired_bootstrap(draws, first, second)
    one, two = (
        intervals.draw(draws, {"auroc": f})["auroc"].replicates for f in (first, second)
    )
    assert np.ptp(one - two) > 0
    half = stats.norm.ppf(0.975) * np.std(one - two, ddof=1)
    np.testing.assert_allclose(
        [paired.low, paired.high], [paired.value - half, paired.value + half]
    )


def test_few_patients_widen_a_difference_and_shares_differ_by_1_at_the_most():
    rng = np.random.default_rng(0)
    a = intervals.Drawn(0.9, np.clip(rng.normal(0.9, 0.1, 500), 0, 1))
    b = intervals.Drawn(0.1, np.clip(rng.normal(0.1, 0.1, 500), 0, 1))
    many, few = (
        intervals.paired_interval(a, b, seed=0, patients=n) for n in (None, 10)
    )
    t = stats.t(9).ppf(0.975) / stats.norm.ppf(0.975)
    assert few.value - few.low == pytest.approx(t * (many.value - many.low))
    assert few.high == 1.0
    free = intervals.Drawn(9.0, a.replicates + 8.1), intervals.Drawn(0.0, b.replicates)
    assert intervals.paired_interval(*free, seed=0, patients=10).high > 9.0


def test_swapping_the_pair_turns_the_sign():
    rng = np.random.default_rng(1)
    a, labels = simulated()
    b = a + rng.normal(size=120)
    first, second = auroc_of(a, labels), auroc_of(b, labels)
    draws = Draws(range(120), seed=0)
    one = intervals.paired_bootstrap(draws, first, second)
    two = intervals.paired_bootstrap(draws, second, first)
    assert one.value == -two.value
    np.testing.assert_allclose([one.low, one.high], [-two.high, -two.low])
    assert one.p_value == two.p_value
    assert one.value == float(roc.auroc(a, labels) - roc.auroc(b, labels))


def share(drawn, **settings):
    return intervals.share_interval(
        drawn, **{"seed": 0, "patients": 30, "trials": 7.0} | settings
    )


def test_a_share_has_the_spread_of_its_replicates_on_the_logit_scale():
    scores, labels = simulated()
    draws = Draws(range(120), seed=0)
    drawn = intervals.draw(draws, {"": auroc_of(scores, labels)})[""]
    found = share(drawn)
    half = stats.t(29).ppf(0.975) * np.std(drawn.replicates, ddof=1)
    half /= found.value * (1 - found.value)
    ends = special.logit([found.low, found.value, found.high])
    np.testing.assert_allclose(np.diff(ends), half)
    # a share of failures is that of successes seen from the other side
    turned = share(intervals.Drawn(1 - drawn.value, 1 - drawn.replicates))
    np.testing.assert_allclose(
        [turned.low, turned.high], [1 - found.high, 1 - found.low]
    )
    # many patients: as wide as the percentiles
    wide = intervals.percentile_interval(drawn, seed=0)
    many = share(drawn, patients=10**6)
    width = many.high - many.low
    assert width == pytest.approx(wide.high - wide.low, rel=0.05)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_at_the_edge_a_share_has_the_limits_of_its_trials_or_a_reason(value):
    drawn = intervals.Drawn(value, np.full(100, value))
    found = share(drawn, few="few")
    expected = stats.binomtest(int(7 * value), 7).proportion_ci(method="exact")
    np.testing.assert_allclose([found.low, found.high], [expected.low, expected.high])
    assert "7 independent trials" in found.method and found.reason == ""
    unknown = share(drawn, trials=0.0)
    assert unknown.value == value and np.isnan([unknown.low, unknown.high]).all()
    assert "no certainty" in unknown.reason


def test_no_interval_has_a_width_of_zero():
    same = intervals.Drawn(0.25, np.full(100, 0.25) + np.arange(100) * 1e-17)
    for found in (intervals.percentile_interval(same, seed=0), share(same)):
        assert found.value == 0.25 and np.isnan([found.low, found.high]).all()
        assert found.reason == intervals.NO_SPREAD
        assert (found.rejected, found.replicates) == (0, 100)


def test_few_patients_have_a_value_and_a_reason():
    drawn = intervals.Drawn(0.4, np.linspace(0.3, 0.5, 100))
    few = intervals.too_few(positive=intervals.LEAST, negative=intervals.LEAST - 1)
    assert intervals.too_few(positive=intervals.LEAST) == ""
    assert f"only {intervals.LEAST - 1} patients with a negative image" in few
    paired = intervals.paired_interval(drawn, drawn, seed=0, few=few)
    for found in (
        intervals.percentile_interval(drawn, seed=0, few=few),
        share(drawn, few=few),
        paired,
    ):
        assert not np.isnan(found.value)
        assert np.isnan([found.low, found.high, found.p_value]).all()
        assert found.reason == few
    assert paired.p_reason == few


def test_a_band_has_the_interval_of_each_point():
    rng = np.random.default_rng(0)
    replicates = rng.uniform(0.4, 0.6, (300, 4))
    replicates[:7, 1] = replicates[:, 2] = np.nan
    replicates[:, 3] = 1.0
    value = np.array([0.5, 0.5, np.nan, 1.0])
    low, high = intervals.share_band(value, replicates, patients=20, trials=12)
    for k in (0, 1, 3):
        point = intervals.share_interval(
            intervals.Drawn(value[k], replicates[:, k]), seed=0, patients=20, trials=12
        )
        assert (low[k], high[k]) == (point.low, point.high)
        assert low[k] < high[k]
    assert np.isnan(low[2]) and np.isnan(high[2])
    few = intervals.share_band(value, replicates, patients=3, trials=0, few="few")
    assert np.isnan(few).all()


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="one value per replicate"):
        intervals.patient_bootstrap(Draws([1, 2], seed=0), lambda w: w)
    with pytest.raises(ValueError, match="must be >= 1"):
        Draws([1], seed=0, replicates=0)
    with pytest.raises(ValueError, match=r"outside 0 \.\. 1"):
        share(intervals.Drawn(0.5, np.array([0.5, 1.5])))
