"""Partial AUROC: the whole at its end, chance at one half, another library between."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from aals_jax.metrics import partial_area, roc


def case(seed, n=60, levels=8):
    rng = np.random.default_rng(seed)
    labels = np.r_[0, 1, rng.random(n - 2) < 0.4].astype(int)
    scores = np.round((rng.random(n) + 0.5 * labels) * levels) / levels
    return scores, labels, rng.integers(0, 4, (3, n)).astype(float)


@pytest.mark.parametrize("seed", range(40))
def test_it_agrees_with_another_library(seed):
    scores, labels, _ = case(seed)
    for most in (0.05, 0.1, 0.37, 0.9):
        area = partial_area.partial_auroc(scores, labels, most=most)
        found = partial_area.standardised(area, most=most)
        assert found == pytest.approx(roc_auc_score(labels, scores, max_fpr=most))


@pytest.mark.parametrize("seed", range(20))
def test_a_range_to_the_end_is_the_whole_area_and_a_weight_is_a_copy(seed):
    scores, labels, weights = case(seed)
    whole = partial_area.partial_auroc(scores, labels, most=1.0, weights=weights)
    assert whole == pytest.approx(roc.auroc(scores, labels, weights=weights))
    parts = partial_area.partial_auroc(scores, labels, most=0.2, weights=weights)
    for part, row in zip(parts, weights.astype(int), strict=True):
        copies = np.repeat(scores, row), np.repeat(labels, row)
        assert part == pytest.approx(partial_area.partial_auroc(*copies, most=0.2))


def test_chance_and_perfection_are_one_half_and_one_in_the_standard_form():
    labels = np.arange(10) % 2
    for most in (0.1, 0.5, 1.0):
        perfect = partial_area.partial_auroc(labels, labels, most=most)
        assert perfect == pytest.approx(most)
        assert partial_area.standardised(perfect, most=most) == pytest.approx(1)
        even = partial_area.partial_auroc(np.ones(10), labels, most=most)
        assert partial_area.standardised(even, most=most) == pytest.approx(0.5)


def test_areas_of_adjoining_ranges_add_up_and_grow():
    scores, labels, _ = case(3)
    ends = np.linspace(0.05, 1, 20)
    areas = [partial_area.partial_auroc(scores, labels, most=most) for most in ends]
    assert np.all(np.diff(areas) >= 0)
    # the curve rises, so the mean height of each further piece does, too
    assert np.all(np.diff(np.diff(areas)) >= -1e-12)


def test_one_class_is_nan_and_a_bad_range_is_refused():
    nothing = partial_area.partial_auroc(np.ones(3), np.zeros(3), most=0.1)
    assert np.isnan(nothing)
    with pytest.raises(ValueError, match="most"):
        partial_area.partial_auroc(np.ones(3), np.zeros(3), most=0.0)
