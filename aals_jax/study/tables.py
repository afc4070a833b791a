"""Tables of a study's pages, in Markdown: arms with their spread, or against a
reference.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from aals_jax.metrics.intervals import Interval
from aals_jax.metrics.seeds import Spread
from aals_jax.report import markdown, wording
from aals_jax.study import comparisons
from aals_jax.study.comparisons import Comparison
from aals_jax.study.kept import KeptTrials
from aals_jax.study.plan import Arm
from aals_jax.sweeps.results import METRICS

STAGE_1_ALONE = "stage 1 alone"
ALPHA = 0.05  # family-wise: a comparison whose corrected p is below it is set in bold


@dataclasses.dataclass(frozen=True)
class ArmTable:
    """The arms of a table or figure with their results."""

    arms: Sequence[Arm]
    results: KeptTrials
    varied: str = ""  # title of the level's column; "": no such column
    level_in_words: Callable[[Any], str] = str

    @property
    def is_empty(self) -> bool:
        return not any(comparisons.done(arm, self.results) for arm in self.arms)

    @property
    def has_folds(self) -> bool:
        return len({fold for arm in self.arms for _, fold in arm.trials}) > 1

    def reference(self, label: str) -> Callable[[Arm], Arm | None]:
        """Arm -> the arm of that label at the same level; None for itself."""

        def find(arm: Arm) -> Arm | None:
            same = (a for a in self.arms if (a.label, a.level) == (label, arm.level))
            return None if arm.label == label else next(same, None)

        return find

    @property
    def rows(self) -> list[tuple[Arm, KeptTrials]]:
        """The arms; before `supervised` the stage 1 that it and others start from."""
        rows = []
        for arm in self.arms:
            if arm.label == "supervised":
                names = self.results.keys() & set(arm.trials.values())
                before = {name: self.results[name].stage_1 for name in names}
                rows.append((dataclasses.replace(arm, label=STAGE_1_ALONE), before))
            rows.append((arm, self.results))
        return rows

    def start(self, arm: Arm) -> list[str]:
        """The first cells of its row."""
        return [arm.label, *([self.level_in_words(arm.level)] if self.varied else [])]

    @property
    def head(self) -> list[str]:
        """The titles of those cells."""
        return ["method", *([self.varied] if self.varied else [])]


def state(table: ArmTable) -> str:
    """`7 of 9 trials done.`"""
    kept = sum(comparisons.done(arm, table.results) for arm in table.arms)
    return f"{kept} of {sum(len(arm.trials) for arm in table.arms)} trials done."


def methods(table: ArmTable) -> str:
    """Mean ± standard deviation over seeds; every seed below, on a click."""
    head = [*table.head, "trials", "seeds", *(["folds"] if table.has_folds else [])]
    lines = []
    for arm, results in table.rows:
        summaries = {m: comparisons.summary(arm, results, m) for m in METRICS}
        first = summaries[METRICS[0]]
        trials = f"{comparisons.done(arm, table.results)} of {len(arm.trials)}"
        folds = [_listed(first.folds)] if table.has_folds else []
        values = [plus_minus(summary.spread) for summary in summaries.values()]
        lines.append([*table.start(arm), trials, _listed(first.seeds), *folds, *values])
    note = "Mean ± standard deviation (n - 1) over seeds; test set, teacher."
    if any(arm.label == STAGE_1_ALONE for arm, _ in table.rows):
        note += " Stage 1 alone: its student, where stage 2 of the methods begins."
    if table.has_folds:
        note += " Of each seed the mean over the folds named, each on its own test set."
    titles = [wording.title(name) for name in METRICS]
    parts = [f"{state(table)} {note}", markdown.table([*head, *titles], lines)]
    return "\n\n".join([*parts, markdown.folded("Every seed", _seeds(table))])


def _seeds(table: ArmTable) -> str:
    """One row per arm and metric, one column per seed."""
    seeds = sorted({seed for arm in table.arms for seed, _ in arm.trials})
    lines = []
    for arm, results in table.rows:
        for metric in METRICS:
            summary = comparisons.summary(arm, results, metric)
            values = dict(zip(summary.seeds, summary.spread.values, strict=True))
            cells = [wording.number(values.get(seed)) for seed in seeds]
            lines.append([*table.start(arm), wording.title(metric), *cells])
    head = [*table.head, "metric", *(f"seed {s}" for s in seeds)]
    return markdown.table(head, lines)


def pairs(
    table: ArmTable, reference: str, find: Callable[[Arm], Arm | None] | None = None
) -> str:
    """Differences to a reference, corrected; within each seed below, on a click.

    Args:
      table: the arms.
      reference: in words.
      find: arm -> its reference; default: the arm of that label at its level.
    """
    find = find or table.reference(reference)
    families = {
        metric: comparisons.comparisons(table.arms, find, table.results, metric)
        for metric in METRICS
    }
    if not any(families.values()):
        return f"Against {reference}: no pair of trials is done."
    by_arm = _by_arm(families)
    head = [*table.head, "seeds", *(["folds"] if table.has_folds else [])]
    lines = []
    for arm, by_metric in by_arm:
        first = next(iter(by_metric.values()))
        folds = [_listed(first.folds)] if table.has_folds else []
        cells = [_corrected(by_metric.get(metric)) for metric in METRICS]
        lines.append([*table.start(arm), _listed(first.within), *folds, *cells])
    note = (
        f"**Minus {reference}.** Mean over seeds [95 % interval], two-level bootstrap "
        f"over seeds and patients; p two-sided, and corrected by Holm over the "
        f"{_sizes(families)} of this table and metric; bold: corrected p below {ALPHA}."
    )
    titles = [wording.title(name) for name in METRICS]
    parts = [note, markdown.table([*head, *titles], lines)]
    seeds = markdown.folded(f"Each seed minus {reference}", _within(table, by_arm))
    return "\n\n".join([*parts, seeds])


def _by_arm(
    families: Mapping[str, Sequence[Comparison]],
) -> list[tuple[Arm, dict[str, Comparison]]]:
    """Arm -> metric -> comparison; arms in their order."""
    by_arm: dict[int, tuple[Arm, dict[str, Comparison]]] = {}
    for metric, family in families.items():
        for comparison in family:
            arm = comparison.arm
            by_arm.setdefault(id(arm), (arm, {}))[1][metric] = comparison
    return list(by_arm.values())


def _sizes(families: Mapping[str, Sequence[Comparison]]) -> str:
    """`9 comparisons`, or `8 to 9 comparisons` where metrics differ."""
    sizes = sorted({len(family) for family in families.values() if family})
    text = " to ".join(map(str, dict.fromkeys((sizes[0], sizes[-1]))))
    return f"{text} comparison{'' if sizes == [1] else 's'}"


def emphasised(comparison: Comparison) -> str:
    """The difference with its interval; bold where its corrected p is below ALPHA."""
    text = difference(comparison.across)
    return f"**{text}**" if comparison.holm < ALPHA else text


def _corrected(comparison: Comparison | None) -> str:
    """The difference, its p and its p after Holm's correction."""
    if comparison is None:
        return wording.NOTHING
    p, holm = map(wording.p_value, (comparison.across.p_value, comparison.holm))
    return f"{emphasised(comparison)}, p {p}, Holm {holm}"


