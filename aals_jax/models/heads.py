"""Heads: what reads the feature pyramid. One row each of HEADS, near the end.

The head "map" gives a logit for each pixel of the finest level. The others predict
boxes: at each anchor a logit that it is a lesion, and offsets to the lesion's box. The
anchors are one list, level by level from the finest, in each level row by row.

References: Tian et al., FCOS: A Simple and Strong Anchor-Free Object Detector, TPAMI
2020; Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import struct
from jax import lax

from aals_jax.models import boxes
from aals_jax.models.convolution import Conv

PRIOR = 0.01  # probability of the untrained output: positive pixels are rare
COARSEST = 64  # px, largest stride of a head of boxes
GROUP = 8  # channels that are normalised together: 32 groups of 256 [FCOS]
SCALES = tuple(2.0 ** (i / 3) for i in range(3))  # of RetinaNet's anchors on a level
RATIOS = (0.5, 1.0, 2.0)  # height over width of its anchors


@struct.dataclass
class BoxOutputs:
    """What a head of boxes says at A anchors."""

    logits: jax.Array  # f32[B, A], that there is a lesion
    offsets: jax.Array  # f32[B, A, 4], to its box
    centerness: jax.Array | None  # f32[B, A] logits; None: the head has none


# --- anchors


def strides_of(name: str, *, finest: int) -> tuple[int, ...]:
    """Strides of the pyramid's levels that a head reads, px: each twice the last.

    Args:
      name: of the head.
      finest: of a head of boxes; a map is of stride 4.

    >>> strides_of("map", finest=8), strides_of("fcos", finest=8)
    ((4,), (8, 16, 32, 64))
    """
    return (4,) if HEADS[name].anchors is None else _strides(finest)


def _strides(finest: int) -> tuple[int, ...]:
    return tuple(finest * 2**i for i in range((COARSEST // finest).bit_length()))


def squares(shape: tuple[int, ...], *, finest: int, scale: float) -> np.ndarray:
    """FCOS's locations, each as a square of one stride's side: f32[A, 4], px.

    Args:
      shape: (height, width) of the image, px.
      finest: stride of the finest level, px.
      scale: not read.
    """
    return _anchors(shape, finest, np.ones((1, 2)))


def rectangles(shape: tuple[int, ...], *, finest: int, scale: float) -> np.ndarray:
    """RetinaNet's nine anchors of each location: f32[A, 4], px.

    Args:
      shape: (height, width) of the image, px.
      finest: stride of the finest level, px.
      scale: side of the smallest square anchor in strides.
    """
    sizes = [
        (scale * size / math.sqrt(ratio), scale * size * math.sqrt(ratio))
        for ratio in RATIOS
        for size in SCALES
    ]
    return _anchors(shape, finest, np.array(sizes))


def _anchors(shape: tuple[int, ...], finest: int, sizes: np.ndarray) -> np.ndarray:
    """f32[A, 4]; `sizes` f64[k, 2] are widths and heights in strides."""
    levels = []
    for stride in _strides(finest):
        rows, columns = (math.ceil(side / stride) for side in shape)
        y, x = np.mgrid[:rows, :columns] + 0.5
        center = stride * np.stack([x, y], axis=-1)[:, :, None]
        half = stride * sizes / 2
        levels.append(np.concatenate([center - half, center + half], axis=-1))
    return np.concatenate([x.reshape(-1, 4) for x in levels]).astype(np.float32)


def level_sizes(shape: tuple[int, ...], *, finest: int, each: int) -> tuple[int, ...]:
    """Numbers of anchors of the levels; `each`: at a location."""
    return tuple(
        each * math.ceil(shape[0] / stride) * math.ceil(shape[1] / stride)
        for stride in _strides(finest)
    )


# --- networks; modules made here belong to the net that calls the head


def _prior_bias(prior: float) -> nn.initializers.Initializer:
    return nn.initializers.constant(math.log(prior / (1.0 - prior)))


def predict_map(
    levels: Sequence[jax.Array], *, prior: float, convs: int, dtype: Any
) -> jax.Array:
    """A 1 x 1 convolution of the finest level.

    Args:
      levels: one, f[B, h, w, .].
      prior: probability of the untrained output, in (0, 1).
      convs, dtype: not read.

    Returns:
      f32[B, h, w] logits.
    """
    (level,) = levels
    return Conv(
        1,
        (1, 1),
        bias_init=_prior_bias(prior),
        kernel_init=nn.initializers.normal(0.01),
        name="head",
    )(nn.relu(level).astype(jnp.float32))[..., 0]


def predict_boxes(
    levels: Sequence[jax.Array],
    *,
    prior: float,
    convs: int,
    dtype: Any,
    each: int,
    has_centerness: bool,
) -> BoxOutputs:
    """Two towers of convolutions, one set of weights for all levels.

    Args:
      levels: f[B, h, w, C] from fine to coarse.
      prior: probability of the untrained output, in (0, 1).
      convs: of a tower, each 3 x 3 with group normalisation and ReLU.
      dtype: of the towers; params and predictions are float32.
      each: anchors at a location.
      has_centerness: whether the tower of boxes also predicts centre-ness.
    """
    channels = levels[0].shape[-1]
    kernel_init = nn.initializers.normal(0.01)
    towers = [
        _Tower(convs, channels, dtype, name=f"{kind}_tower")
        for kind in ("class", "box")
    ]
    conv = partial(Conv, kernel_size=(3, 3), kernel_init=kernel_init)
    logits = conv(each, bias_init=_prior_bias(prior), name="class_logits")
    offsets = conv(4 * each, name="box_offsets")
    centerness = conv(each, name="centerness") if has_centerness else None
    parts = []
    for level in levels:
        of_class, of_box = (t(nn.relu(level)).astype(jnp.float32) for t in towers)
        count = len(level)
        parts.append(
            BoxOutputs(
                logits=logits(of_class).reshape(count, -1),
                offsets=offsets(of_box).reshape(count, -1, 4),
                centerness=centerness(of_box).reshape(count, -1)
                if centerness
                else None,
            )
        )
    return jax.tree.map(lambda *x: jnp.concatenate(x, axis=1), *parts)


class _Tower(nn.Module):
    convs: int
    channels: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i in range(self.convs):
            x = Conv(
                self.channels,
                (3, 3),
                use_bias=False,
                dtype=self.dtype,
                name=f"conv_{i}",
            )(x)
            x = nn.GroupNorm(
                num_groups=None,
                group_size=math.gcd(self.channels, GROUP),
                dtype=self.dtype,
                name=f"norm_{i}",
            )(x)
            x = nn.relu(x)
        return x


# --- the table


@dataclasses.dataclass(frozen=True)
class Head:
    """A row of the table.

    Fields:
      predict: (levels, *, prior, convs, dtype) -> f32[B, h, w] logits, or BoxOutputs.
      each: anchors at a location; 0 of a map.
      anchors: (shape, *, finest, scale) -> f32[A, 4], px; None of a map.
      decode: (anchors, offsets) -> boxes; None of a map.
    """

    predict: Callable[..., Any]
    each: int
    anchors: Callable[..., np.ndarray] | None
    decode: Callable[..., jax.Array] | None


def _of_boxes(
    each: int,
    anchors: Callable[..., np.ndarray],
    decode: Callable[..., jax.Array],
    *,
    has_centerness: bool,
) -> Head:
    predict = partial(predict_boxes, each=each, has_centerness=has_centerness)
    return Head(predict, each, anchors, decode)


HEADS: Mapping[str, Head] = {
    "map": Head(predict_map, 0, None, None),
    "fcos": _of_boxes(1, squares, boxes.from_log_distances, has_centerness=True),
    "retinanet": _of_boxes(
        len(SCALES) * len(RATIOS), rectangles, boxes.from_deltas, has_centerness=False
    ),
}


# --- from outputs to detections


def probabilities(outputs: BoxOutputs) -> jax.Array:
    """The score of each anchor: p, or with centre-ness c sqrt(p c); f32[B, A]."""
    log_p = jax.nn.log_sigmoid(outputs.logits)
    if outputs.centerness is not None:
        log_p = 0.5 * (log_p + jax.nn.log_sigmoid(outputs.centerness))
    return jnp.exp(log_p)


def detect(
    outputs: BoxOutputs,
    shape: tuple[int, ...],
    *,
    head: str,
    finest_stride: int,
    anchor_scale: float,
    top_k: int,
    nms_iou: float,
    max_detections: int,
) -> jax.Array:
    """The boxes of each image: the best of each level, without those they overlap.

    Args:
      outputs: of B images, from a net with this head.
      shape: (height, width) of the images, px.
      head: a key of HEADS, of boxes.
      finest_stride, anchor_scale: of the anchors, see `rectangles`.
      top_k: best anchors of each level that go on.
      nms_iou: threshold of `boxes.suppress`.
      max_detections: boxes kept of an image.

    Returns:
      f32[B, max_detections, 5], (x0, y0, x1, y1, score in (0, 1)), clipped to the
      image, score descending; zeros where there are fewer.
    """
    row = HEADS[head]
    assert row.anchors and row.decode, "a head of boxes"
    anchors = row.anchors(shape, finest=finest_stride, scale=anchor_scale)
    found = row.decode(jnp.asarray(anchors)[None], outputs.offsets)
    limits = jnp.array([shape[1], shape[0]] * 2, jnp.float32)
    found = jnp.clip(found, 0.0, limits[None, None])
    scores = jnp.where(boxes.is_box(found), probabilities(outputs), -jnp.inf)
    kept_scores, kept, start = [], [], 0
    for size in level_sizes(shape, finest=finest_stride, each=row.each):
        best, index = lax.top_k(scores[:, start : start + size], min(top_k, size))
        kept_scores.append(best)
        kept.append(jnp.take_along_axis(found, start + index[..., None], axis=1))
        start += size
    return boxes.suppress(
        jnp.concatenate(kept, axis=1),
        jnp.concatenate(kept_scores, axis=1),
        iou_threshold=nms_iou,
        most=max_detections,
    )
