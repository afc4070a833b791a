"""Several readers and cases: Obuchowski and Rockette's analysis with Hillis' degrees of
freedom, and the method of Dorfman, Berbaum and Metz, which is the same.

Each of I modalities (systems, or without and with help) is read by each of J readers on
the same cases, and each reading has a figure of merit theta_ij. Readers differ, and all
of them share the cases, so what is sure of a difference of modalities depends on who
and what it is to hold for:

    random readers, random cases    other readers and other cases
    fixed readers, random cases     these readers, other cases
    random readers, fixed cases     other readers, these cases

How theta varies with the cases is their covariance over patients, averaged to Var, Cov1
(one reader, two modalities), Cov2 (two readers, one modality) and Cov3 (both differ).

References:
    Obuchowski and Rockette 1995, doi:10.1080/03610919508813243.
    Dorfman, Berbaum and Metz 1992, doi:10.1097/00004424-199209000-00015.
    Hillis et al. 2005, doi:10.1002/sim.2024; Hillis 2007, doi:10.1002/sim.2532.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special

from aals_jax.metrics.intervals import Interval, Statistic

ANALYSES = {
    "random_readers_random_cases": "random readers, random cases",
    "fixed_readers_random_cases": "fixed readers, random cases",
    "random_readers_fixed_cases": "random readers, fixed cases",
}
_BLOCK = 1 << 21  # f64 weights in one temporary


@dataclasses.dataclass(frozen=True)
class Components:
    """How figures of merit vary with the cases, as means over the readings."""

    variance: float
    cov1: float  # one reader, two modalities; nan with one modality
    cov2: float  # two readers, one modality; nan with one reader
    cov3: float  # two readers, two modalities


@dataclasses.dataclass(frozen=True)
class GlobalTest:
    """That all modalities are equal."""

    statistic: float  # F, or chi-square / df for fixed readers
    df: float  # of the numerator
    error_df: float  # of the denominator, Hillis'; inf for fixed readers
    p_value: float


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What holds for one choice of what is random."""

    name: str  # of ANALYSES
    test: GlobalTest | None  # None with one modality
    differences: Mapping[tuple[int, int], Interval]  # (i, k), i < k: theta_i - theta_k
    modalities: tuple[Interval, ...]  # the mean over readers of each
    reason: str = ""  # why there is none


