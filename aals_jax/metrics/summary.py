"""Everything measured on one system, as result.json and the page hold it."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aals_jax.metrics import curves, operating, subgroups, table
from aals_jax.metrics.records import Hit, Reading, Truth


@dataclasses.dataclass(frozen=True)
class Measured:
    """All numbers of one system on one set."""

    truth: Truth
    reading: Reading
    metrics: dict[str, Any]
    curves: dict[str, Any]
    calibration: dict[str, Any]
    operating_points: list[dict[str, Any]]
    subgroups: list[dict[str, Any]]


def summarise(
    truth: Truth,
    reading: Reading,
    *,
    points: Sequence[operating.Point],
    chosen_on: str,
    bootstrap: table.Bootstrap,
    hit: Hit,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Measured:
    """Measures one system on one set.

    Args:
        truth, reading: of the set.
        points: thresholds of `operating.choose` on the set named by `chosen_on`.
        chosen_on: words for the page, "validation" say.
        bootstrap: of all intervals.
        hit: when a detection hits a lesion.
        progress: called with (parts done, parts in all).
    """
    both: Mapping[str, Any] = {"bootstrap": bootstrap, "hit": hit}
    parts: Mapping[str, Callable[[], Any]] = {
        "metrics": lambda: table.measure(truth, reading, **both),
        "curves": lambda: curves.curves(truth, reading, bootstrap=bootstrap),
        "calibration": lambda: curves.reliability(truth, reading, bootstrap=bootstrap),
        "operating_points": lambda: operating.apply(
            points, truth, reading, chosen_on=chosen_on, bootstrap=bootstrap
        ),
        "subgroups": lambda: subgroups.measure_groups(truth, reading, **both),
    }
    made = {}
    for done, (name, part) in enumerate(parts.items()):
        progress(done, len(parts))
        made[name] = part()
    progress(len(parts), len(parts))
    return Measured(truth, reading, **made)


def sections(measured: Mapping[str, Measured]) -> dict[str, Any]:
    """The parts of a result that are made of models: part -> model -> numbers."""
    names = ("metrics", "calibration", "operating_points", "subgroups")
    return {
        name: {model: getattr(each, name) for model, each in measured.items()}
        for name in names
    }
