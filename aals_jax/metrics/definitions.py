"""METRICS, the table of all metrics, and what result.json says of each.

A new metric needs
- a function and a row of METRICS;
- if it needs maps, its name in `available`;
- a title in TITLES of report/wording.py;
- to appear in the tables of sweeps and studies, its name in METRICS of
  sweeps/results.py.

Image-level metrics are over all images whose record is known. Lesion-level ones leave
out positives without marked lesions: a detection there is neither right nor wrong.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from aals_jax.metrics import calibration, delong, froc, intervals, proportions, roc
from aals_jax.metrics.draws import Draws, TruthDraws, numbered
from aals_jax.metrics.intervals import Drawn, Interval, Statistic
from aals_jax.metrics.readings import Hit, Reading, Truth

Entry = dict[str, Any]  # one metric of result.json: plain numbers, None for nan


@dataclasses.dataclass(frozen=True)
class Metric:
    """How one metric is computed from a reading."""

    definition: str
    is_image_level: bool
    statistic: Callable[[Truth, Reading], Statistic]
    reason: Callable[[Truth, Reading], str]  # reason it is undefined, "" if defined
    no_interval: str = ""  # reason it has no bootstrap interval, "" if it has one
    # what an interval needs patients with, keys of `intervals.too_few`
    needs: tuple[str, ...] = ("positive", "negative")
    is_share: bool = False  # in 0 .. 1, so `intervals.share_interval` is its interval
    # independent trials at 0 and 1, see there; None: not known
    trials: Callable[[Truth, Reading], float] | None = None
    # how its readings are swapped for `permutation.swap_test`: "ranks", "scores" (image
    # scores have a meaning of their own) or "": it has no such test
    swapped_as: str = ""

    def draws(self, draws: TruthDraws) -> Draws:
        """The draws for the images that it is about."""
        return draws.all_images if self.is_image_level else draws.judged_images

    def rows(self, truth: Truth) -> np.ndarray:
        """i64[m], the images that it is about."""
        return np.arange(len(truth)) if self.is_image_level else truth.judged_rows


def _image_metric(function: Callable[..., np.ndarray]):
    def statistic(truth: Truth, reading: Reading) -> Statistic:
        return lambda weights: function(reading.score, truth.label, weights=weights)

    return statistic


def _froc_metric(field: str, limits: tuple[float, ...]):
    def statistic(truth: Truth, reading: Reading) -> Statistic:
        data = getattr(reading, field)
        return lambda weights: froc.froc_score(data, limits, weights=weights)

    return statistic


def _one_class(truth: Truth, reading: Reading) -> str:
    return roc.undefined_reason(truth.label)


def _no_sensitivity(field: str) -> Callable[[Truth, Reading], str]:
    return lambda truth, reading: froc.undefined_reason(getattr(reading, field))


def _no_probability(truth: Truth, reading: Reading) -> str:
    return calibration.undefined_reason(reading.score)


def _pairs(truth: Truth, reading: Reading) -> float:
    return proportions.independent_pairs(truth.label, numbered(truth.patient))


def _patients_of_lesions(truth: Truth, reading: Reading) -> float:
    rows = truth.judged_rows
    lesions = truth.num_lesions[rows]
    return proportions.effective_number(lesions, numbered(truth.patient[rows]))


def _patients_of_images(truth: Truth, reading: Reading) -> float:
    return proportions.effective_number(np.ones(len(truth)), numbered(truth.patient))


# Least lead of an oracle over supervised training from which other rows are compared
# [ours, docs/headroom.md]
HEAD_ROOM = {"auroc": 0.04, "froc_count": 0.1}

METRICS: Mapping[str, Metric] = {
    "auroc": Metric(
        definition="area under the ROC curve of the image scores; ties count half",
        is_image_level=True,
        statistic=_image_metric(roc.auroc),
        reason=_one_class,
        is_share=True,
        trials=_pairs,
        swapped_as="ranks",
    ),
    "average_precision": Metric(
        definition=(
            "average precision of the image scores: a step sum, no interpolation"
        ),
        is_image_level=True,
        statistic=_image_metric(roc.average_precision),
        reason=_one_class,
        is_share=True,
        swapped_as="ranks",
    ),
    "froc_area": Metric(
        definition=(
            "mean recall at false-positive ratios 1 %, 2 %, ..., 10 %; a lesion is "
            "recalled when the map is activated at the centre of its box; ratio = "
            "share of film pixels outside all boxes that are activated, pooled over "
            "the set"
        ),
        is_image_level=False,
        statistic=_froc_metric("area", froc.AREA_LIMITS),
        reason=_no_sensitivity("area"),
        needs=("lesion",),
        is_share=True,
        trials=_patients_of_lesions,
    ),
    "froc_count": Metric(
        definition=(
            "mean sensitivity at 0.1, 0.2, 0.5, 1, 2, 4 false positives an image; "
            "greedy by score, a second hit on a lesion counts {repeats}; a "
            "detection hits when {hit}"
        ),
        is_image_level=False,
        statistic=_froc_metric("count", froc.COUNT_LIMITS),
        reason=_no_sensitivity("count"),
        needs=("lesion",),
        is_share=True,
        trials=_patients_of_lesions,
        swapped_as="ranks",
    ),
    "brier_score": Metric(
        definition="mean squared difference of image score and label; 0 is best",
        is_image_level=True,
        statistic=_image_metric(calibration.brier_score),
        reason=_no_probability,
        needs=("positive", "negative"),
        is_share=True,
        trials=_patients_of_images,
        swapped_as="scores",
    ),
    "expected_calibration_error": Metric(
        definition=(
            "mean |image score - share of positives| over ten bins of equal width, "
            "weighted by images; 0 is best"
        ),
        is_image_level=True,
        statistic=_image_metric(calibration.expected_calibration_error),
        reason=_no_probability,
        no_interval=(
            "no interval: resampling adds to this error's upward bias, so a "
            "percentile interval would often miss its own value"
        ),
    ),
}
HITS = {
    "center_in_box": "its point lies in the box of a lesion",
    "radius": "its point lies within the radius of a lesion",
    "iou": "its box overlaps that of a lesion by an IoU of at least {iou_threshold:g}",
    "distance": "its point is within {max_distance:g} of a lesion's",
}


REPEATS = {"ignored": "for nothing", "false": "as a false positive"}


def definition(name: str, hit: Hit) -> str:
    """A metric's definition, the hit rule included."""
    rule = HITS[hit.rule].format(**dataclasses.asdict(hit))
    return METRICS[name].definition.format(hit=rule, repeats=REPEATS[hit.repeats])


