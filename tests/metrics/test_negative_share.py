"""FROC at another share of negatives: their copies make the set that is meant."""

import numpy as np
import pytest

from aals_jax.metrics import froc, negative_share

BOX = np.array([[0.0, 0.0, 9.0, 9.0]])
LIMITS = (0.1, 0.25, 0.5, 1.0, 2.0)


def images(seed, positives=16, negatives=16):
    rng = np.random.default_rng(seed)
    lesions = [BOX] * positives + [BOX[:0]] * negatives
    spots = []
    for own in lesions:
        k = rng.integers(0, 4)
        x = rng.choice([4.0, 50.0], k, p=[0.6, 0.4]) if len(own) else np.full(k, 50.0)
        spots.append(np.c_[x, np.full(k, 4.0), np.round(rng.random(k), 2)])
    return spots, lesions


@pytest.mark.parametrize("seed", range(10))
def test_a_share_is_that_of_a_set_with_copies_of_its_negatives(seed):
    spots, lesions = images(seed)
    data = froc.count_data(spots, lesions)
    for copies in (1, 3, 7):
        set_with = froc.count_data(
            spots + spots[16:] * (copies - 1), lesions + lesions[16:] * (copies - 1)
        )
        share = negative_share.share_of(set_with)
        assert share == pytest.approx(copies / (1 + copies))
        found = negative_share.score_at_share(data, LIMITS, share=share)
        assert found == pytest.approx(froc.froc_score(set_with, LIMITS))


@pytest.mark.parametrize("seed", range(10))
def test_the_ends_are_positives_alone_and_the_own_share(seed):
    spots, lesions = images(seed, negatives=20)
    data = froc.count_data(spots, lesions)
    alone = froc.count_data(spots[:16], lesions[:16])
    none = negative_share.score_at_share(data, LIMITS, share=0.0)
    assert none == pytest.approx(froc.froc_score(alone, LIMITS))
    own = negative_share.share_of(data)
    found = negative_share.score_at_share(data, LIMITS, share=own)
    assert found == pytest.approx(froc.froc_score(data, LIMITS), abs=0.02)


def test_silent_negatives_make_a_system_look_better_the_more_there_are():
    spots, lesions = images(0)
    spots[16:] = [np.empty((0, 3))] * 16
    data = froc.count_data(spots, lesions)
    shares = (0.0, 0.3, 0.6, 0.9, 0.99)
    found = [negative_share.score_at_share(data, LIMITS, share=s) for s in shares]
    assert np.all(np.diff(found) >= 0) and found[-1] > found[0]


def test_replicates_have_the_share_too_and_those_without_negatives_are_nan():
    spots, lesions = images(1)
    data = froc.count_data(spots, lesions)
    weights = np.ones((3, 32))
    weights[1, 16:] = 0
    weights[2, 16:] = 5  # the same set, counted otherwise
    found = negative_share.score_at_share(data, LIMITS, share=0.7, weights=weights)
    assert np.isnan(found[1]) and found[2] == pytest.approx(found[0])
    with pytest.raises(ValueError, match="share"):
        negative_share.score_at_share(data, LIMITS, share=1.0)
