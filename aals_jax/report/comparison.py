"""Paired differences: a minus b, its interval around zero, and the p-value."""

import dataclasses
from collections.abc import Mapping, Sequence

from aals_jax.report import entries, tables, wording

_PLACED = entries.KEYS | {"a", "b", "metric", "p_value", "method", "n_images"}
_PLACED |= {"p_method", "p_reason", "note", "role", "p_holm", "non_inferiority"}


@dataclasses.dataclass(frozen=True)
class Row:
    """One metric."""

    title: str
    lower_is_better: bool
    entry: entries.EntryView
    p_value: str
    facts: tuple[str, ...]  # a line each: its role, methods, what it is of


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two models, all metrics on one scale."""

    a: tuple[str, int]  # name, slot
    b: tuple[str, int]
    scale: entries.Scale | None
    rows: tuple[Row, ...]


def pairs(differences: Sequence[Mapping], *, slots: Mapping[str, int]) -> list[Pair]:
    """Pairs in the order given, the metrics of each in that of TITLES.

    Args:
      differences: `a`, `b`, `metric`, `value`, `low`, `high`, `p_value`, `method`,
        `n_images`, and a `reason` where there is no value; value = a minus b.
      slots: model -> its place in the palette.
    """
    named: dict[tuple[str, str], list[Mapping]] = {}
    for record in differences:
        named.setdefault((record["a"], record["b"]), []).append(record)
    return [
        Pair(
            a=(a, slots[a]),
            b=(b, slots[b]),
            scale=(scale := entries.scale_around_zero(records)),
            rows=tuple(
                _row(record, scale)
                for name in tables.in_order(record["metric"] for record in records)
                for record in records
                if record["metric"] == name
            ),
        )
        for (a, b), records in named.items()
    ]


def _row(record: Mapping, scale: entries.Scale | None) -> Row:
    lines = [
        wording.SEPARATOR.join(_judged(record)),
        f"interval: {record.get('method') or wording.UNRECORDED}",
        f"p-value: {record['p_method']}" if record.get("p_method") else "",
        str(record.get("p_reason") or ""),
        str(record.get("note") or ""),
    ]
    counts = [wording.count(record.get("n_images"), "image")]
    counts += wording.extras(record, placed=_PLACED)
    lines.append(wording.SEPARATOR.join(counts))
    return Row(
        title=wording.title(record["metric"]),
        lower_is_better=record["metric"] in wording.LOWER_IS_BETTER,
        entry=entries.view(record, scale=scale, is_signed=True),
        p_value=wording.p_value(record.get("p_value")),
        facts=tuple(filter(None, lines)),
    )


def _judged(record: Mapping) -> list[str]:
    """The role of a difference, its p by Holm, and what a margin says of it."""
    parts = [str(record["role"])] if record.get("role") else []
    if record.get("p_holm") is not None and record["role"] != "primary":
        parts.append(f"p by Holm {wording.p_value(record['p_holm'])}")
    if record.get("non_inferiority"):
        parts.append(str(record["non_inferiority"]["in_words"]))
    return parts
