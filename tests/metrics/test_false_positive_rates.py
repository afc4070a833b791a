"""Rates by name, and the sensitivities at them."""

import numpy as np
import pytest

from aals_jax.metrics import false_positive_rates, froc
from aals_jax.metrics.draws import Draws

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
