"""Rates by name, and the sensitivities at them."""

import numpy as np
import pytest

from aals_jax.metrics import (
    false_positive_rates,
    froc,
    further,
    measurement,
    operating,
    readings,
)
from aals_jax.metrics.draws import Bootstrap, Draws, TruthDraws

BOX = np.array([[0.0, 0.0, 9.0, 9.0]])


def data_of(seed=0, n=40):
    rng = np.random.default_rng(seed)
    lesions = [BOX if rng.random() < 0.5 else BOX[:0] for _ in range(n)]
    spots = [
        np.c_[
            rng.choice([4.0, 50.0], k := rng.integers(0, 4)),
            np.full(k, 4.0),
            np.round(rng.random(k), 1),
        ]
        for _ in range(n)
    ]
    return froc.count_data(spots, lesions)


def test_each_name_is_the_published_list():
    parse = false_positive_rates.parse
    assert parse("luna16") == tuple(2.0**k for k in range(-3, 4))
    assert parse("LUNA16") == parse("nndetection")
    assert parse("camelyon") == parse("luna16")[1:]
    assert parse("2,0.5, 1") == (0.5, 1.0, 2.0)
    for bad in ("lunar", "0,1", "1,1", "-1", "nan", "inf", "", "1,,2"):
        with pytest.raises(ValueError, match="luna16"):
            parse(bad)


@pytest.mark.parametrize("seed", range(5))
def test_values_and_replicates_are_those_of_the_curve(seed):
    data = data_of(seed)
    draws = Draws(np.arange(40) // 2, replicates=20, seed=1)
    rates = false_positive_rates.RATES["luna16"]
    drawn = false_positive_rates.sensitivities(data, rates, draws=draws)
    assert len(drawn) == len(rates) + 1
    values = [one.value for one in drawn]
    assert values[:-1] == froc.sensitivity_at(data, rates).tolist()
    assert values[-1] == froc.froc_score(data, rates)
    assert np.all(np.diff(values[:-1]) >= 0)
    (weights,) = draws
    expected = froc.froc_score(data, rates, weights=weights)
    assert np.array_equal(drawn[-1].replicates, expected)
    k = rates.index(1.0)
    expected = froc.sensitivity_at(data, (1.0,), weights=weights)[:, 0]
    assert np.array_equal(drawn[k].replicates, expected)


def measured(n=60, rates=(0.3, 1.0), seed=0):
    """A set with images that are not judged, its draws and its measurement."""
    rng = np.random.default_rng(seed)
    label = rng.random(n) < 0.5
    truth = readings.Truth(
        label=label,
        judged=np.arange(n) % 7 > 0,
        patient=np.arange(n) // 2,
        lesions=[BOX if positive else BOX[:0] for positive in label],
        groups={},
    )
    spots = [
        np.c_[rng.choice([4.0, 50.0], 3), np.full(3, 4.0), np.round(rng.random(3), 1)]
        for _ in range(n)
    ]
    hit = readings.Hit()
    reading = readings.read(truth, rng.random(n), spots, hit=hit)
    draws = TruthDraws(truth, Bootstrap(40, 3))
    found = measurement.measure(
        truth,
        reading,
        points=operating.choose(truth, reading),
        chosen_on="here",
        draws=draws,
        hit=hit,
        rates=rates,
    )
    return found, draws


@pytest.mark.parametrize("name", [*false_positive_rates.RATES, "0.3,1,17"])
def test_what_the_curve_says_at_rates_is_what_they_say_on_their_own(name):
    rates = false_positive_rates.parse(name)
    found, draws = measured(rates=rates)
    own = false_positive_rates.sensitivities(
        found.reading.count, rates, draws=draws.judged_images
    )
    for one, other in zip(found.at_rates, own, strict=True):
        assert one.value == other.value
        np.testing.assert_array_equal(one.replicates, other.replicates)
    without, _ = measured(rates=())
    assert without.at_rates == []
    for name, line in without.curves.items():  # the rates change no band
        np.testing.assert_array_equal(line, found.curves[name])


def test_figures_are_the_same_with_shared_draws_and_with_their_own():
    rates = (0.3, 1.0)
    found, draws = measured(rates=rates)
    own = TruthDraws(found.truth, Bootstrap(40, 3))
    shared, alone = (
        further.measure(
            found.truth,
            found.reading,
            points=found.operating_points,
            draws=each,
            hit=readings.Hit(),
            wanted=further.Wanted(rates),
            at_rates=at_rates,
        )
        for each, at_rates in ((draws, found.at_rates), (own, ()))
    )
    assert shared == alone
    assert len(shared["sensitivity_at_rates"]["rows"]) == 3
