"""Tables of a study in Markdown: arms with their spread, arms against a reference."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from aals_jax.metrics.intervals import Interval
from aals_jax.metrics.seeds import Spread
from aals_jax.report import wording
from aals_jax.report.markdown import folded, table
from aals_jax.study import comparisons
from aals_jax.study.comparisons import Comparison, Results
from aals_jax.study.plan import Arm
from aals_jax.sweeps.results import METRICS

NOT_RUN = "Not run."
STAGE_1 = "stage 1 alone"
ALPHA = 0.05  # family-wise: a comparison below it is set in bold


@dataclasses.dataclass(frozen=True)
class View:
    """The arms of a table, and what it varies beside the method."""

    arms: Sequence[Arm]
    results: Results
    varied: str = ""  # title of the level's column; "": there is none
    say: Callable[[Any], str] = str  # a level in words

    @property
    def is_empty(self) -> bool:
        return not any(comparisons.done(arm, self.results) for arm in self.arms)

    @property
    def has_folds(self) -> bool:
        return len({fold for arm in self.arms for _, fold in arm.trials}) > 1

    def reference(self, label: str) -> Callable[[Arm], Arm | None]:
        """An arm -> the arm of that label at the same level, unless it is that."""

        def find(arm: Arm) -> Arm | None:
            same = (a for a in self.arms if (a.label, a.level) == (label, arm.level))
            return None if arm.label == label else next(same, None)

        return find

    @property
    def rows(self) -> list[tuple[Arm, Results]]:
        """The arms; before `supervised` the stage 1 that it and others start from."""
        found = []
        for arm in self.arms:
            if arm.label == "supervised":
                names = self.results.keys() & set(arm.trials.values())
                before = {name: self.results[name].stage_1 for name in names}
                found.append((dataclasses.replace(arm, label=STAGE_1), before))
            found.append((arm, self.results))
        return found

    def start(self, arm: Arm) -> list[str]:
        """The first cells of its row."""
        return [arm.label, *([self.say(arm.level)] if self.varied else [])]

    @property
    def head(self) -> list[str]:
        return ["method", *([self.varied] if self.varied else [])]


def state(view: View) -> str:
    """`7 of 9 trials done.`"""
    kept = sum(comparisons.done(arm, view.results) for arm in view.arms)
    return f"{kept} of {sum(len(arm.trials) for arm in view.arms)} trials done."


def methods(view: View) -> str:
    """Mean ± standard deviation over seeds; every seed below, on a click."""
    head = [*view.head, "trials", "seeds", *(["folds"] if view.has_folds else [])]
    lines = []
    for arm, results in view.rows:
        found = {m: comparisons.summary(arm, results, m) for m in METRICS}
        first = found[METRICS[0]]
        trials = f"{comparisons.done(arm, view.results)} of {len(arm.trials)}"
        folds = [_listed(first.folds)] if view.has_folds else []
        said = [plus_minus(each.spread) for each in found.values()]
        lines.append([*view.start(arm), trials, _listed(first.seeds), *folds, *said])
    note = "Mean ± standard deviation (n - 1) over seeds; test set, teacher."
    if any(arm.label == STAGE_1 for arm, _ in view.rows):
        note += " Stage 1 alone: its student, where stage 2 of the methods begins."
    if view.has_folds:
        note += " Of each seed the mean over the folds named, each on its own test set."
    titles = [wording.title(name) for name in METRICS]
    parts = [f"{state(view)} {note}", table([*head, *titles], lines)]
    return "\n\n".join([*parts, folded("Every seed", _seeds(view))])


def _seeds(view: View) -> str:
    seeds = sorted({seed for arm in view.arms for seed, _ in arm.trials})
    lines = []
    for arm, results in view.rows:
        for metric in METRICS:
            found = comparisons.summary(arm, results, metric)
            values = dict(zip(found.seeds, found.spread.values, strict=True))
            said = [wording.number(values.get(seed)) for seed in seeds]
            lines.append([*view.start(arm), wording.title(metric), *said])
    return table([*view.head, "metric", *(f"seed {s}" for s in seeds)], lines)


def pairs(view: View, reference: str, find: Callable[[Arm], Arm | None] | None = None):
    """Differences to a reference, corrected; within each seed below, on a click.

    Args:
      view: the arms.
      reference: in words.
      find: arm -> its reference; default: the arm of that label at its level.
    """
    find = find or view.reference(reference)
    families = {
        metric: comparisons.comparisons(view.arms, find, view.results, metric)
        for metric in METRICS
    }
    if not any(families.values()):
        return f"Against {reference}: no pair of trials is done."
    by_arm = _by_arm(families)
    head = [*view.head, "seeds", *(["folds"] if view.has_folds else [])]
    lines = []
    for arm, found in by_arm:
        first = next(iter(found.values()))
        folds = [_listed(first.folds)] if view.has_folds else []
        said = [_said(found.get(metric)) for metric in METRICS]
        lines.append([*view.start(arm), _listed(first.within), *folds, *said])
    note = (
        f"**Minus {reference}.** Mean over seeds [95 % interval], two-level bootstrap "
        f"over seeds and patients; p two-sided, and corrected by Holm over the "
        f"{_sizes(families)} of this table and metric; bold: corrected p below {ALPHA}."
    )
    titles = [wording.title(name) for name in METRICS]
    parts = [note, table([*head, *titles], lines)]
    more = folded(f"Each seed minus {reference}", _within(view, by_arm))
    return "\n\n".join([*parts, more])


def _by_arm(
    families: Mapping[str, Sequence[Comparison]],
) -> list[tuple[Arm, dict[str, Comparison]]]:
    """Arm -> metric -> comparison; arms in their order."""
    found: dict[int, tuple[Arm, dict[str, Comparison]]] = {}
    for metric, family in families.items():
        for each in family:
            found.setdefault(id(each.arm), (each.arm, {}))[1][metric] = each
    return list(found.values())


def _sizes(families: Mapping[str, Sequence[Comparison]]) -> str:
    """`9 comparisons`, or `8 to 9 comparisons` where metrics differ."""
    sizes = sorted({len(family) for family in families.values() if family})
    said = " to ".join(map(str, dict.fromkeys((sizes[0], sizes[-1]))))
    return f"{said} comparison{'' if sizes == [1] else 's'}"


def _said(found: Comparison | None) -> str:
    if found is None:
        return wording.NOTHING
    text = difference(found.across)
    text = f"**{text}**" if found.holm < ALPHA else text
    p, holm = (wording.p_value(v) for v in (found.across.p_value, found.holm))
    return f"{text}, p {p}, Holm {holm}"


def _within(view: View, by_arm: Iterable[tuple[Arm, Mapping[str, Comparison]]]) -> str:
    by_arm = list(by_arm)
    seeds = sorted({s for _, found in by_arm for c in found.values() for s in c.within})
    head = [*view.head, "metric", "mean, t interval over seeds"]
    lines = []
    for arm, found in by_arm:
        for metric, each in found.items():
            said = [_with_p(each.within.get(seed)) for seed in seeds]
            start = [*view.start(arm), wording.title(metric)]
            lines.append([*start, _with_p(each.over_seeds), *said])
    note = (
        "Of a seed: paired bootstrap over patients, 95 % interval, p. The t interval "
        "is over seeds alone, with the patients as they are. No p here is corrected."
    )
    return f"{note}\n\n{table([*head, *(f'seed {s}' for s in seeds)], lines)}"


def _with_p(found: Interval | None) -> str:
    if found is None:
        return wording.NOTHING
    return f"{difference(found)}, p {wording.p_value(found.p_value)}"


def difference(found: Interval) -> str:
    """`+0.012 [−0.003, +0.027]`."""
    if math.isnan(found.low):
        return f"{_signed(found.value)} ({found.reason})"
    return f"{_signed(found.value)} [{_signed(found.low)}, {_signed(found.high)}]"


def _signed(value: float) -> str:
    """Three decimals whatever its size, so that a column can be read down."""
    text = f"{abs(value):.3f}"
    return f"{'+' if value > 0 else wording.MINUS if value < 0 else ''}{text}"


def plus_minus(found: Spread) -> str:
    """`0.912 ± 0.013`."""
    if math.isnan(found.deviation):
        return wording.number(found.mean)
    return f"{wording.number(found.mean)} ± {found.deviation:.3f}"


def _listed(numbers: Iterable[int]) -> str:
    """`0 to 4`, or `0, 2, 3`."""
    found = sorted(numbers)
    if len(found) > 2 and found == list(range(found[0], found[-1] + 1)):
        return f"{found[0]} to {found[-1]}"
    return ", ".join(map(str, found)) or wording.NOTHING
