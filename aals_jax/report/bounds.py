"""A run between its bounds: the kept results of the same recipe without P, and with
the boxes that P withholds. They say whether there was anything to gain."""

import dataclasses
from collections.abc import Mapping

from aals_jax.report import entry_grid

LOW, HIGH = "supervised", "oracle"  # rows of aals_jax.method.methods
SHOWN = "teacher"  # the model of the run that stands beside them
_WHAT = {LOW: "lower bound: P is not read", HIGH: "upper bound: P has its boxes"}


@dataclasses.dataclass(frozen=True)
class View:
    note: str
    grid: entry_grid.Grid
    verdict: str
    source: str


def view(result: Mapping) -> View | None:
    """What the page shows of `bounds`; None where a result has none.

    Args:
      result: `bounds` has `source` and `verdict`, sentences, and `metrics`, LOW and
        HIGH -> metric -> entry; `metrics` and `method` are the run's own.
    """
    kept = result.get("bounds")
    if not kept:
        return None
    own = {
        name: result["metrics"][SHOWN].get(name, {}) for name in kept["metrics"][LOW]
    }
    columns = {(LOW, _WHAT[LOW]): kept["metrics"][LOW]}
    if result["method"] not in _WHAT:
        columns[str(result["method"]), f"this run, {SHOWN}"] = own
    columns[HIGH, _WHAT[HIGH]] = kept["metrics"][HIGH]
    return View(
        note="What the same recipe gives on the same films where P is not read, and "
        "where P has the boxes that it withholds from every other method. Only what "
        "lies between the two can be gained by pseudo labels.",
        grid=entry_grid.grid(tuple(columns), list(columns.values())),
        verdict=str(kept["verdict"]),
        source=str(kept["source"]),
    )