def _within(
    table: ArmTable, by_arm: Sequence[tuple[Arm, Mapping[str, Comparison]]]
) -> str:
    """One row per arm and metric, one column per seed; p without correction."""
    seeds = sorted(
        {s for _, metrics in by_arm for c in metrics.values() for s in c.within}
    )
    head = [*table.head, "metric", "mean, t interval over seeds"]
    lines = []
    for arm, by_metric in by_arm:
        for metric, comparison in by_metric.items():
            cells = [_with_p(comparison.within.get(seed)) for seed in seeds]
            start = [*table.start(arm), wording.title(metric)]
            lines.append([*start, _with_p(comparison.over_seeds), *cells])
    note = (
        "Of a seed: paired bootstrap over patients, 95 % interval, p. The t interval "
        "is over seeds alone, with the patients as they are. No p here is corrected."
    )
    body = markdown.table([*head, *(f"seed {s}" for s in seeds)], lines)
    return f"{note}\n\n{body}"


def _with_p(interval: Interval | None) -> str:
    if interval is None:
        return wording.NOTHING
    return f"{difference(interval)}, p {wording.p_value(interval.p_value)}"


def difference(interval: Interval) -> str:
    """`+0.012 [−0.003, +0.027]`."""
    if math.isnan(interval.low):
        return f"{_signed(interval.value)} ({interval.reason})"
    ends = f"{_signed(interval.low)}, {_signed(interval.high)}"
    return f"{_signed(interval.value)} [{ends}]"


def _signed(value: float) -> str:
    """Three decimals whatever its size, so that a column can be read down."""
    text = f"{abs(value):.3f}"
    return f"{'+' if value > 0 else wording.MINUS if value < 0 else ''}{text}"


def plus_minus(spread: Spread) -> str:
    """`0.912 ± 0.013`; the mean alone where there is one value."""
    if math.isnan(spread.deviation):
        return wording.number(spread.mean)
    return f"{wording.number(spread.mean)} ± {spread.deviation:.3f}"


def _listed(numbers: Iterable[int]) -> str:
    """`0 to 4`, or `0, 2, 3`."""
    ordered = sorted(numbers)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]} to {ordered[-1]}"
    return ", ".join(map(str, ordered)) or wording.NOTHING
