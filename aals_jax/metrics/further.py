"""Further figures of one system: what a field or a journal asks for beside METRICS.

A figure is a small table: rows with a name, each with some measured entries. A new one
needs a function of `_Case` and a row of FIGURES; page and JSON show what is there.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from aals_jax.metrics import (
    afroc,
    calibration,
    coco_ap,
    definitions,
    delong,
    false_positive_rates,
    froc,
    intervals,
    negative_share,
    operating,
    partial_area,
    patients,
    proportions,
    recalibration,
    roc,
)
from aals_jax.metrics.definitions import Entry, number
from aals_jax.metrics.draws import TruthDraws
from aals_jax.metrics.intervals import Drawn, Interval
from aals_jax.metrics.readings import Hit, Reading, Truth

Row = dict[str, Any]  # name, measured (column -> entry), further plain facts


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is asked for beyond what is always there."""

    fp_rates: tuple[float, ...] = froc.COUNT_LIMITS  # false positives per image
    partial_fpr: tuple[float, ...] = ()  # ends of partial AUROCs, above 0, at most 1
    prevalence: float | None = None  # of the images to come
    coco_ap: bool = False
    negative_shares: tuple[float, ...] = ()  # at least 0, below 1


@dataclasses.dataclass(frozen=True)
class _Case:
    truth: Truth
    reading: Reading
    points: Sequence[Mapping[str, Any]]  # operating points, as in result.json
    draws: TruthDraws
    hit: Hit
    wanted: Wanted
    at_rates: Sequence[Drawn]

    @property
    def seed(self) -> int:
        return self.draws.bootstrap.seed


@dataclasses.dataclass(frozen=True)
class Figure:
    """How one figure is made."""

    title: str
    definition: str  # may name {hit}
    level: str  # "image", "lesion" or "patient"
    rows: Callable[[_Case], list[Row]]
    reason: Callable[[_Case], str]  # why there is none; "" where there is one
    is_wanted: Callable[[Wanted], bool] = lambda wanted: True


def measure(
    truth: Truth,
    reading: Reading,
    *,
    points: Sequence[Mapping[str, Any]],
    draws: TruthDraws,
    hit: Hit,
    wanted: Wanted,
    at_rates: Sequence[Drawn] = (),
) -> dict[str, dict[str, Any]]:
    """All figures of one system on one set, as metrics.json holds them.

    Args:
        truth, reading: of the set.
        points: its operating points, of `operating.apply`.
        draws: of its patients.
        hit: when a detection hits.
        wanted: what is asked for.
        at_rates: `false_positive_rates.sensitivities` of `wanted.fp_rates` on these
            draws, where they are known (`Measurement.at_rates`); else they are drawn.

    Returns:
        Figure name -> `title`, `definition`, `level`, `rows`; where it is undefined
        `rows` is empty and `reason` says why.
    """
    case = _Case(truth, reading, points, draws, hit, wanted, at_rates)
    rule = definitions.HITS[hit.rule].format(**dataclasses.asdict(hit))
    found = {}
    for name, figure in FIGURES.items():
        unmarked = figure.level == "lesion" and not truth.marked
        if unmarked or not figure.is_wanted(wanted):
            continue
        reason = figure.reason(case)
        found[name] = {
            "title": figure.title,
            "definition": figure.definition.format(hit=rule),
            "level": figure.level,
            "rows": [] if reason else figure.rows(case),
            **({"reason": reason} if reason else {}),
        }
    return found


def _sensitivities(case: _Case) -> list[Row]:
    rates = case.wanted.fp_rates
    drawn = case.at_rates or false_positive_rates.sensitivities(
        case.reading.count, rates, draws=case.draws.judged_images
    )
    names = [f"{rate:g}" for rate in rates] + ["mean"]
    rows = [
        _row(name, {"sensitivity": _of_lesions(case, one)})
        for name, one in zip(names, drawn, strict=True)
    ]
    for row, rate in zip(rows, rates, strict=False):
        threshold = operating.false_positive_threshold(case.reading, rate)
        row["threshold"] = number(threshold)
    return rows


