"""Lesion-level curves: two FROC definitions with one exact evaluation.

Two numbers settle a free-response curve. Every lesion has its `lesion score`, the
highest threshold at which it is recalled (-inf: never). Every image has a count of
false units at or above any threshold: false detections (`froc_count`) or activated
pixels outside all boxes (`froc_area`). Recall changes only at lesion scores, so these
thresholds are all that is kept, and a bootstrap replicate is a weighted sum:

    rate[r, t]   = sum_i w[r, i] false_counts[i, t] / sum_i w[r, i] units[i]
    recall[r, t] = sum_{lesions j, score_j >= t} w[r, image_j] / sum_j w[r, image_j]

The sensitivity at limit x is that of the last operating point whose rate is not larger
than x. No interpolation; units of equal score enter together; no point is dropped, the
lowest included. Without any recalled lesion it is 0; without any lesion it is nan.

Coordinates are pixels of the map: pixel i covers [i, i + 1), its centre is i + 0.5. A
box is (x0, y0, x1, y1) and holds the points x0 <= x < x1, y0 <= y < y1.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from aals_jax.matching import check_boxes, match
from aals_jax.roc import check_weights

COUNT_LIMITS = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0)  # false positives per image
AREA_LIMITS = tuple(k / 100 for k in range(1, 11))  # share of outside pixels [paper]

_BLOCK = 1 << 22  # f64 values in one temporary of a matrix product, 32 MiB


@dataclasses.dataclass(frozen=True)
class FrocData:
    """What a free-response curve needs to know about n images with m lesions."""

    definition: str  # "froc_count" or "froc_area"
    lesion_score: np.ndarray  # f64[m], -inf: never recalled
    lesion_image: np.ndarray  # i64[m], index of the image, 0 .. n - 1
    threshold: np.ndarray  # f64[t], the distinct finite lesion scores, descending
    false_counts: np.ndarray  # i32[n, t], false units with score >= threshold
    total_false: np.ndarray  # i64[n], false units with any score
    units: np.ndarray  # f64[n], what a rate is per: 1 image, or its outside pixels


@dataclasses.dataclass(frozen=True)
class FrocCurve:
    """Operating points, thresholds descending from +inf (nothing) to -inf (all)."""

    false_rate: np.ndarray  # f64[t + 2], per image (count) or share of pixels (area)
    sensitivity: np.ndarray  # f64[t + 2], 0 .. 1
    threshold: np.ndarray  # f64[t + 2], in the unit of the scores


def count_data(
    detections: Sequence[np.ndarray],
    lesions: Sequence[np.ndarray],
    *,
    rule: str = "center_in_box",
    iou_threshold: float = 0.2,
    image_shapes: Sequence[tuple[int, int]] | None = None,
) -> FrocData:
    """Collects `froc_count`; rates are false positives per image, negatives included.

    Args:
        detections: n arrays as in `match`, one an image, perhaps empty.
        lesions: n arrays of boxes f[m, 4], one an image, perhaps empty.
        rule, iou_threshold: as in `match`.
        image_shapes: n pairs (height, width); when given, points are checked.
    """
    num_images = len(lesions)
    shapes = image_shapes if image_shapes is not None else [None] * num_images
    found = [
        match(d, b, rule=rule, iou_threshold=iou_threshold, image_shape=shape)
        for d, b, shape in zip(detections, lesions, shapes, strict=True)
    ]
    scores = [each.lesion_score for each in found]
    threshold = _distinct(scores)
    counts = np.zeros((num_images, len(threshold)), np.int32)
    for row, each in zip(counts, found, strict=True):
        row[:] = _at_or_above(each.false_score[::-1], threshold)
    total = np.array([len(each.false_score) for each in found], np.int64)
    return _data("froc_count", scores, threshold, counts, total, np.ones(num_images))


def area_data(
    maps: Sequence[np.ndarray] | np.ndarray,
    boxes: Sequence[np.ndarray],
    *,
    valid: Sequence[np.ndarray] | np.ndarray | None = None,
) -> FrocData:
    """Collects `froc_area`; rates are shares of the valid pixels outside all boxes.

    A pixel is activated when its value >= threshold. A lesion is recalled when the
    pixel that holds the centre of its box is activated; on a pixel that is not valid
    it never is. A pixel is outside when its centre lies in no box of the image. Maps
    are read one at a time, those with lesions twice, so a memory map will do.

    Args:
        maps: n maps f[H, W] of any finite score, a sequence or one f[n, H, W].
        boxes: n arrays f[m, 4] in pixels of the map, perhaps empty.
        valid: n masks bool[H, W], False on padding; none is all True.
    """
    if not len(maps) == len(boxes) == (len(maps) if valid is None else len(valid)):
        raise ValueError(f"{len(maps)} maps and {len(boxes)} box lists, or the masks")
    masks = valid if valid is not None else [None] * len(maps)
    boxes = [check_boxes(each) for each in boxes]
    scores = [
        _values_at_centers(maps[i], boxes[i], masks[i])
        if len(boxes[i])
        else np.empty(0)
        for i in range(len(maps))
    ]
    threshold = _distinct(scores)
    counts = np.zeros((len(maps), len(threshold)), np.int32)
    units = np.zeros(len(maps), np.int64)
    for i, row in enumerate(counts):
        outside = _outside_values(maps[i], boxes[i], masks[i])
        units[i] = outside.size
        row[:] = _at_or_above(np.sort(outside), threshold)
    return _data("froc_area", scores, threshold, counts, units, units.astype(float))


def froc_curve(data: FrocData) -> FrocCurve:
    """Every point where recall changes, and the two ends, for a plot as steps."""
    recall, rate = _operating_points(data, np.ones((1, len(data.units))))
    units = data.units.sum()
    end = data.total_false.sum() / units if units else np.nan
    return FrocCurve(
        false_rate=np.append(rate[0], end),
        sensitivity=np.append(recall[0], recall[0, -1]),
        threshold=np.concatenate([[np.inf], data.threshold, [-np.inf]]),
    )


def sensitivity_at(
    data: FrocData,
    limits: Sequence[float] | np.ndarray,
    *,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Sensitivity of the last operating point whose false rate is <= each limit.

    Args:
        data: n images.
        limits: l false rates, >= 0; COUNT_LIMITS or AREA_LIMITS.
        weights: f64[..., n], how often an image counts, >= 0; none is one each.

    Returns:
        f64[..., l], 0 .. 1; nan where no lesion, or no unit of the rate, has weight.
    """
    if not all(limit >= 0 for limit in limits):
        raise ValueError(f"limits={tuple(limits)}: a false rate is not negative")
    num_images = len(data.units)
    weights = check_weights(weights, num_images)
    rows = weights.reshape(-1, num_images) if num_images else np.zeros((1, 0))
    out = np.empty((len(rows), len(limits)))
    block = max(1, _BLOCK // (len(data.threshold) + len(data.lesion_score) + 1))
    for start in range(0, len(rows), block):
        recall, rate = _operating_points(data, rows[start : start + block])
        for column, limit in enumerate(limits):
            last = np.sum(rate <= limit, axis=1, keepdims=True) - 1
            best = np.take_along_axis(recall, last, axis=1)
            out[start : start + block, column] = best[:, 0]
    return out.reshape(*weights.shape[:-1], len(limits))


def froc_score(
    data: FrocData,
    limits: Sequence[float] | np.ndarray,
    *,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Mean of `sensitivity_at` over the limits: f64[...], without weights a scalar."""
    return sensitivity_at(data, limits, weights=weights).mean(axis=-1)


def undefined_reason(data: FrocData) -> str:
    """Why the score of this set is nan, for the report; empty when it has a value."""
    if not len(data.lesion_score):
        return f"no lesion in {len(data.units)} images"
    return "" if data.units.sum() > 0 else "no pixel outside the boxes"


def _operating_points(
    data: FrocData, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights f64[r, n] -> recall, rate f64[r, 1 + t]; the first is threshold +inf.

    The product runs over blocks of images, so that the counts stay i32 in memory. For
    integer weights every sum is an integer below 2^53, hence exact in any order.
    """
    num_images, num_points = data.false_counts.shape
    false = np.zeros((len(weights), 1 + num_points))
    block = max(1, _BLOCK // (num_points + 1))
    for start in range(0, num_images, block):
        rows = slice(start, start + block)
        false[:, 1:] += weights[:, rows] @ data.false_counts[rows].astype(np.float64)
    order = np.argsort(-data.lesion_score, kind="stable")
    hits = np.zeros((len(weights), 1 + len(order)))
    np.cumsum(weights[:, data.lesion_image[order]], axis=1, out=hits[:, 1:])
    found = _at_or_above(data.lesion_score[order][::-1], data.threshold)
    units, lesions = weights @ data.units, hits[:, -1:].copy()
    defined = (units[:, None] > 0) & (lesions > 0)
    recall = np.full(false.shape, np.nan)
    hits = hits[:, np.concatenate([[0], found])]
    np.divide(hits, lesions, out=recall, where=defined)
    # The rate is divided, not the limit multiplied: k / n rounds as a literal does.
    return recall, np.divide(
        false, units[:, None], out=np.zeros_like(false), where=defined
    )


def _data(
    definition: str,
    scores: Sequence[np.ndarray],
    threshold: np.ndarray,
    counts: np.ndarray,
    total: np.ndarray,
    units: np.ndarray,
) -> FrocData:
    """FrocData from the lesion scores of each image."""
    image = np.repeat(np.arange(len(scores)), [len(each) for each in scores])
    score = np.concatenate([np.empty(0), *scores])
    return FrocData(definition, score, image, threshold, counts, total, units)


def _distinct(scores: Sequence[np.ndarray]) -> np.ndarray:
    """The finite lesion scores of all images, each once, descending."""
    score = np.concatenate([np.empty(0), *scores])
    return np.unique(score[np.isfinite(score)])[::-1]


def _at_or_above(ascending: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """How many sorted values are >= each threshold: i64[t]."""
    return len(ascending) - np.searchsorted(ascending, threshold, side="left")


def _pixels(box: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns whose centres lie in the box."""
    # A negative start would wrap round to the far side of the map.
    x0, y0, x1, y1 = np.maximum(np.ceil(box - 0.5), 0).astype(int)
    return slice(y0, y1), slice(x0, x1)


def _values_at_centers(
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
