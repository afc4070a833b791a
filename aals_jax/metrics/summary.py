"""Everything measured on one system, as result.json and the page hold it."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from aals_jax.metrics import (
    calibration,
    definitions,
    froc,
    intervals,
    operating,
    roc,
    subgroups,
)
from aals_jax.metrics.definitions import Bootstrap, number
from aals_jax.metrics.readings import Hit, Reading, Truth


@dataclasses.dataclass(frozen=True)
class Measured:
    """All numbers of one system on one set."""

    truth: Truth
    reading: Reading
    metrics: dict[str, Any]
    curves: dict[str, Any]
    calibration: dict[str, Any]
    operating_points: list[dict[str, Any]]
    subgroups: list[dict[str, Any]]


def summarise(
    truth: Truth,
    reading: Reading,
    *,
    points: Sequence[operating.Point],
    chosen_on: str,
    bootstrap: definitions.Bootstrap,
    hit: Hit,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Measured:
    """Measures one system on one set.

    Args:
        truth, reading: of the set.
        points: thresholds of `operating.choose` on the set named by `chosen_on`.
        chosen_on: words for the page, "validation" say.
        bootstrap: of all intervals.
        hit: when a detection hits a lesion.
        progress: called with (parts done, parts in all).
    """
    both: Mapping[str, Any] = {"bootstrap": bootstrap, "hit": hit}
    parts: Mapping[str, Callable[[], Any]] = {
        "metrics": lambda: definitions.measure(truth, reading, **both),
        "curves": lambda: curves(truth, reading, bootstrap=bootstrap),
        "calibration": lambda: reliability(truth, reading, bootstrap=bootstrap),
        "operating_points": lambda: operating.apply(
            points, truth, reading, chosen_on=chosen_on, bootstrap=bootstrap
        ),
        "subgroups": lambda: subgroups.measure_groups(truth, reading, **both),
    }
    made = {}
    for done, (name, part) in enumerate(parts.items()):
        progress(done, len(parts))
        made[name] = part()
    progress(len(parts), len(parts))
    return Measured(truth, reading, **made)


def sections(measured: Mapping[str, Measured]) -> dict[str, Any]:
    """The parts of a result that are made of models: part -> model -> numbers."""
    names = ("metrics", "calibration", "operating_points", "subgroups")
    return {
        name: {model: getattr(each, name) for model, each in measured.items()}
        for name in names
    }


FALSE_POSITIVE_RATES = np.linspace(0.0, 1.0, 51)
FALSE_POSITIVES = np.geomspace(0.05, 8.0, 60)  # an image
ACTIVATED_SHARES = np.linspace(0.0, 0.2, 81)


def curves(truth: Truth, reading: Reading, *, bootstrap: Bootstrap) -> dict[str, Any]:
    """What `report.ModelCurves` draws: name -> (x, y), name_band -> (x, low, high)."""
    band = partial(intervals.patient_band, **vars(bootstrap))
    made: dict[str, Any] = {"roc": None, "froc_count": None, "froc_area": None}
    if not roc.undefined_reason(truth.label):
        exact = roc.roc_curve(reading.score, truth.label)
        made["roc"] = exact.false_positive_rate, exact.sensitivity
        statistic = partial(
            roc.sensitivity_at_rates,
            reading.score,
            truth.label,
            rates=FALSE_POSITIVE_RATES,
        )
        low_high = band(truth.patient.tolist(), lambda w: statistic(weights=w))
        made["roc_band"] = (FALSE_POSITIVE_RATES, *low_high)
    judged = truth.patient[truth.judged_rows].tolist()
    for data, grid in (
        (reading.count, FALSE_POSITIVES),
        (reading.area, ACTIVATED_SHARES),
    ):
        if data is None or froc.undefined_reason(data):
            continue
        points = froc.froc_curve(data)
        made[data.definition] = points.false_rate, points.sensitivity
        statistic = partial(froc.sensitivity_at, data, grid)
        low_high = band(judged, lambda w, f=statistic: f(weights=w))
        made[f"{data.definition}_band"] = (grid, *low_high)
    return made


def reliability(
    truth: Truth, reading: Reading, *, bootstrap: Bootstrap
) -> dict[str, Any]:
    """The reliability curve with bands, or the reason why there is none."""
    made: dict[str, Any] = {
        "definition": (
            f"share of positives in {calibration.BINS} bins of equal width of the "
            "image score; empty bins left out"
        )
    }
    if reason := calibration.undefined_reason(reading.score):
        return {**made, "bins": [], "reason": reason}
    exact = calibration.reliability(reading.score, truth.label)

    def observed(weights: np.ndarray) -> np.ndarray:
        return calibration.reliability(
            reading.score, truth.label, weights=weights
        ).observed

    low, high = intervals.patient_band(
        truth.patient.tolist(), observed, **vars(bootstrap)
    )
    columns = (exact.mean_score, exact.observed, low, high, exact.count)
    names = ("mean_score", "observed", "low", "high", "count")
    made["bins"] = [
        dict(zip(names, map(number, row), strict=True))
        for row in zip(*columns, strict=True)
    ]
    return made
