"""Geometry of boxes: their overlap, offsets from anchors, non-maximum suppression.

A box is (x0, y0, x1, y1) in px of the image, in continuous coordinates: pixel i covers
[i, i + 1). One without an area is a place left empty and overlaps nothing.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

# largest log of a box's size over its anchor's, as a bound for exp [Detectron]
MAX_LOG_SIZE = math.log(1000.0 / 16.0)


def area(boxes: jax.Array) -> jax.Array:
    """f32[..., 4] -> f32[...], px^2; 0 where a side is not above 0."""
    return jnp.prod(jnp.maximum(boxes[..., 2:] - boxes[..., :2], 0.0), axis=-1)


def is_box(boxes: jax.Array) -> jax.Array:
    """f32[..., 4] -> bool[...]: whether there is one, of some area."""
    return area(boxes) > 0.0


def centers(boxes: jax.Array) -> jax.Array:
    """f32[..., 4] -> f32[..., 2], (x, y)."""
    return 0.5 * (boxes[..., :2] + boxes[..., 2:])


def iou(a: jax.Array, b: jax.Array) -> jax.Array:
    """Intersection over union of boxes f32[..., 4] with as many others: f32[...].

    >>> iou(jnp.array([0.0, 0.0, 2.0, 2.0]), jnp.array([1.0, 0.0, 3.0, 2.0]))
    Array(0.33333334, dtype=float32)
    """
    inner = _intersection(a, b)
    union = area(a) + area(b) - inner
    return inner / jnp.where(union > 0.0, union, 1.0)


def pairwise_iou(a: jax.Array, b: jax.Array) -> jax.Array:
    """`iou` of each of n boxes with each of m: f32[..., n, 4], f32[..., m, 4] ->
    f32[..., n, m]."""
    return iou(a[..., :, None, :], b[..., None, :, :])


def generalized_iou(a: jax.Array, b: jax.Array) -> jax.Array:
    """IoU - (hull - union) / hull, the hull being the least box round both: f32[...].

    Args:
      a, b: f32[..., 4]; at least one of each pair has an area.

    Returns:
      f32[...] in (-1, 1]; it has a gradient where the two do not touch, too.

    Reference: Rezatofighi et al., Generalized Intersection over Union, CVPR 2019.
    """
    inner = _intersection(a, b)
    union = area(a) + area(b) - inner
    low = jnp.minimum(a[..., :2], b[..., :2])
    high = jnp.maximum(a[..., 2:], b[..., 2:])
    hull = jnp.prod(high - low, axis=-1)
    return inner / union - (hull - union) / hull


def _intersection(a: jax.Array, b: jax.Array) -> jax.Array:
    low = jnp.maximum(a[..., :2], b[..., :2])
    high = jnp.minimum(a[..., 2:], b[..., 2:])
    return jnp.prod(jnp.maximum(high - low, 0.0), axis=-1)


# --- offsets: what a net predicts of a box, seen from an anchor


def distances(anchors: jax.Array, boxes: jax.Array) -> jax.Array:
    """How far a box's edges are from the anchor's centre, in widths of the anchor.

    Args:
      anchors: f32[..., 4], squares of one stride's side about each location.
      boxes: f32[..., 4].

    Returns:
      f32[..., 4], to the left, top, right and bottom; all > 0 where the centre lies in
      the box.
    """
    x, y = jnp.moveaxis(centers(anchors), -1, 0)
    sides = jnp.stack(
        [
            x - boxes[..., 0],
            y - boxes[..., 1],
            boxes[..., 2] - x,
            boxes[..., 3] - y,
        ],
        axis=-1,
    )
    return sides / _size(anchors)[..., :1]


def from_log_distances(anchors: jax.Array, offsets: jax.Array) -> jax.Array:
    """The box whose `distances` have these logs, so that each is above 0.

    Args:
      anchors: f32[..., 4], squares.
      offsets: f32[..., 4], as the net gives them; at most MAX_LOG_SIZE counts.

    Returns:
      f32[..., 4].
    """
    sides = jnp.exp(jnp.minimum(offsets, MAX_LOG_SIZE)) * _size(anchors)[..., :1]
    center = centers(anchors)
    return jnp.concatenate([center - sides[..., :2], center + sides[..., 2:]], axis=-1)


def deltas(anchors: jax.Array, boxes: jax.Array) -> jax.Array:
    """Shift of the centre in sizes of the anchor, and log of the ratio of sizes.

    Args:
      anchors, boxes: f32[..., 4], both with an area.

    Returns:
      f32[..., 4], (x, y, width, height).

    Reference: Girshick et al., Rich Feature Hierarchies for Accurate Object Detection
    and Semantic Segmentation, CVPR 2014.
    """
    size = _size(anchors)
    shift = (centers(boxes) - centers(anchors)) / size
    return jnp.concatenate([shift, jnp.log(_size(boxes) / size)], axis=-1)


def from_deltas(anchors: jax.Array, offsets: jax.Array) -> jax.Array:
    """The box with these `deltas`; of a size's log at most MAX_LOG_SIZE counts."""
    size = _size(anchors)
    center = centers(anchors) + offsets[..., :2] * size
    half = 0.5 * size * jnp.exp(jnp.minimum(offsets[..., 2:], MAX_LOG_SIZE))
    return jnp.concatenate([center - half, center + half], axis=-1)


def _size(boxes: jax.Array) -> jax.Array:
    return boxes[..., 2:] - boxes[..., :2]


# --- from many boxes to few


@partial(jax.vmap, in_axes=(0, 0, None, None))
def _suppressed(
    boxes: jax.Array, scores: jax.Array, iou_threshold: float, most: int
) -> jax.Array:
    def keep_next(scores, _):
        best = jnp.argmax(scores)
        box, score = boxes[best], scores[best]
        gone = iou(boxes, box[None]) > iou_threshold
        scores = jnp.where(gone, -jnp.inf, scores).at[best].set(-jnp.inf)
        return scores, jnp.append(box, score)

    kept = lax.scan(keep_next, scores, length=most)[1]
    return jnp.where(jnp.isfinite(kept[:, 4:]), kept, 0.0)


def suppress(
    boxes: jax.Array, scores: jax.Array, *, iou_threshold: float, most: int
) -> jax.Array:
    """Greedy non-maximum suppression: the best box stays, what overlaps it goes.

    A box goes where its IoU with one that stays is above the threshold. Stopping after
    `most` boxes keeps the first so many of the full suppression.

    Args:
      boxes: f32[B, n, 4].
      scores: f32[B, n]; -inf: never kept. Of equal scores the first box wins.
      iou_threshold: in [0, 1].
      most: boxes kept of an image; static.

    Returns:
      f32[B, most, 5], boxes and their scores, score descending; zeros where an image
      has fewer.
    """
    return _suppressed(boxes, scores, iou_threshold, most)
