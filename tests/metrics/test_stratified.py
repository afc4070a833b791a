"""Laws of shares of a stratified sample: weights, Clopper-Pearson, coverage."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from aals_jax.metrics import stratified
from aals_jax.metrics.stratified import Strata


def strata(images, judged, hits, undecided=None) -> Strata:
    undecided = np.zeros(len(images), int) if undecided is None else undecided
    return Strata(*map(np.array, (images, judged, hits, undecided)))


@pytest.fixture
def few_draws(monkeypatch):
    """Enough for laws; the exact quantiles of one stratum need more."""
    monkeypatch.setattr(stratified, "_DRAWS", 2_000)


@st.composite
def judged_strata(draw) -> tuple[Strata, np.ndarray]:
    """Some strata, each with a judged image at least, and a part of them."""
    size = draw(st.integers(1, 5))
    judged = [draw(st.integers(1, 12)) for _ in range(size)]
    images = [n + draw(st.integers(1, 5000)) for n in judged]
    hits = [draw(st.integers(0, n)) for n in judged]
    left = [n - x for n, x in zip(judged, hits, strict=True)]
    undecided = [draw(st.integers(0, n)) for n in left]
    part = [True, *(draw(st.booleans()) for _ in range(size - 1))]
    return strata(images, judged, hits, undecided), np.array(part)


@pytest.mark.parametrize("hits", [0, 1, 8, 23, 24])
def test_one_stratum_has_clopper_and_pearsons_interval(hits):
    only = strata([9_000, 50_000], [24, 10], [hits, 0], [0, 0])
    part = np.array([True, False])
    exact = stats.binomtest(hits, 24).proportion_ci(0.95, method="exact")
    found = stratified.precision(only, part)
    assert found.value == hits / 24
    assert (found.low, found.high) == pytest.approx(exact, abs=2e-4)
    number = stratified.total(only, part)
    assert (number.low, number.high) == pytest.approx(
        (9_000 * exact.low, 9_000 * exact.high), abs=2
    )
    # those that could not be decided are no trial
    fewer = strata([9_000], [30], [hits], [6])
    found = stratified.precision(fewer, np.array([True]))
    assert found.value == pytest.approx(hits / 24)
    assert (found.low, found.high) == pytest.approx(exact, abs=2e-4)


@pytest.mark.usefixtures("few_draws")
@given(judged_strata())
@settings(deadline=None, max_examples=40)
def test_values_weigh_each_image_by_those_it_stands_for(drawn):
    found, part = drawn
    weight = found.images / found.judged
    hits, decided = weight * found.hits, weight * (found.judged - found.undecided)
    assert stratified.total(found, part).value == pytest.approx(hits[part].sum())
    for measure, whole in (
        (stratified.precision(found, part), decided[part].sum()),
        (stratified.recall(found, part), hits.sum()),
    ):
        if whole:
            assert measure.value == pytest.approx(hits[part].sum() / whole)
        else:
            assert np.isnan(measure.value) and measure.reason


@pytest.mark.usefixtures("few_draws")
@given(judged_strata())
@settings(deadline=None, max_examples=40)
def test_an_interval_has_a_width_and_holds_its_value(drawn):
    found, part = drawn
    for measure, is_exact in (
        (stratified.total(found, part), False),
        (stratified.precision(found, part), False),
        # the share of all hits that is anywhere is 1 by its definition
        (stratified.recall(found, part), part.all()),
    ):
        assert measure.low < measure.high or is_exact
        if not np.isnan(measure.value):
            assert measure.low - 1e-9 <= measure.value <= measure.high + 1e-9


def test_a_stratum_that_nobody_judged_counts_with_all_it_may_hold():
    found = strata([100, 50], [100, 0], [80, 0])
    both = np.array([True, True])
    number = stratified.total(found, both)
    assert number.value == 80 and number.low < 80 and number.high > 80 + 50
    share = stratified.precision(found, both)
    assert share.value == 0.8
    assert share.low < 80 / 150 and share.high > 130 / 150
    assert stratified.recall(found, np.array([True, False])).low < 80 / 130
    nothing = stratified.total(strata([50], [0], [0]), np.array([True]))
    assert np.isnan(nothing.value) and (nothing.low, nothing.high) == (0, 50)
    assert stratified.precision(found, ~both).reason == "no image has this label"


def test_equal_samples_give_equal_intervals_and_more_hits_higher_ones():
    part = np.array([True, True, False])
    found = [strata([400, 90, 9_000], [20, 9, 30], [x, 4, 1]) for x in (10, 12)]
    for measure in (stratified.total, stratified.precision, stratified.recall):
        first, more = (measure(each, part) for each in found)
        assert first == measure(found[0], part)
        assert first.low < more.low and first.high < more.high


@pytest.mark.parametrize("wrong", [{"hits": np.array([4])}, {"images": np.array([2])}])
def test_counts_that_can_not_be_are_refused(wrong):
    with pytest.raises(ValueError, match="than"):
        dataclasses.replace(strata([9], [3], [1]), **wrong)


# images, of which are hits and of which can't be decided, judged, and whether meant
POPULATIONS = {
    "as two codes": [(900, 810, 0, 60, 1), (20_000, 100, 0, 60, 0)],
    "all are right": [(900, 900, 0, 20, 1), (20, 20, 0, 5, 1), (20_000, 0, 0, 60, 0)],
    "many kinds": [
        (3_000, 2_850, 60, 20, 1), (800, 640, 60, 10, 1), (200, 80, 20, 6, 1),
        (9_000, 45, 400, 20, 0), (4_000, 4, 0, 10, 0), (500, 150, 200, 8, 0),
    ],
}  # fmt: skip


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize("name", POPULATIONS)
def test_intervals_hold_the_truth_of_19_registries_of_20(name):
    images, hits, undecided, judged, meant = np.array(POPULATIONS[name]).T
    part = meant.astype(bool)
    truth = {
        "precision": hits[part].sum() / (images - undecided)[part].sum(),
        "recall": hits[part].sum() / hits.sum(),
        "total": hits[part].sum(),
    }
    rng, studies = np.random.default_rng(0), 400
    held = dict.fromkeys(truth, 0)
    for _ in range(studies):
        drawn = np.array(
            [
                rng.multivariate_hypergeometric([x, u, size - x - u], number)
                for size, x, u, number, _ in POPULATIONS[name]
            ]
        )
        found = strata(images, judged, drawn[:, 0], drawn[:, 1])
        for measure, true in truth.items():
            one = getattr(stratified, measure)(found, part)
            held[measure] += one.low - 1e-9 <= true <= one.high + 1e-9
    # 0.95 less three standard errors of a share of 400
    assert all(held[measure] >= 0.917 * studies for measure in truth), held
