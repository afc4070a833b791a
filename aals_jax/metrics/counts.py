"""Weighted counts at or above a set of thresholds, for a bootstrap in one call.

`threshold` f64[t] descends. Level 0 is +inf, where nothing is; level k is threshold
k - 1. Every image i has a count at each level, and a replicate r, a row of weights,
asks for sum_i w[r, i] count[i, level]. Where the counts are few (detections, lesions)
only what each level adds is kept, sparse; where nearly every image has some at every
level (pixels) they are kept whole, and a search looks at a few levels only.

For integer weights every sum is an integer below 2^53, hence exact in any order.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

_BLOCK = 1 << 22  # f64 values in one temporary of a matrix product, 32 MiB

_MOST_WINDOWS = 16  # more of them cost what they save

AtLevel = Callable[[np.ndarray], np.ndarray]  # i64[l, r] levels -> f64[l, r] sums


@dataclasses.dataclass(frozen=True)
class Sparse:
    """Few units: the image of each, in descending order of the scores."""

    image: np.ndarray  # i64[k]
    reach: np.ndarray  # i64[t + 1], how many are at or above each level; 0 first
    num_images: int

    def weighted(self, weights: np.ndarray) -> AtLevel:
        """Weights [n, r], a replicate a column -> sums at the asked levels."""
        start, kind = np.concatenate([[0], self.reach]), weights.dtype
        image = self.image[: start[-1]]
        shape = (len(self.reach), self.num_images)
        ones = np.ones(len(image), kind)
        sums = sparse.csr_array((ones, image, start), shape=shape) @ weights
        np.cumsum(sums, axis=0, dtype=kind, out=sums)
        return lambda level: _pick(sums, level)

    def at_or_above(self, levels: np.ndarray) -> np.ndarray:
        """Units of each image at each of some levels i64[l]: f64[l, n]."""
        ends = self.reach[levels]
        found = [
            np.bincount(self.image[:end], minlength=self.num_images) for end in ends
        ]
        return np.array(found, np.float64).reshape(len(ends), self.num_images)

    def near(self, windows: "Windows", base: np.ndarray, rows: np.ndarray) -> AtLevel:
        """`weighted`, for levels of row l within window l alone.

        Args:
            windows: l of them.
            base: [r, l], what is at or above their low ends.
            rows: [r, n], weights with a replicate a row, f64 or i32.
        """
        start = self.reach[windows.low]
        units = self.reach[windows.high] - start
        first = np.cumsum(units + 1) - units - 1  # of each window, its low end
        sums = np.empty((len(rows), int(np.sum(units + 1))), rows.dtype)
        sums[:, first] = base
        for low, column, count in zip(start, first, units, strict=True):
            image = self.image[low : low + count]
            sums[:, column + 1 : column + 1 + count] = np.take(rows, image, axis=1)
            part = sums[:, column : column + 1 + count]
            np.cumsum(part, axis=1, dtype=part.dtype, out=part)
        shift, replicate = (first - start)[:, None], np.arange(len(rows))
        return lambda level: sums[replicate, self.reach[level] + shift]

    def keep(self, levels: np.ndarray) -> "Sparse":
        """At some of the levels i64[s], ascending, 0 first."""
        return dataclasses.replace(self, reach=self.reach[levels])


@dataclasses.dataclass(frozen=True)
class Dense:
    """Many units: every count at every level, 4 (t + 1) n bytes."""

    count: np.ndarray  # i32[t + 1, n], units at or above each level

    def weighted(self, weights: np.ndarray) -> AtLevel:
        """Weights f64[n, r], a replicate a column -> sums at the asked levels."""
        block = max(1, _BLOCK // (self.count.shape[1] + 1))

        def at(level: np.ndarray) -> np.ndarray:
            is_asked = np.zeros(len(self.count), bool)
            is_asked[level] = True
            asked = np.flatnonzero(is_asked)
            sums = np.empty((len(asked), weights.shape[1]))
            for start in range(0, len(asked), block):
                rows = self.count[asked[start : start + block]].astype(np.float64)
                np.matmul(rows, weights, out=sums[start : start + block])
            return _pick(sums, (np.cumsum(is_asked) - 1)[level])

        return at

    def keep(self, levels: np.ndarray) -> "Dense":
        """At some of the levels i64[s], ascending, 0 first."""
        return Dense(self.count[levels])


@dataclasses.dataclass(frozen=True)
class Windows:
    """Levels low .. high, both included, one window for each of l limits."""

    low: np.ndarray  # i64[l]
    high: np.ndarray  # i64[l]


def windows_around(
    false: Sparse, units: np.ndarray, limits: np.ndarray, weights: np.ndarray
) -> Windows | None:
    """Where the last level within each limit will lie for nearly all replicates.

    A replicate's rates differ from those of the set as it is by about as much as at the
    level which is the last one there. The windows are half again as wide.

    Args:
        false: what the rates count.
        units: f64[n], what they are per.
        limits: f64[l], >= 0.
        weights: f64[r, n].

    Returns:
        None where windows would save nothing.
    """
    total, reach = units.sum(), false.reach
    if not total or not len(false.image) or len(limits) > _MOST_WINDOWS:
        return None
    at = np.searchsorted(reach / total, limits, side="right") - 1
    summed = np.concatenate([units[:, None], false.at_or_above(at).T], axis=1)
    per, found = np.split(weights @ summed, [1], axis=1)
    rate = found / np.where(per > 0, per, np.nan)
    if np.isnan(rate).any():
        return None
    away = np.max(np.abs(rate * total - reach[at]), axis=0, initial=0.0)
    margin = 1.5 * away + 8
    low = np.searchsorted(reach, reach[at] - margin, side="right") - 1
    high = np.searchsorted(reach, reach[at] + margin, side="left")
    found = Windows(np.maximum(low, 0), np.minimum(high, len(reach) - 1))
    inside = np.sum(reach[found.high] - reach[found.low])
    return found if 2 * inside < reach[-1] else None


def sparse_counts(
    score: np.ndarray, image: np.ndarray, threshold: np.ndarray, num_images: int
) -> Sparse:
    """Counts of units with scores f64[k], no nan, in the images i64[k]."""
    order = np.argsort(-score)  # equal ones in any order: they reach the same levels
    reach = np.append(0, at_or_above(score[order[::-1]], threshold))
    return Sparse(image[order], reach, num_images)


def at_or_above(ascending: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """How many sorted values are >= each threshold: i64[t]."""
    return len(ascending) - np.searchsorted(ascending, threshold, side="left")


def last_within(
    rate: AtLevel, limits: np.ndarray, windows: Windows, replicates: int
) -> np.ndarray:
    """The last level of each window whose rate is <= its limit, by bisection.

    Args:
        rate: not decreasing with the level, within the limit at the low ends.
        limits: f64[l], >= 0.
        windows: l of them.
        replicates: r.

    Returns:
        i64[l, r].
    """
    shape = (len(limits), replicates)
    low = np.broadcast_to(windows.low[:, None], shape)
    high = np.broadcast_to(windows.high[:, None] + 1, shape)
    while np.any(high - low > 1):
        middle = (low + high) // 2  # where both have met, this is `low` again
        within = rate(middle) <= limits[:, None]
        low, high = np.where(within, middle, low), np.where(within, high, middle)
    return low


def _pick(sums: np.ndarray, row: np.ndarray) -> np.ndarray:
    """sums[row[l, r], r] of f64[k, r] and i64[l, r]."""
    return sums[row, np.arange(sums.shape[1])]


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
) -> tuple[Dense, np.ndarray]:
    """Activated pixels outside the boxes at each level, and all pixels there i64[n]."""
    count = np.zeros((len(threshold) + 1, len(maps)), np.int32)
    units = np.zeros(len(maps), np.int64)
    for start in range(0, len(maps), 64):  # a column at a time would miss the cache
        rows = []
        for i in range(start, min(start + 64, len(maps))):
            outside = _outside_values(maps[i], boxes[i], masks[i])
            units[i] = outside.size
            rows.append(at_or_above(np.sort(outside), threshold))
        count[1:, start : start + 64] = np.transpose(rows)
    return Dense(count), units


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
