"""COCO's average precision of boxes, at one IoU and over ten.

Detections are matched greedily by score: each takes the free lesion that it overlaps
most, by at least the IoU; a second hit is false. Precision at a recall is the best at
any recall as high, read at 101 recalls. What differs from COCO's own program: equal
scores are one point, so the order of rows has no influence, and no area or crowd is
treated apart.

Reference: Lin et al. 2014, doi:10.1007/978-3-319-10602-1_48, and its evaluation.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from aals_jax.metrics import matching, roc

IOUS = tuple(k / 100 for k in range(50, 100, 5))  # of the mean, "AP" in COCO's tables
MOST = 100  # detections of an image that count, the highest ones
_RECALLS = np.linspace(0.0, 1.0, 101)
_BLOCK = 1 << 20  # f64 values in one temporary


@dataclasses.dataclass(frozen=True)
class ApData:
    """All detections of n images in the order of falling scores."""

    is_hit: np.ndarray  # bool[k]
    image: np.ndarray  # i64[k]
    last: np.ndarray  # i64[t], the last detection of each distinct score
    lesions: np.ndarray  # i64[n], how many an image has


def collect(
    detections: Sequence[np.ndarray], lesions: Sequence[np.ndarray], *, iou: float
) -> ApData:
    """Matches all images at one IoU.

    Args:
        detections: n arrays f[k, 5] (x0, y0, x1, y1, score), which may be empty.
        lesions: n arrays f[m, 4], which may be empty.
        iou: least overlap of a hit, above 0 and at most 1.
    """
    kept = [_highest(np.asarray(rows, np.float64)) for rows in detections]
    match = matching.match_images(kept, lesions, rule="iou", iou_threshold=iou)
    score = np.concatenate([np.empty(0), *(rows[:, -1] for rows in kept)])
    image = np.repeat(np.arange(len(kept)), [len(rows) for rows in kept])
    order = np.argsort(-score, kind="stable")
    falls = np.append(np.diff(score[order]) < 0, True)[: len(order)]
    numbers = [len(np.reshape(boxes, (-1, 4))) for boxes in lesions]
    return ApData(
        is_hit=(match.lesion_of >= 0)[order],
        image=image[order],
        last=np.flatnonzero(falls),
        lesions=np.array(numbers, int),
    )


def average_precision(data: ApData, *, weights: np.ndarray | None = None) -> np.ndarray:
    """AP at the IoU of the data.

    Args:
        data: of n images.
        weights: f64[..., n], how often an image counts, >= 0; None: 1 each.

    Returns:
        f64[...], 0 .. 1; nan where no lesion has weight.
    """
    weights = roc.check_weights(weights, len(data.lesions))
    rows = weights.reshape(-1, weights.shape[-1]) if weights.size else np.ones((1, 0))
    out = np.full(len(rows), np.nan)
    block = max(1, _BLOCK // (len(data.image) + 1))
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        total = part @ data.lesions
        own = np.take(part, data.image, axis=1)
        true = np.cumsum(own * data.is_hit, axis=1)[:, data.last]
        called = np.cumsum(own, axis=1)[:, data.last]
        precision = np.divide(true, called, out=np.zeros_like(true), where=called > 0)
        # the best precision at this recall or a higher one; beyond the last one 0
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        best = np.append(best, np.zeros((len(part), 1)), axis=1)
        for k in np.flatnonzero(total > 0):
            first = np.searchsorted(true[k] / total[k], _RECALLS, side="left")
            out[start + k] = best[k, first].mean()
    return out.reshape(weights.shape[:-1])[()]


def _highest(rows: np.ndarray) -> np.ndarray:
    """At most MOST rows f64[k, 5], those with the highest scores."""
    if not rows.size:
        return np.empty((0, 5))
    if len(rows) <= MOST:
        return rows
    order = np.lexsort((*rows[:, -2::-1].T, -rows[:, -1]))
    return rows[np.sort(order[:MOST])]
