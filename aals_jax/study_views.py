"""The blocks of a study's page: which trials each shows, as tables and figures."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from aals_jax import study_comparisons as compared
from aals_jax import study_facts as facts
from aals_jax import study_tables as tables
from aals_jax.report import study_figures as figures
from aals_jax.report import wording
from aals_jax.report.study_blocks import picture, table
from aals_jax.study_comparisons import Results
from aals_jax.study_facts import Part
from aals_jax.study_plan import (
    NO_SHARPENING,
    REFERENCES,
    Arm,
    Fields,
    Study,
    arms,
    place,
)
from aals_jax.study_tables import NOT_RUN, View
from aals_jax.sweep_results import METRICS


@dataclasses.dataclass(frozen=True)
class Block:
    """What stands between two comments of the page."""

    text: str  # Markdown
    figures: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    # name of the file -> what it shows in words, SVG

    def markdown(self, link: str) -> str:
        """Figures by links into the folder `link`, then the text."""
        shown = [picture(alt, f"{link}/{n}") for n, (alt, _) in self.figures.items()]
        return "\n\n".join([*shown, self.text])


def figure(name: str, alt: str, drawing: Any) -> dict[str, tuple[str, str]]:
    return {f"{name}.svg": (alt, figures.standalone(drawing, alt=alt))}


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
        drawn = figure(name, alt, figures.dots(panels, key=name))
        return Block(tables.methods(view), drawn)

    return make


def _dots(view: View, metric: str) -> list[figures.Dots]:
    return [
        figures.Dots(
            arm.label,
            place(arm.label),
            compared.summary(arm, view.results, metric).spread.values,
        )
        for arm in view.arms
        if compared.done(arm, view.results)
    ]


def pairs_of(part: str) -> Callable[[Part], Block]:
    """Block: the methods of a part against both references."""

    def make(all_of: Part) -> Block:
        return Block(_pairs(View(arms(all_of.study.part(part)), all_of.results)))

    return make


def _pairs(view: View) -> str:
    if view.is_empty:
        return NOT_RUN
    return "\n\n".join(tables.pairs(view, reference) for reference in REFERENCES)


def over_level(
    part: str, field: str, *, title: str, axis: figures.Axis, missing: Any
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
        found = arms(all_of.study.widened(part, (field,)), level=level)
        view = View(found, all_of.results, title, say)
        if view.is_empty:
            return Block(NOT_RUN)
        ticks = sorted({a.level for a in found if wording.is_number(a.level)})
        panels = [(wording.title(m), _curves(view, m)) for m in METRICS]
        alt = f"Test metrics (0 to 1) over {axis.title}, by method; a dot a seed"
        ticked = dataclasses.replace(axis, ticks=tuple(ticks))
        drawn = figure(part, alt, figures.curves(panels, ticked, key=part))
        return Block(f"{tables.methods(view)}\n\n{_pairs(view)}", drawn)

    return make


def _curves(view: View, metric: str) -> list[figures.Curve]:
    points: dict[str, list[tuple[float, tuple[float, ...]]]] = {}
    for arm in view.arms:
        values = compared.summary(arm, view.results, metric).spread.values
        if values and wording.is_number(arm.level):
            points.setdefault(arm.label, []).append((arm.level, values))
    return [
        figures.Curve(name, place(name), *zip(*sorted(found), strict=True))
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
    drawing = figures.surfaces(
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
        values[at] = compared.summary(arm, view.results, metric).spread.mean
    plain = values[strengths.index("a0 = 1")] if "a0 = 1" in strengths else None
    if plain is not None and not np.isnan(plain).all():  # it does not depend on t
        plain[np.isnan(plain)] = np.nanmean(plain)
    return values


def dead_zone(all_of: Part) -> Block:
    """Block: our option of the dead zone against plain aals."""
    free = ("distill.dead_zone", "distill.dead_zone_share")
    view = View(arms(all_of.study.widened("dead_zone", free)), all_of.results)
    if view.is_empty:
        return Block(NOT_RUN)
    return Block(f"{tables.methods(view)}\n\n{tables.pairs(view, 'aals')}")


def dead_share(all_of: Part) -> Block:
    """Block: how much of P has a peak below t, over stage 2."""
    parts = {p: _dead_curves(all_of, p) for p in ("easy", "middle", "hard", "real")}
    shown = {p: found for p, found in parts.items() if found}
    if not shown:
        return Block(NOT_RUN)
    panels = [(f"Share of P, {part}", found) for part, found in shown.items()]
    axis = figures.Axis("Updates of stage 2")
    alt = (
        "Share of image-level positives whose teacher map peaks below t, over the "
        "updates of stage 2; mean and range over runs"
    )
    lines = [
        [part, curve.label, len(curve.seeds[0]), *_ends(curve)]
        for part, found in shown.items()
        for curve in found
    ]
    head = ["part", "method", "runs", "first", "mean", "last"]
    note = (
        "Share of P whose teacher map peaks below t: mean over runs [lowest, highest]."
    )
    drawing = figures.curves(panels, axis, key="dead-share")
    drawn = figure("dead-share", alt, drawing)
    return Block(f"{note}\n\n{table(head, lines)}", drawn)


def _dead_curves(all_of: Part, part: str) -> list[figures.Curve]:
    extra = ("distill.dead_zone", "distill.dead_zone_share")
    planned = [*all_of.study.part(part)]
    if part == "middle":
        planned = all_of.study.widened("middle", extra)
    found = []
    for arm in arms(planned):
        runs = [
            all_of.results[name].curve("share_dead")
            for name in arm.trials.values()
            if name in all_of.results
        ]
        runs = [run for run in runs if len(run[0])]
        steps = sorted(
            set.intersection(*(set(x.tolist()) for x, _ in runs)) if runs else ()
        )
        if steps:
            values = [dict(zip(*run, strict=True)) for run in runs]
            seeds = tuple(tuple(float(v[s]) for v in values) for s in steps)
            found.append(
                figures.Curve(arm.label, place(arm.label), tuple(steps), seeds)
            )
    return found


def _ends(curve: figures.Curve) -> list[str]:
    every = (*zip(*curve.seeds, strict=True),)  # a tuple a run
    sets = (curve.seeds[0], [float(np.mean(run)) for run in every], curve.seeds[-1])
    return [
        f"{wording.number(float(np.mean(values)))} "
        f"[{wording.number(min(values))}, {wording.number(max(values))}]"
        for values in sets
    ]


# name of a block -> what makes it
BLOCKS: Mapping[str, Callable[[Part], Block]] = {
    "progress": lambda all_of: Block(facts.progress(all_of)),
    "data": lambda all_of: Block(facts.data(all_of)),
    "definitions": lambda all_of: Block(facts.definitions(all_of)),
    "tuning": lambda all_of: Block(facts.tuning(all_of)),
    **{f"methods-{p}": methods_of(p) for p in ("middle", "easy", "hard", "real")},
    **{f"pairs-{p}": pairs_of(p) for p in ("middle", "easy", "hard", "real")},
    "sharpening": sharpening,
    "regions": over_level(
        "regions",
        "data.region_images",
        title="R",
        axis=figures.Axis("Images with boxes in training (log scale)", True),
        missing=None,
    ),
    "noise": over_level(
        "noise",
        "data.label_noise",
        title="noise",
        axis=figures.Axis("Wrong labels in the records", percent=True),
        missing=0.0,
    ),
    "dead-zone": dead_zone,
    "dead-share": dead_share,
    "time": lambda all_of: Block(facts.time(all_of)),
}


def blocks(study: Study, results: Results) -> dict[str, Block]:
    """Every block of the page, by name."""
    return {name: make(Part(study, results)) for name, make in BLOCKS.items()}
