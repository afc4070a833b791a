"""How sure a metric is: intervals from a bootstrap over patients.

A statistic maps all rows of weights at once, `statistic(weights[r, n]) -> values[r]`,
as the metrics of `roc` and `froc` do; the weights are those of `draws.Draws`. A
replicate without a value (one class only, no lesion) is nan: rejected and counted.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from aals_jax.metrics.draws import Draws

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


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A metric of one system on one test set, and on its resampled patients."""

    value: float  # on the set as it is
    replicates: np.ndarray  # f64[r]; nan: rejected


def draw(draws: Draws, statistics: Mapping[str, Statistic]) -> dict[str, Drawn]:
    """Values of several statistics of one set of images, in one pass over its draws.

    Two systems measured with the same draws are paired: the difference of their
    replicates, one by one, is the difference on the same patients.

    Args:
        draws: of the patients of n images.
        statistics: name -> f64[r, n] -> f64[r], nan where there is no value. One that
            is nan on the whole set is not called again: all its replicates are nan.
    """
    once = np.ones((1, draws.num_images))
    value = {name: float(_values(f, once)[0]) for name, f in statistics.items()}
    defined = [name for name in statistics if not np.isnan(value[name])]
    blocks: dict[str, list[np.ndarray]] = {name: [] for name in defined}
    for weights in draws if defined else ():
        for name in defined:
            blocks[name].append(_values(statistics[name], weights))
    return {
        name: Drawn(
            value[name],
            np.concatenate(blocks[name])
            if name in blocks
            else np.full(draws.replicates, np.nan),
        )
        for name in statistics
    }


def percentile_interval(
    drawn: Drawn, *, seed: int, level: float = 0.95, reason: str = ""
) -> Interval:
    """Percentile interval from the replicates that have a value.

    Args:
        drawn: from `draw`.
        seed: of the draws, for the report.
        level: coverage, 0 .. 1.
        reason: what to say when the value is nan (`undefined_reason` of the metric).

    Reference: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    return _percentile(
        drawn,
        method="percentile bootstrap over patients",
        level=level,
        seed=seed,
        reason=reason or "the statistic is nan on the whole set",
    )


def paired_interval(
    a: Drawn, b: Drawn, *, seed: int, level: float = 0.95, reason: str = ""
) -> Interval:
    """Interval and p-value of a - b, which were measured with the same draws.

    p is `two_sided_p` of the accepted replicates of the difference. A replicate is
    rejected when either is nan.

    Args:
        a, b: from `draw`, with equal draws.
        seed, level, reason: as in `percentile_interval`.
    """
    difference = Drawn(a.value - b.value, a.replicates - b.replicates)
    interval = _percentile(
        difference,
        method="paired percentile bootstrap over patients",
        level=level,
        seed=seed,
        reason=reason or "a statistic is nan on the whole set",
    )
    accepted = difference.replicates[~np.isnan(difference.replicates)]
    if np.isnan(difference.value) or not len(accepted):
        return interval
    return dataclasses.replace(interval, p_value=two_sided_p(accepted))


def patient_bootstrap(
    draws: Draws, statistic: Statistic, *, level: float = 0.95, reason: str = ""
) -> Interval:
    """`percentile_interval` of one statistic.

    Args:
        draws: of the patients of n images.
        statistic: f64[r, n] -> f64[r], nan where there is no value.
        level, reason: as in `percentile_interval`.

    Returns:
        Interval whose value has every patient once. When that is nan, nothing is
        drawn, all replicates count as rejected and `reason` is set.
    """
    drawn = draw(draws, {"": statistic})[""]
    return percentile_interval(drawn, seed=draws.seed, level=level, reason=reason)


def paired_bootstrap(
    draws: Draws,
    statistic_a: Statistic,
    statistic_b: Statistic,
    *,
    level: float = 0.95,
    reason: str = "",
) -> Interval:
    """`paired_interval` of two statistics, both computed on the same replicates."""
    drawn = draw(draws, {"a": statistic_a, "b": statistic_b})
    return paired_interval(
        drawn["a"], drawn["b"], seed=draws.seed, level=level, reason=reason
    )


def patient_band(
    draws: Draws, statistic: Statistic, *, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Pointwise percentile band of a curve.

    Args:
        draws: of the patients of n images.
        statistic: f64[r, n] -> f64[r, points], nan where there is no value.
        level: coverage, 0 .. 1.

    Returns:
        low, high: f64[points] each, of the replicates that have a value there; nan
            where none has.
    """
    values = np.concatenate([statistic(weights) for weights in draws])
    defined = ~np.isnan(values).all(axis=0)
    bounds = np.full((2, values.shape[1]), np.nan)
    tails = (50 * (1 - level), 50 * (1 + level))
    bounds[:, defined] = np.nanpercentile(values[:, defined], tails, axis=0)
    return bounds[0], bounds[1]


def two_sided_p(differences: np.ndarray) -> float:
    """p of "the difference is 0" from its replicates d, f64[R], R >= 1, none nan:
    min(1, 2 (1 + min(#{d <= 0}, #{d >= 0})) / (R + 1)), so it is never 0."""
    tail = 1 + min(np.sum(differences <= 0), np.sum(differences >= 0))
    return float(min(1.0, 2.0 * tail / (len(differences) + 1)))


def _values(statistic: Statistic, weights: np.ndarray) -> np.ndarray:
    """Calls a statistic and checks that it gave one value per replicate."""
    values = np.asarray(statistic(weights), np.float64)
    if values.shape != weights.shape[:1]:
        raise ValueError(
            f"statistic(weights {weights.shape}) gave {values.shape}; it must give one "
            f"value per replicate, {weights.shape[:1]}"
        )
    return values


def _percentile(
    drawn: Drawn, *, method: str, level: float, seed: int, reason: str
) -> Interval:
    """Interval of the replicates that have a value; `reason`: why there is none."""
    accepted = drawn.replicates[~np.isnan(drawn.replicates)]
    low = high = np.nan
    if not np.isnan(drawn.value):
        reason = "" if len(accepted) else "every replicate was rejected"
    if len(accepted):
        low, high = np.percentile(accepted, (50 * (1 - level), 50 * (1 + level)))
    return Interval(
        value=drawn.value,
        low=float(low),
        high=float(high),
        rejected=len(drawn.replicates) - len(accepted),
        replicates=len(drawn.replicates),
        level=level,
        method=method,
        seed=seed,
        reason=reason,
    )
