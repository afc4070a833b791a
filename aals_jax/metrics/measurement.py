"""Everything that is measured on one system, as result.json and the page hold it."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from aals_jax.metrics import (
    calibration,
    definitions,
    delong,
    false_positive_rates,
    froc,
    intervals,
    operating,
    permutation,
    proportions,
    roc,
    subgroups,
)
from aals_jax.metrics.definitions import Entry, number
from aals_jax.metrics.draws import Bootstrap, TruthDraws, numbered
from aals_jax.metrics.intervals import Drawn, Interval
from aals_jax.metrics.readings import Hit, Reading, Truth


@dataclasses.dataclass(frozen=True)
class Measurement:
    """All numbers of one system on one set."""

    truth: Truth
    reading: Reading
    bootstrap: Bootstrap
    drawn: Mapping[str, Drawn]  # metric -> its value and replicates
    metrics: dict[str, Entry]  # the same with intervals, as result.json holds them
    curves: dict[str, Any]  # fields of report.curve_figures.ModelCurves
    at_rates: list[Drawn]  # `false_positive_rates.sensitivities`; [] where not asked
    calibration: dict[str, Any]
    operating_points: list[dict[str, Any]]
    subgroups: list[dict[str, Any]]


def measure(
    truth: Truth,
    reading: Reading,
    *,
    points: Sequence[operating.Point],
    chosen_on: str,
    draws: TruthDraws,
    hit: Hit,
    rates: Sequence[float] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Measurement:
    """Measures one system on one set, all numbers on the same draws of its patients.

    Args:
        truth, reading: of the set.
        points: thresholds of `operating.choose` on the set named by `chosen_on`.
        chosen_on: words for the page, "validation" say.
        draws: of the patients of the set, for all intervals. Systems on one set may
            share them.
        hit: when a detection hits a lesion.
        rates: false positives per image at which sensitivity is asked for.
        progress: called with (parts done, parts in all).
    """
    bootstrap = draws.bootstrap
    progress(0, 5)
    drawn = definitions.draw_metrics(truth, reading, draws=draws)
    metrics = definitions.metric_entries(
        drawn, truth, reading, seed=bootstrap.seed, hit=hit
    )
    parts: Mapping[str, Callable[[], Any]] = {
        "curves": lambda: curves(truth, reading, draws=draws, rates=rates),
        "calibration": lambda: reliability(truth, reading, draws=draws),
        "operating_points": lambda: operating.apply(
            points, truth, reading, chosen_on=chosen_on, draws=draws
        ),
        "subgroups": lambda: subgroups.measure_groups(
            truth, reading, draws=draws, hit=hit
        ),
    }
    measured_parts = {}
    for done, (name, part) in enumerate(parts.items(), start=1):
        progress(done, 5)
        measured_parts[name] = part()
    progress(5, 5)
    lines, at_rates = measured_parts.pop("curves")
    return Measurement(
        truth,
        reading,
        bootstrap,
        drawn,
        metrics,
        curves=lines,
        at_rates=at_rates,
        **measured_parts,
    )


def differences(
    a: tuple[str, Measurement], b: tuple[str, Measurement]
) -> list[dict[str, Any]]:
    """a minus b for each metric that both have, on the same images, with p-values.

    Args:
        a, b: name and measurement of two systems on the same images. Where they were
            drawn differently, the draws are those of a.
    """
    (name_a, first), (name_b, second) = a, b
    truth, seed = first.truth, first.bootstrap.seed
    names = [
        name
        for name in definitions.available(first.reading, second.reading)
        if not definitions.METRICS[name].no_interval
    ]
    drawn_b = second.drawn
    if second.bootstrap != first.bootstrap:
        draws = TruthDraws(truth, first.bootstrap)
        drawn_b = definitions.draw_metrics(
            truth, second.reading, draws=draws, names=names
        )
    swaps = _Swaps(truth, first, second)
    compared: list[tuple[str, Interval, np.ndarray]] = []
    for name in names:
        metric = definitions.METRICS[name]
        rows = metric.rows(truth)
        reasons = [metric.reason(truth, m.reading) for m in (first, second)]
        having = definitions.patients_having(truth, rows, metric.needs)
        interval = intervals.paired_interval(
            first.drawn[name],
            drawn_b[name],
            seed=seed,
            patients=min(having.values()),
            reason=reasons[0] or reasons[1],
            few=intervals.too_few(**having),
        )
        if not (reasons[0] or reasons[1]):
            interval = swaps.tested(name, interval)
        compared.append((name, interval, rows))
    closed = delong.auroc_difference(
        first.reading.score,
        second.reading.score,
        truth.label,
        patients=truth.patient,
    )
    compared.append(("auroc", closed, np.arange(len(truth))))
    return [
        {"a": name_a, "b": name_b, "metric": name, **_difference(interval, truth, rows)}
        for name, interval, rows in compared
    ]


def _difference(interval: Interval, truth: Truth, rows: np.ndarray) -> Entry:
    counts = definitions.image_set(truth, rows)
    return definitions.difference_entry(interval) | {
        name: counts[name] for name in ("n_images", "n_patients")
    }


FEW_TO_SWAP = 200  # patients that differ, up to which p is that of a permutation


class _Swaps:
    """The permutation tests of two systems on the same images."""

    def __init__(self, truth: Truth, first: Measurement, second: Measurement):
        self._truth, self._bootstrap = truth, first.bootstrap
        self._readings = first.reading, second.reading
        self._both = functools.cache(self._both_readings)

    def tested(self, name: str, interval: Interval) -> Interval:
        """A difference with the p-value of a permutation, where patients are few."""
        metric, readings = definitions.METRICS[name], self._readings
        rows = metric.rows(self._truth)
        patient = numbered(self._truth.patient[rows])
        differs = (
            permutation.differing_scores(*readings)
            if metric.is_image_level
            else permutation.differing_matches(*readings, len(rows))
        )
        if len(np.unique(patient[differs])) > FEW_TO_SWAP:
            return interval
        if not metric.swapped_as:
            why = f"no permutation test of {name}, and too few patients for another"
            return dataclasses.replace(
                interval, p_value=np.nan, p_method="", p_reason=why
            )
        test = permutation.swap_test(
            metric.statistic(*self._both(metric.swapped_as == "ranks")),
            patient,
            differs,
            permutations=self._bootstrap.replicates,
            seed=self._bootstrap.seed,
        )
        return dataclasses.replace(
            interval, p_value=test.p_value, p_method=test.method, p_reason=""
        )

    def _both_readings(self, on_ranks: bool) -> tuple[Truth, Reading]:
        return permutation.both(self._truth, *self._readings, on_ranks=on_ranks)


# x values at which `curves` gives the bands
FALSE_POSITIVE_RATES = np.linspace(0.0, 1.0, 51)
FALSE_POSITIVES_PER_IMAGE = np.geomspace(0.05, 8.0, 60)
ACTIVATED_SHARES = np.linspace(0.0, 0.2, 81)


def curves(
    truth: Truth, reading: Reading, *, draws: TruthDraws, rates: Sequence[float] = ()
) -> tuple[dict[str, Any], list[Drawn]]:
    """Curves with their bands, and what the count's replicates say at some rates.

    Args:
        truth, reading: of the set.
        draws: of its patients.
        rates: false positives per image.

    Returns:
        The fields of `report.curve_figures.ModelCurves`: name -> (x, y), name_band ->
        (x, low, high); and `false_positive_rates.sensitivities` of the rates, from the
        same pass over the draws: [] where there are no rates or no FROC.
    """
    at_rates: list[Drawn] = []
    lines: dict[str, Any] = {"roc": None, "froc_count": None, "froc_area": None}
    if not roc.undefined_reason(truth.label):
        exact = roc.roc_curve(reading.score, truth.label)
        lines["roc"] = exact.false_positive_rate, exact.sensitivity
        lines["roc_band"] = _roc_band(truth, reading, draws)
    for data, grid in (
        (reading.count, FALSE_POSITIVES_PER_IMAGE),
        (reading.area, ACTIVATED_SHARES),
    ):
        if data is None or not truth.marked or froc.undefined_reason(data):
            continue
        points = froc.froc_curve(data)
        lines[data.definition] = points.false_rate, points.sensitivity
        asked = rates if data is reading.count else ()
        every = np.append(grid, asked)
        replicates = np.concatenate(
            [froc.sensitivity_at(data, every, weights=w) for w in draws.judged_images]
        )
        having = definitions.patients_having(truth, truth.judged_rows, ("lesion",))
        patient = draws.judged_images.patient
        lesions = np.bincount(data.lesion_image, minlength=len(patient))
        lines[f"{data.definition}_band"] = _band(
            grid,
            froc.sensitivity_at(data, grid),
            replicates[:, : len(grid)],
            trials=proportions.effective_number(lesions, patient),
            having=having,
        )
        if len(asked):
            at_rates = false_positive_rates.with_mean(
                froc.sensitivity_at(data, asked), replicates[:, len(grid) :]
            )
    return lines, at_rates


Band = tuple[np.ndarray, np.ndarray, np.ndarray]  # x, low, high


def _roc_band(truth: Truth, reading: Reading, draws: TruthDraws) -> Band | None:
    rates, images = FALSE_POSITIVE_RATES, draws.all_images
    at = partial(roc.sensitivity_at_rates, reading.score, truth.label, rates=rates)
    having = definitions.patients_having(
        truth, np.arange(len(truth)), ("positive", "negative")
    )
    found = _band(
        rates,
        at(),
        np.concatenate([at(weights=weights) for weights in images]),
        trials=proportions.effective_number(truth.label, images.patient),
        having=having,
    )
    if found is not None:  # whoever calls every image positive misses none
        for ends in found[1:]:
            ends[rates >= 1] = 1.0
    return found


def _band(
    x: np.ndarray,
    value: np.ndarray,
    replicates: np.ndarray,
    *,
    trials: float,
    having: Mapping[str, int],
) -> Band | None:
    """The band of a curve of shares; None where patients are too few for any."""
    if few := intervals.too_few(**having):
        value = np.full_like(value, np.nan)
    patients = min(having.values())
    low, high = intervals.share_band(
        value, replicates, patients=patients, trials=trials, few=few
    )
    return None if np.isnan(low).all() else (x, low, high)


INTERVAL_OF_BINS = f"95 % {proportions.WILSON}{proportions.EFFECTIVE}"


def reliability(truth: Truth, reading: Reading, *, draws: TruthDraws) -> dict[str, Any]:
    """The reliability curve with bands, or the reason why there is none."""
    definition = (
        f"share of positives in {calibration.BINS} bins of equal width of the image "
        "score; empty bins left out"
    )
    if reason := calibration.undefined_reason(reading.score):
        return {"definition": definition, "bins": [], "reason": reason}
    exact = calibration.reliability(reading.score, truth.label)
    patient = draws.all_images.patient

    found = [
        proportions.proportion(truth.label[rows], np.ones(len(rows)), patient[rows])
        for rows in calibration.members(reading.score)
    ]
    low, high = np.array([[each.low, each.high] for each in found]).T
    columns = (exact.mean_score, exact.observed, low, high, exact.count)
    names = ("mean_score", "observed", "low", "high", "count")
    bins = [
        dict(zip(names, map(number, row), strict=True)) | {"count": int(row[-1])}
        for row in zip(*columns, strict=True)
    ]
    return {"definition": definition, "bins": bins, "interval": INTERVAL_OF_BINS}
