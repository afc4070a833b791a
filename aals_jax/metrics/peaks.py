"""The highest point of each map: how high it is, and whether it lies in a lesion's box.

A teacher whose peaks miss the lesions teaches the wrong places, whatever is made of
its maps. One whose peaks lie below t, or are as high on negatives, leaves little to
sharpen.
"""

import dataclasses
import math
from functools import partial

import numpy as np

from aals_jax.metrics import (
    definitions,
    detection,
    intervals,
    matching,
    proportions,
    roc,
)
from aals_jax.metrics.definitions import Entry
from aals_jax.metrics.draws import Bootstrap, Draws, numbered
from aals_jax.metrics.intervals import Interval
from aals_jax.metrics.readings import Truth

BIN_EDGES = np.linspace(0.0, 1.0, 21)  # of `histogram`


@dataclasses.dataclass(frozen=True)
class Peaks:
    """The peaks of n maps."""

    value: np.ndarray  # f64[n], probabilities; 0 for a map without film
    in_box: np.ndarray  # bool[n], whether it lies in a box; False where there is none


def find_peaks(maps: np.ndarray, truth: Truth, *, valid: np.ndarray) -> Peaks:
    """The peak of each map; a plateau's is at its centroid, as in `find_detections`.

    Args:
        maps: f32[n, h, w], probabilities.
        truth: of the n images; its lesions are boxes in pixels of the map.
        valid: f32[n, h, w], 1 on film, where alone a peak may lie.
    """
    points = [
        detection.find_detections(
            values, min_distance=1, threshold=0, max_detections=1, valid=on_film > 0
        ).rows()
        if len(boxes)
        else np.empty((0, 3))
        for values, on_film, boxes in zip(maps, valid, truth.lesions, strict=True)
    ]
    match = matching.match_images(points, truth.lesions)
    in_box = np.zeros(len(maps), bool)
    in_box[match.lesion_image[np.isfinite(match.lesion_score)]] = True
    highest = np.where(valid > 0, maps, 0.0).max(axis=(1, 2), initial=0.0)
    return Peaks(highest.astype(np.float64), in_box)


def lowered_center(values: np.ndarray, *, share: float, most: float) -> float:
    """t from the peaks of positives, so that few further positives are dead. Ours.

    Of n peaks it is the k-th lowest, k = floor(share (n + 1)), or `most` where that is
    lower. So fewer than k of these peaks are below it. A further peak of the same
    distribution is below it with a probability of at most k / (n + 1).

    Args:
        values: f64[n] in [0, 1].
        share: in (0, 1), of images that may be dead; n >= `least_peaks(share)`.
        most: in (0, 1), what t is never raised above.

    Returns:
        t in [0, `most`]; 0 where the k-th lowest peak is 0.

    Raises:
        ValueError: there are too few peaks for such a share.

    >>> lowered_center(np.array([0.9, 0.1, 0.3, 0.2]), share=0.4, most=0.5)
    0.2
    """
    rank = _rank(len(values), share)
    if rank < 1:
        raise ValueError(f"{len(values)} peaks are too few for a share of {share:g}")
    return min(float(np.sort(values)[rank - 1]), most)


def least_peaks(share: float) -> int:
    """The fewest peaks from which `lowered_center` can be had for a share in (0, 1).

    >>> least_peaks(0.2), least_peaks(0.01)
    (4, 99)
    """
    about = math.ceil(1 / share)  # at most one more than needed, whatever rounding does
    return next(n for n in range(max(about - 2, 0), about + 1) if _rank(n, share))


def _rank(count: int, share: float) -> int:
    """The largest k with k / (count + 1) <= share: 29 of 100 for a share of 0.29, whose
    product with 100 is below 29 in floats."""
    near = math.floor(share * (count + 1))
    return max(k for k in range(near - 1, near + 2) if k / (count + 1) <= share)


def histogram(values: np.ndarray) -> list[int]:
    """How many of the peaks, f64[n] in [0, 1], lie in each bin of BIN_EDGES."""
    return np.histogram(values, BIN_EDGES)[0].tolist()


