"""Readings to metrics: value, interval, definition and image set of each, one table.

Image-level metrics are over all images whose record is known. Lesion-level ones leave
out positives without marked lesions: a detection there is neither right nor wrong.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from aals_jax.metrics import calibration, delong, froc, intervals, roc
from aals_jax.metrics.readings import Hit, Reading, Truth

Entry = dict[str, Any]  # one metric of result.json: plain numbers, None for nan


@dataclasses.dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn."""

    replicates: int = 2000
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Metric:
    """How one metric is computed from readings."""

    definition: str
    is_image_level: bool
    statistic: Callable[[Truth, Reading], intervals.Statistic]
    reason: Callable[[Truth, Reading], str]  # why it is undefined; empty: it is not
    no_interval: str = ""  # why the bootstrap has no interval for it; empty: it has


def _image_metric(function: Callable[..., np.ndarray]):
    def statistic(truth: Truth, reading: Reading) -> intervals.Statistic:
        return lambda weights: function(reading.score, truth.label, weights=weights)

    return statistic


def _froc_metric(field: str, limits: tuple[float, ...]):
    def statistic(truth: Truth, reading: Reading) -> intervals.Statistic:
        data = getattr(reading, field)
        return lambda weights: froc.froc_score(data, limits, weights=weights)

    return statistic


def _one_class(truth: Truth, reading: Reading) -> str:
    return roc.undefined_reason(truth.label)


def _no_probability(truth: Truth, reading: Reading) -> str:
    return calibration.undefined_reason(reading.score)


METRICS: Mapping[str, Metric] = {
    "auroc": Metric(
        "area under the ROC curve of the image scores; ties count half",
        True,
        _image_metric(roc.auroc),
        _one_class,
    ),
    "average_precision": Metric(
        "average precision of the image scores: a step sum, no interpolation",
        True,
        _image_metric(roc.average_precision),
        _one_class,
    ),
    "froc_area": Metric(
        "mean recall at false-positive ratios 1 %, 2 %, ..., 10 %; a lesion is "
        "recalled when the map is activated at the centre of its box; ratio = share "
        "of film pixels outside all boxes that are activated, pooled over the set",
        False,
        _froc_metric("area", froc.AREA_LIMITS),
        lambda truth, reading: (
            froc.undefined_reason(reading.area) if reading.area else "no maps"
        ),
    ),
    "froc_count": Metric(
        "mean sensitivity at 0.1, 0.2, 0.5, 1, 2, 4 false positives an image; greedy "
        "by score, a second hit on a lesion counts for nothing; a detection hits when "
        "{hit}",
        False,
        _froc_metric("count", froc.COUNT_LIMITS),
        lambda truth, reading: froc.undefined_reason(reading.count),
    ),
    "brier_score": Metric(
        "mean squared difference of image score and label; 0 is best",
        True,
        _image_metric(calibration.brier_score),
        _no_probability,
    ),
    "expected_calibration_error": Metric(
        "mean |image score - share of positives| over ten bins of equal width, "
        "weighted by images; 0 is best",
        True,
        _image_metric(calibration.expected_calibration_error),
        _no_probability,
        "no interval: resampling adds to this error's upward bias, so a percentile "
        "interval would often miss its own value",
    ),
}
HITS = {
    "center_in_box": "its point lies in the box of a lesion",
    "iou": "its box overlaps that of a lesion by an IoU of at least {iou_threshold:g}",
    "distance": "its point is within {max_distance:g} of a lesion's",
}


_NUMBERS = ("value", "low", "high")


def definition(name: str, hit: Hit) -> str:
    """A metric's definition, the hit rule included."""
    rule = HITS[hit.rule].format(**dataclasses.asdict(hit))
    return METRICS[name].definition.format(hit=rule)


def measure(
    truth: Truth,
    reading: Reading,
    *,
    bootstrap: Bootstrap,
    hit: Hit,
    names: Sequence[str] = tuple(METRICS),
) -> dict[str, Entry]:
    """Metrics of one system: name -> value, interval, definition and image set.

    Args:
        names: which; `froc_area` is left out of readings that don't come from maps.
    """
    names = [name for name in names if name in available(reading)]
    found: dict[str, intervals.Interval] = {}
    for is_image_level in (True, False):  # one set of images, one set of draws
        group = [n for n in names if METRICS[n].is_image_level == is_image_level]
        found |= _intervals(group, truth, reading, bootstrap)
    made = {
        name: {
            **entry(found[name]),
            "definition": definition(name, hit),
            **image_set(truth, judged(METRICS[name], truth)),
        }
        for name in names
    }
    if made.get("auroc", {}).get("value") is not None:
        closed = delong.auroc_interval(reading.score, truth.label)
        low_high = {"low": number(closed.low), "high": number(closed.high)}
        made["auroc"]["delong"] = low_high
    return made


