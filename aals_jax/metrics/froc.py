"""Lesion-level curves: two FROC definitions with one exact evaluation.

Two numbers settle a free-response curve. Every lesion has its `lesion score`, the
highest threshold at which it is recalled (-inf: never). Every image has a count of
false units at or above any threshold: false detections (`froc_count`) or activated
pixels outside all boxes (`froc_area`). Recall changes only at lesion scores, so these
thresholds are all that is kept, and a bootstrap replicate is a weighted sum:

    rate[r, t]   = sum_i w[r, i] false[i, t] / sum_i w[r, i] units[i]
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

from aals_jax.metrics import counts
from aals_jax.metrics.matching import (
    IOU_THRESHOLD,
    Match,
    check_boxes,
    match_images,
)
from aals_jax.metrics.roc import DrawnWeights, check_weights, whole

COUNT_LIMITS = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0)  # false positives per image
AREA_LIMITS = tuple(k / 100 for k in range(1, 11))  # share of outside pixels [paper]

_BLOCK = 1 << 20  # f64 values in one temporary, 8 MiB: larger ones leave the cache


@dataclasses.dataclass(frozen=True)
class FrocData:
    """What a free-response curve needs to know about n images with m lesions."""

    definition: str  # "froc_count" or "froc_area"
    lesion_score: np.ndarray  # f64[m], -inf: never recalled
    lesion_image: np.ndarray  # i64[m], index of the image, 0 .. n - 1
    threshold: np.ndarray  # f64[t], the distinct finite lesion scores, descending
    false: counts.Sparse | counts.Dense  # false units at or above each threshold
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
    iou_threshold: float = IOU_THRESHOLD,
    max_distance: float | None = None,
    image_shapes: Sequence[tuple[int, int]] | None = None,
) -> FrocData:
    """Collects `froc_count`; rates are false positives per image, negatives included.

    Args:
        detections: n arrays, one per image, which may be empty.
        lesions: n arrays, one per image, which may be empty.
        rule, iou_threshold, max_distance, image_shapes: these and the columns of the
            arrays are as in `matching.match_images`.
    """
    match = match_images(
        detections,
        lesions,
        rule=rule,
        iou_threshold=iou_threshold,
        max_distance=max_distance,
        image_shapes=image_shapes,
    )
    return matched_data(match, len(lesions))


def matched_data(match: Match, num_images: int) -> FrocData:
    """`froc_count` of a match of so many images, see `matching.match_images`."""
    threshold = _distinct(match.lesion_score)
    return FrocData(
        definition="froc_count",
        lesion_score=match.lesion_score,
        lesion_image=match.lesion_image,
        threshold=threshold,
        false=counts.sparse_counts(
            match.false_score, match.false_image, threshold, num_images
        ),
        total_false=np.bincount(match.false_image, minlength=num_images),
        units=np.ones(num_images),
    )


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
    are read one at a time, those with lesions twice, so a memory map will do; what is
    kept are 4 n t bytes for t distinct lesion scores.

    Args:
        maps: n maps f[H, W] of any finite score, a sequence or one f[n, H, W].
        boxes: n arrays f[m, 4] in pixels of the map, which may be empty.
        valid: n masks bool[H, W], False on padding; None: all True.
    """
    num_masks = len(maps) if valid is None else len(valid)
    if not len(maps) == len(boxes) == num_masks:
        raise ValueError(
            f"{len(maps)} maps, {len(boxes)} box lists, {num_masks} masks: the counts "
            "must be equal"
        )
    masks = valid if valid is not None else [None] * len(maps)
    boxes = [check_boxes(image_boxes) for image_boxes in boxes]
    scores = [
        counts.values_at_centers(maps[i], boxes[i], masks[i])
        for i in range(len(maps))
        if len(boxes[i])
    ]
    lesion_score = np.concatenate([np.empty(0), *scores])
    threshold = _distinct(lesion_score)
    false, units = counts.activated_outside(maps, boxes, masks, threshold)
    return FrocData(
        definition="froc_area",
        lesion_score=lesion_score,
        lesion_image=np.repeat(np.arange(len(maps)), [len(b) for b in boxes]),
        threshold=threshold,
        false=false,
        total_false=units,
        units=units.astype(float),
    )