def available(*readings: Reading) -> list[str]:
    """The metrics that all of the readings have.

    `froc_area` needs maps, and whatever is about lesions needs marked ones.
    """
    has_maps = all(reading.area is not None for reading in readings)
    is_marked = all(reading.marked for reading in readings)
    return [
        name
        for name, metric in METRICS.items()
        if (has_maps or name != "froc_area") and (is_marked or metric.is_image_level)
    ]


def draw_metrics(
    truth: Truth,
    reading: Reading,
    *,
    draws: TruthDraws,
    names: Sequence[str] = tuple(METRICS),
) -> dict[str, Drawn]:
    """Values of one system's metrics, and their replicates.

    Args:
        names: those wanted; `froc_area` is left out of readings that don't come from
            maps. A metric that has no interval has no replicates either, f64[0].
    """
    names = [name for name in names if name in available(reading)]
    drawn: dict[str, Drawn] = {}
    by_draws: dict[int, list[str]] = {}  # one set of images, one pass over its draws
    for name in names:
        by_draws.setdefault(id(METRICS[name].draws(draws)), []).append(name)
    for group in by_draws.values():
        statistics = {name: _statistic(name, truth, reading) for name in group}
        for name in group:
            if METRICS[name].no_interval and not METRICS[name].reason(truth, reading):
                once = np.ones((1, len(METRICS[name].rows(truth))))
                value = float(statistics.pop(name)(once)[0])
                drawn[name] = Drawn(value, np.empty(0))
        drawn |= intervals.draw(METRICS[group[0]].draws(draws), statistics)
    return {name: drawn[name] for name in names}


