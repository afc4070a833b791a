"""What several readers of the same cases come to, as metrics.json and the page hold it.

A figure for each figure of merit, in the form of `further`: rows are the modalities
and their differences, columns the three analyses of `multireader`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from aals_jax.metrics import afroc, definitions, froc, multireader, roc
from aals_jax.metrics.definitions import number
from aals_jax.metrics.intervals import Interval, Statistic
from aals_jax.metrics.readings import Reading, Truth

SYSTEM = "all readers"  # stands for a system in metrics.json's `further`
_DEFINITION = (
    "mean over readers of {merit}; intervals by Obuchowski and Rockette's analysis "
    "with Hillis' degrees of freedom, covariances by the jackknife over patients"
)


@dataclasses.dataclass(frozen=True)
class _Merit:
    """A figure of merit of one reading."""

    title: str
    words: str
    level: str
    statistic: Callable[[Reading, Truth], Statistic]
    reason: Callable[[Reading, Truth], str]

    def patients(self, truth: Truth) -> np.ndarray:
        """The patient of each image that it is about."""
        return truth.patient if self.level == "image" else truth.patient[truth.judged]


def figures(
    truth: Truth,
    readings: Sequence[Sequence[Reading]],
    *,
    modalities: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """The figures of a fully crossed study.

    Args:
        truth: of the cases, one for all readers.
        readings: per modality one of each reader, in one order.
        modalities: their names.

    Returns:
        Figure name -> as `further.measure` gives it, with `values` (by modality and
        reader), `components`, `tests` (that all modalities are equal) and
        `null_reasons` (by the names of what is null in these two) beside.
    """
    found = {}
    for name, merit in MERITS.items():
        if merit.level == "lesion" and not truth.marked:
            continue
        figure: dict[str, Any] = {
            "title": f"Several readers: {merit.title}",
            "definition": _DEFINITION.format(merit=merit.words),
            "level": merit.level,
            "rows": [],
        }
        first = readings[0][0]
        reason = merit.reason(first, truth)
        if not reason:
            values, covariances = _measured(merit, truth, readings)
            if not np.isfinite(covariances).all():
                reason = "without one of the patients it is undefined: too few cases"
            else:
                figure |= _analysed(values, covariances, modalities)
        if reason:
            figure["reason"] = reason
        found[f"readers_{name}"] = figure
    return found


def _measured(
    merit: _Merit, truth: Truth, readings: Sequence[Sequence[Reading]]
) -> tuple[np.ndarray, np.ndarray]:
    """Values f64[I, J] and their covariance f64[I, J, I, J]."""
    patient = merit.patients(truth)
    once = np.ones((1, len(patient)))
    values, without = [], []
    for own in readings:
        statistics = [merit.statistic(reading, truth) for reading in own]
        values.append([float(f(once)[0]) for f in statistics])
        without.append([multireader.jackknife(f, patient) for f in statistics])
    if np.shape(without)[-1] < 2:
        shape = np.shape(values) * 2
        return np.array(values), np.full(shape, np.nan)
    return np.array(values), multireader.covariance(np.array(without))


def _analysed(
    values: np.ndarray, covariances: np.ndarray, modalities: Sequence[str]
) -> dict[str, Any]:
    analyses = multireader.analyse(values, covariances)
    rows = [
        {
            "name": f"{modality}, mean of {values.shape[1]} reader(s)",
            "measured": {
                a.name: definitions.entry(a.modalities[i])
                if a.modalities
                else _without(a.reason)
                for a in analyses
            },
        }
        for i, modality in enumerate(modalities)
    ]
    for i in range(len(modalities)):
        for k in range(i + 1, len(modalities)):
            measured, p_values = {}, {}
            for a in analyses:
                found = a.differences.get((i, k))
                if found is None:
                    measured[a.name] = _without(a.reason)
                    continue
                measured[a.name] = definitions.entry(found)
                p_values[f"p_{a.name}"] = number(found.p_value)
            name = f"{modalities[i]} minus {modalities[k]}"
            rows.append({"name": name, "measured": measured, **p_values})
    parts = dataclasses.asdict(multireader.components(covariances))
    parts["modality_reader"] = modality_reader(values, covariances)
    tests = {a.name: dataclasses.asdict(a.test) for a in analyses if a.test is not None}
    return {
        "rows": rows,
        "values": values.tolist(),
        "components": {name: number(part) for name, part in parts.items()},
        "tests": {
            name: {k: number(v) for k, v in test.items()}
            for name, test in tests.items()
        },
        "null_reasons": _why_null(parts, tests, values.shape),
    }


def _why_null(
    parts: Mapping[str, float],
    tests: Mapping[str, Mapping[str, float]],
    shape: tuple[int, ...],
) -> dict[str, str]:
    """Why components and numbers of tests are null, by their names.

    Args:
        parts: of Components, and `modality_reader`.
        tests: by analysis.
        shape: modalities and readers.
    """
    lacks = [
        f"one {what} alone"
        for count, what in zip(shape, ("modality", "reader"), strict=True)
        if count < 2
    ]
    why = {
        f"components.{name}": f"{' and '.join(lacks)}: there is no pair of them"
        for name, part in parts.items()
        if not np.isfinite(part)
    }
    infinite = "infinite: readers are fixed, or all differ by the same"
    return why | {
        f"tests.{name}.{field}": infinite
        for name, test in tests.items()
        for field, value in test.items()
        if not np.isfinite(value)
    }


def modality_reader(values: np.ndarray, covariances: np.ndarray) -> float:
    """The variance of modality x reader, for the planning of a study; it may be
    negative: MS(TR) - Var + Cov1 + max(Cov2 - Cov3, 0)."""
    count, readers = values.shape
    if count < 2 or readers < 2:
        return np.nan
    left = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    crossed = np.sum(left**2) / ((count - 1) * (readers - 1))
    c = multireader.components(covariances)
    return float(crossed - c.variance + c.cov1 + max(c.cov2 - c.cov3, 0.0))


def _without(reason: str) -> dict[str, Any]:
    return definitions.entry(Interval(np.nan, np.nan, np.nan, reason=reason))


def _auroc(reading: Reading, truth: Truth) -> Statistic:
    return lambda weights: roc.auroc(reading.score, truth.label, weights=weights)


def _collected(reading: Reading) -> afroc.AfrocData:
    return afroc.afroc_data(reading.match, len(reading.count.units))


def _wafroc(reading: Reading, truth: Truth) -> Statistic:
    data = _collected(reading)
    return lambda weights: afroc.figure_of_merit(data, weights=weights)


def _froc(reading: Reading, truth: Truth) -> Statistic:
    return partial(_froc_score, reading.count)


def _froc_score(data: froc.FrocData, weights: np.ndarray) -> np.ndarray:
    return froc.froc_score(data, froc.COUNT_LIMITS, weights=weights)


MERITS: Mapping[str, _Merit] = {
    "auroc": _Merit(
        "AUROC",
        "the area under the ROC curve of the image scores",
        "image",
        _auroc,
        lambda reading, truth: roc.undefined_reason(truth.label),
    ),
    "wafroc": _Merit(
        "wAFROC",
        "the weighted AFROC figure of merit: lesions against the worst false mark of "
        "images without lesions",
        "lesion",
        _wafroc,
        lambda reading, truth: afroc.undefined_reason(_collected(reading)),
    ),
    "froc_count": _Merit(
        "FROC, count rule",
        "the mean sensitivity at 0.1, 0.2, 0.5, 1, 2, 4 false positives an image",
        "lesion",
        _froc,
        lambda reading, truth: froc.undefined_reason(reading.count),
    ),
}
