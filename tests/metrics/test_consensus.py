"""Lesions that readers agree on: counts by hand, and laws of groups."""

import numpy as np
import pytest

from aals_jax.metrics import consensus

A = np.array([0.0, 0.0, 20.0, 20.0])
FAR = np.array([100.0, 0.0, 120.0, 20.0])


def boxes(*rows):
    return np.reshape(np.array(rows, float), (-1, 4))


def test_three_readers_of_one_lesion_are_one_lesion():
    drawn = boxes(A, A + 1, A + np.array([2, 0, 4, 0]), FAR)
    found = consensus.agree(drawn, ["r1", "r2", "r3", "r1"], least=2)
    assert found.tolist() == [[1, 0, 21, 20]]  # the median of each coordinate
    every = consensus.agree(drawn, ["r1", "r2", "r3", "r1"], least=1)
    assert len(every) == 2
    assert len(consensus.agree(drawn, ["r1", "r2", "r3", "r1"], least=3)) == 1
    assert len(consensus.agree(drawn, ["r1", "r2", "r3", "r1"], least=4)) == 0


def test_two_boxes_of_one_reader_are_two_lesions():
    drawn = boxes(A, A + 1)
    assert len(consensus.agree(drawn, [7, 7], least=1)) == 2
    assert len(consensus.agree(drawn, [7, 7], least=2)) == 0
    # the third reader agrees with the nearer of both
    found = consensus.agree(boxes(A, A + 4, A + 3), [7, 7, 8], least=2)
    assert found.tolist() == [(A + 3.5).tolist()]


def test_a_chain_of_boxes_is_not_one_lesion():
    """Neighbours overlap by 0.6, the ends by 0.33: not all overlap by 0.5."""
    drawn = boxes(A, A + np.array([5, 0, 5, 0]), A + np.array([10, 0, 10, 0]))
    found = consensus.agree(drawn, [1, 2, 3], least=1)
    assert len(found) == 2


@pytest.mark.parametrize("seed", range(40))
def test_laws(seed):
    rng = np.random.default_rng(seed)
    centre = rng.integers(0, 60, (3, 2)).astype(float)
    drawn, reader = [], []
    for r in range(4):
        for x, y in centre:
            if rng.random() < 0.7:
                shift = rng.integers(-3, 4, 4)
                drawn.append(np.array([x, y, x + 20, y + 15]) + shift)
                reader.append(r)
    drawn, reader = boxes(*drawn), np.array(reader, int)
    found = [consensus.agree(drawn, reader, least=k) for k in range(1, 6)]
    numbers = [len(each) for each in found]
    assert numbers == sorted(numbers, reverse=True) and numbers[-1] == 0
    assert numbers[0] <= len(drawn)
    for each in found:
        assert np.all(each[:, :2] < each[:, 2:])
    order = rng.permutation(len(drawn))
    names = np.array([f"n{5 - r}" for r in reader[order]])
    again = consensus.agree(drawn[order], names, least=2)
    assert np.array_equal(again, found[1])
    # copies of one reader's drawing by another make no more lesions, and lose none
    alone = drawn[reader == 0]
    twice = consensus.agree(
        np.concatenate([alone, alone]), [0] * len(alone) + [1] * len(alone), least=2
    )
    assert np.array_equal(twice, alone[np.lexsort(alone.T[::-1])])


def test_nothing_and_what_can_not_be():
    assert consensus.agree(np.empty((0, 4)), [], least=2).shape == (0, 4)
    for given in ({"least": 0}, {"least": 1, "iou": 0.0}):
        with pytest.raises(ValueError, match="least"):
            consensus.agree(boxes(A), [1], **given)
    with pytest.raises(ValueError, match="readers"):
        consensus.agree(boxes(A), [1, 2], least=1)