def _patient_rows(case: _Case) -> list[Row]:
    found = patients.of_images(case.truth, case.reading.score)
    whole = delong.auroc_interval(found.score, found.label)
    row = _row("all thresholds", {"auroc": definitions.entry(whole)})
    row |= {"n_patients": len(found), "n_positive": int(found.label.sum())}
    rows = [row]
    for point in case.points:
        if point["level"] != "image" or not point["measured"]:
            continue
        stated = point["threshold"]
        called = found.score >= (np.inf if stated is None else stated)
        shares = {
            "sensitivity": (called & found.label, found.label),
            "specificity": (~called & ~found.label, ~found.label),
            "ppv": (called & found.label, called),
            "npv": (~called & ~found.label, ~called),
        }
        each = np.arange(len(found))  # patients, who are independent
        measured = {
            name: definitions.entry(proportions.proportion(over, under, each))
            for name, (over, under) in shares.items()
        }
        chosen = f"threshold of {point['name']}"
        rows.append(_row(chosen, measured) | {"threshold": stated})
    return rows


def _one_image_each(case: _Case) -> str:
    found = patients.of_images(case.truth, case.reading.score)
    if not np.any(found.images > 1):
        return "each image is a patient of its own: the image level is this one"
    return roc.undefined_reason(found.label).replace("images", "patients")


def _partial_rows(case: _Case) -> list[Row]:
    scores, label = case.reading.score, case.truth.label
    statistics = {
        f"0 to {most:g}": partial(_partial, scores, label, most)
        for most in case.wanted.partial_fpr
    }
    drawn = intervals.draw(case.draws.all_images, statistics)
    rows = []
    for (name, one), most in zip(drawn.items(), case.wanted.partial_fpr, strict=True):
        share = Drawn(one.value / most, one.replicates / most)
        whole = _shared(case, share, level="image", needs=("positive", "negative"))
        ends = np.array([whole.value, whole.low, whole.high]) * most
        standard = partial_area.standardised(ends, most=most)
        measured = {
            name: definitions.entry(_with_ends(whole, values))
            for name, values in (
                ("partial_auroc", ends),
                ("partial_auroc_standardised", standard),
            )
        }
        rows.append(_row(name, measured))
    return rows


def _with_ends(interval: Interval, ends: np.ndarray) -> Interval:
    value, low, high = map(float, ends)
    return dataclasses.replace(interval, value=value, low=low, high=high)


def _partial(
    scores: np.ndarray, label: np.ndarray, most: float, weights: np.ndarray
) -> np.ndarray:
    return partial_area.partial_auroc(scores, label, most=most, weights=weights)


def _afroc_data(case: _Case, name: str) -> afroc.AfrocData:
    return afroc.afroc_data(
        case.reading.match, len(case.reading.count.units), name=name
    )


def _afroc_rows(case: _Case) -> list[Row]:
    merits = partial(
        afroc.figures_of_merit, [_afroc_data(case, name) for name in afroc.NAMES]
    )
    value = merits()
    replicates = np.concatenate(
        [merits(weights=weights) for weights in case.draws.judged_images]
    )
    titles = {"wafroc": "wAFROC", "jafroc": "JAFROC"}
    has_lesion = ~negative_share.is_without(case.reading.count)
    patient = case.draws.judged_images.patient
    pairs = proportions.independent_pairs(has_lesion, patient)
    rows = []
    for k, name in enumerate(afroc.NAMES):
        one = Drawn(float(value[k]), replicates[:, k])
        interval = _shared(
            case, one, level="lesion", needs=("lesion", "negative"), trials=pairs
        )
        merit = definitions.entry(interval)
        rows.append(_row(titles[name], {"figure_of_merit": merit}))
    return rows


