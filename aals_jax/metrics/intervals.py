"""How sure a metric is: intervals from a bootstrap over patients.

A statistic maps all rows of weights at once, `statistic(weights[r, n]) -> values[r]`,
as the metrics of `roc` and `froc` do; the weights are those of `draws.Draws`. A
replicate without a value (one class only, no lesion) is nan: rejected and counted.

Resampling can't show what no patient of a set shows. Where all replicates are the same
there is no interval but a reason, or at 0 and 1 one that needs no replicates; and where
patients are fewer than LEAST there is none. That number is from the measured coverage
in docs/measuring.md.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from scipy import special

from aals_jax.metrics.binomial import clopper_pearson
from aals_jax.metrics.draws import Draws

LEAST = 10  # patients of each kind that an interval needs
_ROUNDING = 1e-12  # what is left of equal numbers
NO_SPREAD = "every resampled set gives the same value, so its spread is unknown"

Statistic = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Interval:
    """A value, or a difference of two, with its confidence interval."""

    value: float  # on the set as it is; nan: see reason
    low: float
    high: float
    rejected: int = 0  # replicates without a value
    replicates: int = 0  # drawn, the rejected included; 0 for closed forms
    p_value: float = np.nan  # two-sided, of "the difference is 0"; paired forms only
    level: float = 0.95
    method: str = ""  # how the interval was made, for the report
    seed: int | None = None
    reason: str = ""  # why something is nan; else empty
    p_method: str = ""  # how the p-value was made; empty where there is none
    p_reason: str = ""  # why there is no p-value though there is a difference
    note: str = ""  # what the interval takes for granted, where a reader must know
    design_effect: float = np.nan  # of `proportions`


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
    drawn: Drawn, *, seed: int, level: float = 0.95, reason: str = "", few: str = ""
) -> Interval:
    """Percentile interval from the replicates that have a value.

    For what has no bounds. Of a value in 0 .. 1 it reaches too high and misses on one
    side where patients are few: see `share_interval`.

    Args:
        drawn: from `draw`.
        seed: of the draws, for the report.
        level: coverage, 0 .. 1.
        reason: what to say when the value is nan (`undefined_reason` of the metric).
        few: why a value has no interval all the same (`too_few`).

    Reference: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    method = "percentile bootstrap over patients"
    return _percentile(
        drawn, method=method, level=level, seed=seed, reason=reason, few=few
    )


def share_interval(
    drawn: Drawn,
    *,
    seed: int,
    patients: int,
    trials: float = 0.0,
    level: float = 0.95,
    reason: str = "",
    few: str = "",
) -> Interval:
    """Interval of a value in 0 .. 1 from the spread of its replicates.

    logit(v) -+ t s / (v (1 - v)), brought back to 0 .. 1, where s is the standard
    deviation of the replicates and t is Student's of `patients` less one. At 0 and 1
    there is no spread: the limits are then those of Clopper and Pearson for `trials`.

    Args:
        drawn: from `draw`; all values in 0 .. 1.
        seed: of the draws, for the report.
        patients: those of the kind which settles the spread, as of the rarer class.
        trials: independent ones that all failed if the value is 0, and all succeeded if
            it is 1; 0: not known, so there is no interval at 0 and 1.
        level: coverage, 0 .. 1.
        reason, few: as in `percentile_interval`; the limits at 0 and 1 need no number.
    """
    accepted = drawn.replicates[~np.isnan(drawn.replicates)]
    found = Interval(
        value=drawn.value,
        low=np.nan,
        high=np.nan,
        rejected=len(drawn.replicates) - len(accepted),
        replicates=len(drawn.replicates),
        level=level,
        method="bootstrap over patients, standard error on the logit scale",
        seed=seed,
    )
    at_edge = drawn.value in (0.0, 1.0)
    if at_edge and trials > 0:
        low, high = clopper_pearson(drawn.value, trials, level=level)
        what = "all" if drawn.value else "none"
        method = f"Clopper-Pearson, {what} of {trials:.3g} independent trials"
        return dataclasses.replace(found, low=low, high=high, method=method, seed=None)
    why = _no_interval(drawn.value, accepted, reason, few)
    if at_edge and not few:
        why = f"at {drawn.value:g} resampling shows no spread, which is no certainty"
    if not why and not _is_share(accepted):
        raise ValueError("a replicate is outside 0 .. 1: use percentile_interval")
    if why:
        return dataclasses.replace(found, reason=why)
    half = _half(accepted, patients, level) / (drawn.value * (1 - drawn.value))
    low, high = special.expit(special.logit(drawn.value) + np.array([-half, half]))
    return dataclasses.replace(found, low=float(low), high=float(high))


