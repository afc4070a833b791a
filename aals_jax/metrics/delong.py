"""How sure an AUROC is, in closed form: DeLong's variance, or Obuchowski's.

With several images a patient, images of one patient are alike and DeLong's variance is
far too small. Obuchowski's sums the same parts over patients first, and is DeLong's
where each patient has one image. DeLong's intervals are normal; those over patients
take Student's t of the patients of the rarer class less one, which is ours, as normal
ones are too narrow with 30 patients (docs/measuring.md).

References:
    E. DeLong, D. DeLong, D. Clarke-Pearson 1988, doi:10.2307/2531595; mid-ranks as in
    X. Sun, W. Xu 2014, doi:10.1109/LSP.2014.2337313.
    N. Obuchowski 1997, Nonparametric analysis of clustered ROC curve data,
    doi:10.2307/2533958.
"""

import dataclasses
from collections.abc import Hashable, Sequence

import numpy as np
from scipy import special

from aals_jax.metrics import intervals
from aals_jax.metrics.draws import numbered
from aals_jax.metrics.intervals import Interval

INDEPENDENT = (
    "images are taken as independent, each as a patient of its own: give patients if "
    "one has several"
)
CLUSTERED = (
    "patients are taken as independent, images of one patient are not; somewhat narrow "
    "where patients are few and the AUROC is near 1"
)


@dataclasses.dataclass(frozen=True)
class _Variance:
    """AUROC of each model, and how they vary together."""

    values: list[float]
    covariance: np.ndarray | None  # f64[models, models]; None: see reason
    reason: str
    clustered: bool  # a patient has several images
    freedom: int  # patients of the rarer class, less one

    @property
    def method(self) -> str:
        return "Obuchowski's variance over patients" if self.clustered else "DeLong"

    @property
    def note(self) -> str:
        return CLUSTERED if self.clustered else INDEPENDENT

    def below(self, x: float) -> float:
        """Probability of less than x standard errors."""
        if self.clustered:
            return float(special.stdtr(self.freedom, x))
        return float(special.ndtr(x))

    def quantile(self, probability: float) -> float:
        """The inverse of `below`."""
        if self.clustered:
            return float(special.stdtrit(self.freedom, probability))
        return float(special.ndtri(probability))


def auroc_interval(
    scores: np.ndarray,
    labels: np.ndarray,
    *,
    patients: Sequence[Hashable] | np.ndarray | None = None,
    level: float = 0.95,
) -> Interval:
    """AUROC with the interval of its variance, on the logit scale.

    logit(A) -+ q sqrt(var(A)) / (A (1 - A)), brought back to 0 .. 1; q is a quantile of
    the normal distribution, or of Student's where patients have several images.

    Args:
        scores: f[n], any monotone scale, no nan.
        labels: [n], 0 or 1, at least two patients of each for an interval.
        patients: n ids; None: each image is a patient of its own.
        level: coverage, 0 .. 1.

    Returns:
        Interval. At an AUROC of 0 or 1 the variance is 0 and says nothing: the ends are
        nan, with a reason.
    """
    found = _variance([scores], labels, patients)
    value, covariance, why = found.values[0], found.covariance, found.reason
    low = high = np.nan
    if covariance is not None:
        variance = float(covariance[0, 0])
        if value in (0.0, 1.0):
            why = "perfect separation: the variance is 0, which is no certainty"
        elif variance <= 0:
            why = "the variance is 0, which is no certainty"
        else:
            half = found.quantile((1 + level) / 2) * np.sqrt(variance)
            half /= value * (1 - value)
            low, high = special.expit(special.logit(value) + np.array([-half, half]))
    return Interval(
        value,
        float(low),
        float(high),
        level=level,
        method=f"{found.method}, on the logit scale",
        reason=why,
        note=found.note,
    )


