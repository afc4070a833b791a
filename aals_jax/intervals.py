"""How sure a metric is: bootstrap over patients, DeLong for the AUROC.

Images of one patient are alike, so patients are drawn, not images. A replicate is a
row of weights, how often each image counts, and a statistic maps all rows at once:
`statistic(weights[r, n]) -> values[r]`, as the metrics of `roc` and `froc` do. A
replicate without a value (one class only, no lesion) is rejected and counted.
"""

import dataclasses
from collections.abc import Callable, Hashable, Iterator, Sequence

import numpy as np
from scipy import special, stats

Statistic = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Interval:
    """A value, or a difference of two, with its confidence interval."""

    value: float  # on the set as it is; nan: see reason
    low: float
    high: float
    rejected: int = 0  # replicates without a value
    replicates: int = 0  # drawn, the rejected included; 0 for DeLong
    p_value: float = np.nan  # two-sided, of "the difference is 0"; paired forms only
    level: float = 0.95
    method: str = ""  # how the interval was made, for the report
    seed: int | None = None
    reason: str = ""  # why something is nan or has no width; else empty


def patient_bootstrap(
    patients: Sequence[Hashable],
    statistic: Statistic,
    *,
    replicates: int = 2000,
    seed: int,
    chunk: int = 256,
    level: float = 0.95,
    reason: str = "",
) -> Interval:
    """Percentile interval from resampled patients.

    Args:
        patients: n ids, one an image. Only which images share a patient matters.
        statistic: f64[r, n] -> f64[r], nan where there is no value.
        replicates: number of replicates, >= 1.
        seed: of the draws; the same seed and patients give the same replicates.
        chunk: replicates per call of `statistic`; bounds memory, changes nothing.
        level: coverage, 0 .. 1.
        reason: what to say when the value is nan (`undefined_reason` of the metric).

    Returns:
        Interval whose value has every patient once. When that is nan, nothing is
        drawn, all replicates count as rejected and `reason` is set.

    Reference: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    value = float(_values(statistic, np.ones((1, len(patients))))[0])
    method = "percentile bootstrap over patients"
    if np.isnan(value):
        why = reason or "the statistic is nan on the whole set"
        return _no_value(method, why, replicates=replicates, level=level, seed=seed)
    draws = _draws(patients, replicates=replicates, seed=seed, chunk=chunk)
    values = np.concatenate([_values(statistic, weights) for weights in draws])
    return _percentile(values, value, method=method, level=level, seed=seed)


def patient_band(
    patients: Sequence[Hashable],
    statistic: Statistic,
    *,
    replicates: int = 2000,
    seed: int,
    chunk: int = 256,
    level: float = 0.95,
) -> tuple[np.ndarray, np.ndarray]:
    """Pointwise percentile band of a curve, by the draws of `patient_bootstrap`.

    Args:
        statistic: f64[r, n] -> f64[r, points], nan where there is no value.

    Returns:
        low, high: f64[points] each, nan where no replicate has a value.
    """
    draws = _draws(patients, replicates=replicates, seed=seed, chunk=chunk)
    values = np.concatenate([statistic(weights) for weights in draws])
    values = values[~np.isnan(values).any(axis=1)]
    if not len(values):
        nothing = np.full(values.shape[1], np.nan)
        return nothing, nothing
    low, high = np.percentile(values, (50 * (1 - level), 50 * (1 + level)), axis=0)
    return low, high


def paired_bootstrap(
    patients: Sequence[Hashable],
    statistic_a: Statistic,
    statistic_b: Statistic,
    *,
    replicates: int = 2000,
    seed: int,
    chunk: int = 256,
    level: float = 0.95,
    reason: str = "",
) -> Interval:
    """Interval and p-value of a - b, both computed on the same replicates.

    With R accepted replicates of the difference d, the two-sided
    p = min(1, 2 (1 + min(#{d <= 0}, #{d >= 0})) / (R + 1)), so it is never 0.

    Args:
        patients: n ids, one an image; both statistics see the same images.
        statistic_a, statistic_b: f64[r, n] -> f64[r]; a replicate is rejected when
            either is nan.
        replicates, seed, chunk, level, reason: as in `patient_bootstrap`.

    Returns:
        Interval of the difference, with `p_value`.
    """

    def difference(weights: np.ndarray) -> np.ndarray:
        return _values(statistic_a, weights) - _values(statistic_b, weights)

    value = float(difference(np.ones((1, len(patients))))[0])
    method = "paired percentile bootstrap over patients"
    if np.isnan(value):
        why = reason or "a statistic is nan on the whole set"
        return _no_value(method, why, replicates=replicates, level=level, seed=seed)
    draws = _draws(patients, replicates=replicates, seed=seed, chunk=chunk)
    values = np.concatenate([difference(weights) for weights in draws])
    interval = _percentile(values, value, method=method, level=level, seed=seed)
    accepted = values[~np.isnan(values)]
    if not len(accepted):
        return interval
    tail = 1 + min(np.sum(accepted <= 0), np.sum(accepted >= 0))
    p_value = min(1.0, 2.0 * tail / (len(accepted) + 1))
    return dataclasses.replace(interval, p_value=float(p_value))


def delong(scores: np.ndarray, labels: np.ndarray, *, level: float = 0.95) -> Interval:
    """AUROC with the interval of DeLong's variance, normal on the logit scale.

    logit(A) -+ z sqrt(var(A)) / (A (1 - A)), brought back to 0 .. 1. It takes images
    as independent: with several images a patient, prefer `patient_bootstrap`.

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
    method = "DeLong, normal on the logit scale"
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


def delong_paired(
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
    method = "DeLong, paired, normal"
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
        rank = stats.rankdata(model)
        beats.append((rank[positive] - stats.rankdata(model[positive])) / num_neg)
        below = (rank[~positive] - stats.rankdata(model[~positive])) / num_pos
        beaten.append(1.0 - below)
    values = [float(each.mean()) for each in beats]
    if min(num_pos, num_neg) < 2:
        why = f"a variance needs two of each class: {num_pos} positive, {num_neg} not"
        return values, None, why
    covariance = np.cov(beats) / num_pos + np.cov(beaten) / num_neg
    return values, covariance.reshape(len(scores), len(scores)), ""


def _draws(
    patients: Sequence[Hashable], *, replicates: int, seed: int, chunk: int
) -> Iterator[np.ndarray]:
    """Yields weights f64[<= chunk, n]: how often the patient of each image is drawn."""
    if replicates < 1 or chunk < 1:
        raise ValueError(f"replicates={replicates} and chunk={chunk} must be >= 1")
    # Numbered by first appearance: renamed patients give the same draws.
    numbers: dict[Hashable, int] = {}
    patient = np.array([numbers.setdefault(each, len(numbers)) for each in patients])
    count = len(numbers)
    rng = np.random.default_rng(seed)
    for start in range(0, replicates, chunk):
        rows = min(chunk, replicates - start)
        drawn = rng.integers(count, size=(rows, count))
        drawn += count * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * count)
        yield times.reshape(rows, count)[:, patient].astype(np.float64)


def _values(statistic: Statistic, weights: np.ndarray) -> np.ndarray:
    """Calls a statistic and checks that it gave one value a replicate."""
    values = np.asarray(statistic(weights), np.float64)
    if values.shape != weights.shape[:1]:
        raise ValueError(
            f"statistic(weights {weights.shape}) gave {values.shape}; it must give one "
            f"value a replicate, {weights.shape[:1]}"
        )
    return values


def _percentile(
    values: np.ndarray, value: float, *, method: str, level: float, seed: int
) -> Interval:
    """Interval from the values of the replicates, nan rejected."""
    accepted = values[~np.isnan(values)]
    low, high, reason = np.nan, np.nan, "every replicate was rejected"
    if len(accepted):
        tails = (50 * (1 - level), 50 * (1 + level))
        (low, high), reason = np.percentile(accepted, tails), ""
    rejected = len(values) - len(accepted)
    return Interval(
        value=value,
        low=float(low),
        high=float(high),
        rejected=rejected,
        replicates=len(values),
        level=level,
        method=method,
        seed=seed,
        reason=reason,
    )


def _no_value(
    method: str, reason: str, *, replicates: int, level: float, seed: int
) -> Interval:
    """The interval of a set without a value."""
    return Interval(
        value=np.nan,
        low=np.nan,
        high=np.nan,
        rejected=replicates,
        replicates=replicates,
        level=level,
        method=method,
        seed=seed,
        reason=reason,
    )
