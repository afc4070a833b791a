"""Image-level curves: AUROC, average precision, sensitivity at a fixed specificity.

Every function takes one score and one label for each image. Optional weights say how
often an image counts, with any number of leading axes, so that a bootstrap is one
call: `weights[r, n] -> value[r]`. Integer weights are exact: weight k is the same as
writing the image k times.

A set (or a replicate) with one class only has no value: `nan`, never a silent 0.5.
`undefined_reason` puts it into words for a report.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

_BLOCK = 1 << 17  # f64 values in one temporary, 1 MiB: larger ones leave the cache


@dataclasses.dataclass(frozen=True)
class RocCurve:
    """All operating points, thresholds descending from +inf, ties grouped.

    An image is called positive when its score >= threshold.
    """

    false_positive_rate: np.ndarray  # f64[t], 0 .. 1, not decreasing
    sensitivity: np.ndarray  # f64[t], 0 .. 1, not decreasing
    threshold: np.ndarray  # f64[t], in the unit of the scores


@dataclasses.dataclass(frozen=True)
class OperatingPoint:
    """What is reached at `threshold`: an image is positive when score >= threshold."""

    sensitivity: float  # 0 .. 1
    specificity: float  # 0 .. 1, the one reached, not the one asked for
    threshold: float  # in the unit of the scores; +inf calls nothing positive


def auroc(
    scores: np.ndarray, labels: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Area under the ROC curve by the rank formula, ties count half.

    A = sum_ij u_i v_j ([s_i > s_j] + [s_i = s_j] / 2) / (sum_i u_i  sum_j v_j) over
    positives i and negatives j with weights u and v.

    Args:
        scores: f[n], any monotone scale, no nan.
        labels: [n], 0 or 1 (or bool).
        weights: f64[..., n], not negative; None: 1 each.

    Returns:
        f64[...], 0 .. 1, without weights a scalar; nan where one class has no weight.

    Reference: Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747.
    """
    pairs = Pairs(scores, labels)

    def area(rows: np.ndarray) -> np.ndarray:
        twice, total = pairs.twice_won(np.take(rows, pairs.negatives, axis=1))
        own = np.take(rows, pairs.positives, axis=1)
        won = np.einsum("rp,rp->r", own, twice, dtype=np.float64) / 2.0
        return ratio(won, own.sum(axis=1) * total)

    return by_block(area, weights, len(pairs))


