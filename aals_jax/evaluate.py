"""Maps -> detections -> metrics with intervals, with the image set of each stated.

AUROC is over all images whose record is known. FROC leaves out positives without boxes:
a detection on them can be judged neither right nor wrong.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from aals_jax import detection, froc, intervals, pipeline, roc

CURVE_FPR = np.linspace(0.0, 1.0, 51)
CURVE_COUNT = np.geomspace(0.05, 8.0, 60)
CURVE_AREA = np.linspace(0.0, 0.2, 81)

DEFINITIONS = {
    "auroc": "area under the ROC curve, image score = max of the map; ties count half",
    "average_precision": "average precision, image score = max of the map",
    "froc_area": (
        "mean recall at false-positive ratios 1 %, 2 %, ..., 10 %; a lesion is "
        "recalled when the map is activated at the centre of its box; ratio = share of "
        "film pixels outside all boxes that are activated, pooled over the set"
    ),
    "froc_count": (
        "mean sensitivity at 0.1, 0.2, 0.5, 1, 2, 4 false positives an image; a local "
        "peak of the map hits a lesion when it lies in its box; greedy by score"
    ),
}


@dataclasses.dataclass(frozen=True)
class TestSet:
    """The labels and boxes of an evaluated table, in pixels of the map."""

    label: np.ndarray  # bool[n]
    judged: np.ndarray  # bool[n], negatives and boxed positives: the FROC set
    boxes: list[np.ndarray]  # n of f[k, 4] (x0, y0, x1, y1)
    valid: np.ndarray  # f32[n, h, w], 1 on film
    patient: list[str]


@dataclasses.dataclass(frozen=True)
class Measured:
    """Everything measured on one model's maps."""

    metrics: dict[str, dict[str, Any]]
    curves: dict[str, Any]
    detections: list[np.ndarray]  # n of f[k, 3] (x, y, score) in pixels of the map
    scores: np.ndarray  # f[n], image scores


def test_set(table: pipeline.Table, valid: np.ndarray) -> TestSet:
    """Collects what the maps of a table are measured against."""
    return TestSet(
        label=table.label == 1,
        judged=(table.label == 0) | table.boxed,
        boxes=[boxes / pipeline.MAP_STRIDE for boxes in table.boxes],
        valid=valid,
        patient=list(table.patient),
    )


def measure(maps: np.ndarray, test: TestSet, settings: Any) -> Measured:
    """All metrics of one model on one set.

    Args:
      maps: f32[n, h, w] probabilities, 0 on padding.
      test: the set.
      settings: `config.evaluation`.
    """
    side = maps.shape[1]
    detections = [
        detection.find_detections(
            values,
            min_distance=max(1, round(settings.min_distance * side)),
            threshold=settings.threshold,
            max_detections=settings.max_detections,
            valid=valid > 0,
        ).rows()
        for values, valid in zip(maps, test.valid, strict=True)
    ]
    scores = maps.reshape(len(maps), -1).max(axis=1)
    judged = np.flatnonzero(test.judged)
    boxes = [test.boxes[i] for i in judged]
    count = froc.count_data([detections[i] for i in judged], boxes)
    area = froc.area_data(maps[judged], boxes, valid=test.valid[judged] > 0)
    metrics = {
        **_image_metrics(scores, test, settings),
        **_froc_metrics(count, area, test, settings),
    }
    curves = _curves(scores, test, count, area, settings)
    return Measured(metrics, curves, detections, scores)


def _image_metrics(scores: np.ndarray, test: TestSet, settings: Any) -> dict[str, Any]:
    reason = roc.undefined_reason(test.label)
    statistics = {"auroc": roc.auroc, "average_precision": roc.average_precision}
    rows = np.arange(len(scores))
    return {
        name: _metric(
            name,
            lambda w, f=f: f(scores, test.label, weights=w),
            test,
            rows,
            settings,
            reason,
        )
        for name, f in statistics.items()
    }


def _froc_metrics(
    count: froc.FrocData, area: froc.FrocData, test: TestSet, settings: Any
) -> dict[str, Any]:
    rows = np.flatnonzero(test.judged)
    return {
        data.definition: _metric(
            data.definition,
            lambda w, d=data, x=limits: froc.froc_score(d, x, weights=w),
            test,
            rows,
            settings,
            froc.undefined_reason(data),
        )
        for data, limits in ((count, froc.COUNT_LIMITS), (area, froc.AREA_LIMITS))
    }


def _metric(
    name: str,
    statistic: Callable[[np.ndarray], np.ndarray],
    test: TestSet,
    rows: np.ndarray,
    settings: Any,
    reason: str,
) -> dict[str, Any]:
    """One entry of result.json: value, interval, definition and image set."""
    interval = intervals.patient_bootstrap(
        [test.patient[i] for i in rows],
        statistic,
        replicates=settings.replicates,
        seed=settings.seed,
        reason=reason,
    )
    return {
        "value": _number(interval.value),
        "low": _number(interval.low),
        "high": _number(interval.high),
        "rejected": interval.rejected,
        "replicates": interval.replicates,
        "interval": f"95 % {interval.method}, seed {settings.seed}",
        "definition": DEFINITIONS[name],
        "n_images": len(rows),
        "n_patients": len({test.patient[i] for i in rows}),
        "n_lesions": int(sum(len(test.boxes[i]) for i in rows)),
        "prevalence": float(np.mean(test.label[rows])),
        **({"reason": interval.reason} if interval.reason else {}),
    }


def _number(value: float) -> float | None:
    """JSON has no nan."""
    return float(value) if np.isfinite(value) else None


def _curves(
    scores: np.ndarray,
    test: TestSet,
    count: froc.FrocData,
    area: froc.FrocData,
    settings: Any,
) -> dict[str, Any]:
    """Exact step curves and pointwise bootstrap bands on fixed grids."""
    band = partial(
        intervals.patient_band, replicates=settings.replicates, seed=settings.seed
    )
    curve = roc.roc_curve(scores, test.label)
    judged = [test.patient[i] for i in np.flatnonzero(test.judged)]
    curves = {
        "roc": (curve.false_positive_rate, curve.sensitivity),
        "roc_band": (
            CURVE_FPR,
            *band(
                test.patient,
                lambda w: _sensitivities(scores, test.label, w),
            ),
        ),
    }
    for data, grid in ((count, CURVE_COUNT), (area, CURVE_AREA)):
        points = froc.froc_curve(data)
        curves[data.definition] = (points.false_rate, points.sensitivity)
        curves[f"{data.definition}_band"] = (
            grid,
            *band(
                judged,
                lambda w, d=data, x=grid: froc.sensitivity_at(d, x, weights=w),
            ),
        )
    return curves


def _sensitivities(
    scores: np.ndarray, label: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Sensitivity at each of CURVE_FPR: weights f64[r, n] -> f64[r, 51]."""
    columns = [
        roc.sensitivity_at(scores, label, specificity=1.0 - rate, weights=weights)
        for rate in CURVE_FPR
    ]
    return np.stack(columns, axis=-1)
