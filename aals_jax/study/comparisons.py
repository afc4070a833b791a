"""Kept results to numbers: each arm over its seeds, and arms paired with a reference.

Several folds count as one test set: their mean, for seeds that have the same folds. A
comparison takes what both arms have: the seeds and folds in which either is missing are
left out of it, and the numbers say which remain.
"""

import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from aals_jax.metrics import seeds as comparing
from aals_jax.metrics.intervals import Interval
from aals_jax.metrics.seeds import Drawn, Spread
from aals_jax.report import wording
from aals_jax.study.kept import Kept
from aals_jax.study.plan import Arm, Cell

Results = Mapping[str, Kept]  # name of a trial -> what is kept of it


@dataclasses.dataclass(frozen=True)
class Summary:
    """One metric of one arm; folds averaged."""

    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    spread: Spread  # one value a seed


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One metric of an arm minus that of its reference."""

    arm: Arm
    folds: tuple[int, ...]
    within: Mapping[int, Interval]  # seed -> over patients
    across: Interval  # over seeds and patients
    over_seeds: Interval  # Student's t
    holm: float = float("nan")  # `across.p_value`, corrected within its family


def balanced(cells: Collection[Cell]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The seeds and folds that all have each other, as many trials as possible.

    Of choices with equally many trials the one with more seeds, then lower folds.
    """
    folds = sorted({fold for _, fold in cells})
    best: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    for size in range(1, len(folds) + 1):
        for chosen in itertools.combinations(folds, size):
            seeds = sorted(
                s for s in {s for s, _ in cells} if all((s, f) in cells for f in chosen)
            )
            if (len(seeds) * size, len(seeds)) > (
                len(best[0]) * len(best[1]),
                len(best[0]),
            ):
                best = (tuple(seeds), chosen)
    return best


def done(arm: Arm, results: Results) -> int:
    """How many of its trials are kept."""
    return sum(name in results for name in arm.trials.values())


def summary(arm: Arm, results: Results, metric: str) -> Summary:
    cells = _measured(arm, results, metric)
    seeds, folds = balanced(cells)
    values = [_mean(cells, seed, folds, metric).value for seed in seeds]
    return Summary(seeds, folds, comparing.spread(values))


def comparisons(
    arms: Iterable[Arm],
    reference: Callable[[Arm], Arm | None],
    results: Results,
    metric: str,
) -> list[Comparison]:
    """Each arm against its reference, Holm's correction over all of them.

    Args:
      arms: those without a reference, or without a pair that is done, are left out.
      reference: arm -> the one it is compared with.

    Raises:
      ValueError: trials to be paired were measured on different sets or draws.
    """
    found = [
        made
        for arm in arms
        if (other := reference(arm)) is not None
        and (made := _compare(arm, other, results, metric)) is not None
    ]
    corrected = comparing.holm([each.across.p_value for each in found])
    return [
        dataclasses.replace(each, holm=p)
        for each, p in zip(found, corrected, strict=True)
    ]


def _measured(arm: Arm, results: Results, metric: str) -> dict[Cell, Kept]:
    """The trials of an arm that have a value of the metric."""
    return {
        cell: results[name]
        for cell, name in arm.trials.items()
        if name in results and wording.is_number(results[name].value(metric))
    }


def _mean(
    cells: Mapping[Cell, Kept], seed: int, folds: Sequence[int], metric: str
) -> Drawn:
    def drawn(kept: Kept) -> Drawn:
        value = kept.value(metric)
        assert value is not None  # see _measured
        return Drawn(value, kept.replicates[metric])

    return comparing.over_folds({fold: drawn(cells[seed, fold]) for fold in folds})


def _compare(a: Arm, b: Arm, results: Results, metric: str) -> Comparison | None:
    ours, theirs = (_measured(arm, results, metric) for arm in (a, b))
    seeds, folds = balanced(ours.keys() & theirs.keys())
    if not seeds:
        return None
    for fold in folds:
        _check_draws([c[s, fold] for s in seeds for c in (ours, theirs)], metric)
    first = [_mean(ours, seed, folds, metric) for seed in seeds]
    second = [_mean(theirs, seed, folds, metric) for seed in seeds]
    pairs = list(zip(first, second, strict=True))
    return Comparison(
        arm=a,
        folds=folds,
        within={
            s: comparing.within_seed(*p) for s, p in zip(seeds, pairs, strict=True)
        },
        across=comparing.across_seeds(first, second),
        over_seeds=comparing.over_seeds([x.value - y.value for x, y in pairs]),
    )


def _check_draws(trials: Sequence[Kept], metric: str) -> None:
    """Raises ValueError unless all trials of a fold have the same draws of patients."""
    first, *others = trials
    expected = first.draws(metric)
    for other in others:
        found = other.draws(metric)
        if differing := [k for k in expected if expected[k] != found[k]]:
            raise ValueError(
                f"{metric} of the kept trials {first.name} and {other.name} can't be "
                f"paired, their {', '.join(differing)} differ: run one of them again "
                "with the other's data"
            )
