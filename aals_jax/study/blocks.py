"""The pages of a study of methods: which trials each block shows, and how."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from aals_jax.report import markdown, study_figures, wording
from aals_jax.study import comparisons, dead_zone, facts, tables
from aals_jax.study.kept import Study
from aals_jax.study.layout import NOT_RUN, Block, Layout, Page, figure, of_text
from aals_jax.study.plan import (
    NO_SHARPENING,
    REFERENCES,
    Arm,
    Fields,
    arms,
    label,
    place,
    slot,
)
from aals_jax.study.tables import STAGE_1_ALONE, ArmTable
from aals_jax.sweeps.results import METRICS

_MAIN_METRICS = ("auroc", "froc_count")
# What the overview shows: the main metrics of the first part, the first of the others.
_DIFFICULTIES = ("middle", "easy", "hard", "real")
_COMPARED = ("middle", "reweighted", "easy", "hard", "real")


def _table_of(study: Study, part: str) -> ArmTable:
    return ArmTable(arms(study.plan.part(part)), study.results)


def overview(study: Study) -> Block:
    """Block: every method at every difficulty, in one table."""
    arm_tables = {
        part: table
        for part in _DIFFICULTIES
        if not (table := _table_of(study, part)).is_empty
    }
    if not arm_tables:
        return Block(NOT_RUN)
    columns = [
        (part, metric)
        for part in arm_tables
        for metric in (_MAIN_METRICS if part == _DIFFICULTIES[0] else _MAIN_METRICS[:1])
    ]
    cells = {
        (arm.label, part, metric): tables.plus_minus(
            comparisons.summary(arm, results, metric).spread
        )
        for part, metric in columns
        for arm, results in arm_tables[part].rows
    }
    labels = sorted(
        {name for name, *_ in cells},
        key=lambda name: (name != STAGE_1_ALONE, place(name), name),
    )
    lines = [
        [name, *(cells.get((name, *column), wording.NOTHING) for column in columns)]
        for name in labels
    ]
    head = ["method", *(f"{part}: {wording.title(m)}" for part, m in columns)]
    note = (
        "Mean ± standard deviation (n - 1) over seeds; test set, teacher. Stage 1 "
        "alone: its student, where stage 2 of most methods begins."
    )
    return Block(f"{note}\n\n{markdown.table(head, lines)}")


def aals_minus(study: Study) -> Block:
    """Block: AALS against each reference in each part, in one table."""
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for part in _COMPARED:
        table = _table_of(study, part)
        planned = {arm.label for arm in table.arms}
        for reference in REFERENCES:
            for metric in _MAIN_METRICS if reference in planned else ():
                for comparison in comparisons.comparisons(
                    table.arms, table.reference(reference), table.results, metric
                ):
                    if comparison.arm.label == "aals":
                        cells = lines.setdefault((reference, metric), {})
                        cells[part] = tables.emphasised(comparison)
    if not lines:
        return Block(NOT_RUN)
    parts = [p for p in _COMPARED if any(p in cells for cells in lines.values())]
    head = ["AALS minus", "metric", *parts]
    rows = [
        [
            reference,
            wording.title(metric),
            *(cells.get(part, wording.NOTHING) for part in parts),
        ]
        for (reference, metric), cells in lines.items()
    ]
    note = (
        "Mean over seeds [95 % interval], two-level bootstrap over seeds and patients; "
        f"bold: p below {tables.ALPHA} after Holm's correction over the methods of the "
        "part."
    )
    return Block(f"{note}\n\n{markdown.table(head, rows)}")


def methods_of(part: str) -> Callable[[Study], Block]:
    """Block: the methods of a part, each with its seeds."""

    def make(study: Study) -> Block:
        table = _table_of(study, part)
        if table.is_empty:
            return Block(NOT_RUN)
        panels = [(wording.title(m), _dot_rows(table, m)) for m in METRICS]
        alt = (
            f"{part}: test metrics (0 to 1) of each method; a dot a seed, a stroke at "
            "the mean, a bar of one standard deviation to each side"
        )
        name = f"methods-{part}"
        figures = figure(name, alt, study_figures.dots(panels, key=name))
        return Block(tables.methods(table), figures)

    return make


def _dot_rows(table: ArmTable, metric: str) -> list[study_figures.DotRow]:
    return [
        study_figures.DotRow(
            arm.label,
            slot(arm.label),
            comparisons.summary(arm, table.results, metric).spread.values,
        )
        for arm in table.arms
        if comparisons.done(arm, table.results)
    ]


def pairs_of(part: str) -> Callable[[Study], Block]:
    """Block: the methods of a part against each reference."""

    def make(study: Study) -> Block:
        return Block(_pairs(_table_of(study, part)))

    return make


def _pairs(table: ArmTable) -> str:
    if table.is_empty:
        return NOT_RUN
    planned = {arm.label for arm in table.arms}
    return "\n\n".join(tables.pairs(table, r) for r in REFERENCES if r in planned)


def over_level(
    part: str, field: str, *, title: str, axis: study_figures.Axis, missing: Any
) -> Callable[[Study], Block]:
    """Block: metrics over one field of the data, by method.

    Args:
      part: whose trials vary the field.
      field: dotted name.
      title: of the field's column in tables.
      axis: the x axis of the figure.
      missing: the field's value in configs that lack it.
    """

    def level(fields: Fields) -> Any:
        return fields.get(field, missing)

    def in_words(value: Any) -> str:
        if value is None:
            return "all"
        return wording.percent(value) if axis.percent else wording.number(value)

    def make(study: Study) -> Block:
        planned = study.plan.widened(part, (field,))
        results = study.on_one_hardware(planned)
        table = ArmTable(arms(planned, level=level), results, title, in_words)
        if table.is_empty:
            return Block(NOT_RUN)
        ticks = sorted({a.level for a in table.arms if wording.is_number(a.level)})
        panels = [(wording.title(m), _curves(table, m)) for m in METRICS]
        alt = f"Test metrics (0 to 1) over {axis.title}, by method; a dot a seed"
        ticked = dataclasses.replace(axis, ticks=tuple(ticks))
        figures = figure(part, alt, study_figures.curves(panels, ticked, key=part))
        kinds = {results[t.name].hardware for t in planned if t.name in results}
        note = f"Trained on {', '.join(sorted(kinds))}."
        text = f"{note} {tables.methods(table)}\n\n{_pairs(table)}"
        return Block(text, figures)

    return make


def _curves(table: ArmTable, metric: str) -> list[study_figures.Curve]:
    points: dict[str, list[tuple[float, tuple[float, ...]]]] = {}
    for arm in table.arms:
        values = comparisons.summary(arm, table.results, metric).spread.values
        if values and wording.is_number(arm.level):
            points.setdefault(arm.label, []).append((arm.level, values))
    return [
        study_figures.Curve(name, slot(name), *zip(*sorted(of_label), strict=True))
        for name, of_label in points.items()
    ]


def sharpening(study: Study) -> Block:
    """Block: the surface of a0 and t."""
    free = ("distill.max_strength", "distill.center")
    surface = arms(
        study.plan.widened("sharpening", free),
        level=lambda fields: fields["distill.center"],
        name=lambda fields: _strength(fields["distill.max_strength"]),
    )
    surface.sort(key=lambda arm: (arm.level, _number(arm.label)))
    table = ArmTable(surface, study.results, "t", "{:g}".format)
    if table.is_empty:
        return Block(NOT_RUN)
    strengths = list(dict.fromkeys(sorted((a.label for a in surface), key=_number)))
    centers = sorted({arm.level for arm in surface})
    panels = [
        (f"{wording.title(m)}, mean", _surface(table, m, strengths, centers))
        for m in METRICS
    ]
    drawing = study_figures.surfaces(
        panels,
        rows=("a0", [f"{_number(name):g}" for name in strengths]),
        columns=("t", [f"{t:g}" for t in centers]),
        key="sharpening",
    )
    alt = "Mean test metrics (0 to 1) for each strength a0 and centre t of sharpening"
    # at a0 = 1 the target is the teacher's map whatever t is
    unsharpened = [arm for arm in surface if _number(arm.label) == 1]

    def reference(arm: Arm) -> Arm | None:
        candidates = [a for a in unsharpened if a.level == arm.level] or unsharpened
        return candidates[0] if candidates and arm not in unsharpened else None

    pairs = tables.pairs(table, NO_SHARPENING, reference)
    text = f"{tables.methods(table)}\n\n{pairs}"
    return Block(text, figure("sharpening", alt, drawing))


def chosen(study: Study) -> Block:
    """Block: AALS at the a0 and t that validation chose, with its controls."""

    def name(fields: Fields) -> str:
        text = label(fields)
        if text == "aals":
            text += f", {_strength(fields['distill.max_strength'])}"
            text += f", t = {fields['distill.center']:g}"
        return text

    table = ArmTable(arms(study.plan.part("chosen"), name=name), study.results)
    if table.is_empty:
        return Block(NOT_RUN)
    return Block(f"{tables.methods(table)}\n\n{_pairs(table)}")


def _strength(value: float) -> str:
    return f"a0 = {value:g}"


def _number(name: str) -> float:
    """The value in `a0 = 4`."""
    return float(name.rpartition(" ")[2])


def _surface(
    table: ArmTable, metric: str, strengths: Sequence[str], centers: Sequence[float]
) -> np.ndarray:
    """f64[strengths, centers], means over seeds; nan: not run."""
    values = np.full((len(strengths), len(centers)), np.nan)
    for arm in table.arms:
        at = strengths.index(arm.label), centers.index(arm.level)
        values[at] = comparisons.summary(arm, table.results, metric).spread.mean
    plain = values[strengths.index("a0 = 1")] if "a0 = 1" in strengths else None
    if plain is not None and not np.isnan(plain).all():  # it does not depend on t
        plain[np.isnan(plain)] = np.nanmean(plain)
    return values


# name of a block -> what makes it
BLOCKS: Mapping[str, Callable[[Study], Block]] = {
    "overview": overview,
    "aals-minus": aals_minus,
    "progress": of_text(facts.progress),
    "data": of_text(facts.data),
    "definitions": of_text(facts.definitions),
    "tuning": of_text(facts.tuning),
    "wider": lambda study: Block(facts.tuning(study, "wider")),
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
    "time": of_text(facts.time),
    "repeats": of_text(facts.repeats),
}


MAIN = Page("The study", ("overview", "aals-minus"))

# Pages beside the main one, by file name: how it was done, then a page a part.
PAGES: Mapping[str, Page] = {
    "setup": Page("Trials, data and metrics", ("progress", "data", "definitions")),
    "tuning": Page("Tuning", ("tuning",)),
    "wider": Page("A wider tuning of three methods", ("wider",)),
    "middle": Page("Middle difficulty", ("methods-middle", "pairs-middle")),
    "reweighted": Page(
        "The weight of mean teacher", ("methods-reweighted", "pairs-reweighted")
    ),
    "easy": Page("Easy", ("methods-easy", "pairs-easy")),
    "hard": Page("Hard", ("methods-hard", "pairs-hard")),
    "sharpening": Page("Strength and centre of sharpening", ("sharpening",)),
    "chosen": Page("The chosen sharpening on fresh seeds", ("chosen",)),
    "regions": Page("Number of images with boxes", ("regions",)),
    "noise": Page("Wrong labels", ("noise",)),
    "dead_zone": Page("The dead zone", ("dead-share", "dead-zone")),
    "real": Page("Real radiographs", ("methods-real", "pairs-real")),
    "hardware": Page(
        "Time, and the same trials on other hardware", ("time", "repeats")
    ),
}

LAYOUT = Layout(MAIN, PAGES, BLOCKS)
