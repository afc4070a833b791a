"""Methods against methods over several seeds: spread, paired differences, Holm.

Plain arrays in, plain numbers out. A system's replicates are its values on resampled
patients; two systems that were measured on the same images with the same draws are
paired by subtracting them one by one (`intervals.draw`).
"""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from aals_jax.metrics.intervals import Drawn, Interval, two_sided_p

LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Spread:
    """One metric over the seeds of a method."""

    values: tuple[float, ...]  # one per seed
    mean: float  # nan: there is no value
    deviation: float  # sample standard deviation, over n - 1; nan below two values


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation, with every value kept."""
    return Spread(
        tuple(values),
        statistics.fmean(values) if values else np.nan,
        statistics.stdev(values) if len(values) > 1 else np.nan,
    )


def over_folds(folds: Mapping[int, Drawn]) -> Drawn:
    """The mean over folds of one run each, the draws of the folds independent.

    Every fold has a test set of its own but may have been drawn with the same seed, so
    replicate r of one is not independent of replicate r of another. Each fold's are
    put into an order of its own, which depends on the fold's number alone: systems and
    seeds stay paired, folds do not.

    Args:
        folds: number of the fold -> the metric there; at least one.

    Returns:
        The mean of the values; replicates f64[r], nan where a fold's is.

    Raises:
        ValueError: folds with unequal numbers of replicates.
    """
    drawn = [_in_own_order(number, _replicates(fold)) for number, fold in folds.items()]
    _check_lengths(drawn)
    value = statistics.fmean(fold.value for fold in folds.values())
    return Drawn(value, np.mean(drawn, axis=0))


def within_seed(a: Drawn, b: Drawn) -> Interval:
    """Interval and p-value of a - b for one run of each, over patients.

    From replicates that were kept, without their patients: percentiles, and the p-value
    of `intervals.paired_interval`.
    """
    differences = _subtract([a], [b])[0]
    method = "paired percentile bootstrap over patients"
    return _interval(differences, a.value - b.value, method)


def across_seeds(
    a: Sequence[Drawn], b: Sequence[Drawn], *, own_patients: bool = False
) -> Interval:
    """Interval and p-value of the mean of a - b over seeds, by a two-level bootstrap.

    Replicate r draws as many seeds as there are, with replacement, and takes the mean
    of their differences on the patients of draw r, which all seeds share. p is that of
    `within_seed`; with one seed the two agree.

    Drawing n seeds from n has (n - 1) / n of the variance that seeds have, so with
    three to five of them this level is coarse and somewhat narrow: see `over_seeds`.

    Args:
        a, b: one entry per seed, in the same order; the same draws of patients in a
            seed's two entries.
        own_patients: whether each seed has a test set of its own, as worlds have, with
            draws that are then made independent of the others'.

    Reference: Davison and Hinkley 1997, Bootstrap Methods and their Application, 3.8.
    """
    differences = _subtract(a, b, own_patients)
    value = _mean_difference(a, b)
    return _interval(_means(differences), value, _two_levels(own_patients))


def share_of_gap(
    a: Sequence[Drawn],
    low: Sequence[Drawn],
    high: Sequence[Drawn],
    *,
    own_patients: bool = False,
) -> Interval:
    """How much of the way from `low` to `high` a system goes: 0 none of it, 1 all.

    (mean a - mean low) / (mean high - mean low), means over seeds; seeds and patients
    are drawn as in `across_seeds`, the same for all three. A ratio means nothing where
    `high` is not above `low`: a replicate where it is not counts as rejected, and where
    more than 2.5 % are, there is no interval. The p-value is not given; the one of
    a - low answers whether there is any gain.

    Args:
        a, low, high: one entry per seed, as in `across_seeds`.
        own_patients: as there.
    """
    gains = _means(_subtract(a, low, own_patients))
    gaps = _means(_subtract(high, low, own_patients))
    gap = _mean_difference(high, low)
    value = _mean_difference(a, low) / gap if gap > 0 else np.nan
    positive = gaps > 0  # nan is not
    rejected = int(len(gaps) - positive.sum())
    ends, reason = (np.nan, np.nan), ""
    if rejected > (1 - LEVEL) / 2 * len(gaps) or np.isnan(value):
        reason = f"there is no gap in {rejected} of {len(gaps)} replicates"
    else:
        shares = gains[positive] / gaps[positive]
        ends = np.percentile(shares, (50 * (1 - LEVEL), 50 * (1 + LEVEL)))
    return Interval(
        value=value,
        low=float(ends[0]),
        high=float(ends[1]),
        rejected=rejected,
        replicates=len(gaps),
        level=LEVEL,
        method=_two_levels(own_patients),
        reason=reason,
    )


def _mean_difference(a: Sequence[Drawn], b: Sequence[Drawn]) -> float:
    """The mean of a - b over seeds, of the values themselves."""
    return statistics.fmean(x.value - y.value for x, y in zip(a, b, strict=True))


def _two_levels(own_patients: bool) -> str:
    own = "each seed's own " if own_patients else ""
    return f"two-level bootstrap over seeds and {own}patients"


def _means(differences: np.ndarray) -> np.ndarray:
    """Means over drawn seeds, f64[seeds, r] -> f64[r]; nan: rejected."""
    count, replicates = differences.shape
    chosen = np.random.default_rng(0).integers(count, size=(replicates, count))
    means = differences[chosen, np.arange(replicates)[:, None]].mean(axis=1)
    # not of the drawn seeds alone: a rejected draw of patients is so for all of them
    means[np.isnan(differences).any(axis=0)] = np.nan
    return means


def over_seeds(differences: Sequence[float]) -> Interval:
    """Student's paired t interval of a mean difference, over seeds alone.

    The patients are taken as they are: it says what other seeds would give on the same
    test set. Needs two seeds, and differences that are about normal.

    Args:
        differences: of each seed, finite.
    """
    observed = spread(differences)
    count, method = len(differences), "paired t over seeds"
    if count < 2:
        why = "a t interval needs two seeds"
        return Interval(observed.mean, np.nan, np.nan, method=method, reason=why)
    error = observed.deviation / np.sqrt(count)
    half = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * error
    if error:
        p_value = 2 * float(stats.t.sf(abs(observed.mean) / error, count - 1))
    else:  # all seeds agree
        p_value = 0.0 if observed.mean else 1.0
    return Interval(
        observed.mean,
        observed.mean - half,
        observed.mean + half,
        p_value=p_value,
        level=LEVEL,
        method=method,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction; below alpha: rejected at family-wise level alpha.

    Of m sorted p_(1) <= ... <= p_(m), the i-th becomes
    max over j <= i of min(1, (m - j + 1) p_(j)). nan is no comparison and stays nan.

    Reference: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    raw = np.asarray(p_values, np.float64)
    corrected = np.full(len(raw), np.nan)
    compared = np.flatnonzero(~np.isnan(raw))
    order = compared[np.argsort(raw[compared], kind="stable")]
    factors = len(order) - np.arange(len(order))
    corrected[order] = np.maximum.accumulate(np.minimum(1.0, factors * raw[order]))
    return corrected.tolist()


def _replicates(drawn: Drawn) -> np.ndarray:
    return np.asarray(drawn.replicates, np.float64)


def _check_lengths(drawn: Sequence[np.ndarray]) -> None:
    lengths = sorted({len(replicates) for replicates in drawn})
    if len(lengths) != 1:
        raise ValueError(
            f"replicates of {lengths} draws can't be paired: measure all runs with the "
            "same evaluation.replicates"
        )


def _in_own_order(number: int, replicates: np.ndarray) -> np.ndarray:
    """Replicates of a test set in an order that depends on its number alone."""
    return np.random.default_rng(number).permutation(replicates)


def _subtract(
    a: Sequence[Drawn], b: Sequence[Drawn], own_patients: bool = False
) -> np.ndarray:
    """f64[seeds, r]: a - b."""
    both = [_replicates(drawn) for drawn in (*a, *b)]
    _check_lengths(both)
    differences = np.stack(both[: len(a)]) - np.stack(both[len(a) :])
    if own_patients:
        ordered = [_in_own_order(*entry) for entry in enumerate(differences)]
        differences = np.stack(ordered)
    return differences


def _interval(differences: np.ndarray, value: float, method: str) -> Interval:
    """Percentile interval and two-sided p of differences f64[r], nan rejected."""
    accepted = differences[~np.isnan(differences)]
    low = high = p_value = np.nan
    if len(accepted):
        # the mean of opposite differences is not quite 0
        accepted = np.where(np.abs(accepted) < 1e-9, 0.0, accepted)
        low, high = np.percentile(accepted, (50 * (1 - LEVEL), 50 * (1 + LEVEL)))
        p_value = two_sided_p(accepted)
    return Interval(
        value=value,
        low=float(low),
        high=float(high),
        rejected=len(differences) - len(accepted),
        replicates=len(differences),
        p_value=float(p_value),
        level=LEVEL,
        method=method,
        reason="" if len(accepted) else "every replicate was rejected",
    )