def available(*readings: Reading) -> list[str]:
    """The metrics that each of them has: `froc_area` needs maps."""
    has_maps = all(reading.area is not None for reading in readings)
    return [name for name in METRICS if has_maps or name != "froc_area"]


def _intervals(
    names: Sequence[str], truth: Truth, reading: Reading, bootstrap: Bootstrap
) -> dict[str, intervals.Interval]:
    """Values and intervals of metrics on one set of images."""
    if not names:
        return {}
    rows = judged(METRICS[names[0]], truth)
    reasons = {name: METRICS[name].reason(truth, reading) for name in names}
    statistics = {name: statistic(name, truth, reading) for name in names}
    bare = [n for n in names if METRICS[n].no_interval and not reasons[n]]
    found = intervals.patient_bootstraps(
        truth.patient[rows].tolist(),
        {name: f for name, f in statistics.items() if name not in bare},
        **dataclasses.asdict(bootstrap),
        reasons=reasons,
    )
    for name in bare:
        value = float(statistics[name](np.ones((1, len(rows))))[0])
        found[name] = intervals.Interval(
            value, np.nan, np.nan, reason=METRICS[name].no_interval
        )
    return found


def statistic(name: str, truth: Truth, reading: Reading) -> intervals.Statistic:
    """A metric as a function of weights; nan everywhere where it is undefined."""
    metric = METRICS[name]
    undefined = metric.reason(truth, reading)
    return nowhere if undefined else metric.statistic(truth, reading)


def differences(
    truth: Truth,
    a: tuple[str, Reading],
    b: tuple[str, Reading],
    *,
    bootstrap: Bootstrap,
) -> list[Entry]:
    """a minus b for each metric that both have, on the same images, with p-values."""
    (name_a, first), (name_b, second) = a, b
    made = []
    for name in available(first, second):
        metric = METRICS[name]
        if metric.no_interval:
            continue
        rows = judged(metric, truth)
        reason = metric.reason(truth, first) or metric.reason(truth, second)
        interval = intervals.paired_bootstrap(
            truth.patient[rows].tolist(),
            nowhere if reason else metric.statistic(truth, first),
            nowhere if reason else metric.statistic(truth, second),
            replicates=bootstrap.replicates,
            seed=bootstrap.seed,
            reason=reason,
        )
        made.append(
            {
                "a": name_a,
                "b": name_b,
                "metric": name,
                **_compared(interval, truth, rows),
            }
        )
    made.append(_delong_difference(truth, a, b))
    return made


def _delong_difference(
    truth: Truth, a: tuple[str, Reading], b: tuple[str, Reading]
) -> Entry:
    interval = delong.auroc_difference(a[1].score, b[1].score, truth.label)
    return {
        "a": a[0],
        "b": b[0],
        "metric": "auroc",
        **_compared(interval, truth, np.arange(len(truth))),
    }


def _compared(interval: intervals.Interval, truth: Truth, rows: np.ndarray) -> Entry:
    made = entry(interval)
    made["method"] = made.pop("interval")
    counts = image_set(truth, rows)
    return made | {name: counts[name] for name in ("n_images", "n_patients")}


def entry(interval: intervals.Interval) -> Entry:
    """An interval as plain numbers, with what it takes to draw it again."""
    made: Entry = {name: number(getattr(interval, name)) for name in _NUMBERS}
    made["interval"] = f"95 % {interval.method}" if interval.method else "none"
    if "paired" in interval.method:
        made["p_value"] = number(interval.p_value)
    if interval.seed is not None:  # a bootstrap
        made["interval"] += f", seed {interval.seed}"
        made |= {"rejected": interval.rejected, "replicates": interval.replicates}
    if interval.reason:
        made["reason"] = interval.reason
    return made


def image_set(truth: Truth, rows: np.ndarray) -> Entry:
    """The set a number is about."""
    return {
        "n_images": len(rows),
        "n_patients": len(set(truth.patient[rows])),
        "n_positive": int(np.sum(truth.label[rows])),
        "n_lesions": int(sum(len(truth.lesions[i]) for i in rows)),
        "prevalence": number(np.mean(truth.label[rows])) if len(rows) else None,
    }


def number(value: Any) -> float | None:
    """JSON has no nan and no infinity."""
    return float(value) if np.isfinite(value) else None


def nowhere(weights: np.ndarray) -> np.ndarray:
    """The statistic of what is undefined."""
    return np.full(len(weights), np.nan)


def judged(metric: Metric, truth: Truth) -> np.ndarray:
    """The images that a metric is over: i64[m], indices."""
    return np.arange(len(truth)) if metric.is_image_level else truth.judged_rows
