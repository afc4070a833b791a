"""Pixels of maps: those at the centres of boxes, and those outside all boxes.

Coordinates are as in `froc`: pixel i covers [i, i + 1), its centre is i + 0.5.
"""

from collections.abc import Sequence

import numpy as np

from aals_jax.metrics import levels


def values_at_centers(
    values: np.ndarray, boxes: np.ndarray, valid: np.ndarray | None
) -> np.ndarray:
    """Value of the pixel that holds each centre, -inf on pixels that are not valid."""
    values = np.asarray(values)
    x, y = np.floor((boxes[:, :2] + boxes[:, 2:]) / 2.0).astype(int).T
    height, width = values.shape
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    if not inside.all():
        raise ValueError(
            f"the centre of box {boxes[~inside][0]} is outside the map of height "
            f"{height} and width {width}; boxes are in pixels of the map"
        )
    score = values[y, x].astype(np.float64)
    if valid is not None:
        score[~np.asarray(valid, bool)[y, x]] = -np.inf
    if np.isnan(score).any():
        raise ValueError(f"the map is nan at the centre of a box: {boxes}")
    return score


def activated_outside(
    maps: Sequence[np.ndarray] | np.ndarray,
    boxes: Sequence[np.ndarray],
    masks: Sequence[np.ndarray | None] | np.ndarray,
    threshold: np.ndarray,
) -> tuple[levels.Dense, np.ndarray]:
    """Activated pixels outside the boxes at each level, and all pixels there i64[n]."""
    count = np.zeros((len(threshold) + 1, len(maps)), np.int32)
    units = np.zeros(len(maps), np.int64)
    for start in range(0, len(maps), 64):  # a column at a time would miss the cache
        rows = []
        for i in range(start, min(start + 64, len(maps))):
            outside = _outside_values(maps[i], boxes[i], masks[i])
            units[i] = outside.size
            rows.append(levels.at_or_above(np.sort(outside), threshold))
        count[1:, start : start + 64] = np.transpose(rows)
    return levels.Dense(count), units


def _pixels(box: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns whose centres lie in the box."""
    # A negative start would wrap round to the far side of the map.
    x0, y0, x1, y1 = np.maximum(np.ceil(box - 0.5), 0).astype(int)
    return slice(y0, y1), slice(x0, x1)


def _outside_values(
    values: np.ndarray, boxes: np.ndarray, valid: np.ndarray | None
) -> np.ndarray:
    """Values of the valid pixels whose centre lies in no box, in any order."""
    values = np.asarray(values)
    outside = np.ones(values.shape, bool)
    if valid is not None:
        outside &= np.asarray(valid, bool)
    for box in boxes:
        outside[_pixels(box)] = False
    values = values[outside]
    # Short floats sort slowly; f32 holds each of them exactly.
    values = values.astype(np.result_type(values.dtype, np.float32), copy=False)
    if not np.isfinite(values).all():
        raise ValueError("a map has a non-finite value on a valid pixel")
    return values
