"""Shares and rates of counted things, with intervals that hold at 0 and at 1.

What is counted (images, lesions, false positives) comes in patients, and things of one
patient are alike, so n of them say as much as n / d independent ones. The design effect
d is the variance of the share over patients as a multiple of the binomial one. With few
successes or failures there is little to estimate it from: it is then drawn towards K,
the value for patients whose things are all the same, and at 0 and at 1 it is K:

    d = (c sum_i (y_i - p m_i)^2 + K) / (n p (1 - p) + 1),   K = sum_i m_i^2 / n

for y_i of m_i in patient i, n = sum m_i, p = sum y_i / n; c corrects for the patients
being few, as does Student's t. d is kept within 1 .. K. With one thing of each patient
K = 1, so d = 1, and the intervals are the plain ones.

References:
    E. Wilson, Probable inference, the law of succession, and statistical inference,
    Journal of the American Statistical Association 22 (1927).
    E. Korn, B. Graubard, Confidence intervals for proportions with small expected
    number of positive counts estimated from survey data, Survey Methodology 24 (1998):
    the effective number, and Student's t.
    L. Kish, Survey Sampling (1965), 5.4: K.
"""

from collections.abc import Sequence

import numpy as np
from scipy import special

from aals_jax.metrics.intervals import Interval

WILSON = "Wilson"
SCORE = "score interval of a Poisson rate"
EFFECTIVE = ", effective number by patients"


def proportion(
    over: np.ndarray, under: np.ndarray, patient: np.ndarray, *, level: float = 0.95
) -> Interval:
    """A share over all images, with Wilson's interval of the effective number.

    Args:
        over, under: [n], counts of each image; 0 <= over <= under.
        patient: i64[n], number of each image's patient, >= 0.
        level: coverage, 0 .. 1.

    Returns:
        Interval of sum(over) / sum(under); nan with a reason where there is nothing to
        count. `design_effect` is d.
    """
    hits, number = _by_patient(over, under, patient)
    if not number.any():
        return _nothing(level)
    value = float(hits.sum() / number.sum())
    effect = float(design_effect(hits, number, level=level))
    low, high = wilson(value, number.sum() / effect, level=level)
    return Interval(
        value,
        float(low),
        float(high),
        level=level,
        method=WILSON + (EFFECTIVE if number.max() > 1 else ""),
        design_effect=effect,
    )


def rate(
    count: np.ndarray, units: np.ndarray, patient: np.ndarray, *, level: float = 0.95
) -> Interval:
    """A number per unit, as false positives per image, with its score interval.

    The design effect is that of a Poisson count, so it also holds what images differ by
    more than by chance. At 0 it is K.

    Args:
        count: [n], of each image, >= 0.
        units: [n], of each image: 1, or another size, >= 0.
        patient, level: as in `proportion`.

    Returns:
        Interval of sum(count) / sum(units).
    """
    events, size = _by_patient(count, units, patient)
    if not size.any():
        return _nothing(level)
    value = float(events.sum() / size.sum())
    effect = _rate_effect(events, size, level)
    low, high = poisson_score(value, size.sum() / effect, level=level)
    method = SCORE + EFFECTIVE
    return Interval(
        value,
        float(low),
        float(high),
        level=level,
        method=method,
        design_effect=effect,
    )