def _coco_rows(case: _Case) -> list[Row]:
    rows = case.truth.judged_rows
    found, lesions = (
        [part[i] for i in rows]
        for part in (case.reading.detections, case.truth.lesions)
    )
    data = [coco_ap.collect(found, lesions, iou=iou) for iou in coco_ap.IOUS]

    def each(weights: np.ndarray | None) -> np.ndarray:
        """f64[..., 11]: the mean over the ten, then each."""
        values = [coco_ap.average_precision(one, weights=weights) for one in data]
        return np.stack([np.mean(values, axis=0), *values], axis=-1)

    value = each(None)
    replicates = np.concatenate([each(w) for w in case.draws.judged_images])
    names = ["mean, IoU 0.50 to 0.95", *(f"IoU {iou:.2f}" for iou in coco_ap.IOUS)]
    rows = []
    for k, name in enumerate(names):
        drawn = Drawn(float(value[k]), replicates[:, k])
        found = _of_lesions(case, drawn, at_edge=False)
        rows.append(_row(name, {"average_precision": found}))
    return rows


def _no_boxes(case: _Case) -> str:
    filled = (
        [rows for rows in part if np.size(rows)]
        for part in (case.truth.lesions, case.reading.detections)
    )
    for (what, columns), part in zip(
        (("lesions", 4), ("detections", 5)), filled, strict=True
    ):
        if any(np.shape(rows)[-1] != columns for rows in part):
            return f"the {what} are points: an overlap needs boxes"
    return froc.undefined_reason(case.reading.count)


def _share_rows(case: _Case) -> list[Row]:
    data = case.reading.count
    statistics = {
        f"{share:g} of images without lesions": partial(_at_share, data, share)
        for share in case.wanted.negative_shares
    }
    drawn = intervals.draw(case.draws.judged_images, statistics)
    own = negative_share.share_of(data)
    return [
        _row(name, {"froc_count": _of_lesions(case, one)}) | {"own_share": own}
        for name, one in drawn.items()
    ]


def _at_share(data: froc.FrocData, share: float, weights: np.ndarray) -> np.ndarray:
    return negative_share.score_at_share(
        data, froc.COUNT_LIMITS, share=share, weights=weights
    )


def _recalibration_rows(case: _Case) -> list[Row]:
    found = recalibration.slope_and_intercept(
        case.reading.score, case.truth.label, case.truth.patient
    )
    measured = {name: definitions.entry(one) for name, one in found.items()}
    return [_row("logistic recalibration", measured)]


def _no_recalibration(case: _Case) -> str:
    return recalibration.undefined_reason(case.reading.score, case.truth.label)


def _decision_rows(case: _Case) -> list[Row]:
    scores, label = case.reading.score, case.truth.label
    price_of = recalibration.net_benefit
    value = price_of(scores, label)
    replicates = np.concatenate(
        [price_of(scores, label, weights=w) for w in case.draws.all_images]
    )
    share = float(np.mean(label))
    everybody = recalibration.net_benefit_of_all(share)
    few = intervals.too_few(image=len(set(case.truth.patient.tolist())))
    rows = []
    for k, threshold in enumerate(recalibration.THRESHOLDS):
        drawn = Drawn(float(value[k]), replicates[:, k])
        interval = intervals.percentile_interval(drawn, seed=case.seed, few=few)
        row = _row(f"{threshold:g}", {"net_benefit": definitions.entry(interval)})
        rows.append(row | {"calling_all": number(everybody[k])})
    return rows


def _no_probability(case: _Case) -> str:
    reason = calibration.undefined_reason(case.reading.score)
    return reason or roc.undefined_reason(case.truth.label)


def _row(name: str, measured: Mapping[str, Entry]) -> Row:
    return {"name": name, "measured": dict(measured)}


def _shared(
    case: _Case, drawn: Drawn, *, level: str, needs: Sequence[str], trials: float = 0.0
) -> Interval:
    """The interval of a value in 0 .. 1, see `intervals.share_interval`."""
    truth = case.truth
    rows = np.arange(len(truth)) if level == "image" else truth.judged_rows
    having = definitions.patients_having(truth, rows, needs)
    return intervals.share_interval(
        drawn,
        seed=case.seed,
        patients=min(having.values()),
        trials=trials,
        reason="undefined on this set",
        few=intervals.too_few(**having),
    )