def auroc_difference(
    scores_a: np.ndarray,
    scores_b: np.ndarray,
    labels: np.ndarray,
    *,
    patients: Sequence[Hashable] | np.ndarray | None = None,
    level: float = 0.95,
) -> Interval:
    """AUROC of a minus that of b on the same images, with p-value.

    Args:
        scores_a, scores_b: f[n], each on its own monotone scale, no nan.
        labels: [n], 0 or 1, at least two patients of each.
        patients, level: as in `auroc_interval`.

    Returns:
        Interval of the difference, with `p_value` of difference / standard error.
        When the variance is 0 there is neither, with a reason; equal AUROCs have p = 1.
    """
    found = _variance([scores_a, scores_b], labels, patients)
    value, why = found.values[0] - found.values[1], found.reason
    low = high = p_value = np.nan
    if found.covariance is not None:
        contrast = np.array([1.0, -1.0])
        # rounding leaves about 1e-17 of what is 0
        error = float(np.sqrt(max(contrast @ found.covariance @ contrast, 0.0)))
        if error > 1e-8:
            half = found.quantile((1 + level) / 2) * error
            low, high = value - half, value + half
            p_value = 2.0 * found.below(-abs(value) / error)
        else:
            why = "the difference has variance 0, which is no certainty"
            p_value = 1.0 if value == 0 else np.nan
    method = f"{found.method}, paired"
    return Interval(
        value,
        float(low),
        float(high),
        p_value=float(p_value),
        level=level,
        method=method,
        reason=why,
        p_method=method,
        p_reason="" if p_value >= 0 else why,
        note=found.note,
    )


def _variance(
    scores: Sequence[np.ndarray],
    labels: np.ndarray,
    patients: Sequence[Hashable] | np.ndarray | None,
) -> _Variance:
    """AUROC of each model and Obuchowski's covariance of them."""
    labels = np.asarray(labels)
    models = [np.asarray(model, np.float64) for model in scores]
    for model in models:
        if model.ndim != 1 or model.shape != labels.shape or np.isnan(model).any():
            raise ValueError(
                f"scores {model.shape} and labels {labels.shape} must be two vectors "
                "of one length, without nan"
            )
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels are {np.unique(labels)}; give 0 and 1 only")
    patient = numbered(range(len(labels)) if patients is None else patients)
    if len(patient) != len(labels):
        raise ValueError(f"{len(patient)} patients for {len(labels)} images")
    positive = labels.astype(bool)
    clustered = len(np.unique(patient)) < len(patient)
    num_pos, num_neg = int(positive.sum()), int((~positive).sum())
    if not num_pos or not num_neg:
        why = f"one class only: {num_pos} positive of {labels.size} images"
        return _Variance([np.nan] * len(models), None, why, clustered, 0)
    beats, beaten = zip(*(_shares(model, positive) for model in models), strict=True)
    values = [float(shares.mean()) for shares in beats]
    of_class = [len(np.unique(patient[rows])) for rows in (positive, ~positive)]
    freedom = min(of_class) - 1
    if why := intervals.too_few(positive=of_class[0], negative=of_class[1]):
        return _Variance(values, None, why, clustered, freedom)
    return _Variance(
        values,
        _covariance(np.array(beats), np.array(beaten), patient, positive),
        "",
        clustered,
        freedom,
    )


def _shares(score: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each positive the share of negatives below it, of each negative that of
    positives above it; ties count half."""
    # Rank among all minus rank among one's own class counts the other class below.
    rank = mid_ranks(score)
    beats = (rank[positive] - mid_ranks(score[positive])) / np.sum(~positive)
    below = (rank[~positive] - mid_ranks(score[~positive])) / np.sum(positive)
    return beats, 1.0 - below


def _covariance(
    beats: np.ndarray, beaten: np.ndarray, patient: np.ndarray, positive: np.ndarray
) -> np.ndarray:
    """Obuchowski's covariance f64[models, models] of the means of both shares.

    Args:
        beats, beaten: f64[models, positives] and f64[models, negatives].
        patient: i64[n], numbers from 0.
        positive: bool[n].
    """
    count = patient.max() + 1
    sums, scaled = [], []
    for shares, rows in ((beats, positive), (beaten, ~positive)):
        away = shares - shares.mean(axis=1, keepdims=True)
        by_patient = np.stack(
            [np.bincount(patient[rows], model, minlength=count) for model in away]
        )
        there = len(np.unique(patient[rows]))
        by_patient /= shares.shape[1]
        sums.append(by_patient)
        scaled.append(there / (there - 1) * by_patient @ by_patient.T)
    cross = sums[0] @ sums[1].T * count / (count - 1)
    return scaled[0] + scaled[1] + cross + cross.T


def mid_ranks(values: np.ndarray) -> np.ndarray:
    """f64[n], the rank of each of f[n], from 1; equal ones share the mean of theirs.

    As `scipy.stats.rankdata`, whose package takes long to import.

    >>> mid_ranks(np.array([0.3, 0.1, 0.3])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place]
