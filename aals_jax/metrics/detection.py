"""From a map of scores to detections: points, and one score per image.

Maps are f[H, W], probabilities or logits: nothing here needs a range. Coordinates
are pixels of the map: pixel i covers [i, i + 1) and its centre is i + 0.5, so a map of
stride s is brought to its image by a multiplication with s and no offset. Points are
(x, y), boxes (x0, y0, x1, y1) that hold x0 <= x < x1, y0 <= y < y1.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from scipy import special

_EIGHT = np.ones((3, 3), np.uint8)  # a pixel and its eight neighbours


@dataclasses.dataclass(frozen=True)
class Detections:
    """Points of one map, score descending."""

    x: np.ndarray  # f64[k], 0 < x < W
    y: np.ndarray  # f64[k], 0 < y < H
    score: np.ndarray  # f64[k], value of the map there

    def rows(self) -> np.ndarray:
        """f64[k, 3], (x, y, score), as `matching.match` reads them."""
        return np.stack([self.x, self.y, self.score], axis=1)


def find_detections(
    probability_map: np.ndarray,
    *,
    min_distance: int,
    threshold: float,
    max_detections: int = 100,
    valid: np.ndarray | None = None,
) -> Detections:
    """Local peaks: values that nothing within `min_distance` exceeds.

    A plateau, connected pixels of one value, is one detection at its centroid (at its
    pixel nearest to the centroid when it bends round it). A shelf that touches
    something higher is not one. Of peaks within `min_distance` of each other the higher
    stays; distances are the larger of |dx| and |dy|, in pixels.

    Args:
        probability_map: f[H, W], finite on valid pixels.
        min_distance: pixels, >= 1.
        threshold: least value of a detection; finite.
        max_detections: the highest so many are kept.
        valid: bool[H, W], False on padding, which is never a peak.
    """
    if min_distance < 1 or not np.isfinite(threshold):
        raise ValueError(f"min_distance={min_distance} < 1, or threshold={threshold}")
    values = _check_map(probability_map, valid)
    window = np.ones((2 * min_distance + 1,) * 2, np.uint8)
    peak = (values >= threshold) & (values == cv2.dilate(values, window))
    # A plateau can run on into pixels from which something higher is in reach.
    others = values.copy()
    others[peak] = -np.inf
    around = cv2.dilate(others, _EIGHT)
    count, labels = cv2.connectedComponents(peak.view(np.uint8), connectivity=8)
    place = np.flatnonzero(peak)  # much faster than in two dimensions
    ys, xs = np.divmod(place, values.shape[1])
    plateau, height = labels.ravel()[place] - 1, values.ravel()[place]
    x, y = _centers(xs, ys, plateau, count - 1)
    score = np.full(count - 1, -np.inf)
    score[plateau] = height  # one value per plateau
    keep = np.ones(count - 1, bool)
    keep[plateau[around.ravel()[place] == height]] = False
    order = np.lexsort((x, y, -score))
    order = _apart(order[keep[order]], x, y, min_distance, max_detections)
    return Detections(x[order], y[order], score[order])


def suppress(
    probability_map: np.ndarray,
    *,
    min_distance: float,
    threshold: float,
    max_detections: int = 100,
    valid: np.ndarray | None = None,
) -> Detections:
    """The highest pixel, then the highest beyond its reach, and so on.

    Unlike `find_detections` this also finds lesions that share one hill of the map, as
    boxes that overlap do: a pixel within `min_distance` of a detection is out, every
    other one may be the next. The peaks of `find_detections` are among them, but for
    plateaus and for what `max_detections` cuts off. Of equally high pixels the one of
    the first row, then of the first column is taken.

    Args:
        probability_map: f[H, W], finite on valid pixels.
        min_distance: pixels, from centre to centre, >= 1.
        threshold: least value of a detection; finite.
        max_detections: the highest so many are kept.
        valid: bool[H, W], False on padding, where no detection lies.

    Reference: Liu et al. 2017, Detecting Cancer Metastases on Gigapixel Pathology
    Images, arXiv 1703.02442 (non-maxima suppression).
    """
    if not min_distance >= 1 or not np.isfinite(threshold):
        raise ValueError(f"min_distance={min_distance} < 1, or threshold={threshold}")
    values = _check_map(probability_map, valid)
    reach = int(min_distance)
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = dy**2 + dx**2 <= min_distance**2
    # a margin, so that the disc fits round every pixel
    left = np.pad(values, reach, constant_values=-np.inf)
    found = []
    while len(found) < max_detections:
        place = int(left.argmax())
        row, column = divmod(place, left.shape[1])
        score = left[row, column]
        if not score >= threshold:
            break
        found.append((column - reach + 0.5, row - reach + 0.5, score))
        rows = slice(row - reach, row + reach + 1)
        columns = slice(column - reach, column + reach + 1)
        left[rows, columns][disc] = -np.inf
    x, y, score = np.array(found, np.float64).reshape(-1, 3).T
    return Detections(x, y, score)


def _peaks(
    probability_map: np.ndarray, *, min_distance: float, **rest: Any
) -> Detections:
    return find_detections(probability_map, min_distance=round(min_distance), **rest)


# name -> function that takes the arguments of `suppress`
FINDERS: Mapping[str, Callable[..., Detections]] = {
    "suppression": suppress,
    "peaks": _peaks,
}
BOX_SHARE = 0.5  # of a peak's score: what is higher and around it is its box


def peak_boxes(
    probability_map: np.ndarray, peaks: np.ndarray, *, share: float = BOX_SHARE
) -> np.ndarray:
    """A box round each peak: the pixels around it that reach a share of its score.

    They are connected with the peak (by sides and corners), and nearer to it than to
    any other peak (of equally near ones the first has them), so that two peaks on one
    hill have boxes of their own. A box holds its peak's pixel always.

    Args:
        probability_map: f[H, W], not negative.
        peaks: f[k, 3], (x, y, score), as `Detections.rows` gives them.
        share: in (0, 1].

    Returns:
        f64[k, 4], (x0, y0, x1, y1), whole pixels of the map.
    """
    values = np.asarray(probability_map)
    rows, columns = values.shape
    y, x = np.mgrid[:rows, :columns] + 0.5
    if not len(peaks):
        return np.zeros((0, 4))
    near = np.stack([(x - px) ** 2 + (y - py) ** 2 for px, py, _ in peaks])
    owner = near.argmin(axis=0)
    boxes = []
    for k, (px, py, score) in enumerate(peaks):
        row, column = min(int(py), rows - 1), min(int(px), columns - 1)
        high = (values >= share * score) & (owner == k)
        high[row, column] = True
        _, labels = cv2.connectedComponents(high.view(np.uint8), connectivity=8)
        ys, xs = np.nonzero(labels == labels[row, column])
        boxes.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
    return np.array(boxes, np.float64)


def to_image(points: np.ndarray, transform: float | np.ndarray) -> np.ndarray:
    """Points of the map in coordinates of the image.

    Args:
        points: f[..., 2], (x, y); write boxes [m, 4] as [m, 2, 2].
        transform: stride in image pixels per map pixel, > 0; or an affine f[2, 3] in
            the edge convention of this module: image = A[:, :2] @ point + A[:, 2].

    Returns:
        f64[..., 2].
    """
    points, affine = np.asarray(points, np.float64), np.asarray(transform, np.float64)
    if affine.ndim == 0 and affine > 0:
        affine = np.array([[affine, 0.0, 0.0], [0.0, affine, 0.0]])
    if affine.shape != (2, 3) or points.shape[-1:] != (2,):
        raise ValueError(
            f"transform {affine} must be a stride > 0 or [2, 3], and points "
            f"{points.shape} end in 2"
        )
    return points @ affine[:, :2].T + affine[:, 2]


def image_score(
    probability_map: np.ndarray,
    valid: np.ndarray | None = None,
    *,
    pooling: str = "max",
    top_k: int = 16,
    sharpness: float = 10.0,
) -> float:
    """The score of an image from its map; the project reports `max`.

    max:          max_i p_i
    top_k_mean:   mean of the `top_k` largest p_i (of all, when there are fewer)
    log_sum_exp:  log(mean_i exp(r p_i)) / r, between mean (r -> 0) and max
    mean_logit:   expit(mean_i logit(p_i)), what a class activation map is pooled to

    Args:
        probability_map: f[H, W], finite on valid pixels.
        valid: bool[H, W], False on padding; None: all True.
        pooling: a key of POOLINGS.
        top_k: pixels, >= 1.
        sharpness: r, > 0, in 1 / unit of the map.
    """
    if top_k < 1 or not sharpness > 0:
        raise ValueError(f"top_k={top_k} must be >= 1 and sharpness={sharpness} > 0")
    if pooling not in POOLINGS:
        raise ValueError(f"pooling={pooling!r}; use one of {sorted(POOLINGS)}")
    values = _check_map(probability_map, valid)
    values = values[np.isfinite(values)].astype(np.float64)
    if not values.size:
        raise ValueError("a map without a valid pixel has no score; drop the image")
    return float(POOLINGS[pooling](values, top_k, sharpness))


def _max(values: np.ndarray, _: int, __: float) -> float:
    return values.max()


def _top_k_mean(values: np.ndarray, top_k: int, _: float) -> float:
    top_k = min(top_k, values.size)
    return np.partition(values, values.size - top_k)[-top_k:].mean()


def _log_sum_exp(values: np.ndarray, _: int, sharpness: float) -> float:
    return (special.logsumexp(sharpness * values) - np.log(values.size)) / sharpness


def _mean_logit(values: np.ndarray, _: int, __: float) -> float:
    # a probability that rounding made 0 or 1 has no finite logit
    inside = np.clip(values, 1e-30, 1.0 - 2.0**-24)
    return float(special.expit(special.logit(inside).mean()))


POOLINGS = {
    "max": _max,
    "top_k_mean": _top_k_mean,
    "log_sum_exp": _log_sum_exp,
    "mean_logit": _mean_logit,
}


def _centers(
    xs: np.ndarray, ys: np.ndarray, group: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Centroid of the pixels of each group, moved onto the group when it is off it."""
    size = np.bincount(group, minlength=count)
    x = np.bincount(group, xs + 0.5, minlength=count) / size
    y = np.bincount(group, ys + 0.5, minlength=count) / size
    dx, dy = xs + 0.5 - x[group], ys + 0.5 - y[group]
    distance = dx * dx + dy * dy
    nearest = np.full(count, np.inf)
    np.minimum.at(nearest, group, distance)
    # Up to 1 the centroid touches the plateau: a block of 2 x 2 has it on a corner.
    off = np.flatnonzero(nearest > 1.0)
    for k in off:
        pixel = np.flatnonzero((group == k) & (distance == nearest[k]))[0]
        x[k], y[k] = xs[pixel] + 0.5, ys[pixel] + 0.5
    return x, y


def _apart(
    order: np.ndarray, x: np.ndarray, y: np.ndarray, distance: float, most: int
) -> Sequence[int]:
    """The first `most` of `order` that are more than `distance` from those kept."""
    kept: list[int] = []
    while len(order) and len(kept) < most:
        first = order[0]
        kept.append(int(first))
        far = np.maximum(abs(x[order] - x[first]), abs(y[order] - y[first])) > distance
        order = order[far]
    return kept


def _check_map(probability_map: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """Map as f32 or f64 [H, W], -inf where not valid."""
    values = np.asarray(probability_map)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"a map is [H, W], not {values.shape}; take one channel")
    values = values.astype(np.float64 if values.dtype == np.float64 else np.float32)
    padding = np.array(False) if valid is None else ~np.asarray(valid, bool)
    if padding.ndim and padding.shape != values.shape:
        raise ValueError(f"valid {padding.shape} and the map {values.shape} must agree")
    if not np.all(np.isfinite(values) | padding):
        raise ValueError("a map has a non-finite value on a valid pixel")
    np.copyto(values, -np.inf, where=padding)
    return values