def paired_interval(
    a: Drawn,
    b: Drawn,
    *,
    seed: int,
    patients: int | None = None,
    level: float = 0.95,
    reason: str = "",
    few: str = "",
) -> Interval:
    """Interval and p-value of a - b, which were measured with the same draws.

    The interval is d -+ t s, with the standard deviation s of the replicates of the
    difference d and Student's t; that of shares ends at -1 and 1. p is `two_sided_p`
    of the accepted replicates. A replicate is rejected when either is nan. For few
    patients `permutation.swap_test` has a p-value that holds.

    Args:
        a, b: from `draw`, with equal draws.
        seed, level, reason, few: as in `percentile_interval`; with `few` there is no
            p-value either.
        patients: as in `share_interval`; None: many, so that t is normal.
    """
    difference = Drawn(a.value - b.value, a.replicates - b.replicates)
    accepted = difference.replicates[~np.isnan(difference.replicates)]
    why = _no_interval(difference.value, accepted, reason, few)
    found = Interval(
        difference.value,
        np.nan,
        np.nan,
        rejected=len(difference.replicates) - len(accepted),
        replicates=len(difference.replicates),
        level=level,
        method="paired bootstrap over patients, standard error",
        seed=seed,
        reason=why,
        p_reason=why,
    )
    if not why:
        ends = difference.value + _half(accepted, patients, level) * np.array([-1, 1])
        if all(_is_share(each.replicates) for each in (a, b)):
            ends = np.clip(ends, -1.0, 1.0)
        found = dataclasses.replace(found, low=float(ends[0]), high=float(ends[1]))
    if why and not (why == NO_SPREAD and abs(difference.value) <= _ROUNDING):
        return found
    return dataclasses.replace(
        found, p_value=two_sided_p(accepted), p_method="paired bootstrap", p_reason=""
    )


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


def too_few(**patients: int) -> str:
    """Why these patients are too few for an interval; empty when they are not.

    Args:
        patients: what they have -> how many have it.

    >>> too_few(positive=3, negative=40)
    'only 3 patients with a positive image: an interval needs 10'
    """
    what, number = min(patients.items(), key=lambda item: item[1])
    if number >= LEAST:
        return ""
    plural = "" if number == 1 else "s"
    return (
        f"only {number} patient{plural} with {_KINDS.get(what, what)}: an interval "
        f"needs {LEAST}"
    )


_KINDS = {
    "positive": "a positive image",
    "negative": "a negative image",
    "lesion": "a lesion",
    "image": "an image",
}


def share_band(
    value: np.ndarray,
    replicates: np.ndarray,
    *,
    patients: int,
    trials: float,
    few: str = "",
    level: float = 0.95,
) -> tuple[np.ndarray, np.ndarray]:
    """Pointwise band of a curve of shares: `share_interval` of each of its points.

    So a band and the interval of a point say the same.

    Args:
        value: f64[l], of the set as it is.
        replicates: f64[r, l]; nan where a replicate has no value.
        patients, trials, few, level: as in `share_interval`.

    Returns:
        low, high: f64[l] each, nan where there is no interval.
    """
    found = [
        share_interval(
            Drawn(float(one), column),
            seed=0,
            patients=patients,
            trials=trials,
            level=level,
            few=few,
        )
        for one, column in zip(value, replicates.T, strict=True)
    ]
    ends = np.array([[each.low, each.high] for each in found]).reshape(-1, 2)
    return ends[:, 0], ends[:, 1]


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


def _half(accepted: np.ndarray, patients: int | None, level: float) -> float:
    """Student's t times the standard deviation of replicates f64[r]."""
    tail = (1 + level) / 2
    t = special.ndtri(tail)
    if patients is not None:
        t = special.stdtrit(max(patients - 1, 1), tail)
    return float(t * accepted.std(ddof=1))


def _is_share(replicates: np.ndarray) -> bool:
    """Whether all that have a value lie in 0 .. 1."""
    return bool(np.nanmin(replicates) >= 0 and np.nanmax(replicates) <= 1)


def _percentile(
    drawn: Drawn, *, method: str, level: float, seed: int, reason: str, few: str
) -> Interval:
    """Interval of the replicates that have a value; else with the reason for none."""
    accepted = drawn.replicates[~np.isnan(drawn.replicates)]
    why = _no_interval(drawn.value, accepted, reason, few)
    low = high = np.nan
    if not why:
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
        reason=why,
    )


def _no_interval(value: float, accepted: np.ndarray, reason: str, few: str) -> str:
    """Why there is none from replicates f64[r], none nan; empty where there is one."""
    if np.isnan(value):
        return reason or "the statistic is nan on the whole set"
    if few:
        return few
    if not len(accepted):
        return "every replicate was rejected"
    is_same = np.ptp(accepted) <= _ROUNDING * max(1.0, abs(value))
    return NO_SPREAD if is_same else ""
