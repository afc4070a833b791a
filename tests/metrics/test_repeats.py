"""Second hits as false positives: what moves, and what stays."""

import numpy as np
import pytest

from aals_jax.metrics import froc, matching, repeats
from tests.support import brute_force


def test_by_hand():
    lesions = [np.array([[0.0, 0.0, 9.0, 9.0]]), np.empty((0, 4))]
    spots = [
        np.array([[4.0, 4.0, 0.5], [5.0, 5.0, 0.9], [50.0, 5.0, 0.3]]),
        np.array([[4.0, 4.0, 0.7]]),
    ]
    match = matching.match_images(spots, lesions)
    found = repeats.as_false(match, spots)
    assert match.false_score.tolist() == [0.3, 0.7]
    assert found.false_score.tolist() == [0.5, 0.3, 0.7]
    assert found.false_image.tolist() == [0, 0, 1]
    assert found.lesion_of.tolist() == [-1, 0, -1, -1]
    data = froc.matched_data(found, 2)
    assert froc.sensitivity_at(data, (0.0,)) == 1.0
    assert data.total_false.tolist() == [2, 1]


@pytest.mark.parametrize("seed", range(100))
@pytest.mark.parametrize("rule", matching.RULES)
def test_every_detection_is_a_hit_or_false(rule, seed):
    rng = np.random.default_rng(seed)
    films = brute_force.random_films(rng, rule)
    found = [np.array(rows) for rows in films.found]
    lesions = [np.array(rows) for rows in films.lesions]
    match = matching.match_images(
        found, lesions, rule=rule, **brute_force.PARAMETERS[rule]
    )
    changed = repeats.as_false(match, found)
    hits = int(np.sum(changed.lesion_score > -np.inf))
    assert hits + len(changed.false_score) == sum(map(len, found))
    assert np.array_equal(changed.lesion_score, match.lesion_score)
    assert len(changed.false_score) >= len(match.false_score)
    again = repeats.as_false(changed, found)
    assert np.array_equal(again.false_score, changed.false_score)
