"""Kept bounds of shipped recipes, which a run's page shows beside its own numbers.

`bounds.json` holds them by recipe: a config without its method. `supervised` is the
lower bound, `oracle` the upper one. `benchmarks/keep_bounds.py` writes it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aals_jax.metrics.definitions import HEAD_ROOM
from aals_jax.report import wording
from aals_jax.report.bounds import HIGH, LOW, SHOWN
from aals_jax.runs import identity

FILE = Path(__file__).with_name("bounds.json")


def recipe(fields: Mapping[str, Any]) -> str:
    """A name for all of a run but its method: those of one name compare.

    Args:
      fields: of `identity.of`, or `config` of a result.json.
    """
    not_shared = ("method", "boxes")  # the latter is read by heads of boxes alone
    return identity.digest({k: v for k, v in fields.items() if k not in not_shared})


def beside(fields: Mapping[str, Any], data_hash: str) -> dict[str, Any] | None:
    """`bounds` of a run's result: the kept results of its recipe on its films.

    Args:
      fields: of `identity.of`.
      data_hash: of the dataset; other films have other bounds.

    Returns:
      None where no results are kept, or those of another version of the computation.
    """
    kept = json.loads(FILE.read_text()).get(recipe(fields))
    if kept is None:
        return None
    if (kept["run_version"], kept["data_hash"]) != (identity.VERSION, data_hash):
        return None
    return {
        "source": kept["source"],
        "verdict": verdict(kept["metrics"]),
        "metrics": kept["metrics"],
    }


def verdict(metrics: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Whether there is room between the bounds, by the gate of docs/headroom.md.

    Args:
      metrics: LOW and HIGH -> metric -> entry.
    """
    gaps = {
        name: metrics[HIGH][name]["value"] - metrics[LOW][name]["value"]
        for name in HEAD_ROOM
    }
    told = ", ".join(f"{gap:+.3f} {wording.title(name)}" for name, gap in gaps.items())
    if any(gap >= HEAD_ROOM[name] for name, gap in gaps.items()):
        return f"There is room: {HIGH} minus {LOW} is {told}."
    return f"There is no head-room, {HIGH} minus {LOW} is {told}: nothing can be seen."


def keep(
    low: Mapping[str, Any], high: Mapping[str, Any], source: str
) -> dict[str, Any]:
    """An entry of `bounds.json`, by its recipe.

    Args:
      low, high: result.json of a run of `supervised` and of one of `oracle`.
      source: a sentence that says by which command they were made.

    Raises:
      ValueError: they are not that, or not of one recipe, version and set of films.
    """
    results = {LOW: low, HIGH: high}
    for method, result in results.items():
        if result["method"] != method:
            raise ValueError(
                f"a run of {result['method']} is given as that of {method}"
            )
    shared = {
        (recipe(r["config"]), r["run_version"], r["data"]["data_hash"])
        for r in results.values()
    }
    if len(shared) != 1:
        raise ValueError(f"the runs differ in recipe, version or films: {shared}")
    ((name, version, data_hash),) = shared
    return {
        name: {
            "source": source,
            "run_version": version,
            "data_hash": data_hash,
            "metrics": {
                method: {key: result["metrics"][SHOWN][key] for key in HEAD_ROOM}
                for method, result in results.items()
            },
        }
    }
