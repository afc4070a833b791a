"""ROC and FROC of all models, one figure per kind of curve."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from aals_jax.report import plots, wording

Curve = tuple[np.ndarray, np.ndarray]  # x, y: f64[n] each, x ascending
# field of ModelCurves: (title, what it shows, what draws it)
CURVES: Mapping[str, tuple[str, str, Callable[..., plots.Drawing]]] = {
    "roc": (
        "ROC",
        "Image level. The thin diagonal is chance.",
        plots.roc_plot,
    ),
    "froc_count": (
        "FROC, count rule",
        "Lesion level. The score is the mean at the vertical lines.",
        plots.froc_count_plot,
    ),
    "froc_area": (
        "FROC, area rule",
        "Lesion level. The score is the mean at the vertical lines, 1 % to 10 %.",
        plots.froc_area_plot,
    ),
}


@dataclasses.dataclass(frozen=True)
class ModelCurves:
    """Exact curves of one model on the evaluated set; None where undefined.

    Bands are (x, low, high), f64[n] each, the 95 % interval at each x.
    """

    roc: Curve | None  # false-positive rate, sensitivity; images
    froc_count: Curve | None  # false positives per image, sensitivity; lesions
    froc_area: Curve | None  # activated share outside boxes, recall; lesions
    roc_band: plots.Band | None = None
    froc_count_band: plots.Band | None = None
    froc_area_band: plots.Band | None = None


@dataclasses.dataclass(frozen=True)
class CurveFigure:
    title: str
    shows: str
    alt: str
    drawing: plots.Drawing | None
    has_band: bool
    absent: tuple[str, ...]  # models without this curve


def figures(
    curves: Mapping[str, ModelCurves],
    *,
    metrics: Mapping[str, Mapping[str, Mapping]],
    slots: Mapping[str, int],
) -> list[CurveFigure]:
    """A kind that no model has, as curve or as metric, is left out."""
    drawn = []
    for field in CURVES:
        metric = "auroc" if field == "roc" else field
        cells = {model: metrics.get(model, {}).get(metric) for model in curves}
        lines = {
            model: _line(curve, getattr(record, f"{field}_band"), slot=slots[model])
            for model, record in curves.items()
            if (curve := getattr(record, field)) is not None and len(curve[0])
        }
        if lines or any(cells.values()):
            drawn.append(_figure(field, metric, lines, cells))
    return drawn


def _figure(
    field: str,
    metric: str,
    lines: Mapping[str, plots.Line],
    cells: Mapping[str, Mapping | None],
) -> CurveFigure:
    title, shows, draw = CURVES[field]
    values = [
        f"{model} {wording.number((cells[model] or {}).get('value'))}"
        for model in lines
    ]
    return CurveFigure(
        title=title,
        shows=shows,
        alt=f"{title}. {wording.title(metric)}: {', '.join(values)}.",
        drawing=draw(list(lines.values())) if lines else None,
        has_band=any(line.band is not None for line in lines.values()),
        absent=tuple(model for model in cells if model not in lines),
    )


def _line(curve: Curve, band: plots.Band | None, *, slot: int) -> plots.Line:
    x, y = (np.asarray(values, np.float64) for values in curve)
    if x.shape != y.shape or x.ndim != 1 or not np.isfinite([x, y]).all():
        raise ValueError(f"a curve needs finite x and y of one length; {x.shape=}")
    if band is not None:
        arrays = np.asarray(band, np.float64)
        arrays = arrays[:, np.isfinite(arrays).all(axis=0)]
        band = (arrays[0], arrays[1], arrays[2]) if arrays.shape[1] else None
    order = np.argsort(x, kind="stable")
    return plots.Line(x[order], y[order], slot, band)
