"""The dead zone: how much of P has a peak below t, and what our option does for it."""

import numpy as np

from aals_jax.report import markdown, study_figures, wording
from aals_jax.study import tables
from aals_jax.study.kept import Study
from aals_jax.study.layout import NOT_RUN, Block, figure
from aals_jax.study.plan import RAISED, REFERENCES, arms, slot
from aals_jax.study.tables import ArmTable

_OPTION = ("distill.dead_zone", "distill.dead_zone_share")
_DRAWN = (*REFERENCES, "aals", RAISED)  # in one panel; the table has all methods
_PARTS = ("easy", "middle", "hard", "real")


def dead_zone(study: Study) -> Block:
    """Block: our option of the dead zone against plain aals."""
    table = ArmTable(arms(study.plan.widened("dead_zone", _OPTION)), study.results)
    if table.is_empty:
        return Block(NOT_RUN)
    return Block(f"{tables.methods(table)}\n\n{tables.pairs(table, 'aals')}")


def dead_share(study: Study) -> Block:
    """Block: how much of P has a peak below t, over stage 2."""
    curves_by_part = {
        part: curves for part in _PARTS if (curves := _dead_curves(study, part))
    }
    if not curves_by_part:
        return Block(NOT_RUN)
    panels = [
        (f"Share of P, {part}", [c for c in curves if c.label in _DRAWN] or curves)
        for part, curves in curves_by_part.items()
    ]
    axis = study_figures.Axis("Updates of stage 2")
    alt = (
        "Share of image-level positives whose teacher map peaks below t, over the "
        "updates of stage 2; mean and range over runs"
    )
    lines = [
        [part, curve.label, len(curve.seeds[0]), *_ends(curve)]
        for part, curves in curves_by_part.items()
        for curve in curves
    ]
    head = ["part", "method", "runs", "first", "mean", "last"]
    note = (
        "Share of P whose teacher map peaks below t: mean over runs [lowest, highest]."
    )
    drawing = study_figures.curves(panels, axis, key="dead-share")
    figures = figure("dead-share", alt, drawing)
    return Block(f"{note}\n\n{markdown.table(head, lines)}", figures)


def _dead_curves(study: Study, part: str) -> list[study_figures.Curve]:
    """One curve per method, at the steps that all of its runs have."""
    planned = study.plan.part(part)
    if part == "middle":
        planned = study.plan.widened("middle", _OPTION)
    curves = []
    for arm in arms(planned):
        runs = [
            study.results[name].curve("share_dead")
            for name in arm.trials.values()
            if name in study.results
        ]
        runs = [run for run in runs if len(run[0])]
        common = set.intersection(*(set(x.tolist()) for x, _ in runs)) if runs else ()
        if steps := sorted(common):
            values = [dict(zip(*run, strict=True)) for run in runs]
            seeds = tuple(tuple(float(v[s]) for v in values) for s in steps)
            curves.append(
                study_figures.Curve(arm.label, slot(arm.label), tuple(steps), seeds)
            )
    return curves


def _ends(curve: study_figures.Curve) -> list[str]:
    """Mean [lowest, highest] over runs: at the first step, over all, at the last."""
    runs = (*zip(*curve.seeds, strict=True),)  # one tuple per run
    columns = (curve.seeds[0], [float(np.mean(run)) for run in runs], curve.seeds[-1])
    return [
        f"{wording.number(float(np.mean(values)))} "
        f"[{wording.number(min(values))}, {wording.number(max(values))}]"
        for values in columns
    ]
