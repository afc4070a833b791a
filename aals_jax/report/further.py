"""Further figures: small tables of one subject each, all systems in one."""

import dataclasses
from collections.abc import Mapping

from aals_jax.report import entries, operating, tables, wording

LEVELS = {**operating.LEVELS, "patient": "patient level"}
_PLACED = frozenset(("name", "measured"))


@dataclasses.dataclass(frozen=True)
class Row:
    model: str
    slot: int
    name: str
    cells: tuple[entries.EntryView | None, ...]  # one per column
    facts: tuple[str, ...]  # further entries of the row


@dataclasses.dataclass(frozen=True)
class Block:
    """One figure, all systems."""

    title: str
    level: str
    definition: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    reasons: tuple[tuple[str, str], ...]  # (systems or "", why there is none)


def blocks(
    further: Mapping[str, Mapping[str, Mapping]], *, slots: Mapping[str, int]
) -> list[Block]:
    """One block for each figure that a system has, or lacks for a reason.

    Args:
      further: system -> figure -> `title`, `definition`, `level`, `rows` (of `name`,
        `measured` and plain facts), and a `reason` where there are none.
      slots: system -> its place in the palette.
    """
    named: dict[str, dict[str, Mapping]] = {}
    for model, figures in further.items():
        for name, figure in figures.items():
            named.setdefault(name, {})[model] = figure
    return [_block(figures, slots) for figures in named.values()]


def _block(figures: Mapping[str, Mapping], slots: Mapping[str, int]) -> Block:
    first = next(iter(figures.values()))
    columns = tables.in_order(
        column
        for figure in figures.values()
        for row in figure["rows"]
        for column in row["measured"]
    )
    names = dict.fromkeys(
        row["name"] for figure in figures.values() for row in figure["rows"]
    )
    reasons = {m: str(f["reason"]) for m, f in figures.items() if f.get("reason")}
    return Block(
        title=first["title"],
        level=LEVELS.get(str(first["level"]), str(first["level"])),
        definition=first["definition"],
        columns=tuple(map(wording.title, columns)),
        rows=tuple(
            Row(
                model=model,
                slot=slots[model],
                name=name,
                cells=tuple(
                    entries.view(row["measured"][column])
                    if column in row["measured"]
                    else None
                    for column in columns
                ),
                facts=tuple(wording.extras(row, placed=_PLACED)),
            )
            for name in names
            for model, figure in figures.items()
            for row in figure["rows"]
            if row["name"] == name
        ),
        reasons=wording.by_models(reasons) if reasons else (),
    )