class Pairs:
    """Positives against negatives by their scores, as `auroc` compares them."""

    def __init__(self, scores: np.ndarray, labels: np.ndarray):
        """Scores f[n] and labels [n] as in `auroc`."""
        scores, positive = check(scores, labels)
        order = np.argsort(scores, kind="stable")
        self.positives = order[positive[order]]  # i64[p], ascending by score
        self.negatives = order[~positive[order]]  # i64[q], ascending by score
        self._below, upto = (
            np.searchsorted(scores[self.negatives], scores[self.positives], side=side)
            for side in ("left", "right")
        )
        self._tied = np.flatnonzero(upto > self._below)
        self._upto = upto[self._tied]
        self._size = len(scores)

    def __len__(self) -> int:
        return self._size

    def twice_won(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Twice the weight of the negatives that each positive is above, ties half.

        Args:
            weight: f64[r, q], of `negatives`, or i32[r, q].

        Returns:
            [r, p] of `positives`; [r], the weight of all negatives; both of its dtype.
        """
        passed = np.zeros((len(weight), weight.shape[1] + 1), weight.dtype)
        np.cumsum(weight, axis=1, dtype=weight.dtype, out=passed[:, 1:])
        # Those below and those not above: a sum without halves is exact.
        twice = np.take(passed, self._below, axis=1)
        not_above = twice.copy()
        not_above[:, self._tied] = np.take(passed, self._upto, axis=1)
        twice += not_above
        return twice, passed[:, -1]


def average_precision(
    scores: np.ndarray, labels: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Mean precision over the steps of recall: AP = sum_t (R_t - R_{t-1}) P_t.

    A step sum over distinct scores, without interpolation. Its chance level is the
    prevalence, so print the prevalence beside it.

    Args:
        scores: f[n], any monotone scale, no nan.
        labels: [n], 0 or 1 (or bool).
        weights: f64[..., n], not negative; None: 1 each.

    Returns:
        f64[...], 0 .. 1, without weights a scalar; nan where one class has no weight.
    """

    scores, positive = check(scores, labels)
    order = np.argsort(-scores, kind="stable")
    at = scores[order]
    places = np.flatnonzero(positive[order])  # of the positives, best first
    last = np.searchsorted(-at, -at[places], side="right") - 1  # of their score
    same = np.searchsorted(places, last, side="right") - 1  # positives down to there

    def step_sum(rows: np.ndarray) -> np.ndarray:
        called = np.cumsum(np.take(rows, order, axis=1), axis=1, dtype=rows.dtype)
        own = np.take(rows, order[places], axis=1)
        true = np.cumsum(own, axis=1, dtype=rows.dtype)
        upto = np.take(called, last, axis=1)
        precision = np.take(true, same, axis=1).astype(np.float64)
        np.divide(precision, upto, out=precision, where=upto > 0)
        total = np.einsum("rp,rp->r", own, precision)
        has_both = _last(called) > _last(true)
        return np.where(has_both, ratio(total, _last(true)), np.nan)

    return by_block(step_sum, weights, len(scores))


def roc_curve(scores: np.ndarray, labels: np.ndarray) -> RocCurve:
    """Every operating point, from "nothing is positive" to "everything is".

    Args:
        scores: f[n], any monotone scale, no nan.
        labels: [n], 0 or 1 (or bool).

    Returns:
        RocCurve with one point more than there are distinct scores. The rate of a
        class that is not there is nan.
    """
    true, false, threshold = _counts(scores, labels, None)
    true, false = (np.concatenate([[0.0], sums]) for sums in (true, false))
    return RocCurve(
        false_positive_rate=ratio(false, np.full_like(false, _last(false))),
        sensitivity=ratio(true, np.full_like(true, _last(true))),
        threshold=np.concatenate([[np.inf], threshold]),
    )


def sensitivity_at_specificity(
    scores: np.ndarray, labels: np.ndarray, *, specificity: float
) -> OperatingPoint:
    """The most sensitive operating point whose specificity is at least `specificity`.

    Among points with equal sensitivity the one with the highest threshold, that is
    the most specific one, is taken. No interpolation.

    Args:
        scores: f[n], any monotone scale, no nan.
        labels: [n], 0 or 1 (or bool).
        specificity: 0 .. 1.

    Returns:
        OperatingPoint; all nan when there is one class only.
    """
    if not 0.0 <= specificity <= 1.0:
        raise ValueError(f"specificity={specificity} is not in 0 .. 1")
    true, false, threshold = _counts(scores, labels, None)
    if not (_last(true) > 0 and _last(false) > 0):
        return OperatingPoint(np.nan, np.nan, np.nan)
    true, false = (np.concatenate([[0.0], sums]) for sums in (true, false))
    # (N - f) / N rounds once, as the literal 0.9 does; 1 - f / N rounds twice.
    reached = (false[-1] - false) / false[-1]
    allowed = np.flatnonzero(reached >= specificity)
    best = allowed[np.argmax(true[allowed])]
    return OperatingPoint(
        sensitivity=float(true[best] / true[-1]),
        specificity=float(reached[best]),
        threshold=float(threshold[best - 1]) if best else np.inf,
    )


def sensitivity_at_rates(
    scores: np.ndarray,
    labels: np.ndarray,
    *,
    rates: np.ndarray,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """The ROC curve as a step function: sensitivity at false-positive rates.

    The value at a rate is that of the last operating point whose rate is not larger.
    Each replicate takes its own threshold, so a band holds the choice of it.

    Args:
        scores, labels: as in `auroc`.
        rates: f[l], 0 .. 1.
        weights: f64[..., n], not negative; None: 1 each.

    Returns:
        f64[..., l], 0 .. 1; nan where one class has no weight.
    """
    scores, positive = check(scores, labels)
    order = np.argsort(-scores, kind="stable")
    negatives, positives = order[~positive[order]], order[positive[order]]
    # positives above each negative, and all of them: equal scores enter together
    above = np.searchsorted(-scores[positives], -scores[negatives], side="left")
    above = np.append(above, len(positives))

    def at_rates(rows: np.ndarray) -> np.ndarray:
        out = np.full((len(rows), len(rates)), np.nan)
        hits = np.zeros((len(rows), len(positives) + 1))
        np.cumsum(np.take(rows, positives, axis=1), axis=1, out=hits[:, 1:])
        own = np.take(rows, negatives, axis=1)
        alarms = np.cumsum(own, axis=1, dtype=rows.dtype)
        for k in np.flatnonzero((hits[:, -1] > 0) & (_last(alarms) > 0)):
            first = np.searchsorted(alarms[k] / alarms[k, -1], rates, side="right")
            out[k] = hits[k, above[first]] / hits[k, -1]
        return out

    return by_block(at_rates, weights, len(scores))


def undefined_reason(labels: np.ndarray) -> str:
    """Why a metric of this set is nan, for the report; empty when it has a value."""
    labels = np.asarray(labels)
    positives = int(np.sum(labels == 1))
    if 0 < positives < labels.size:
        return ""
    return f"one class only: {positives} positive of {labels.size} images"


def _counts(
    scores: np.ndarray, labels: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weight of positives and negatives at or above each distinct score, descending.

    Returns:
        true f64[..., t], false f64[..., t], threshold f64[t].
    """
    scores, positive = check(scores, labels)
    weights = check_weights(weights, len(scores))
    order = np.argsort(-scores, kind="stable")
    threshold = scores[order]
    new = np.ones(len(order), bool)
    new[1:] = threshold[1:] != threshold[:-1]
    starts = np.flatnonzero(new)
    weights, positive = np.take(weights, order, axis=-1), positive[order]
    if not len(order):
        empty = np.zeros((*weights.shape[:-1], 0))
        return empty, empty, threshold
    true = np.cumsum(np.add.reduceat(weights * positive, starts, axis=-1), axis=-1)
    false = np.cumsum(np.add.reduceat(weights * ~positive, starts, axis=-1), axis=-1)
    return true, false, threshold[starts]


def by_block(
    statistic: Callable[[np.ndarray], np.ndarray],
    weights: np.ndarray | None,
    num_images: int,
) -> np.ndarray:
    """A statistic of weights f64[..., n], or of None, some rows [r, n] at a time.

    Rows of `draws.Draws` are handed on as i32, which are gathered and summed up in a
    third of the time; others as f64.

    Returns:
        f64[..., *k] of a statistic that gives [r, *k].
    """
    is_whole = isinstance(weights, DrawnWeights)
    weights = check_weights(weights, num_images)
    shape = weights.shape[:-1]
    rows = weights.reshape(int(np.prod(shape)), num_images)
    block = max(1, (1 + is_whole) * _BLOCK // (num_images + 1))
    values = np.concatenate(
        [
            statistic(whole(part) if is_whole else part)
            for start in range(0, max(1, len(rows)), block)
            for part in [rows[start : start + block]]
        ]
    )
    return values.reshape((*shape, *values.shape[1:]))[()]


def whole(rows: np.ndarray) -> np.ndarray:
    """Weights of `DrawnWeights` as i32: sums of them stay far below 2^31."""
    return rows.astype(np.int32)


def _last(cumulative: np.ndarray) -> np.ndarray:
    """f64[..., t] -> f64[...], the total; 0 when t = 0."""
    if cumulative.shape[-1]:
        return cumulative[..., -1]
    return np.zeros(cumulative.shape[:-1])


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient, nan where the denominator is 0."""
    missing = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=missing, where=denominator > 0)[()]


def check(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores as f64[n], labels as bool[n]."""
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise ValueError(
            f"scores {scores.shape} and labels {labels.shape} must be two vectors of "
            "one length, one entry per image"
        )
    if np.isnan(scores).any():
        where = int(np.flatnonzero(np.isnan(scores))[0])
        raise ValueError(f"scores[{where}] is nan; leave the image out or score it")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels are {np.unique(labels)}; give 0 and 1 only")
    return scores, labels.astype(bool)


class DrawnWeights(np.ndarray):
    """Weights of `draws.Draws`: whole, not negative, and so not looked at again."""


def check_weights(weights: np.ndarray | None, num_images: int) -> np.ndarray:
    """Weights as f64[..., n]."""
    if weights is None:
        return np.ones(num_images)
    is_checked = isinstance(weights, DrawnWeights)
    weights = np.asarray(weights, np.float64)
    if weights.ndim == 0 or weights.shape[-1] != num_images:
        raise ValueError(
            f"weights {weights.shape} must end in the number of images, {num_images}"
        )
    if is_checked or not weights.size:
        return weights
    if not (weights.min() >= 0 and np.isfinite(weights.max())):
        raise ValueError("weights must be finite and not negative")
    return weights
