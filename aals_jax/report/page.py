"""Writes the page of a run: one HTML file that needs no network and no script."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jinja2
import numpy as np

from aals_jax.report import pictures, plots, progress, tables

Curve = tuple[np.ndarray, np.ndarray]  # x, y: f64[n] each, x ascending
REQUIRED = ("title", "data", "metrics")
METHODS = {"aals": "AALS"}  # names that are not read as words
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


def write_report(
    path: Path,
    *,
    result: Mapping,
    curves: Mapping[str, ModelCurves],
    history: Sequence[Mapping],
    examples: Sequence[pictures.Example],
) -> None:
    """Writes the page at `path`; an interrupted call leaves the old page, or none.

    The same arguments give the same bytes.

    Args:
      path: the HTML file; its folder exists.
      result: what result.json holds. `title`, `data` and `metrics` are required,
        everything else is shown as "not recorded" where it is missing.
      curves: model name -> curves. Models keep one colour all over the page.
      history: rows of metrics.jsonl, each with `stage` and `step`.
      examples: images to show, in this order within each kind.
    """
    page = render(result=result, curves=curves, history=history, examples=examples)
    path = Path(path)
    aside = path.with_name(path.name + ".part")
    try:
        aside.write_text(page, encoding="utf-8", newline="\n")
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def render(
    *,
    result: Mapping,
    curves: Mapping[str, ModelCurves],
    history: Sequence[Mapping],
    examples: Sequence[pictures.Example],
) -> str:
    """The page as text."""
    missing = [name for name in REQUIRED if name not in result]
    if missing:
        raise ValueError(f"result has no {missing}; write_report needs {REQUIRED}")
    metrics = result["metrics"]
    models = list(dict.fromkeys([*metrics, *curves]))
    slots = {model: slot for slot, model in enumerate(models)}
    shown = pictures.pictures(examples)
    columns, rows = tables.splits_table(result["data"].get("splits", {}))
    return (
        _environment()
        .get_template("template.html")
        .render(
            title=_title(result),
            finding=result.get("finding", result["title"]),
            lead=_lead(result),
            phantom=str(result["data"].get("source")).lower().startswith("phantom"),
            blocks=tables.blocks(metrics, slots=slots),
            curves=_curve_figures(curves, metrics=metrics, slots=slots),
            legend=[(model, slots[model]) for model in curves],
            panels=progress.panels(history) if history else [],
            galleries=[
                (name, says, [picture for picture in shown if picture.kind == kind])
                for kind, (name, says) in pictures.KINDS.items()
                if any(picture.kind == kind for picture in shown)
            ],
            heat_gradient=pictures.heat_gradient(),
            split_columns=columns,
            split_rows=rows,
            facts=_facts(result),
            command=result.get("command") or tables.UNRECORDED,
            versions=tables.flatten(result.get("versions") or {}),
            times=[
                (name, tables.seconds(value))
                for name, value in (result.get("time_s") or {}).items()
            ],
            config=tables.flatten(result.get("config") or {}),
            dashes=[" ".join(map(str, dashes)) for dashes in plots.DASHES],
            num_colours=plots.NUM_COLOURS,
        )
    )


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _title(result: Mapping) -> str:
    title = str(result["title"])
    return title[:1].upper() + title[1:]


def _lead(result: Mapping) -> list[tuple[str, str]]:
    """The line under the title: what ran, at which scale, on what."""
    method = str(result.get("method", tables.UNRECORDED))
    commit = str(result.get("commit") or tables.UNRECORDED)
    return [
        ("Method", METHODS.get(method, method.replace("_", " "))),
        ("Scale", str(result.get("scale", tables.UNRECORDED))),
        ("Data", str(result["data"].get("source", tables.UNRECORDED))),
        ("Seed", str(result.get("seed", tables.UNRECORDED))),
        ("Commit", commit if commit == tables.UNRECORDED else commit[:10]),
    ]


def _facts(result: Mapping) -> list[tuple[str, str]]:
    data = dict(result["data"])
    data.pop("splits", None)
    facts = [
        ("Finding", result.get("finding")),
        ("Method", result.get("method")),
        ("Data source", data.pop("source", None)),
        ("Data hash", data.pop("data_hash", None)),
        ("Prevalence", tables.percent(data.pop("prevalence", None))),
        *((name.replace("_", " "), text) for name, text in tables.flatten(data)),
        ("Seed", result.get("seed")),
        ("Commit", result.get("commit")),
    ]
    return [
        (name, tables.UNRECORDED if value is None else str(value))
        for name, value in facts
    ]


def _curve_figures(
    curves: Mapping[str, ModelCurves],
    *,
    metrics: Mapping[str, Mapping[str, Mapping]],
    slots: Mapping[str, int],
) -> list[CurveFigure]:
    figures = []
    for field, (title, shows, draw) in CURVES.items():
        lines = {}
        for model, record in curves.items():
            curve = getattr(record, field)
            if curve is not None and len(curve[0]):
                band = getattr(record, f"{field}_band")
                lines[model] = _line(curve, band, slot=slots[model])
        metric = "auroc" if field == "roc" else field
        cells = {model: metrics.get(model, {}).get(metric, {}) for model in lines}
        said = [
            f"{model} {tables.number(cell.get('value'))}"
            for model, cell in cells.items()
        ]
        figures.append(
            CurveFigure(
                title=title,
                shows=shows,
                alt=f"{title}. {tables.TITLES[metric]}: {', '.join(said)}.",
                drawing=draw(list(lines.values())) if lines else None,
                has_band=any(line.band is not None for line in lines.values()),
                absent=tuple(model for model in curves if model not in lines),
            )
        )
    return figures


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
