"""How sure a metric is: the bootstrap over patients.

Images of one patient are alike, so patients are drawn, not images. A replicate is a
row of weights, how often each image counts, and a statistic maps all rows at once:
`statistic(weights[r, n]) -> values[r]`, as the metrics of `roc` and `froc` do. A
replicate without a value (one class only, no lesion) is rejected and counted.
"""

import dataclasses
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

import numpy as np

_CHUNK = 1 << 22  # f64 weights handed to a statistic at a time, 32 MiB
_BLOCK = 1 << 15  # patients drawn at a time, 256 KiB: more would leave the cache

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
    chunk: int | None = None,
    level: float = 0.95,
    reason: str = "",
) -> Interval:
    """Percentile interval from resampled patients.

    Args:
        patients: n ids, one an image. Only which images share a patient matters.
        statistic: f64[r, n] -> f64[r], nan where there is no value.
        replicates: number of replicates, >= 1.
        seed: of the draws; the same seed and patients give the same replicates.
        chunk: replicates per call of `statistic`; bounds memory, changes nothing. None:
            at most 256, and no more than 32 MiB of weights.
        level: coverage, 0 .. 1.
        reason: what to say when the value is nan (`undefined_reason` of the metric).

    Returns:
        Interval whose value has every patient once. When that is nan, nothing is
        drawn, all replicates count as rejected and `reason` is set.

    Reference: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    (interval,) = patient_bootstraps(
        patients,
        {"": statistic},
        replicates=replicates,
        seed=seed,
        chunk=chunk,
        level=level,
        reasons={"": reason},
    ).values()
    return interval


def patient_bootstraps(
    patients: Sequence[Hashable],
    statistics: Mapping[str, Statistic],
    *,
    replicates: int = 2000,
    seed: int,
    chunk: int | None = None,
    level: float = 0.95,
    reasons: Mapping[str, str] | None = None,
) -> dict[str, Interval]:
    """`patient_bootstrap` of several statistics on the same draws, which are made once.

    Args:
        patients, replicates, seed, chunk, level: as in `patient_bootstrap`.
        statistics: name -> statistic.
        reasons: name -> what to say when its value is nan.
    """
    method = "percentile bootstrap over patients"
    once = np.ones((1, len(patients)))
    value = {name: float(_values(f, once)[0]) for name, f in statistics.items()}
    drawn = replicate_values(
        patients,
        {name: f for name, f in statistics.items() if not np.isnan(value[name])},
        replicates=replicates,
        seed=seed,
        chunk=chunk,
    )
    found = {}
    for name in statistics:
        if name in drawn:
            found[name] = _percentile(
                drawn[name],
                value[name],
                method=method,
                level=level,
                seed=seed,
            )
            continue
        why = (reasons or {}).get(name) or "the statistic is nan on the whole set"
        found[name] = _no_value(
            method, why, replicates=replicates, level=level, seed=seed
        )
    return found


def replicate_values(
    patients: Sequence[Hashable],
    statistics: Mapping[str, Statistic],
    *,
    replicates: int = 2000,
    seed: int,
    chunk: int | None = None,
) -> dict[str, np.ndarray]:
    """The replicates themselves, f64[replicates], nan where one is rejected.

    Two systems measured on the same images with the same seed have the same draws, so
    the difference of their values, one by one, is that of `paired_bootstrap`.

    Args:
        patients, statistics, replicates, seed, chunk: as in `patient_bootstraps`.
    """
    drawn = {name: [] for name in statistics}
    if drawn:
        for weights in _draws(patients, replicates=replicates, seed=seed, chunk=chunk):
            for name, values in drawn.items():
                values.append(_values(statistics[name], weights))
    return {name: np.concatenate(values) for name, values in drawn.items()}


def patient_band(
    patients: Sequence[Hashable],
    statistic: Statistic,
    *,
    replicates: int = 2000,
    seed: int,
    chunk: int | None = None,
    level: float = 0.95,
) -> tuple[np.ndarray, np.ndarray]:
    """Pointwise percentile band of a curve, by the draws of `patient_bootstrap`.

    Args:
        statistic: f64[r, n] -> f64[r, points], nan where there is no value.

    Returns:
        low, high: f64[points] each, of the replicates that have a value there; nan
            where none has.
    """
    draws = _draws(patients, replicates=replicates, seed=seed, chunk=chunk)
    values = np.concatenate([statistic(weights) for weights in draws])
    defined = ~np.isnan(values).all(axis=0)
    bounds = np.full((2, values.shape[1]), np.nan)
    tails = (50 * (1 - level), 50 * (1 + level))
    bounds[:, defined] = np.nanpercentile(values[:, defined], tails, axis=0)
    return bounds[0], bounds[1]


def paired_bootstrap(
    patients: Sequence[Hashable],
    statistic_a: Statistic,
    statistic_b: Statistic,
    *,
    replicates: int = 2000,
    seed: int,
    chunk: int | None = None,
    level: float = 0.95,
    reason: str = "",
) -> Interval:
    """Interval and p-value of a - b, both computed on the same replicates.

    p is `two_sided_p` of the accepted replicates of the difference.

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
    return dataclasses.replace(interval, p_value=two_sided_p(accepted))


def two_sided_p(differences: np.ndarray) -> float:
    """p of "the difference is 0" from its replicates d, f64[R], R >= 1, none nan:
    min(1, 2 (1 + min(#{d <= 0}, #{d >= 0})) / (R + 1)), so it is never 0."""
    tail = 1 + min(np.sum(differences <= 0), np.sum(differences >= 0))
    return float(min(1.0, 2.0 * tail / (len(differences) + 1)))


def _draws(
    patients: Sequence[Hashable], *, replicates: int, seed: int, chunk: int | None
) -> Iterator[np.ndarray]:
    """Yields weights f64[<= chunk, n]: how often the patient of each image is drawn."""
    if chunk is None:
        chunk = max(1, min(256, _CHUNK // max(1, len(patients))))
    if replicates < 1 or chunk < 1:
        raise ValueError(f"replicates={replicates} and chunk={chunk} must be >= 1")
    # Numbered by first appearance: renamed patients give the same draws.
    numbers: dict[Hashable, int] = {}
    patient = np.array([numbers.setdefault(each, len(numbers)) for each in patients])
    count = len(numbers)
    rng = np.random.default_rng(seed)
    few = max(1, _BLOCK // max(1, count))
    for start in range(0, replicates, chunk):
        weights = np.empty((min(chunk, replicates - start), len(patient)))
        for rows in (weights[at : at + few] for at in range(0, len(weights), few)):
            drawn = rng.integers(count, size=(len(rows), count))
            drawn += count * np.arange(len(rows))[:, None]
            times = np.bincount(drawn.ravel(), minlength=drawn.size)
            rows[:] = np.take(times.reshape(drawn.shape), patient, axis=1)
        yield weights


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
