"""Operating points: a threshold, where it was chosen, and what it gives."""

import dataclasses
from collections.abc import Mapping, Sequence

from aals_jax.report import entries, tables, wording

LEVELS = {"image": "image level", "lesion": "lesion level"}
CELLS = {  # counts of a point, and their usual letters
    "true_positive": "TP",
    "false_positive": "FP",
    "false_negative": "FN",
    "true_negative": "TN",
}
_PLACED = frozenset(
    ("name", "level", "rule", "threshold", "chosen_on", "measured", "reason", "counts")
)


@dataclasses.dataclass(frozen=True)
class Row:
    model: str
    slot: int
    threshold: str
    exact: str  # all digits of the threshold
    cells: tuple[entries.EntryView | None, ...]  # one per column
    reason: str
    facts: tuple[str, ...]  # further entries of the point

    @property
    def is_measured(self) -> bool:
        return any(cell and cell.exact for cell in self.cells)


@dataclasses.dataclass(frozen=True)
class Block:
    """One operating point, all models."""

    title: str
    level: str
    rules: tuple[tuple[str, str], ...]  # (models or "", rule and where it was chosen)
    columns: tuple[str, ...]  # titles of what was measured
    rows: tuple[Row, ...]


def blocks(
    points: Mapping[str, Sequence[Mapping]], *, slots: Mapping[str, int]
) -> list[Block]:
    """One block for each name and level, in the order given.

    Args:
      points: model -> its operating points: `name`, `level` (a key of LEVELS), `rule`,
        `threshold` (None where there is none), `chosen_on`, `measured`, name ->
        `{value, low, high}`, and a `reason` where something is missing.
      slots: model -> its place in the palette.
    """
    named: dict[tuple[str, str], dict[str, Mapping]] = {}
    for model, records in points.items():
        for record in records:
            key = (str(record["name"]), str(record["level"]))
            named.setdefault(key, {})[model] = record
    return [
        _block(name, level, records, slots) for (name, level), records in named.items()
    ]


def _block(
    name: str, level: str, records: Mapping[str, Mapping], slots: Mapping[str, int]
) -> Block:
    columns = tables.in_order(
        measured for record in records.values() for measured in _measured(record)
    )
    return Block(
        title=name,
        level=LEVELS.get(level, level),
        rules=wording.by_models(
            {model: _rule(record) for model, record in records.items()}
        ),
        columns=tuple(map(wording.title, columns)),
        rows=tuple(
            _row(model, record, columns, slots) for model, record in records.items()
        ),
    )


def _row(
    model: str, record: Mapping, columns: Sequence[str], slots: Mapping[str, int]
) -> Row:
    threshold, measured = record.get("threshold"), _measured(record)
    return Row(
        model=model,
        slot=slots[model],
        threshold=wording.threshold(threshold),
        exact=repr(float(threshold)) if wording.is_number(threshold) else "",
        cells=tuple(
            entries.view(measured[name]) if name in measured else None
            for name in columns
        ),
        reason=str(record.get("reason") or ""),
        facts=(*_cells(record), *wording.extras(record, placed=_PLACED)),
    )


def _cells(record: Mapping) -> tuple[str, ...]:
    """`TP 34, FP 11, FN 6, TN 89`; nothing where nobody counted."""
    counts = record.get("counts") or {}
    texts = [
        f"{short}{wording.NBSP}{counts[name]}"
        for name, short in CELLS.items()
        if name in counts
    ]
    return (", ".join(texts),) if texts else ()


def _measured(record: Mapping) -> Mapping[str, Mapping]:
    return record.get("measured") or {}


def _rule(record: Mapping) -> str:
    rule = str(record.get("rule") or f"rule {wording.UNRECORDED}").rstrip(".")
    chosen = record.get("chosen_on")
    end = f"Chosen on {chosen}." if chosen else "Where it was chosen: not recorded."
    return f"{rule[:1].upper()}{rule[1:]}. {end}"