def of_image_level(
    truth: Truth, peaks: Peaks, *, center: float, bootstrap: Bootstrap
) -> dict[str, Entry]:
    """What the peaks on P say, as result.json holds it.

    Args:
        truth, peaks: of images of P; the boxes are those that P withholds.
        center: t in (0, 1).
        bootstrap: over patients, of the intervals.
    """
    every, boxed = np.arange(len(truth)), _boxed(truth)
    empty = "P has no image"
    return {
        "peak_in_box_p": _share(
            truth,
            boxed,
            peaks.in_box[boxed],
            definition="share of the images of P whose peak lies in a box that P "
            "withholds; of those images that have one",
            reason="no image of P has a box in the dataset" if len(truth) else empty,
        ),
        "dead_share_p": _share(
            truth,
            every,
            peaks.value < center,
            definition=f"share of the images of P whose peak is below t = {center:g}",
            reason=empty,
        ),
        "median_peak_p": _middle(
            truth,
            every,
            peaks,
            definition="half of the peaks of P are higher",
            reason=empty,
            bootstrap=bootstrap,
        ),
    }


def of_labelled(
    truth: Truth, peaks: Peaks, *, bootstrap: Bootstrap
) -> dict[str, Entry]:
    """What the peaks on a set with positives and negatives say, as result.json holds
    it.

    Args:
        truth, peaks: of the set.
        bootstrap: over patients, of the intervals.
    """
    boxed = _boxed(truth)
    positive, negative = np.flatnonzero(truth.label), np.flatnonzero(~truth.label)
    return {
        "peak_in_box": _share(
            truth,
            boxed,
            peaks.in_box[boxed],
            definition="share of the boxed positives whose peak lies in a box",
            reason="no positive has a box",
        ),
        "peak_separation": _separation(truth, peaks, bootstrap),
        "median_peak_positive": _middle(
            truth,
            positive,
            peaks,
            definition="half of the peaks of the positives are higher",
            reason="no image is positive",
            bootstrap=bootstrap,
        ),
        "median_peak_negative": _middle(
            truth,
            negative,
            peaks,
            definition="half of the peaks of the negatives are higher",
            reason="no image is negative",
            bootstrap=bootstrap,
        ),
    }


def _boxed(truth: Truth) -> np.ndarray:
    """i64[m], the positives that have a box."""
    has_box = np.array([len(boxes) > 0 for boxes in truth.lesions], bool)
    return np.flatnonzero(has_box & truth.label)


def _share(
    truth: Truth, rows: np.ndarray, counted: np.ndarray, *, definition: str, reason: str
) -> Entry:
    """The share of these images that are counted; `reason`: why it has no value."""
    interval = proportions.proportion(
        counted, np.ones(len(rows)), numbered(truth.patient[rows])
    )
    if not len(rows):
        interval = dataclasses.replace(interval, reason=reason)
    return _entry(interval, truth, rows, definition)


def _middle(
    truth: Truth,
    rows: np.ndarray,
    peaks: Peaks,
    *,
    definition: str,
    reason: str,
    bootstrap: Bootstrap,
) -> Entry:
    """The median peak of these images; `reason`: why it has no value."""
    draws = Draws(truth.patient[rows], **dataclasses.asdict(bootstrap))
    median = partial(_median, peaks.value[rows])
    interval = intervals.percentile_interval(
        intervals.draw(draws, {"": median})[""],
        seed=bootstrap.seed,
        reason=reason,
        few=intervals.too_few(image=draws.num_patients),
    )
    return _entry(interval, truth, rows, definition)


def _separation(truth: Truth, peaks: Peaks, bootstrap: Bootstrap) -> Entry:
    draws = Draws(truth.patient, **dataclasses.asdict(bootstrap))
    auroc = partial(roc.auroc, peaks.value, truth.label)
    every = np.arange(len(truth))
    having = definitions.patients_having(truth, every, ("positive", "negative"))
    interval = intervals.share_interval(
        intervals.draw(draws, {"": lambda weights: auroc(weights=weights)})[""],
        seed=bootstrap.seed,
        patients=min(having.values()),
        trials=proportions.independent_pairs(truth.label, draws.patient),
        reason=roc.undefined_reason(truth.label),
        few=intervals.too_few(**having),
    )
    definition = (
        "probability that the peak of a positive is higher than that of a negative; "
        "ties count half"
    )
    return _entry(interval, truth, every, definition)


def _entry(
    interval: Interval, truth: Truth, rows: np.ndarray, definition: str
) -> Entry:
    return {
        **definitions.entry(interval),
        "definition": definition,
        **definitions.image_set(truth, rows),
    }


def _median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of f64[n] with weights f64[r, n]: f64[r]; nan where n is 0.

    As `np.median` of each value repeated so often as its weight says.
    """
    if not len(values):
        return np.full(len(weights), np.nan)
    order = np.argsort(values, kind="stable")
    upto = 2 * np.cumsum(weights[:, order], axis=1)
    total = upto[:, -1:] / 2
    middle = (np.argmax(reached, axis=1) for reached in (upto >= total, upto > total))
    return np.mean([values[order][place] for place in middle], axis=0)
