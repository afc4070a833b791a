"""Overlap, offsets and suppression of boxes, in closed form and by brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aals_jax.models import boxes


def random_boxes(rng, *shape, side=60.0):
    corner = rng.uniform(0, side / 2, size=(*shape, 2))
    size = rng.uniform(1, side / 2, size=(*shape, 2))
    return np.concatenate([corner, corner + size], axis=-1).astype(np.float32)


@pytest.mark.parametrize("other, iou, generalized", [
    ((0, 0, 4, 2), 1.0, 1.0),
    ((2, 0, 6, 2), 4 / 12, 4 / 12),  # hull = union
    ((2, 1, 6, 3), 2 / 14, 2 / 14 - 4 / 18),
    ((6, 0, 8, 2), 0.0, -4 / 16),  # a gap of half of what both cover
    ((4, 2, 8, 4), 0.0, -16 / 32),  # corners touch
    ((1, 0, 3, 2), 0.5, 0.5),
])  # fmt: skip
def test_overlap_in_closed_form(other, iou, generalized):
    box, other = jnp.array([0.0, 0.0, 4.0, 2.0]), jnp.array(other, jnp.float32)
    for a, b in ((box, other), (other, box)):
        assert boxes.iou(a, b) == pytest.approx(iou)
        assert boxes.generalized_iou(a, b) == pytest.approx(generalized)
    assert boxes.iou(box, jnp.zeros(4)) == 0.0  # a place left empty


def test_a_pair_apart_is_drawn_together():
    """GIoU has a gradient where IoU has none."""
    box, other = jnp.array([0.0, 0.0, 4.0, 2.0]), jnp.array([9.0, 0.0, 12.0, 2.0])
    assert not np.any(jax.grad(boxes.iou)(box, other))
    assert jax.grad(boxes.generalized_iou)(box, other)[2] > 0.0


def test_offsets_are_undone():
    rng = np.random.default_rng(0)
    found = jnp.array(random_boxes(rng, 50))
    anchors = jnp.array(random_boxes(rng, 50))
    offsets = boxes.deltas(anchors, found)
    np.testing.assert_allclose(boxes.from_deltas(anchors, offsets), found, atol=1e-4)
    center = boxes.centers(found) + jnp.array([[0.3, -0.2]])  # inside
    squares = jnp.concatenate([center - 4, center + 4], axis=-1)
    offsets = jnp.log(boxes.distances(squares, found))
    again = boxes.from_log_distances(squares, offsets)
    np.testing.assert_allclose(again, found, atol=1e-4)


def test_offsets_by_hand():
    anchor, found = jnp.array([8.0, 8, 16, 16]), jnp.array([4.0, 6, 20, 14])
    np.testing.assert_allclose(boxes.distances(anchor, found), [1, 0.75, 1, 0.25])
    expected = [0, -0.25, np.log(2), 0]
    np.testing.assert_allclose(boxes.deltas(anchor, found), expected, atol=1e-7)


def greedy(found, scores, threshold):
    """All pairs, one box after the other."""
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        if all(float(boxes.iou(found[i], found[j])) <= threshold for j in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.6])
def test_suppression_is_the_greedy_one(threshold):
    rng = np.random.default_rng(1)
    found = random_boxes(rng, 3, 40, side=24)
    scores = rng.random((3, 40), np.float32)
    scores[:, 3] = scores[:, 7]  # a tie: the first wins
    got = boxes.suppress(
        jnp.array(found), jnp.array(scores), iou_threshold=threshold, most=40
    )
    few = boxes.suppress(
        jnp.array(found), jnp.array(scores), iou_threshold=threshold, most=4
    )
    np.testing.assert_array_equal(few, got[:, :4])
    for rows, image, score in zip(np.asarray(got), found, scores, strict=True):
        kept = greedy(image, score, threshold)
        expected = np.column_stack([image[kept], score[kept]])
        np.testing.assert_array_equal(rows[: len(kept)], expected)
        assert not rows[len(kept) :].any()
    assert 1 < len(kept) < 40  # else suppression had nothing to do, or did all


def test_nothing_that_has_no_score_is_kept():
    found = jnp.array(random_boxes(np.random.default_rng(0), 1, 3))
    scores = jnp.full((1, 3), -jnp.inf)
    got = boxes.suppress(found, scores, iou_threshold=0.5, most=2)
    np.testing.assert_array_equal(got, np.zeros((1, 2, 5)))
