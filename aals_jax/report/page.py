"""The page of a run or of a scoring: one HTML file, no network, no script."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import jinja2

from aals_jax.report import (
    bounds,
    calibration,
    checklists,
    comparison,
    curve_figures,
    facts,
    flow,
    forest,
    further,
    monitors,
    operating,
    pictures,
    plots,
    tables,
    training,
    wording,
)

REQUIRED = ("title", "data", "metrics")


def render(
    *,
    result: Mapping,
    curves: Mapping[str, curve_figures.ModelCurves],
    history: Sequence[Mapping] = (),
    examples: Sequence[pictures.Example] = (),
) -> str:
    """The page as text. The same arguments give the same bytes.

    A section with nothing in it is left out.

    Args:
        result: what result.json holds. `title`, `data` and `metrics` are required.
            `kind` is "run" (a training run: facts it owes are shown as "not recorded"
            where they are missing) or "score" (somebody's detections: it shows what it
            has). `operating_points`, `calibration`, `subgroups`, `differences`,
            `monitors`, `bounds`, `flow` and `checklists` are described in the modules
            that show them; `study` is what the author stated; `warnings` and `notes`
            are sentences for the top of the page, `settings` and `config` are shown
            field by field.
        curves: model name -> curves. Models keep one colour all over the page.
        history: rows of metrics.jsonl, each with `stage` and `step`.
        examples: images to show; within a kind the page puts the telling ones first.

    Raises:
        ValueError: something required is missing, or a curve is not finite.
    """
    missing = [name for name in REQUIRED if name not in result]
    if missing:
        raise ValueError(f"result has no {missing}; a page needs {REQUIRED}")
    metrics = result["metrics"]
    slots = {model: slot for slot, model in enumerate(_models(result, curves))}
    galleries = pictures.galleries(examples)
    drawn = [picture for *_, group in galleries for picture in group]
    reliability = result.get("calibration") or {}
    monitored = result.get("monitors") or {}
    return (
        environment()
        .get_template("page.html")
        .render(
            title=facts.title(result),
            kind=facts.kind(result),
            kind_title=facts.KIND_TITLES[facts.kind(result)],
            lead=facts.lead(result),
            phantom=str(result["data"].get("source")).lower().startswith("phantom"),
            warnings=[str(warning) for warning in result.get("warnings") or ()],
            notes=[str(note) for note in result.get("notes") or ()],
            blocks=tables.blocks(metrics, slots=slots),
            bounds=bounds.view(result),
            comparisons=comparison.pairs(result.get("differences") or (), slots=slots),
            curves=curve_figures.figures(curves, metrics=metrics, slots=slots),
            legend=[(model, slots[model]) for model in curves],
            reliability=calibration.figures(reliability, metrics=metrics, slots=slots),
            reliability_definitions=calibration.definitions(reliability),
            operating_points=operating.blocks(
                result.get("operating_points") or {}, slots=slots
            ),
            columns=forest.columns(
                result.get("subgroups") or {}, metrics=metrics, slots=slots
            ),
            further=further.blocks(result.get("further") or {}, slots=slots),
            monitor_grids=monitors.grids(monitored),
            histograms=monitors.histograms(monitored),
            panels=training.panels(history) if history else [],
            galleries=galleries,
            flow=flow.diagram(result.get("flow") or {}),
            checklists=checklists.views(result),
            has_maps=any(picture.heat_uri for picture in drawn),
            heat_gradient=pictures.heat_gradient(),
            **_definition(result),
        )
    )


def _definition(result: Mapping) -> dict[str, object]:
    """What the last section shows."""
    columns, rows = tables.splits_table(result["data"].get("splits") or {})
    return {
        "facts": facts.facts(result),
        "settings": wording.flatten(result.get("settings") or {}),
        "split_columns": columns,
        "split_rows": rows,
        "versions": wording.flatten(result.get("versions") or {}),
        "config": wording.flatten(result.get("config") or {}),
    }


def _models(
    result: Mapping, curves: Mapping[str, curve_figures.ModelCurves]
) -> Iterable[str]:
    """Every model of the page once, in the order in which it is met."""
    differences = result.get("differences") or ()
    return dict.fromkeys(
        [
            *result["metrics"],
            *curves,
            *(
                model
                for name in ("operating_points", "calibration", "subgroups", "further")
                for model in result.get(name) or {}
            ),
            *(record[side] for record in differences for side in ("a", "b")),
        ]
    )


def environment() -> jinja2.Environment:
    """What the templates of all pages are rendered with."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        dashes=[" ".join(map(str, dashes)) for dashes in plots.DASHES],
        num_colours=plots.NUM_COLOURS,
    )
    return environment
