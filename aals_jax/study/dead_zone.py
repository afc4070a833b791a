"""The dead zone: how much of P has a peak below t, and what our option does for it."""

import numpy as np

from aals_jax.report import study_figures, wording
from aals_jax.report.markdown import table
from aals_jax.study import tables
from aals_jax.study.block import Block, Part, figure
from aals_jax.study.plan import RAISED, REFERENCES, arms, slot
from aals_jax.study.tables import NOT_RUN, View

_OPTION = ("distill.dead_zone", "distill.dead_zone_share")


def dead_zone(all_of: Part) -> Block:
    """Block: our option of the dead zone against plain aals."""
    view = View(arms(all_of.study.widened("dead_zone", _OPTION)), all_of.results)
    if view.is_empty:
        return Block(NOT_RUN)
    return Block(f"{tables.methods(view)}\n\n{tables.pairs(view, 'aals')}")


_DRAWN = (*REFERENCES, "aals", RAISED)  # in one panel; tables have all


def dead_share(all_of: Part) -> Block:
    """Block: how much of P has a peak below t, over stage 2."""
    parts = {p: _dead_curves(all_of, p) for p in ("easy", "middle", "hard", "real")}
    shown = {p: found for p, found in parts.items() if found}
    if not shown:
        return Block(NOT_RUN)
    panels = [
        (f"Share of P, {part}", [c for c in found if c.label in _DRAWN] or found)
        for part, found in shown.items()
    ]
    axis = study_figures.Axis("Updates of stage 2")
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
    drawing = study_figures.curves(panels, axis, key="dead-share")
    drawn = figure("dead-share", alt, drawing)
    return Block(f"{note}\n\n{table(head, lines)}", drawn)


def _dead_curves(all_of: Part, part: str) -> list[study_figures.Curve]:
    planned = [*all_of.study.part(part)]
    if part == "middle":
        planned = all_of.study.widened("middle", _OPTION)
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
                study_figures.Curve(arm.label, slot(arm.label), tuple(steps), seeds)
            )
    return found


def _ends(curve: study_figures.Curve) -> list[str]:
    every = (*zip(*curve.seeds, strict=True),)  # a tuple a run
    sets = (curve.seeds[0], [float(np.mean(run)) for run in every], curve.seeds[-1])
    return [
        f"{wording.number(float(np.mean(values)))} "
        f"[{wording.number(min(values))}, {wording.number(max(values))}]"
        for values in sets
    ]
