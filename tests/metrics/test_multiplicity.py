"""Holm's step-down by its laws, roles of differences, margins."""

import itertools

import numpy as np
import pytest

from aals_jax.metrics import multiplicity


def rows(**p_values):
    return [
        {"metric": name, "value": 0.1, "low": 0.02, "high": 0.18, "p_value": p}
        for name, p in p_values.items()
    ]


def test_published_example():
    """Holm's rule on 0.01, 0.04, 0.03, 0.005, as every textbook has it."""
    found = multiplicity.holm([0.01, 0.04, 0.03, 0.005])
    assert found == pytest.approx([0.03, 0.06, 0.06, 0.02])


def closed_test(p):
    """By its definition: the worst Bonferroni test of the subsets that hold it."""
    m = len(p)
    subsets = [s for r in range(1, m + 1) for s in itertools.combinations(range(m), r)]
    return [
        min(1, max(len(s) * min(p[j] for j in s) for s in subsets if k in s))
        for k in range(m)
    ]


@pytest.mark.parametrize("seed", range(30))
def test_it_is_the_closed_test_of_bonferroni(seed):
    rng = np.random.default_rng(seed)
    p = np.round(rng.random(rng.integers(1, 6)) ** 2, 2)
    assert multiplicity.holm(p) == pytest.approx(closed_test(p))


def test_limits():
    assert multiplicity.holm([0.04]).tolist() == [0.04]
    assert multiplicity.holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert multiplicity.holm([]).shape == (0,)
    untested = multiplicity.holm([np.nan, 0.02])
    assert np.isnan(untested[0]) and untested[1] == 0.02


def test_a_primary_metric_pays_nothing_and_the_others_pay_for_themselves():
    given = [*rows(auroc=0.03, froc_count=0.02, brier_score=0.5), *rows(auroc=0.01)]
    plain = multiplicity.judge(given)
    assert [r["p_holm"] for r in plain] == pytest.approx([0.06, 0.06, 0.5, None])
    assert {r["role"] for r in plain[:3]} == {"one of all"}
    found = multiplicity.judge(given, primary="auroc")
    assert [r["p_holm"] for r in found] == pytest.approx([0.03, 0.04, 0.5, None])
    roles = [r["role"] for r in found]
    assert roles[:3] == ["primary", "secondary", "secondary"]
    assert "another method" in roles[3]
    assert not any("non_inferiority" in r for r in found)


def test_what_was_not_tested_is_none_and_wrong_names_are_refused():
    given = rows(auroc=None, froc_count=0.02)
    assert [r["p_holm"] for r in multiplicity.judge(given)] == [None, 0.02]
    with pytest.raises(ValueError, match="auroc, froc_count"):
        multiplicity.judge(given, primary="dice")
    with pytest.raises(ValueError, match="primary"):
        multiplicity.judge(given, margin=0.05)
    with pytest.raises(ValueError, match="above 0"):
        multiplicity.judge(given, primary="auroc", margin=0.0)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.1, "superior"),
        (-0.04, 0.1, "not inferior"),
        (-0.05, 0.1, "inconclusive"),
        (-0.2, 0.1, "inconclusive"),
        (-0.2, -0.06, "inferior"),
        (-0.04, -0.01, "not inferior"),
        (None, None, "inconclusive"),
    ],
)
def test_a_margin_is_judged_by_the_interval(low, high, verdict):
    found = multiplicity.non_inferiority({"low": low, "high": high}, margin=0.05)
    assert found["verdict"] == verdict
    if low is not None:
        turned = {"low": -high, "high": -low}
        other = multiplicity.non_inferiority(turned, margin=0.05, lower_is_better=True)
        assert other == found


def test_the_verdict_is_at_the_primary_alone():
    found = multiplicity.judge(
        rows(auroc=0.03, brier_score=0.02),
        primary="brier_score",
        margin=0.01,
        lower_is_better=frozenset({"brier_score"}),
    )
    assert "non_inferiority" not in found[0]
    assert found[1]["non_inferiority"]["verdict"] == "inferior"
