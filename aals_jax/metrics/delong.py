"""How sure an AUROC is, in closed form: DeLong's variance, alone and paired.

It takes images as independent; with several images per patient, prefer the bootstrap
of `intervals`.
"""

from collections.abc import Sequence

import numpy as np
from scipy import special

from aals_jax.metrics.intervals import Interval


def auroc_interval(
    scores: np.ndarray, labels: np.ndarray, *, level: float = 0.95
) -> Interval:
    """AUROC with the interval of DeLong's variance, normal on the logit scale.

    logit(A) -+ z sqrt(var(A)) / (A (1 - A)), brought back to 0 .. 1. It takes images
    as independent: with several images per patient, prefer
    `intervals.patient_bootstrap`.

    Args:
        scores: f[n], any monotone scale, no nan.
        labels: [n], 0 or 1, at least two of each for an interval.
        level: coverage, 0 .. 1.

    Returns:
        Interval. At an AUROC of 0 or 1 the variance is 0: low = high = value, and
        `reason` says that this is no certainty.

    Reference: DeLong et al. 1988, doi:10.2307/2531595; mid-ranks as in Sun and Xu
    2014, doi:10.1109/LSP.2014.2337313.
    """
    method = "DeLong, normal on the logit scale, images taken as independent"
    (value,), covariance, why = _delong([scores], labels)
    if covariance is None:
        return Interval(value, np.nan, np.nan, level=level, method=method, reason=why)
    if value in (0.0, 1.0):
        why = "perfect separation: DeLong's variance is 0, the width means nothing"
        return Interval(value, value, value, level=level, method=method, reason=why)
    half = special.ndtri((1 + level) / 2) * np.sqrt(covariance[0, 0])
    half /= value * (1 - value)
    low, high = special.expit(special.logit(value) + np.array([-half, half]))
    return Interval(value, float(low), float(high), level=level, method=method)


def auroc_difference(
    scores_a: np.ndarray,
    scores_b: np.ndarray,
    labels: np.ndarray,
    *,
    level: float = 0.95,
) -> Interval:
    """AUROC of a minus that of b on the same images, plain normal, with p-value.

    Args:
        scores_a, scores_b: f[n], each on its own monotone scale, no nan.
        labels: [n], 0 or 1, at least two of each.
        level: coverage, 0 .. 1.

    Returns:
        Interval of the difference, with `p_value` of z = difference / standard error.
        When the variance is 0 the p-value is 1 for equal AUROCs and else nan.

    Reference: DeLong et al. 1988, doi:10.2307/2531595.
    """
    method = "DeLong, paired, normal, images taken as independent"
    (value_a, value_b), covariance, why = _delong([scores_a, scores_b], labels)
    value = value_a - value_b
    if covariance is None:
        return Interval(value, np.nan, np.nan, level=level, method=method, reason=why)
    contrast = np.array([1.0, -1.0])
    error = float(np.sqrt(max(contrast @ covariance @ contrast, 0.0)))
    half = float(special.ndtri((1 + level) / 2)) * error
    if error > 0:
        p_value = float(2.0 * special.ndtr(-abs(value) / error))
    else:
        p_value = 1.0 if value == 0 else np.nan
        why = "the difference has variance 0, the width means nothing"
    return Interval(
        value, value - half, value + half, 0, 0, p_value, level, method, None, why
    )


def _delong(
    scores: Sequence[np.ndarray], labels: np.ndarray
) -> tuple[list[float], np.ndarray | None, str]:
    """AUROC of each model, their covariance f64[models, models], reason for none."""
    labels = np.asarray(labels)
    for model in map(np.asarray, scores):
        if model.ndim != 1 or model.shape != labels.shape or np.isnan(model).any():
            raise ValueError(
                f"scores {model.shape} and labels {labels.shape} must be two vectors "
                "of one length, without nan"
            )
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels are {np.unique(labels)}; give 0 and 1 only")
    positive = labels.astype(bool)
    num_pos, num_neg = int(positive.sum()), int((~positive).sum())
    if not num_pos or not num_neg:
        why = f"one class only: {num_pos} positive of {labels.size} images"
        return [np.nan] * len(scores), None, why
    # Rank among all minus rank among one's own class counts the other class below,
    # ties by half: for a positive, the share of negatives it beats; vice versa.
    beats, beaten = [], []
    for model in map(np.asarray, scores):
        rank = mid_ranks(model)
        beats.append((rank[positive] - mid_ranks(model[positive])) / num_neg)
        below = (rank[~positive] - mid_ranks(model[~positive])) / num_pos
        beaten.append(1.0 - below)
    values = [float(shares.mean()) for shares in beats]
    if min(num_pos, num_neg) < 2:
        why = f"a variance needs two of each class: {num_pos} positive, {num_neg} not"
        return values, None, why
    covariance = np.cov(beats) / num_pos + np.cov(beaten) / num_neg
    return values, covariance.reshape(len(scores), len(scores)), ""


def mid_ranks(values: np.ndarray) -> np.ndarray:
    """f64[n], the rank of each of f[n], from 1; equal ones share the mean of theirs.

    As `scipy.stats.rankdata`, whose package takes long to import.

    >>> mid_ranks(np.array([0.3, 0.1, 0.3])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place]