def wilson(
    share: np.ndarray | float, number: np.ndarray | float, *, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's limits for shares f64[...] of so many independent trials, whole or not.

    >>> [round(float(end), 3) for end in wilson(1.0, 10)]
    [0.722, 1.0]
    """
    share, number = np.asarray(share, np.float64), np.asarray(number, np.float64)
    z = special.ndtri((1 + level) / 2)
    shrink = 1.0 + z * z / number
    middle = (share + z * z / (2 * number)) / shrink
    spread = share * (1.0 - share) / number + z * z / (4 * number**2)
    half = z * np.sqrt(spread) / shrink
    low = np.where(share <= 0, 0.0, np.maximum(middle - half, 0.0))
    return low, np.where(share >= 1, 1.0, np.minimum(middle + half, 1.0))


def poisson_score(
    value: np.ndarray | float, units: np.ndarray | float, *, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Score limits for rates f64[...] seen over so many units: (v - r)^2 = z^2 r / u.

    Wilson's limits are these where the share is small.

    >>> [round(float(end), 3) for end in poisson_score(0.0, 10)]
    [0.0, 0.384]
    """
    value, units = np.asarray(value, np.float64), np.asarray(units, np.float64)
    z = special.ndtri((1 + level) / 2)
    middle = value + z * z / (2 * units)
    half = z * np.sqrt(value / units + z * z / (4 * units**2))
    return np.where(value <= 0, 0.0, np.maximum(middle - half, 0.0)), middle + half


def design_effect(
    hits: np.ndarray, number: np.ndarray, *, level: float = 0.95
) -> np.ndarray:
    """d of the module, f64[...], Student's t included.

    Args:
        hits, number: f64[..., k], of each patient; a patient with number 0 does not
            count. One of them has more.
        level: of the interval that it is for.
    """
    hits, number = np.asarray(hits, np.float64), np.asarray(number, np.float64)
    total = number.sum(axis=-1)
    share = hits.sum(axis=-1) / total
    most = np.sum(number**2, axis=-1) / total
    patients = np.sum(number > 0, axis=-1)
    between = np.sum((hits - share[..., None] * number) ** 2, axis=-1)
    within = total * share * (1 - share)
    effect = (_few(patients, total, level) * between + most) / (within + 1.0)
    # one patient shows nothing of how patients differ
    return np.where(patients > 1, np.clip(effect, 1.0, most), most)


def effective_number(units: Sequence[float] | np.ndarray, patient: np.ndarray) -> float:
    """n / K: how many patients say as much, if the things of a patient are all alike.

    Args:
        units: [n], what each image has.
        patient: i64[n], number of its patient.
    """
    size = np.bincount(patient, units) if len(patient) else np.zeros(1)
    total = float(size.sum())
    return total**2 / float(np.sum(size**2)) if total else 0.0


def independent_pairs(label: np.ndarray, patient: np.ndarray) -> int:
    """How many pairs of a positive and a negative image share no patient at all.

    With one image a patient it is the smaller class. If all pairs of a set are in the
    right order so are these, which are independent: with AUROC a that happens with a
    probability of at most a^pairs, whatever the distributions.

    Args:
        label: bool[n].
        patient: i64[n], number of each image's patient.
    """
    label = np.asarray(label, bool)
    positive, negative = (set(patient[rows].tolist()) for rows in (label, ~label))
    return min(len(positive), len(negative), len(positive | negative) // 2)


def _few(patients: np.ndarray, total: np.ndarray, level: float) -> np.ndarray:
    """c of the module with Student's t: 1 where each patient has one thing."""
    fewer, more = np.maximum(patients - 1, 1), np.maximum(total - 1, 1)
    tail = (1 + level) / 2
    student = special.stdtrit(fewer, tail) / special.stdtrit(more, tail)
    return (patients / fewer) / (total / more) * student**2


def _rate_effect(events: np.ndarray, size: np.ndarray, level: float) -> float:
    """Variance over patients as a multiple of Poisson's, at least 1."""
    patients, total = np.sum(size > 0), size.sum()
    most = float(np.sum(size**2) / total)
    between = float(np.sum((events - events.sum() / total * size) ** 2))
    student = special.stdtrit(max(patients - 1, 1), (1 + level) / 2)
    few = (
        patients
        / max(patients - 1, 1)
        * (student / special.ndtri((1 + level) / 2)) ** 2
    )
    return max(1.0, float((few * between + most) / (events.sum() + 1.0)))


def _by_patient(
    over: np.ndarray, under: np.ndarray, patient: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of both over the images of each patient that has any, f64[k] each."""
    over, under = np.asarray(over, np.float64), np.asarray(under, np.float64)
    if not over.shape == under.shape == np.shape(patient):
        raise ValueError(
            f"counts {over.shape} and {under.shape} and patients {np.shape(patient)} "
            "must be vectors of one length"
        )
    if not len(over):
        return over, under
    sums = [np.bincount(patient, counts) for counts in (over, under)]
    there = sums[1] > 0
    return sums[0][there], sums[1][there]


def _nothing(level: float) -> Interval:
    return Interval(np.nan, np.nan, np.nan, level=level, reason="nothing to count")
