"""Which anchor answers for which box: the targets of the heads of boxes.

An assignment is i32[B, A]: the number of the box that an anchor is to find, BACKGROUND,
or IGNORED, an anchor without a loss. Boxes are f32[B, K, 4] in px of the view, zeros
where an image has fewer than K. Anchors are f32[A, 4].
"""

import jax
import jax.numpy as jnp
import numpy as np

from aals_jax.models import boxes

BACKGROUND, IGNORED = -1, -2
FOREGROUND_IOU, BACKGROUND_IOU = 0.5, 0.4  # RetinaNet's


def by_center(
    anchors: np.ndarray, truth: jax.Array, *, center_radius: float, size_limit: float
) -> jax.Array:
    """FCOS: a location finds the smallest of the boxes that it is near the centre of.

    It lies in the box, less than `center_radius` strides from its centre along each
    axis, and the farthest of the box's edges is within the range of its level: from
    half of `size_limit` to `size_limit` strides, from 0 on the finest level, without
    end on the coarsest.

    Args:
      anchors: f32[A, 4], squares of one stride's side about the locations.
      truth: f32[B, K, 4].
      center_radius: in strides; 1.5 in the paper.
      size_limit: in strides; 8 in the paper.

    Returns:
      i32[B, A], without IGNORED.

    Reference: Tian et al., FCOS: A Simple and Strong Anchor-Free Object Detector, TPAMI
    2020.
    """
    stride = anchors[:, 2] - anchors[:, 0]
    lower = np.where(stride == stride.min(), 0.0, 0.5 * size_limit)
    upper = np.where(stride == stride.max(), np.inf, size_limit)
    squares, found = jnp.asarray(anchors)[None, :, None], truth[:, None]
    edges = boxes.distances(squares, found)  # f32[B, A, K, 4], in strides
    off_center = jnp.abs(edges[..., :2] - edges[..., 2:]).max(axis=-1) / 2
    farthest = edges.max(axis=-1)
    candidate = (
        boxes.is_box(found)
        & (edges.min(axis=-1) > 0.0)
        & (off_center < center_radius)
        & (farthest > lower[None, :, None])
        & (farthest < upper[None, :, None])
    )
    size = jnp.where(candidate, boxes.area(found), jnp.inf)
    smallest = jnp.argmin(size, axis=-1).astype(jnp.int32)
    return jnp.where(candidate.any(axis=-1), smallest, BACKGROUND)


def by_overlap(anchors: np.ndarray, truth: jax.Array, on_film: jax.Array) -> jax.Array:
    """RetinaNet: an anchor finds the box that it overlaps most, if enough.

    From FOREGROUND_IOU on it does; below BACKGROUND_IOU it is background, between the
    two ignored. The anchors that overlap a box more than all others do not need that
    much, so that a box on film is found by one; but they find what they overlap most,
    which can be another box, as in torchvision.

    Args:
      anchors: f32[A, 4].
      truth: f32[B, K, 4].
      on_film: bool[B, A]; other anchors are IGNORED.

    Returns:
      i32[B, A].

    Reference: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017; the last
    rule is that of Ren et al., Faster R-CNN, NIPS 2015.
    """
    overlap = boxes.pairwise_iou(jnp.asarray(anchors)[None], truth)
    overlap = jnp.where(on_film[..., None], overlap, 0.0)
    best = overlap.max(axis=-1)
    box = jnp.argmax(overlap, axis=-1).astype(jnp.int32)
    of_box = overlap.max(axis=1, keepdims=True)
    is_closest = ((overlap == of_box) & (of_box > 0.0)).any(axis=-1)
    is_found = (best >= FOREGROUND_IOU) | is_closest
    other = jnp.where(best < BACKGROUND_IOU, BACKGROUND, IGNORED)
    return jnp.where(on_film, jnp.where(is_found, box, other), IGNORED)


def centers_on_film(anchors: np.ndarray, valid: jax.Array, *, stride: int) -> jax.Array:
    """Whether the map's pixel that holds an anchor's centre is on film: bool[B, A].

    Args:
      anchors: f32[A, 4], px.
      valid: f32[B, h, w] in {0, 1}.
      stride: px for each pixel of the map.
    """
    center = (anchors[:, :2] + anchors[:, 2:]) / 2
    # the centres of the coarsest level may lie beyond the last pixel
    column, row = np.minimum(center // stride, np.array(valid.shape[:0:-1]) - 1).T
    return valid[:, row.astype(int), column.astype(int)] > 0