def _of_lesions(case: _Case, drawn: Drawn, *, at_edge: bool = True) -> Entry:
    """The entry of a share of lesions; at 0 and 1 the patients are the trials."""
    truth, rows = case.truth, case.truth.judged_rows
    trials = proportions.effective_number(
        truth.num_lesions[rows], case.draws.judged_images.patient
    )
    interval = _shared(
        case,
        drawn,
        level="lesion",
        needs=("lesion",),
        trials=trials if at_edge else 0.0,
    )
    return definitions.entry(interval)


FIGURES: Mapping[str, Figure] = {
    "sensitivity_at_rates": Figure(
        title="Sensitivity at false-positive rates",
        definition=(
            "sensitivity for lesions at so many false positives an image, negatives "
            "included; the last operating point whose rate is not larger, no "
            "interpolation; a detection hits when {hit}; the threshold is the lowest "
            "with at most this rate"
        ),
        level="lesion",
        rows=_sensitivities,
        reason=lambda case: froc.undefined_reason(case.reading.count),
    ),
    "afroc": Figure(
        title="AFROC figures of merit",
        definition=(
            "share of pairs of a lesion and an image without lesions in which the "
            "lesion's score is above the image's highest false mark, ties half; wAFROC "
            "gives each image with lesions the same weight, JAFROC each lesion; what "
            "is not marked is below every mark; a detection hits when {hit}"
        ),
        level="lesion",
        rows=_afroc_rows,
        reason=lambda case: afroc.undefined_reason(_afroc_data(case, "wafroc")),
    ),
    "coco_ap": Figure(
        title="Average precision of COCO",
        definition=(
            "mean of the best precision at or beyond 101 recalls; greedy by score, the "
            "largest overlap of at least the IoU hits, a second hit is false; at most "
            "100 detections an image; equal scores are one point; on images whose "
            "lesions are all marked"
        ),
        level="lesion",
        rows=_coco_rows,
        reason=_no_boxes,
        is_wanted=lambda wanted: wanted.coco_ap,
    ),
    "negative_shares": Figure(
        title="FROC at another share of negatives",
        definition=(
            "mean sensitivity at 0.1, 0.2, 0.5, 1, 2, 4 false positives an image, as "
            "if so large a share of the images had no lesion: these are weighted, and "
            "so is their part of the rate; a detection hits when {hit}"
        ),
        level="lesion",
        rows=_share_rows,
        reason=lambda case: froc.undefined_reason(case.reading.count),
        is_wanted=lambda wanted: bool(wanted.negative_shares),
    ),
    "partial_auroc": Figure(
        title="Partial AUROC",
        definition=(
            "area under the ROC curve over this range of the false-positive rate; "
            "standardised as McClish has it: 0.5 is chance, 1 is perfect"
        ),
        level="image",
        rows=_partial_rows,
        reason=lambda case: roc.undefined_reason(case.truth.label),
        is_wanted=lambda wanted: bool(wanted.partial_fpr),
    ),
    "patient_level": Figure(
        title="Patient level",
        definition=(
            "a patient's score is the highest of their images', and a patient is "
            "positive when one of their images is; shares by Clopper-Pearson"
        ),
        level="patient",
        rows=_patient_rows,
        reason=_one_image_each,
    ),
    "recalibration": Figure(
        title="Calibration slope and intercept",
        definition=(
            "logit P(positive) = intercept + slope x logit score; slope 1 and "
            "intercept 0 are a calibrated score, a slope below 1 says that scores are "
            "too extreme; in the large: the intercept at slope 1, above 0 where scores "
            "are too low"
        ),
        level="image",
        rows=_recalibration_rows,
        reason=_no_recalibration,
    ),
    "decision_curve": Figure(
        title="Decision curve",
        definition=(
            "net benefit of calling images with a score at or above the threshold "
            "probability t: true positives less t / (1 - t) false ones, per image; "
            "calling none has 0"
        ),
        level="image",
        rows=_decision_rows,
        reason=_no_probability,
    ),
}
