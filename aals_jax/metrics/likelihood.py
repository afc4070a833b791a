"""What a call at a threshold tells: the two-by-two table, its likelihood ratios, and
predictive values at a prevalence that is not the set's own.

Sensitivity and specificity are taken to be the same at the other prevalence, which is
an assumption: where disease is rarer it is often milder, too. Images of one patient are
alike, so variances are those of patients.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

from aals_jax.metrics import definitions, intervals, proportions
from aals_jax.metrics.binomial import clopper_pearson
from aals_jax.metrics.draws import numbered
from aals_jax.metrics.intervals import Interval
from aals_jax.metrics.readings import Reading, Truth

_LOG = "normal on the log scale, variance over patients"
_BOX = "both shares by Clopper-Pearson at half the error each, effective numbers"


@dataclasses.dataclass(frozen=True)
class TwoByTwo:
    """Images by what they are and what they were called."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int


def two_by_two(called: np.ndarray, label: np.ndarray) -> TwoByTwo:
    """Counts the four cells.

    >>> two_by_two(np.array([1, 1, 0, 0], bool), np.array([1, 0, 0, 0], bool))
    TwoByTwo(true_positive=1, false_positive=1, false_negative=0, true_negative=2)

    Args:
        called: bool[n], called positive.
        label: bool[n], positive.
    """
    return TwoByTwo(
        int(np.sum(called & label)),
        int(np.sum(called & ~label)),
        int(np.sum(~called & label)),
        int(np.sum(~called & ~label)),
    )


def likelihood_ratio(
    called: np.ndarray, label: np.ndarray, patient: np.ndarray, *, level: float = 0.95
) -> Interval:
    """How many times as often positives are called as negatives: sensitivity / (1 -
    specificity). The ratio of a negative call is that of `~called`.

    The interval is normal on the log scale. Its variance is the sum over patients of
    the square of each one's influence on the logarithm,

        (t_p - Se m_p) / TP - (f_p - (1 - Sp) k_p) / FP,

    with t_p of m_p positive images and f_p of k_p negative ones called, times G /
    (G - 1) of G patients. For one image a patient it is Simel's 1 / TP - 1 / P +
    1 / FP - 1 / N, times that factor. Where a cell is empty this variance is too small,
    or none, and with few patients it is not to be trusted: then the ends are those of
    both shares, each by Clopper-Pearson with half of the error and the effective number
    of `proportions`.

    Args:
        called, label: bool[n].
        patient: [n], of each image.
        level: coverage, 0 .. 1.

    Returns:
        Interval, 0 .. inf; nan with a reason where a class is missing. The value is inf
        where no negative is called, nan where nothing is called at all.

    Reference: Simel et al. 1991, doi:10.1016/0895-4356(91)90128-V.
    """
    positives, negatives = int(np.sum(label)), int(np.sum(~label))
    if not positives or not negatives:
        why = f"one class only: {positives} positive of {len(label)} images"
        return Interval(np.nan, np.nan, np.nan, level=level, reason=why)
    cells = two_by_two(called, label)
    hit, false = cells.true_positive, cells.false_positive
    value = _quotient(hit / positives, false / negatives)
    few = intervals.too_few(
        positive=len(set(patient[label].tolist())),
        negative=len(set(patient[~label].tolist())),
    )
    if few or 0 in dataclasses.astuple(cells):
        low, high = _box(called, label, patient, level)
        why = "" if np.isfinite(value) else "no image is called"
        if np.isinf(value):
            why = "no negative is called: the ratio has no upper limit"
        return Interval(value, low, high, level=level, method=_BOX, reason=why)
    influence = np.where(
        label,
        (called - hit / positives) / hit,
        -(called - false / negatives) / false,
    )
    _, member = np.unique(patient, return_inverse=True)
    by_patient = np.bincount(member, influence)
    groups = len(by_patient)
    error = np.sqrt(np.sum(by_patient**2) * groups / (groups - 1))
    half = special.ndtri((1 + level) / 2) * error
    low, high = value * np.exp([-half, half])
    return Interval(value, float(low), float(high), level=level, method=_LOG)