def metric_entries(
    drawn: Mapping[str, Drawn],
    truth: Truth,
    reading: Reading,
    *,
    seed: int,
    hit: Hit,
) -> dict[str, Entry]:
    """What `draw_metrics` gave, as result.json holds it.

    Args:
        drawn: name -> the metric of this reading.
        seed: of the draws.
        hit: when a detection hits a lesion.
    """
    entries = {}
    for name, metric in drawn.items():
        entries[name] = {
            **entry(_interval(name, metric, truth, reading, seed)),
            "definition": definition(name, hit),
            **image_set(truth, METRICS[name].rows(truth)),
        }
    if entries.get("auroc", {}).get("value") is not None:
        closed = delong.auroc_interval(
            reading.score, truth.label, patients=truth.patient
        )
        entries["auroc"]["delong"] = {
            name: x for name, x in entry(closed).items() if name != "value"
        }
    return entries


def _interval(
    name: str, drawn: Drawn, truth: Truth, reading: Reading, seed: int
) -> Interval:
    metric = METRICS[name]
    if not len(drawn.replicates):
        return Interval(drawn.value, np.nan, np.nan, reason=metric.no_interval)
    having = patients_having(truth, metric.rows(truth), metric.needs)
    reason, few = metric.reason(truth, reading), intervals.too_few(**having)
    if not metric.is_share:
        return intervals.percentile_interval(drawn, seed=seed, reason=reason, few=few)
    return intervals.share_interval(
        drawn,
        seed=seed,
        patients=min(having.values()),
        trials=metric.trials(truth, reading) if metric.trials else 0.0,
        reason=reason,
        few=few,
    )


def patients_having(
    truth: Truth, rows: np.ndarray, needs: Sequence[str]
) -> dict[str, int]:
    """How many patients of some images have what `Metric.needs` names."""
    label = truth.label[rows]
    kinds = {
        "positive": label,
        "negative": ~label,
        "lesion": truth.num_lesions[rows] > 0,
        "image": np.ones(len(rows), bool),
    }
    return {name: len(set(truth.patient[rows[kinds[name]]])) for name in needs}


def _statistic(name: str, truth: Truth, reading: Reading) -> Statistic:
    """A metric as a function of weights; nan everywhere where it is undefined."""
    metric = METRICS[name]
    undefined = metric.reason(truth, reading)
    return _nowhere if undefined else metric.statistic(truth, reading)


def _nowhere(weights: np.ndarray) -> np.ndarray:
    """The statistic of what is undefined."""
    return np.full(len(weights), np.nan)


def entry(interval: Interval) -> Entry:
    """An interval as plain numbers, with seed and replicate count, to reproduce it.

    `interval` names the method, "none" where there is none; `reason` says why.
    """
    plain: Entry = {
        end: number(getattr(interval, end)) for end in ("value", "low", "high")
    }
    plain["interval"] = _method(interval) if plain["low"] is not None else "none"
    if interval.replicates:  # a bootstrap
        plain |= {"rejected": interval.rejected, "replicates": interval.replicates}
    if np.isfinite(interval.design_effect):
        plain["design_effect"] = interval.design_effect
    if interval.reason:
        plain["reason"] = interval.reason
    if interval.note:
        plain["note"] = interval.note
    return plain


def difference_entry(interval: Interval) -> Entry:
    """A paired difference as plain numbers, with its p-value and how it was made."""
    plain = entry(interval)
    plain |= {"method": _method(interval), "p_value": number(interval.p_value)}
    del plain["interval"]
    if plain["p_value"] is None:
        plain["p_reason"] = interval.p_reason
    else:
        plain["p_method"] = interval.p_method
    return plain


def _method(interval: Interval) -> str:
    seed = "" if interval.seed is None else f", seed {interval.seed}"
    return f"95 % {interval.method}{seed}" if interval.method else "none"


def image_set(truth: Truth, rows: np.ndarray) -> Entry:
    """The set that a number is about: counts, and the share of positives."""
    return {
        "n_images": len(rows),
        "n_patients": len(set(truth.patient[rows])),
        "n_positive": int(np.sum(truth.label[rows])),
        **({"n_lesions": int(truth.num_lesions[rows].sum())} if truth.marked else {}),
        "prevalence": number(np.mean(truth.label[rows])) if len(rows) else None,
    }


def number(value: Any) -> float | None:
    """JSON has no nan and no infinity."""
    return float(value) if np.isfinite(value) else None