def select_lesions(data: FrocData, mask: np.ndarray) -> FrocData:
    """The set with some of its lesions only, for results by size or kind.

    The other lesions are ignored: neither hit nor missed, and a detection on them, or
    an activated pixel in their boxes, is still not false. False units and images stay.

    Args:
        data: n images with m lesions, in the order in which they were given.
        mask: bool[m].
    """
    mask = np.asarray(mask)
    if mask.shape != data.lesion_score.shape or mask.dtype != bool:
        raise ValueError(
            f"mask {mask.dtype}{mask.shape} must say of each of the "
            f"{len(data.lesion_score)} lesions whether it counts, as bool"
        )
    score = data.lesion_score[mask]
    threshold = _distinct(score)
    kept = np.flatnonzero(np.isin(data.threshold, threshold))
    return dataclasses.replace(
        data,
        lesion_score=score,
        lesion_image=data.lesion_image[mask],
        threshold=threshold,
        false=data.false.keep(np.concatenate([[0], 1 + kept])),
    )


def froc_curve(data: FrocData) -> FrocCurve:
    """Every point where recall changes, and the two ends, for a plot as steps."""
    every = np.arange(len(data.threshold) + 1)[:, None]
    once = np.ones((len(data.units), 1))
    false = data.false.weighted(once)(every)[:, 0]
    hits, _ = _hits(data, np.ones(len(data.lesion_score), bool))
    recalled = hits.weighted(once)(every)[:, 0]
    lesions = np.nan if undefined_reason(data) else len(data.lesion_score)
    total = np.append(false, data.total_false.sum())
    return FrocCurve(
        false_rate=total / max(data.units.sum(), 1.0),
        sensitivity=np.append(recalled, recalled[-1]) / lesions,
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
        weights: f64[..., n], how often an image counts, >= 0; None: 1 each.

    Returns:
        f64[..., l], 0 .. 1; nan where no lesion, or no unit of the rate, has weight.
    """
    every = np.ones(len(data.lesion_score), bool)
    return sensitivity_of_parts(data, [every], limits, weights=weights)[..., 0, :]


def sensitivity_of_parts(
    data: FrocData,
    masks: Sequence[np.ndarray],
    limits: Sequence[float] | np.ndarray,
    *,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """`sensitivity_at` of `select_lesions` for each of some masks, in one search.

    The thresholds of all lesions serve: at the last one within a limit the lesions of a
    part are recalled that are at its own last one.

    Args:
        data, limits, weights: as in `sensitivity_at`.
        masks: p of bool[m].

    Returns:
        f64[..., p, l].
    """
    if not all(limit >= 0 for limit in limits):
        raise ValueError(f"limits={tuple(limits)}: a false rate is not negative")
    num_images, is_whole = len(data.units), isinstance(weights, DrawnWeights)
    weights = check_weights(weights, num_images)
    rows = weights.reshape(-1, num_images) if num_images else np.zeros((1, 0))
    at = np.asarray(limits, np.float64)
    windows = None
    if isinstance(data.false, counts.Sparse) and len(rows) > 1 and len(at):
        windows = counts.windows_around(data.false, data.units, at, rows)
    curves = _Curves(data, masks, at, windows)
    out = np.empty((len(rows), len(masks), len(limits)))
    block = max(1, _BLOCK // (num_images + len(data.threshold) + 1))
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        out[start : start + block] = curves.recall(part, is_whole).transpose(2, 0, 1)
    return out.reshape(*weights.shape[:-1], len(masks), len(limits))


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


class _Curves:
    """Sensitivities at limits f64[l], for weights f64[r, n], a replicate a row."""

    def __init__(
        self,
        data: FrocData,
        masks: Sequence[np.ndarray],
        limits: np.ndarray,
        windows: counts.Windows | None,
    ):
        """`windows`: levels among which to look first; None: all of them."""
        self._data, self._limits, self._windows = data, limits, windows
        self._parts = [_hits(data, mask) for mask in masks]
        last = np.full(len(limits), len(data.threshold))
        self._every = counts.Windows(np.zeros_like(last), last)
        sums = [data.units[:, None], np.stack([n for _, n in self._parts], axis=1)]
        if windows is not None and isinstance(data.false, counts.Sparse):
            every = [data.false, *(hits for hits, _ in self._parts)]
            sums += [each.at_or_above(windows.low).T for each in every]
        # what is asked of whole rows of weights, for one product with them
        self._summed = np.concatenate(sums, axis=1, dtype=np.float64)

    def recall(self, rows: np.ndarray, is_whole: bool) -> np.ndarray:
        """f64[p, l, r]; nan where no lesion, or no unit of the rate, has weight."""
        ends = (
            1 + len(self._parts) + len(self._limits) * np.arange(len(self._parts) + 1)
        )
        units, total, *bases = np.split(rows @ self._summed, [1, *ends], axis=1)
        units, total = units[:, 0], total.T
        per = np.where(units > 0, units, 1.0)
        windows, false = self._windows, self._data.false
        is_sparse = isinstance(false, counts.Sparse)
        times = whole(rows) if is_whole and is_sparse else rows
        if windows is None or not is_sparse:
            recalled = self._everywhere(times, per)
        else:
            rate = false.near(windows, bases[0], times)
            last = self._last(rate, per, windows)
            recalled = np.stack(
                [
                    hits.near(windows, base, times)(last)
                    for (hits, _), base in zip(self._parts, bases[1:], strict=True)
                ]
            )
            outside = self._is_outside(rate, per, windows)
            if outside.any():
                recalled[..., outside] = self._everywhere(times[outside], per[outside])
        defined = (units > 0) & (total > 0)
        return recalled / np.where(defined, total, np.nan)[:, None]

    def _everywhere(self, rows: np.ndarray, per: np.ndarray) -> np.ndarray:
        """Recalled lesions f64[p, l, r], from all levels."""
        columns = np.ascontiguousarray(rows.T)
        last = self._last(self._data.false.weighted(columns), per, self._every)
        return np.stack([hits.weighted(columns)(last) for hits, _ in self._parts])

    def _last(
        self, false: counts.AtLevel, per: np.ndarray, windows: counts.Windows
    ) -> np.ndarray:
        """The last level within each limit, i64[l, r]."""
        # The rate is divided, not the limit multiplied: k / n rounds as a literal does.
        return counts.last_within(
            lambda level: false(level) / per, self._limits, windows, len(per)
        )

    def _is_outside(
        self, false: counts.AtLevel, per: np.ndarray, windows: counts.Windows
    ) -> np.ndarray:
        """bool[r], replicates whose last level may lie outside a window."""
        shape, limits = (len(self._limits), len(per)), self._limits[:, None]
        low, high = (
            np.broadcast_to(ends[:, None], shape)
            for ends in (windows.low, windows.high)
        )
        too_high = false(low) / per > limits
        is_last = high == len(self._data.threshold)
        too_low = (false(high) / per <= limits) & ~is_last
        return np.any(too_high | too_low, axis=0)


def _hits(data: FrocData, mask: np.ndarray) -> tuple[counts.Sparse, np.ndarray]:
    """Recalled lesions of a part at or above each threshold, and all of it i64[n]."""
    n, image = len(data.units), data.lesion_image[mask]
    hits = counts.sparse_counts(data.lesion_score[mask], image, data.threshold, n)
    return hits, np.bincount(image, minlength=n)


def _distinct(scores: np.ndarray) -> np.ndarray:
    """The finite lesion scores, each once, descending."""
    return np.unique(scores[np.isfinite(scores)])[::-1]