def at_prevalence(ratio: Interval, prevalence: float) -> Interval:
    """Share of positives among the images of a call, from its likelihood ratio.

    odds = LR x prevalence / (1 - prevalence). With the ratio of a positive call it is
    the positive predictive value; one minus that of a negative call is the negative
    one, see `complement`.

    Args:
        ratio: of `likelihood_ratio`.
        prevalence: above 0 and below 1, of the images to come.
    """
    if not 0.0 < prevalence < 1.0:
        raise ValueError(f"prevalence={prevalence} must be above 0 and below 1")
    ends = (_share(end, prevalence) for end in (ratio.value, ratio.low, ratio.high))
    value, low, high = ends
    why = "" if np.isfinite(value) else ratio.reason
    return dataclasses.replace(ratio, value=value, low=low, high=high, reason=why)


def complement(share: Interval) -> Interval:
    """One minus a share, its ends exchanged."""
    ends = {"value": 1 - share.value, "low": 1 - share.high, "high": 1 - share.low}
    return dataclasses.replace(share, **ends)


def extend(
    points: Sequence[Mapping[str, Any]],
    truth: Truth,
    reading: Reading,
    *,
    prevalence: float | None = None,
) -> list[dict[str, Any]]:
    """Operating points with the counts behind them, and likelihood ratios.

    Args:
        points: of `operating.apply` on this set. A point that measured something and
            has no threshold calls nothing.
        truth, reading: of the set.
        prevalence: of the images to come; None: no predictive values for it.

    Returns:
        The same records; `counts` has the cells, of images at image level and of
        lesions and detections at lesion level (which has no true negatives);
        `measured` gets `likelihood_ratio_positive`, `likelihood_ratio_negative`,
        `ppv_at_prevalence` and `npv_at_prevalence` at image level.
    """
    extended = []
    for point in points:
        if not point["measured"]:
            extended.append(dict(point))
            continue
        stated = point["threshold"]
        threshold = np.inf if stated is None else stated
        if point["level"] != "image":
            counts = _lesion_cells(reading, threshold)
            extended.append({**point, "counts": counts})
            continue
        called = reading.score >= threshold
        cells = two_by_two(called, truth.label)
        more = _ratios(called, truth, prevalence)
        measured = {**point["measured"], **more}
        record = {
            **point,
            "measured": measured,
            "counts": dataclasses.asdict(cells),
        }
        if prevalence is not None:
            record["at_prevalence"] = prevalence
        extended.append(record)
    return extended


def _ratios(
    called: np.ndarray, truth: Truth, prevalence: float | None
) -> dict[str, Any]:
    positive = likelihood_ratio(called, truth.label, truth.patient)
    negative = likelihood_ratio(~called, truth.label, truth.patient)
    found = {
        "likelihood_ratio_positive": positive,
        "likelihood_ratio_negative": negative,
    }
    if prevalence is not None:
        missed = at_prevalence(negative, prevalence)
        found["ppv_at_prevalence"] = at_prevalence(positive, prevalence)
        found["npv_at_prevalence"] = complement(missed)
    return {name: definitions.entry(interval) for name, interval in found.items()}


def _lesion_cells(reading: Reading, threshold: float) -> dict[str, int]:
    hit = int(np.sum(reading.match.lesion_score >= threshold))
    return {
        "true_positive": hit,
        "false_positive": int(np.sum(reading.match.false_score >= threshold)),
        "false_negative": len(reading.match.lesion_score) - hit,
    }


def _quotient(over: float, under: float) -> float:
    if under > 0:
        return over / under
    return np.inf if over > 0 else np.nan


def _share(ratio: float, prevalence: float) -> float:
    if np.isinf(ratio):
        return 1.0
    return ratio * prevalence / (ratio * prevalence + 1 - prevalence)


def _box(
    called: np.ndarray, label: np.ndarray, patient: np.ndarray, level: float
) -> tuple[float, float]:
    """The least and the greatest quotient of the two shares' intervals."""
    each = 1 - (1 - level) / 2
    (hit_low, hit_high), (false_low, false_high) = (
        clopper_pearson(
            float(np.mean(called[rows])),
            proportions.effective_number(np.ones(len(rows)), numbered(patient[rows])),
            level=each,
        )
        for rows in (np.flatnonzero(label), np.flatnonzero(~label))
    )
    return _quotient(hit_low, false_high), _quotient(hit_high, false_low)
