"""Kept results to numbers: each arm over its seeds, and arms paired with a reference.

Several folds count as one test set: a seed's value is its mean over the folds, for
seeds that have the same folds. A comparison uses the seeds and folds that both arms
have; the numbers say which. Where each seed has data of its own, as the worlds of a
study do, its patients are drawn on their own.
"""

import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from aals_jax.metrics import seeds
from aals_jax.metrics.intervals import Interval
from aals_jax.metrics.seeds import Drawn, Spread
from aals_jax.report import wording
from aals_jax.study.kept import KeptTrial, KeptTrials
from aals_jax.study.plan import Arm, Cell


@dataclasses.dataclass(frozen=True)
class Summary:
    """One metric of one arm; folds averaged."""

    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    spread: Spread  # one value per seed


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
    """The largest full rectangle of seeds x folds among the trials that exist.

    Of choices with equally many trials the one with more seeds, then lower folds.

    Args:
      cells: (seed, fold) of each trial.

    Returns:
      Seeds and folds, each ascending; every seed has every fold.
    """
    all_folds = sorted({fold for _, fold in cells})
    best: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    for size in range(1, len(all_folds) + 1):
        for folds in itertools.combinations(all_folds, size):
            full = sorted(
                s for s in {s for s, _ in cells} if all((s, f) in cells for f in folds)
            )
            if (len(full) * size, len(full)) > (
                len(best[0]) * len(best[1]),
                len(best[0]),
            ):
                best = (tuple(full), folds)
    return best


def done(arm: Arm, results: KeptTrials) -> int:
    """How many of its trials are kept."""
    return sum(name in results for name in arm.trials.values())


def summary(arm: Arm, results: KeptTrials, metric: str) -> Summary:
    """The metric of each seed, on the test set, and its spread over seeds."""
    cells = _measured(arm, results, metric)
    full, folds = balanced(cells)
    values = [_mean(cells, seed, folds, metric).value for seed in full]
    return Summary(full, folds, seeds.spread(values))


def comparisons(
    arms: Iterable[Arm],
    reference: Callable[[Arm], Arm | None],
    results: KeptTrials,
    metric: str,
) -> list[Comparison]:
    """Each arm against its reference, Holm's correction over all of them.

    Args:
      arms: those without a reference, or without a finished pair, are left out.
      reference: arm -> the one it is compared with.

    Raises:
      ValueError: trials to be paired were measured on different sets or draws.
    """
    family = [
        comparison
        for arm in arms
        if (other := reference(arm)) is not None
        and (comparison := _compare(arm, other, results, metric)) is not None
    ]
    corrected = seeds.holm([comparison.across.p_value for comparison in family])
    return [
        dataclasses.replace(comparison, holm=p)
        for comparison, p in zip(family, corrected, strict=True)
    ]


def _measured(arm: Arm, results: KeptTrials, metric: str) -> dict[Cell, KeptTrial]:
    """The trials of an arm that have a value of the metric."""
    return {
        cell: results[name]
        for cell, name in arm.trials.items()
        if name in results and wording.is_number(results[name].value(metric))
    }


def _mean(
    cells: Mapping[Cell, KeptTrial], seed: int, folds: Sequence[int], metric: str
) -> Drawn:
    """The metric of a seed, with its replicates, as mean over folds."""

    def drawn(kept: KeptTrial) -> Drawn:
        value = kept.value(metric)
        assert value is not None  # see _measured
        return Drawn(value, kept.replicates[metric])

    return seeds.over_folds({fold: drawn(cells[seed, fold]) for fold in folds})


def share_of_gap(
    arm: Arm, low: Arm, high: Arm, results: KeptTrials, metric: str
) -> Interval | None:
    """How much of the gap from `low` to `high` an arm fills (`seeds.share_of_gap`).

    None where the three have no seed and fold in common.

    Raises:
      ValueError: trials to be paired were measured on different sets or draws.
    """
    paired = _paired((arm, low, high), results, metric)
    if paired is None:
        return None
    return seeds.share_of_gap(*paired.drawn, own_patients=paired.own_patients)


@dataclasses.dataclass(frozen=True)
class _Paired:
    """One metric of several arms, on the seeds and folds that all of them have."""

    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    drawn: Sequence[Sequence[Drawn]]  # of each arm, one per seed
    own_patients: bool  # whether each seed has a test set of its own


def _paired(paired: Sequence[Arm], results: KeptTrials, metric: str) -> _Paired | None:
    cells = [_measured(arm, results, metric) for arm in paired]
    common, folds = balanced(set.intersection(*(set(own) for own in cells)))
    if not common:
        return None
    own_patients = _check_draws(cells, common, folds, metric)
    drawn = [[_mean(own, seed, folds, metric) for seed in common] for own in cells]
    return _Paired(common, folds, drawn, own_patients)


def _compare(a: Arm, b: Arm, results: KeptTrials, metric: str) -> Comparison | None:
    """a minus b; None where they have no seed and fold in common."""
    paired = _paired((a, b), results, metric)
    if paired is None:
        return None
    first, second = paired.drawn
    pairs = list(zip(first, second, strict=True))
    within = (seeds.within_seed(*pair) for pair in pairs)
    return Comparison(
        arm=a,
        folds=paired.folds,
        within=dict(zip(paired.seeds, within, strict=True)),
        across=seeds.across_seeds(first, second, own_patients=paired.own_patients),
        over_seeds=seeds.over_seeds([x.value - y.value for x, y in pairs]),
    )


def _check_draws(
    cells: Sequence[Mapping[Cell, KeptTrial]],
    common: Sequence[int],
    folds: Sequence[int],
    metric: str,
) -> bool:
    """Whether each seed has data of its own.

    Raises:
      ValueError: trials of a seed and fold differ in their data or draws of patients,
        or some seeds share their data and others don't.
    """
    by_cell = {
        (seed, fold): _same_draws([own[seed, fold] for own in cells], metric)
        for seed in common
        for fold in folds
    }
    own_patients = False
    for fold in folds:
        of_fold = [by_cell[seed, fold] for seed in common]
        sets = {kept.draws(metric)["data_hash"] for kept in of_fold}
        own_patients = 1 < len(sets) == len(of_fold)
        if not own_patients:
            _same_draws(of_fold, metric)
    return own_patients


def _same_draws(trials: Sequence[KeptTrial], metric: str) -> KeptTrial:
    """The first of the trials; raises ValueError unless all have its draws."""
    first, *others = trials
    expected = first.draws(metric)
    for other in others:
        draws = other.draws(metric)
        if differing := [k for k in expected if expected[k] != draws[k]]:
            raise ValueError(
                f"{metric} of the kept trials {first.name} and {other.name} can't be "
                f"paired, their {', '.join(differing)} differ: run one of them again "
                "with the other's data"
            )
    return first
