"""Whether scores mean what they say: reliability curve, calibration error, Brier score.

Scores are read as probabilities of a positive image, so all of this is undefined for
scores outside 0 .. 1. Weights say how often an image counts, as in `roc`.
"""

import dataclasses

import numpy as np

from aals_jax.metrics import roc

BINS = 10


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Bins of equal width that hold an image, scores ascending."""

    mean_score: np.ndarray  # f64[b], 0 .. 1
    observed: np.ndarray  # f64[..., b], share of positives, nan where nothing weighs
    count: np.ndarray  # i64[b], images


def brier_score(
    scores: np.ndarray, labels: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Mean of (score - label)^2: 0 is perfect, p (1 - p) is a constant at prevalence p.

    Args:
        scores: f[n], 0 .. 1.
        labels: [n], 0 or 1 (or bool).
        weights: f64[..., n], not negative; None: 1 each.

    Returns:
        f64[...], 0 .. 1; nan where nothing has weight.

    Reference: Brier 1950, Monthly Weather Review 78(1).
    """
    scores, labels = _check(scores, labels)
    weights = roc.check_weights(weights, len(scores))
    return roc.ratio(weights @ (scores - labels) ** 2, weights.sum(axis=-1))


def expected_calibration_error(
    scores: np.ndarray,
    labels: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    bins: int = BINS,
) -> np.ndarray:
    """Mean over images of |mean score - share of positives| in the image's bin.

        ECE = sum_b |sum_{i in b} w_i (s_i - y_i)| / sum_i w_i

    It depends on the bins and is biased upwards on small sets; read it beside the
    reliability curve.

    Args:
        scores, labels, weights: as in `brier_score`.
        bins: of equal width on 0 .. 1.

    Reference: Naeini et al. 2015, AAAI; bins of equal width.
    """
    scores, labels = _check(scores, labels)
    weights = roc.check_weights(weights, len(scores))
    gaps = np.abs(_by_bin(weights * (scores - labels), _bin_of(scores, bins)))
    return roc.ratio(gaps.sum(axis=-1), weights.sum(axis=-1))


def reliability(
    scores: np.ndarray,
    labels: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    bins: int = BINS,
) -> Reliability:
    """Share of positives against mean score, in bins of equal width on 0 .. 1.

    Args:
        scores, labels, bins: as in `expected_calibration_error`.
        weights: of replicates; mean score and count are those of the set as it is.
    """
    scores, labels = _check(scores, labels)
    weights = roc.check_weights(weights, len(scores))
    which = _bin_of(scores, bins)
    _, counts = np.unique(which, return_counts=True)
    return Reliability(
        mean_score=_by_bin(scores, which) / np.maximum(counts, 1),
        observed=roc.ratio(_by_bin(weights * labels, which), _by_bin(weights, which)),
        count=counts,
    )


def members(scores: np.ndarray, *, bins: int = BINS) -> list[np.ndarray]:
    """The images of each bin of `reliability`: i64[k] each."""
    which = _bin_of(np.asarray(scores, np.float64), bins)
    return [np.flatnonzero(which == number) for number in np.unique(which)]


def undefined_reason(scores: np.ndarray) -> str:
    """Why these scores have no calibration; empty when they have one."""
    scores = np.asarray(scores, np.float64)
    if not scores.size:
        return "no image"
    if np.all((scores >= 0) & (scores <= 1)):
        return ""
    return "scores are not probabilities: some lie outside 0 to 1"


def _check(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels, f64[n] each."""
    if reason := undefined_reason(scores):
        raise ValueError(reason)
    scores, positive = roc.check(scores, labels)
    return scores, positive.astype(np.float64)


def _bin_of(scores: np.ndarray, bins: int) -> np.ndarray:
    """i64[n], the bin [k / bins, (k + 1) / bins) of each score; 1 is in the last."""
    if bins < 1:
        raise ValueError(f"bins={bins} must be >= 1")
    edges = np.arange(1, bins) / bins  # k / bins rounds as a literal does
    return np.searchsorted(edges, scores, side="right")


def _by_bin(values: np.ndarray, which: np.ndarray) -> np.ndarray:
    """f64[..., n] -> f64[..., b], sums over the images of each bin that has any."""
    order = np.argsort(which, kind="stable")
    starts = np.flatnonzero(np.diff(which[order], prepend=-1))
    return np.add.reduceat(values[..., order], starts, axis=-1)
