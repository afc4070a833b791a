"""Tables as rows of text: CSV, Parquet, Excel, and regions of a COCO file.

Every cell is text, so that record number 00123 stays 00123. Rows are numbered as a
spreadsheet does: the header is row 1.
"""

import functools
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data.cxr_registry.guard import checks, memory
from data.cxr_registry.tables import coco, delimited, workbooks
from data.cxr_registry.tables.limits import (
    Noted,
    UnreadableTable,
    is_over,
    lines_within_limits,
)

SUFFIXES = (".csv", ".parquet", ".xlsx")
# Endings of tables that are not read: such a file beside none would be overlooked.
_FOREIGN = (".tsv", ".tab", ".xls", ".xlsm", ".xlsb", ".ods", ".feather", ".jsonl")
# A line's end and other control characters as Excel escapes them. Programs that don't
# know the escape hand it on into CSV.
_CONTROL = re.compile(r"_x00([01][0-9A-Fa-f])_")
_INVISIBLE = "\ufeff\u200b\u200e\u200f"  # marks that no eye sees at a cell's ends


class Table(NamedTuple):
    """A table's file name, its columns and its rows of stripped text."""

    name: str
    columns: tuple[str, ...]
    rows: list[dict[str, str]]
    filled: frozenset[int] = frozenset()  # rows with cells from a merged cell

    def numbered(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Number in the file and cells of all rows that are not empty."""
        numbered = enumerate(self.rows, start=2)
        return ((number, cells) for number, cells in numbered if any(cells.values()))

    def name_columns(self, names: Collection[str]) -> str:
        """Its columns of those names, and how many others it has, for a message.

        The others are not named: without a header they are cells of a patient.
        """
        named = [name for name in self.columns if name in names]
        others = len(self.columns) - len(named)
        parts = (", ".join(named), f"{others} unknown" if others else "")
        return " and ".join(filter(None, parts)) or "none"


def open_table(
    root: Path,
    stem: str,
    problems: checks.Problems,
    *,
    suffixes: Sequence[str] = SUFFIXES,
) -> Table | None:
    """The one table of that stem below the registry; None when there is none.

    Args:
        root: the registry.
        stem: of the file's name.
        problems: takes what is wrong with the file; what can be read is returned.
        suffixes: that it may have.
    """
    candidates = (root / f"{stem}{suffix}" for suffix in suffixes)
    files = [path for path in candidates if path.exists()]
    if len(files) > 1:
        text = "two tables of the same kind; keep one"
        names = ", ".join(path.name for path in files)
        problems.add(names, None, text, check="table")
    overlooked = _overlooked(root, stem, {*suffixes})
    for name in overlooked - {path.name for path in files}:
        text = f"is not read; save it as {stem}{suffixes[0]}, or rename it"
        problems.add(f"{stem}{Path(name).suffix}", None, text, check="table")
    if not files:
        return Table(f"{stem}{suffixes[0]}", (), []) if overlooked else None
    file = files[0]
    if not file.resolve().is_relative_to(root.resolve()):
        text = "is a link out of the registry's folder; copy the table into it"
        problems.add(file.name, None, text, check="table")
        return Table(file.name, (), [])
    return scan_table(file, problems)


def has_table(root: Path, stem: str) -> bool:
    """Whether a folder has a table of that stem, in one of the formats."""
    return any((root / f"{stem}{suffix}").exists() for suffix in SUFFIXES)


def _overlooked(root: Path, stem: str, suffixes: Collection[str]) -> set[str]:
    """Files that look like the table and have another ending, or other letters."""
    wanted = {*suffixes, *_FOREIGN}
    return {
        path.name
        for path in root.iterdir()
        if path.stem.casefold() == stem
        and path.suffix.casefold() in wanted
        and not (path.stem == stem and path.suffix in suffixes)
    }


def read_table(path: Path) -> Table:
    """Reads one table, every column as text; ValueError with all its problems."""
    problems = checks.Problems(error=_table_error)
    table = scan_table(path, problems)
    problems.raise_if_any()
    return table


def _table_error(problems: Iterable[checks.Problem]) -> ValueError:
    """ValueError of all problems, without check names: those belong to registries."""
    unnamed = [problem._replace(check="") for problem in problems]
    return ValueError("\n".join(checks.list_first(unnamed)))


def scan_table(path: Path, problems: checks.Problems) -> Table:
    """What can be read of a table; `problems` takes all that is wrong with it.

    A row with a problem is left empty, so that the others keep their numbers.
    """

    def add(row: int | None, text: str, check: str = "table") -> None:
        problems.add(path.name, row, text, check=check)

    if (table := _plain_csv(path)) is not None:
        return table
    columns: tuple[str, ...] | None = None
    rows: list[dict[str, str]] = []
    filled = set()
    unnamed = _Unnamed()
    for line in _lines(path, add):
        number = len(rows) + 2
        if columns is not None and not isinstance(line, Noted):  # nearly all of them
            unnamed.note(line)
            rows.append(_row(line, columns, functools.partial(add, number)))
            continue
        note = line if isinstance(line, Noted) else Noted(line)
        if columns is None and note.is_row:
            columns = _columns(note, add)
            unnamed.places = [at for at, name in enumerate(columns) if not name]
            continue
        if note.fault:
            add(number if note.is_row else None, note.fault, note.check)
        if note.is_row:
            unnamed.note(note.cells)
            rows.append(_row(note.cells, columns or (), functools.partial(add, number)))
            filled |= {number} if note.is_filled else set()
    for place in unnamed.filled:
        text = f"column {place + 1} has cells and no name; name it, or delete it"
        add(None, text)
    columns = tuple(dict.fromkeys(name for name in columns or () if name))
    return Table(path.name, columns, rows, frozenset(filled))


def _plain_csv(path: Path) -> Table | None:
    """A table of a CSV file without anything that needs a look at single lines."""
    with memory.no_collection():
        lines = delimited.plain(path) if path.suffix.lower() == ".csv" else None
        if not lines or is_over(len(lines), len(lines[0])):
            return None
        columns, *rows = lines
        is_named = all(columns) and len(set(columns)) == len(columns)
        if not is_named or not all(map(any, rows)):
            return None
        cells = [dict(zip(columns, row, strict=False)) for row in rows]
    return Table(path.name, tuple(columns), cells)


class _Unnamed:
    """Columns without a name: a first one that counts the rows is no loss."""

    def __init__(self):
        self.places: list[int] = []
        self._filled: set[int] = set()
        self._last, self._counts = -1, True

    def note(self, cells: Sequence[Any]) -> None:
        for place in self.places:
            text = _text(cells[place]) if place < len(cells) else ""
            if not text:
                continue
            self._filled.add(place)
            if place == 0 and self._counts:
                number = int(text) if text.isdecimal() and len(text) < 10 else -1
                self._counts = number > self._last
                self._last = number

    @property
    def filled(self) -> list[int]:
        """Places of those that hold cells, from 0."""
        return sorted(self._filled - ({0} if self._counts else set()))


def _columns(
    note: Noted, add: Callable[[int | None, str, str], None]
) -> tuple[str, ...]:
    if note.fault:
        add(1, note.fault, note.check)
    columns = tuple(_text(name) for name in note.cells)
    named = [name for name in columns if name]  # Excel keeps formatted empty columns
    if len(set(named)) < len(named):
        add(None, "two columns have the same name; rename one", "table")
    return columns


def _row(
    line: Sequence[Any], columns: Sequence[str], add: Callable[[str], None]
) -> dict[str, str]:
    """The cells of a row by column, empty where there are too many."""
    if not line:  # a file may hold a million of them
        return dict.fromkeys(filter(None, columns), "")
    cells = [_text(cell) for cell in line]
    if any(cells[len(columns) :]):
        text = f"{len(cells)} cells under {len(columns)} columns; "
        add(text + "quote cells that hold the separator")
        cells = []
    if "\0" in "".join(cells):
        add("holds NUL characters: the file is damaged; export it again")
        cells = []
    cells += [""] * (len(columns) - len(cells))
    found = dict(zip(columns, cells, strict=False))
    found.pop("", None)  # columns without a name
    return found


def _lines(path: Path, add: Callable[[int | None, str], None]) -> Iterator[Any]:
    """The lines up to the first that can't be read."""
    readers = {
        ".csv": delimited.lines,
        ".parquet": _parquet_lines,
        ".xlsx": workbooks.lines,
        ".json": coco.lines,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        text = f"its ending must be one of {', '.join(readers)}; save it as one of them"
        add(None, text)
        return
    try:
        lines = lines_within_limits(path, reader)
        is_plain = reader in (delimited.lines, _parquet_lines)
        yield from map(_unescaped, lines) if is_plain else lines
    except UnreadableTable as error:
        add(None, str(error))


def _unescaped(line: Any) -> Any:
    """A line without Excel's escapes of control characters."""
    if isinstance(line, Noted):
        return line
    try:
        if "_x00" not in "".join(line):
            return line
    except TypeError:  # a cell that is no text: each is looked at
        pass
    return [
        _CONTROL.sub(lambda match: chr(int(match[1], 16)), cell)
        if isinstance(cell, str) and "_x00" in cell
        else cell
        for cell in line
    ]


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if type(cell) is str and cell.isascii() and cell.isprintable():
        return cell.strip()  # a blank is all that can be at its ends
    text = str(cell)
    # one kind of line's end; what ends a cell and can't be seen goes
    text = (
        re.sub(r"\r\n?|[\v\f\x85\u2028\u2029]", "\n", text)
        if not text.isprintable()
        else text
    )
    return text.strip().strip(_INVISIBLE).strip()


def _parquet_lines(path: Path) -> Iterator[Any]:
    from pyarrow import parquet  # only for those who use it: half a second

    table = parquet.read_table(path)
    yield table.column_names
    for batch in table.to_batches():
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
