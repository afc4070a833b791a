"""The blocks of a study's page: which trials each shows, as tables and figures."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from aals_jax.report import study_figures, wording
from aals_jax.study import comparisons, dead_zone, facts, repeats, tables
from aals_jax.study.block import Block, Part, figure, of_one_hardware
from aals_jax.study.plan import (
    NO_SHARPENING,
    REFERENCES,
    Arm,
    Fields,
    arms,
    label,
    slot,
)
from aals_jax.study.tables import NOT_RUN, View
from aals_jax.sweeps.results import METRICS


def methods_of(part: str) -> Callable[[Part], Block]:
    """Block: the methods of a part, each with its seeds."""

    def make(all_of: Part) -> Block:
        view = View(arms(all_of.study.part(part)), all_of.results)
        if view.is_empty:
            return Block(NOT_RUN)
        panels = [(wording.title(m), _dots(view, m)) for m in METRICS]
        alt = (
            f"{part}: test metrics (0 to 1) of each method; a dot a seed, a stroke at "
            "the mean, a bar of one standard deviation to each side"
        )
        name = f"methods-{part}"
        drawn = figure(name, alt, study_figures.dots(panels, key=name))
        return Block(tables.methods(view), drawn)

    return make


def _dots(view: View, metric: str) -> list[study_figures.Dots]:
    return [
        study_figures.Dots(
            arm.label,
            slot(arm.label),
            comparisons.summary(arm, view.results, metric).spread.values,
        )
        for arm in view.arms
        if comparisons.done(arm, view.results)
    ]


def pairs_of(part: str) -> Callable[[Part], Block]:
    """Block: the methods of a part against both references."""

    def make(all_of: Part) -> Block:
        return Block(_pairs(View(arms(all_of.study.part(part)), all_of.results)))

    return make


def _pairs(view: View) -> str:
    if view.is_empty:
        return NOT_RUN
    planned = {arm.label for arm in view.arms}
    return "\n\n".join(tables.pairs(view, r) for r in REFERENCES if r in planned)


def over_level(
    part: str, field: str, *, title: str, axis: study_figures.Axis, missing: Any
) -> Callable[[Part], Block]:
    """Block: metrics over one field of the data, by method.

    Args:
      title: of the field's column in tables.
      axis: the x axis of the figure.
      missing: the field's value in configs that lack it.
    """

    def level(fields: Fields) -> Any:
        return fields.get(field, missing)

    def say(value: Any) -> str:
        if value is None:
            return "all"
        return wording.percent(value) if axis.percent else wording.number(value)

    def make(all_of: Part) -> Block:
        planned = all_of.study.widened(part, (field,))
        found, results = arms(planned, level=level), of_one_hardware(all_of, planned)
        view = View(found, results, title, say)
        if view.is_empty:
            return Block(NOT_RUN)
        ticks = sorted({a.level for a in found if wording.is_number(a.level)})
        panels = [(wording.title(m), _curves(view, m)) for m in METRICS]
        alt = f"Test metrics (0 to 1) over {axis.title}, by method; a dot a seed"
        ticked = dataclasses.replace(axis, ticks=tuple(ticks))
        drawn = figure(part, alt, study_figures.curves(panels, ticked, key=part))
        kinds = {results[t.name].hardware for t in planned if t.name in results}
        note = f"Trained on {', '.join(sorted(kinds))}."
        return Block(f"{note} {tables.methods(view)}\n\n{_pairs(view)}", drawn)

    return make


def _curves(view: View, metric: str) -> list[study_figures.Curve]:
    points: dict[str, list[tuple[float, tuple[float, ...]]]] = {}
    for arm in view.arms:
        values = comparisons.summary(arm, view.results, metric).spread.values
        if values and wording.is_number(arm.level):
            points.setdefault(arm.label, []).append((arm.level, values))
    return [
        study_figures.Curve(name, slot(name), *zip(*sorted(found), strict=True))
        for name, found in points.items()
    ]


def sharpening(all_of: Part) -> Block:
    """Block: the surface of a0 and t."""
    free = ("distill.max_strength", "distill.center")
    found = arms(
        all_of.study.widened("sharpening", free),
        level=lambda fields: fields["distill.center"],
        name=lambda fields: _strength(fields["distill.max_strength"]),
    )
    found.sort(key=lambda arm: (arm.level, float(arm.label.rpartition(" ")[2])))
    view = View(found, all_of.results, "t", "{:g}".format)
    if view.is_empty:
        return Block(NOT_RUN)
    strengths = list(dict.fromkeys(sorted((a.label for a in found), key=_number)))
    centers = sorted({arm.level for arm in found})
    panels = [
        (f"{wording.title(m)}, mean", _surface(view, m, strengths, centers))
        for m in METRICS
    ]
    drawing = study_figures.surfaces(
        panels,
        rows=("a0", [name.rpartition(" ")[2] for name in strengths]),
        columns=("t", [f"{t:g}" for t in centers]),
        key="sharpening",
    )
    alt = "Mean test metrics (0 to 1) for each strength a0 and centre t of sharpening"
    # at a0 = 1 the target is the teacher's map whatever t is
    plain = [arm for arm in found if _number(arm.label) == 1]

    def reference(arm: Arm) -> Arm | None:
        same = [each for each in plain if each.level == arm.level] or plain
        return same[0] if same and arm not in plain else None

    pairs = tables.pairs(view, NO_SHARPENING, reference)
    text = f"{tables.methods(view)}\n\n{pairs}"
    return Block(text, figure("sharpening", alt, drawing))


def chosen(all_of: Part) -> Block:
    """Block: AALS at the a0 and t that validation chose, with its controls."""

    def name(fields: Fields) -> str:
        said = label(fields)
        if said == "aals":
            said += f", {_strength(fields['distill.max_strength'])}"
            said += f", t = {fields['distill.center']:g}"
        return said

    view = View(arms(all_of.study.part("chosen"), name=name), all_of.results)
    if view.is_empty:
        return Block(NOT_RUN)
    return Block(f"{tables.methods(view)}\n\n{_pairs(view)}")


def _strength(value: float) -> str:
    return f"a0 = {value:g}"


def _number(name: str) -> float:
    return float(name.rpartition(" ")[2])


def _surface(
    view: View, metric: str, strengths: Sequence[str], centers: Sequence[float]
) -> np.ndarray:
    values = np.full((len(strengths), len(centers)), np.nan)
    for arm in view.arms:
        at = strengths.index(arm.label), centers.index(arm.level)
        values[at] = comparisons.summary(arm, view.results, metric).spread.mean
    plain = values[strengths.index("a0 = 1")] if "a0 = 1" in strengths else None
    if plain is not None and not np.isnan(plain).all():  # it does not depend on t
        plain[np.isnan(plain)] = np.nanmean(plain)
    return values


# name of a block -> what makes it
BLOCKS: Mapping[str, Callable[[Part], Block]] = {
    "progress": lambda all_of: Block(facts.progress(all_of)),
    "data": lambda all_of: Block(facts.data(all_of)),
    "definitions": lambda all_of: Block(facts.definitions(all_of)),
    "tuning": lambda all_of: Block(facts.tuning(all_of)),
    "wider": lambda all_of: Block(facts.tuning(all_of, "wider")),
    **{f"methods-{p}": methods_of(p) for p in ("middle", "easy", "hard", "real")},
    **{f"pairs-{p}": pairs_of(p) for p in ("middle", "easy", "hard", "real")},
    "methods-reweighted": methods_of("reweighted"),
    "pairs-reweighted": pairs_of("reweighted"),
    "sharpening": sharpening,
    "chosen": chosen,
    "regions": over_level(
        "regions",
        "data.region_images",
        title="R",
        axis=study_figures.Axis("Images with boxes in training (log scale)", True),
        missing=None,
    ),
    "noise": over_level(
        "noise",
        "data.label_noise",
        title="noise",
        axis=study_figures.Axis("P that changed places with N", percent=True),
        missing=0.0,
    ),
    "dead-zone": dead_zone.dead_zone,
    "dead-share": dead_zone.dead_share,
    "time": lambda all_of: Block(facts.time(all_of)),
    "repeats": lambda all_of: Block(repeats.repeats(all_of)),
}


def blocks(all_of: Part) -> dict[str, Block]:
    """Every block of the page, by name."""
    return {name: make(all_of) for name, make in BLOCKS.items()}
