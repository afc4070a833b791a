"""The same trial on two kinds of hardware: what rounding alone does to a result."""

import math
import statistics
from collections.abc import Sequence

from aals_jax.report import wording
from aals_jax.report.markdown import table
from aals_jax.study.block import Part
from aals_jax.study.kept import Kept
from aals_jax.study.plan import Planned, label, place
from aals_jax.study.tables import NOT_RUN
from aals_jax.sweeps.results import METRICS

_Pair = tuple[Planned, Kept, Kept]  # the trial, what is in the tables, the repeat


def repeats(all_of: Part) -> str:
    """A row a repeated trial, and how far results lie apart, by metric."""
    trials = all_of.study.trials
    pairs = [
        (trials[name], all_of.results[name], again)
        for name, again in all_of.repeats.items()
        if name in trials and name in all_of.results
    ]
    if not pairs:
        return NOT_RUN
    pairs.sort(key=lambda pair: (place(label(pair[0].fields)), pair[0].fields["seed"]))
    first, *_ = METRICS
    lines = []
    for trial, there, again in pairs:
        a, b = there.value(first), again.value(first)
        change = "—" if a is None or b is None else wording.signed(b - a)
        hardware = f"{there.hardware}, {again.hardware}"
        values = [wording.number(a), wording.number(b), change]
        lines.append([label(trial.fields), trial.fields["seed"], hardware, *values])
    title = wording.title(first)
    head = ["method", "seed", "hardware", title, "again", "difference"]
    return f"{table(head, lines)}\n\n{_apart(pairs)}"


def _apart(pairs: Sequence[_Pair]) -> str:
    """A row a metric: spread by hardware, spread by seed, of the same trials."""
    lines = []
    for metric in METRICS:
        values = [(t, a.value(metric), b.value(metric)) for t, a, b in pairs]
        known = [(t, a, b) for t, a, b in values if a is not None and b is not None]
        if known:
            by_method: dict[str, list[float]] = {}
            for trial, a, _ in known:
                by_method.setdefault(label(trial.fields), []).append(a)
            # two draws of one distribution differ by the square root of two as much
            halves = [(b - a) ** 2 / 2 for _, a, b in known]
            between = [
                statistics.variance(same)
                for same in by_method.values()
                if len(same) > 1
            ]
            said = [
                f"{math.sqrt(statistics.fmean(found)):.3f}" if found else "—"
                for found in (halves, between)
            ]
            lines.append([wording.title(metric), len(known), *said])
    note = (
        "Standard deviation of one result, over hardware (the same seed, weights and "
        "data twice) and over seeds (of the method, as in the tables)."
    )
    head = ["metric", "trials", "over hardware", "over seeds"]
    return f"{note}\n\n{table(head, lines)}"
