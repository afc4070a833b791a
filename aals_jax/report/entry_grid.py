"""Entries of result.json by row and column, with definition, interval and reason."""

import dataclasses
from collections.abc import Mapping, Sequence

from aals_jax.report import entries, wording


@dataclasses.dataclass(frozen=True)
class Cell:
    entry: entries.EntryView
    facts: tuple[str, ...]  # what is known of interval, image set and replicates


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure, in each column."""

    title: str
    definition: str
    cells: tuple[Cell, ...]


@dataclasses.dataclass(frozen=True)
class Grid:
    columns: tuple[tuple[str, str], ...]  # (name, what it is)
    rows: tuple[Row, ...]


def grid(
    columns: tuple[tuple[str, str], ...], by_column: Sequence[Mapping[str, Mapping]]
) -> Grid:
    """Entries with what they are: a row for each name, a column for each mapping.

    Args:
      columns: (name, what it is); may be "".
      by_column: name -> entry, a mapping for each column.
    """
    names = dict.fromkeys(name for column in by_column for name in column)
    rows = []
    for name in names:
        cells = [column.get(name, {}) for column in by_column]
        definitions = (cell.get("definition") for cell in cells)
        rows.append(
            Row(
                title=wording.title(name),
                definition=str(next(filter(None, definitions), wording.UNRECORDED)),
                cells=tuple(map(_cell, cells)),
            )
        )
    return Grid(columns, tuple(rows))


def _cell(cell: Mapping) -> Cell:
    entry = entries.view(cell)
    facts = [entry.interval] if entry.interval != wording.NOTHING else []
    if "n_images" in cell:
        facts.append(wording.count(cell["n_images"], "image"))
    if entry.num_rejected:
        facts.append(f"rejected: {entry.rejected}")
    if entry.exact and entry.reason:
        facts.append(entry.reason)
    return Cell(entry, tuple(facts))
