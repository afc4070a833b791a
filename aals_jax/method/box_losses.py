"""Losses of the heads of boxes on R and N: focal loss, GIoU, smooth L1, centre-ness.

Each is a sum over anchors divided by the number of anchors that have a box, over all
images of all devices, as their papers have it; an image of N is all background.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aals_jax.method import assignment
from aals_jax.method.losses import Ratio
from aals_jax.models import boxes, heads
from aals_jax.models.heads import BoxOutputs
from aals_jax.types import Labelled

SMOOTH = 1.0 / 9.0  # below this difference smooth L1 is a square [Detectron]


def focal(
    logits: jax.Array, target: jax.Array, *, alpha: float, gamma: float
) -> jax.Array:
    """-w (1 - p_t)^gamma log p_t, p_t the probability of the target.

    Args:
      logits: f32[...].
      target: f32[...] in {0, 1}.
      alpha: w where the target is 1, in [0, 1]; 1 - alpha elsewhere.
      gamma: >= 0; 0 is cross-entropy.

    Returns:
      f32[...], in nats.

    Reference: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.
    """
    log_p = jax.nn.log_sigmoid(jnp.where(target > 0, logits, -logits))
    log_miss = jax.nn.log_sigmoid(jnp.where(target > 0, -logits, logits))
    weight = jnp.where(target > 0, alpha, 1.0 - alpha)
    return -weight * jnp.exp(gamma * log_miss) * log_p


def smooth_l1(difference: jax.Array) -> jax.Array:
    """d^2 / (2 b) where |d| < b, else |d| - b / 2, with b = SMOOTH: f32[...]."""
    size = jnp.abs(difference)
    square = 0.5 * jnp.square(difference) / SMOOTH
    return jnp.where(size < SMOOTH, square, size - 0.5 * SMOOTH)


def centerness(distances: jax.Array) -> jax.Array:
    """sqrt((min(l, r) / max(l, r)) (min(t, b) / max(t, b))): 1 at a box's centre.

    Args:
      distances: f32[..., 4], to the left, top, right and bottom, all > 0.

    Returns:
      f32[...] in (0, 1].

    Reference: Tian et al., FCOS, ICCV 2019, equation 3.
    """
    first, second = distances[..., :2], distances[..., 2:]
    ratio = jnp.minimum(first, second) / jnp.maximum(first, second)
    return jnp.sqrt(jnp.prod(ratio, axis=-1))


def fcos(
    outputs: BoxOutputs,
    labelled: Labelled,
    *,
    finest_stride: int,
    center_radius: float,
    size_limit: float,
    focal_alpha: float,
    focal_gamma: float,
) -> Ratio:
    """Focal loss of all locations on film; GIoU and centre-ness of those with a box.

    Args:
      outputs: of the head "fcos".
      labelled: images of R and N; `boxes` and `valid` are read.
      finest_stride: px, of the net's finest level.
      center_radius, size_limit: of `assignment.by_center`.
      focal_alpha, focal_gamma: of `focal`.

    Returns:
      Sums over each image's locations, and its number of those with a box.
    """
    assert labelled.boxes is not None and outputs.centerness is not None
    shape = labelled.image.shape[1:3]
    anchors = heads.squares(shape, finest=finest_stride, scale=1.0)
    on_film = _on_film(anchors, labelled)
    matched = assignment.by_center(
        anchors, labelled.boxes, center_radius=center_radius, size_limit=size_limit
    )
    matched = jnp.where(on_film, matched, assignment.IGNORED)

    def of_box(truth: jax.Array, has_box: jax.Array) -> jax.Array:
        found = boxes.from_log_distances(jnp.asarray(anchors)[None], outputs.offsets)
        distances = boxes.distances(jnp.asarray(anchors)[None], truth)
        # a branch not taken must be finite, and its gradient too
        distances = jnp.where(has_box[..., None], distances, 1.0)
        cross_entropy = optax.sigmoid_binary_cross_entropy(
            outputs.centerness, centerness(distances)
        )
        return 1.0 - boxes.generalized_iou(found, truth) + cross_entropy

    return _summed(
        outputs, anchors, labelled, matched, of_box, focal_alpha, focal_gamma
    )


def retinanet(
    outputs: BoxOutputs,
    labelled: Labelled,
    *,
    finest_stride: int,
    anchor_scale: float,
    focal_alpha: float,
    focal_gamma: float,
) -> Ratio:
    """Focal loss of all anchors that are not ignored; smooth L1 of those with a box.

    Args:
      outputs: of the head "retinanet".
      labelled: images of R and N; `boxes` and `valid` are read.
      finest_stride, anchor_scale: of the anchors, see `heads.rectangles`.
      focal_alpha, focal_gamma: of `focal`.

    Returns:
      Sums over each image's anchors, and its number of those with a box.
    """
    assert labelled.boxes is not None
    shape = labelled.image.shape[1:3]
    anchors = heads.rectangles(shape, finest=finest_stride, scale=anchor_scale)
    matched = assignment.by_overlap(
        anchors, labelled.boxes, _on_film(anchors, labelled)
    )

    def of_box(truth: jax.Array, has_box: jax.Array) -> jax.Array:
        wanted = boxes.deltas(jnp.asarray(anchors)[None], truth)
        return jnp.sum(smooth_l1(outputs.offsets - wanted), axis=-1)

    return _summed(
        outputs, anchors, labelled, matched, of_box, focal_alpha, focal_gamma
    )


def _on_film(anchors: np.ndarray, labelled: Labelled) -> jax.Array:
    stride = labelled.image.shape[1] // labelled.valid.shape[1]
    return assignment.centers_on_film(anchors, labelled.valid, stride=stride)


def _summed(
    outputs: BoxOutputs,
    anchors: np.ndarray,
    labelled: Labelled,
    matched: jax.Array,
    of_box: Callable[..., Any],
    focal_alpha: float,
    focal_gamma: float,
) -> Ratio:
    """The sums over the anchors of each image.

    `of_box(truth f32[B, A, 4], has_box bool[B, A])` -> f32[B, A] is the loss of anchors
    that have a box; the truth of the others is the anchor itself.
    """
    assert labelled.boxes is not None
    has_box = matched >= 0
    number = jnp.maximum(matched, 0)[..., None]
    truth = jnp.take_along_axis(labelled.boxes, number, axis=1)
    truth = jnp.where(has_box[..., None], truth, jnp.asarray(anchors)[None])
    of_class = focal(
        outputs.logits,
        has_box.astype(jnp.float32),
        alpha=focal_alpha,
        gamma=focal_gamma,
    )
    is_counted = matched != assignment.IGNORED
    loss = jnp.where(is_counted, of_class, 0.0)
    loss += jnp.where(has_box, of_box(truth, has_box), 0.0)
    return Ratio(
        total=jnp.sum(loss, axis=1),
        count=jnp.sum(has_box, axis=1, dtype=jnp.float32),
    )