def jackknife(statistic: Statistic, patient: np.ndarray) -> np.ndarray:
    """A figure of merit without each patient in turn.

    Args:
        statistic: f64[r, n] weights of images -> f64[r].
        patient: [n], of each image.

    Returns:
        f64[g], by patient in ascending order.
    """
    _, member = np.unique(patient, return_inverse=True)
    groups = int(member.max(initial=-1)) + 1
    block = max(1, _BLOCK // max(1, len(member)))
    values = [np.empty(0)]
    for start in range(0, groups, block):
        left_out = np.arange(start, min(start + block, groups))
        weights = (member[None, :] != left_out[:, None]).astype(np.float64)
        values.append(statistic(weights))
    return np.concatenate(values)


def covariance(without: np.ndarray) -> np.ndarray:
    """The jackknife's covariance of all readings.

    Args:
        without: f64[I, J, g], of `jackknife`, with g >= 2.

    Returns:
        f64[I, J, I, J].
    """
    groups = without.shape[-1]
    deviation = without - without.mean(axis=-1, keepdims=True)
    return (groups - 1) / groups * np.einsum("ijk,lmk->ijlm", deviation, deviation)


def components(covariances: np.ndarray) -> Components:
    """The four means of f64[I, J, I, J]."""
    modalities, readers = covariances.shape[:2]
    same_modality = np.eye(modalities, dtype=bool)[:, None, :, None]
    same_reader = np.eye(readers, dtype=bool)[None, :, None, :]

    def mean(which: np.ndarray) -> float:
        chosen = np.broadcast_to(which, covariances.shape)
        return float(covariances[chosen].mean()) if chosen.any() else np.nan

    return Components(
        mean(same_modality & same_reader),
        mean(~same_modality & same_reader),
        mean(same_modality & ~same_reader),
        mean(~same_modality & ~same_reader),
    )


def analyse(
    values: np.ndarray, covariances: np.ndarray, *, level: float = 0.95
) -> tuple[Analysis, ...]:
    """All three analyses of a fully crossed study.

    Args:
        values: f64[I, J], figures of merit of I modalities read by J readers.
        covariances: f64[I, J, I, J], over the cases; of `covariance`, say.
        level: coverage, 0 .. 1.

    Returns:
        One of each of ANALYSES, in that order. Readers can't be random if there is
        one alone: the analysis then has a reason. Intervals are Student's, with
        Hillis' degrees of freedom, normal for fixed readers; they are not cut at 0 or
        1. Where a variance is 0 the ends are nan, with a reason.

    Raises:
        ValueError: shapes that don't fit, nan.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or covariances.shape != values.shape * 2:
        raise ValueError(
            f"values {values.shape} must be [modalities, readers] and covariances "
            f"{covariances.shape} those twice"
        )
    if not (np.isfinite(values).all() and np.isfinite(covariances).all()):
        raise ValueError("a figure of merit, or a covariance, is nan")
    return tuple(_analysis(name, values, covariances, level) for name in ANALYSES)


def pseudovalue_test(values: np.ndarray, without: np.ndarray) -> GlobalTest:
    """Dorfman, Berbaum and Metz's test, random readers and cases, by the analysis of
    variance of pseudovalues.

    g theta - (g - 1) theta_(-k), shifted so that their mean is theta. With the
    jackknife's covariance it is the first of `analyse`.

    Args:
        values: f64[I, J], I and J >= 2.
        without: f64[I, J, g], of `jackknife`.
    """
    groups = without.shape[-1]
    pseudo = groups * values[..., None] - (groups - 1) * without
    pseudo += (values - pseudo.mean(axis=-1))[..., None]
    ms = _mean_squares(pseudo)
    error = ms["t"], ms["tr"] + max(ms["tc"] - ms["trc"], 0.0)
    count, readers = values.shape
    freedom = error[1] ** 2 / (ms["tr"] ** 2 / ((count - 1) * (readers - 1)))
    return _test(error[0] / error[1], count - 1, freedom)


def _analysis(
    name: str, values: np.ndarray, covariances: np.ndarray, level: float
) -> Analysis:
    readers = values.shape[1]
    if readers < 2 and name != "fixed_readers_random_cases":
        return Analysis(name, None, {}, (), reason="one reader alone: not a sample")
    error, freedom = _error_of_difference(name, values, covariances)
    differences = {
        (i, k): _interval(
            float(values[i].mean() - values[k].mean()),
            2 / readers * error,
            freedom,
            f"{_METHODS[name]}, difference of means over readers",
            level,
        )
        for i in range(len(values))
        for k in range(i + 1, len(values))
    }
    test = None
    if len(values) > 1 and error > 0:
        spread = _between(values.mean(axis=1)) * readers
        test = _test(spread / error, len(values) - 1, freedom)
    modalities = tuple(
        _interval(
            float(row.mean()),
            *_error_of_mean(name, row, covariances[i, :, i, :]),
            f"{_METHODS[name]}, mean over readers",
            level,
        )
        for i, row in enumerate(values)
    )
    return Analysis(name, test, differences, modalities)


_METHODS = {
    "random_readers_random_cases": "Obuchowski-Rockette, Hillis' degrees of freedom",
    "fixed_readers_random_cases": "Obuchowski-Rockette, readers fixed, normal",
    "random_readers_fixed_cases": "analysis of variance over readers, cases fixed",
}


def _error_of_difference(
    name: str, values: np.ndarray, covariances: np.ndarray
) -> tuple[float, float]:
    """The error term of a difference of modalities, and its degrees of freedom."""
    count, readers = values.shape
    if count < 2:
        return np.nan, np.nan
    c = components(covariances)
    shared = max(np.nan_to_num(c.cov2 - c.cov3), 0.0)
    if name == "fixed_readers_random_cases":
        return c.variance - c.cov1 + (readers - 1) * shared, np.inf
    left = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    freedom = (count - 1) * (readers - 1)
    crossed = float(np.sum(left**2) / freedom)
    if name == "random_readers_fixed_cases":
        return crossed, freedom
    error = crossed + readers * shared
    return error, error**2 / (crossed**2 / freedom) if crossed > 0 else np.inf


def _error_of_mean(
    name: str, row: np.ndarray, covariances: np.ndarray
) -> tuple[float, float]:
    """The variance of one modality's mean over readers, and its degrees of freedom."""
    readers = len(row)
    variance = float(np.mean(np.diag(covariances)))
    others = ~np.eye(readers, dtype=bool)
    shared = max(float(covariances[others].mean()) if readers > 1 else 0.0, 0.0)
    if name == "fixed_readers_random_cases":
        return (variance + (readers - 1) * shared) / readers, np.inf
    spread, freedom = _between(row), readers - 1
    if name == "random_readers_fixed_cases":
        return spread / readers, freedom
    error = spread + readers * shared
    hillis = error**2 / (spread**2 / freedom) if spread > 0 else np.inf
    return error / readers, hillis


def _between(values: np.ndarray) -> float:
    """The variance of f64[k] around their mean."""
    return float(np.var(values, ddof=1))


def _interval(
    value: float, variance: float, freedom: float, method: str, level: float
) -> Interval:
    if not variance > 0:
        why = "the variance is 0 or negative, which is no certainty"
        return Interval(value, np.nan, np.nan, level=level, reason=why)
    error = float(np.sqrt(variance))
    if np.isinf(freedom):
        half = float(special.ndtri((1 + level) / 2)) * error
        p_value = float(2 * special.ndtr(-abs(value) / error))
    else:
        half = float(special.stdtrit(freedom, (1 + level) / 2)) * error
        p_value = float(2 * special.stdtr(freedom, -abs(value) / error))
    return Interval(
        value,
        value - half,
        value + half,
        p_value=p_value,
        level=level,
        method=f"{method}, df {freedom:.4g}",
    )


def _test(statistic: float, df: float, error_df: float) -> GlobalTest:
    if np.isinf(error_df):
        p_value = special.chdtrc(df, df * statistic)
    else:
        p_value = special.fdtrc(df, error_df, statistic)
    return GlobalTest(float(statistic), float(df), float(error_df), float(p_value))


def _mean_squares(pseudo: np.ndarray) -> dict[str, float]:
    """Mean squares of f64[I, J, g] by factor: t modalities, r readers, c cases."""
    axes: Sequence[tuple[str, int]] = (("t", 0), ("r", 1), ("c", 2))
    effect = {"": pseudo.mean(keepdims=True)}
    found = {}
    for term in ("t", "r", "c", "tr", "tc", "rc", "trc"):
        over = tuple(axis for letter, axis in axes if letter not in term)
        lower = sum(e for name, e in effect.items() if set(name) < set(term))
        mean = pseudo.mean(axis=over, keepdims=True) if over else pseudo
        effect[term] = mean - lower
        sides = [pseudo.shape[axis] for letter, axis in axes if letter in term]
        repeated = pseudo.size / np.prod(sides)
        freedom = np.prod([side - 1 for side in sides])
        found[term] = float(np.sum(effect[term] ** 2) * repeated / freedom)
    return found
