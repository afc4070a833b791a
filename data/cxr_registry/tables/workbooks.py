"""Lines of an Excel workbook, and what openpyxl does not tell of its cells.

A merged cell counts for all of its rows, and a struck-out value for none. Formulas that
no program has calculated have no value to read. Text may hold characters as _x000D_ (a
line's end).

Reference: ECMA-376 Part 1, 18.3.1 (cells, formulas, merged cells), 18.2.2 (calcPr),
22.9.2.19 (ST_Xstring).
"""

import contextlib
import posixpath
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax import saxutils

from data.cxr_registry.tables import strikes
from data.cxr_registry.tables.limits import Noted, UnreadableTable
from data.cxr_registry.tables.sheet_xml import attribute, column_number

_CHUNK = 1 << 20  # bytes of XML read at once
_MOST_MERGED = 100_000  # merged cells; more are refused
# The XML is scanned and not parsed: it is read a second time only for these.
_FORMULA = re.compile(
    rb"<(?:\w+:)?c\b([^>]*)>\s*<(?:\w+:)?f\b(?:[^>]*/>|[^>]*>[^<]*</(?:\w+:)?f>)\s*"
    rb"(<(?:\w+:)?v\b(?:[^>]*/>|[^>]*>([^<]*)</(?:\w+:)?v>))?"
)
_COLUMN = re.compile(rb"<(?:\w+:)?col\b([^>]*)>")
_FLAT = re.compile(r"0(?:\.0*)?")  # the height or width of what can't be seen
_ROW = re.compile(rb"<(?:\w+:)?row\b([^>]*)>")
_MERGED = re.compile(
    rb"<(?:\w+:)?mergeCell\b[^>]*\bref=[\"']([A-Z]+)(\d+):([A-Z]+)(\d+)[\"']"
)
_ESCAPED = re.compile(r"_x(?![dD][89a-fA-F])([0-9A-Fa-f]{4})_")  # no half surrogates
_STRUCK = "take the line off what counts, and delete the rest"
_END_OF_CELLS = re.compile(rb"</(?:\w+:)?sheetData>")
_BESIDE = ("styles", "sharedStrings")  # parts of a workbook that its sheets refer to


class _Sheet(NamedTuple):
    name: str
    file: str  # in the zip
    is_hidden: bool


class _Facts(NamedTuple):
    """What a sheet's XML says beside values; rows and columns count from 1."""

    uncalculated: dict[int, set[int]]  # row -> columns of formulas without a value
    hidden: set[int]  # rows
    hidden_columns: list[tuple[int, int]]  # first, last
    tall: dict[int, list[tuple[int, int]]]  # first row -> column, last row
    wide: list[tuple[int, int, int]]  # merged over columns: row, first, last column
    struck: dict[int, set[int]]  # row -> columns of values that are struck through


def lines(path: Path) -> Iterator[Sequence[Any] | Noted]:
    """The rows of the workbook's table, with notes on cells that have no clear value.

    The table is the sheet with the file's name, else the only visible one with cells.

    Raises:
        UnreadableTable: openpyxl is missing.
    """
    try:
        import openpyxl
    except ImportError:
        raise UnreadableTable(
            ".xlsx needs the package openpyxl; install it, or save the table as .csv"
        ) from None
    with zipfile.ZipFile(path) as archive:
        about = _text(archive, "xl/workbook.xml")
        sheet, others = _choose(archive, _sheets(archive, about), path.stem)
        struck = strikes.read(*(_linked(archive, kind) for kind in _BESIDE))
        facts = _scan(archive, sheet.file, _is_stale(about), struck)
    if others:
        text = f"{others} more sheets hold cells; keep one, or name it {path.stem}"
        yield Noted(fault=text, is_row=False)
    # openpyxl leaves a file open that it can't read, if it has opened it itself
    with path.open("rb") as stream:
        book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
        with contextlib.closing(book):
            cells = book[sheet.name]
            cells.reset_dimensions()  # some programs state too few rows
            yield from _with_notes(cells.iter_rows(values_only=True), facts)


def unescape(text: str) -> str:
    """Text with its escaped characters, in one pass: _x005F_ escapes an underscore.

    >>> unescape("clear_x000D_\\nno fracture"), unescape("a_x005F_x000D_")
    ('clear\\r\\nno fracture', 'a_x000D_')
    """
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)


def _with_notes(
    rows: Iterator[Sequence[Any]], facts: _Facts
) -> Iterator[Sequence[Any] | Noted]:
    header = next(rows, ())
    named = {place for place, name in enumerate(header, start=1) if name is not None}
    if 1 in facts.tall or any(row == 1 for row, *_ in facts.wide):
        text = "the header has merged cells; unmerge them, one name a column"
        yield Noted(fault=text, is_row=False)
    if named & facts.struck.get(1, set()):
        text = f"the header has struck-out cells; {_STRUCK}"
        yield Noted(fault=text, is_row=False)
    yield _unescaped(header)
    unseen = [
        place
        for place in sorted(named)
        if any(first <= place <= last for first, last in facts.hidden_columns)
    ]
    if unseen:
        text = (
            f"columns {', '.join(map(str, unseen))} are hidden: nobody sees what is "
            "read of them; show them, or delete them"
        )
        yield Noted(fault=text, check="hidden_column", is_row=False)
    wide = {
        row for row, first, last in facts.wide if named & set(range(first, last + 1))
    }
    filling: dict[int, tuple[int, Any]] = {}  # column -> last row, value
    struck_to: dict[int, int] = {}  # column -> last row of a struck, merged cell
    for number, row in enumerate(rows, start=2):
        cells = list(_unescaped(row))
        is_filled = _fill(cells, filling, number)
        struck = named & facts.struck.get(number, set())
        struck |= {column for column, last in struck_to.items() if number <= last}
        for column, last in facts.tall.get(number, ()):
            if len(cells) >= column:
                filling[column] = last, cells[column - 1]
            if column in struck:
                struck_to[column] = last
        bare = sorted(named & facts.uncalculated.get(number, set()))
        if bare:
            yield Noted(
                fault=f"columns {', '.join(map(str, bare))}: a formula that no program "
                "has calculated; open the book in Excel, save it, or write values"
            )
        elif struck:
            places = ", ".join(map(str, sorted(struck)))
            text = f"columns {places}: the value is struck out; {_STRUCK}"
            yield Noted(fault=text, check="struck_out")
        elif number in wide:
            yield Noted(fault="cells are merged across columns; unmerge them")
        elif number in facts.hidden and any(cell is not None for cell in cells):
            text = "the row is hidden, perhaps by a filter; show it, or delete it"
            yield Noted(cells, fault=text, check="hidden_row", is_filled=is_filled)
        else:
            yield Noted(cells, is_filled=True) if is_filled else cells


def _fill(cells: list[Any], filling: dict[int, tuple[int, Any]], number: int) -> bool:
    """Fills the cells below a merged one's first; whether there was any."""
    filled = False
    for column, (last, value) in list(filling.items()):
        if number > last:
            del filling[column]
        elif value is not None:
            cells += [None] * (column - len(cells))
            cells[column - 1] = value
            filled = True
    return filled


def _unescaped(row: Sequence[Any]) -> list[Any]:
    return [unescape(cell) if isinstance(cell, str) else cell for cell in row]


def _choose(
    archive: zipfile.ZipFile, sheets: Sequence[_Sheet], stem: str
) -> tuple[_Sheet, int]:
    """The sheet with the table, and how many others may be it."""
    for sheet in sheets:
        if sheet.name.casefold() == stem.casefold():
            return sheet, 0
    filled = [s for s in sheets if not s.is_hidden and _has_cells(archive, s.file)]
    if not (filled or sheets):
        raise UnreadableTable("has no sheet with cells; save it again")
    return (filled or sheets)[0], max(len(filled) - 1, 0)


def _text(archive: zipfile.ZipFile, file: str) -> str:
    return archive.read(file).decode("utf-8", errors="replace")


def _sheets(archive: zipfile.ZipFile, book: str) -> list[_Sheet]:
    """The worksheets that workbook.xml lists."""
    files = {attribute(tag, "Id"): file for tag, file in _links(archive)}
    sheets = []
    for tag in re.findall(r"<(?:\w+:)?sheet\b[^>]*>", book):
        name, link = (
            attribute(tag, "name"),
            attribute(tag, r"\w+:id"),
        )
        if "worksheets" in files.get(link, ""):
            is_hidden = "hidden" in attribute(tag, "state").lower()
            sheets.append(_Sheet(_plain(name), files[link], is_hidden))
    return sheets


def _plain(text: str) -> str:
    """Text of an attribute without XML's entities."""
    return saxutils.unescape(text, {"&quot;": '"', "&apos;": "'"})


def _linked(archive: zipfile.ZipFile, kind: str) -> bytes:
    """The part of the workbook of that kind; empty where there is none."""
    for tag, file in _links(archive):
        is_kind = attribute(tag, "Type").endswith(f"/{kind}")
        if is_kind and file in archive.namelist():
            return archive.read(file)
    return b""


def _links(archive: zipfile.ZipFile) -> Iterator[tuple[str, str]]:
    """Tag and file of each part that the workbook refers to."""
    links = _text(archive, "xl/_rels/workbook.xml.rels")
    for tag in re.findall(r"<(?:\w+:)?Relationship\b[^>]*>", links):
        target = attribute(tag, "Target")
        yield (
            tag,
            posixpath.normpath(
                target.lstrip("/") if target.startswith("/") else f"xl/{target}"
            ),
        )


def _has_cells(archive: zipfile.ZipFile, file: str) -> bool:
    with archive.open(file) as stream:
        return bool(re.search(rb"<(?:\w+:)?c\b", stream.read(_CHUNK)))


def _is_stale(book: str) -> bool:
    """Whether workbook.xml asks to calculate when opened: no value is to be trusted."""
    tag = re.search(r"<(?:\w+:)?calcPr\b[^>]*>", book)
    return bool(tag) and attribute(tag[0], "fullCalcOnLoad") in ("1", "true")


def _scan(
    archive: zipfile.ZipFile, file: str, is_stale: bool, struck: strikes.Struck
) -> _Facts:
    """What a sheet's XML says of formulas, hidden rows, merged and struck cells."""
    facts = _Facts({}, set(), [], {}, [], {})
    with archive.open(file) as stream:
        for part in _parts(stream):
            _note_formulas(part, facts, is_stale)
            facts.struck.update(struck.cells(part))
            for match in _ROW.finditer(part):
                tag = match[1].decode("latin-1")
                if _is_hidden(tag, "ht"):
                    facts.hidden.add(int(attribute(tag, "r") or 0))
            for match in _COLUMN.finditer(part):
                tag = match[1].decode("latin-1")
                if _is_hidden(tag, "width"):
                    first, last = (
                        attribute(tag, "min"),
                        attribute(tag, "max"),
                    )
                    facts.hidden_columns.append((int(first or 0), int(last or 0)))
            for match in _MERGED.finditer(part):
                _note_merged(match, facts)
    return facts


def _is_hidden(tag: str, size: str) -> bool:
    is_flat = _FLAT.fullmatch(attribute(tag, size))
    return bool(is_flat) or attribute(tag, "hidden") in ("1", "true")


def _note_formulas(part: bytes, facts: _Facts, is_stale: bool) -> None:
    for match in _FORMULA.finditer(part):
        attributes, value, text = match[1].decode("latin-1"), match[2], match[3]
        is_empty_text = attribute(attributes, "t") == "str" and value is not None
        place = re.fullmatch(r"([A-Z]{1,3})(\d+)", attribute(attributes, "r"))
        if place and (is_stale or not (text or is_empty_text)):
            row = facts.uncalculated.setdefault(int(place[2]), set())
            row.add(column_number(place[1]))


def _note_merged(match: re.Match[bytes], facts: _Facts) -> None:
    first, top, last, bottom = (group.decode() for group in match.groups())
    first, last, top, bottom = (
        column_number(first),
        column_number(last),
        int(top),
        int(bottom),
    )
    if first != last:
        facts.wide.append((top, first, last))
    else:
        facts.tall.setdefault(top, []).append((first, bottom))
    if len(facts.tall) + len(facts.wide) > _MOST_MERGED:
        raise UnreadableTable(f"has over {_MOST_MERGED:,} merged cells; unmerge them")


def _parts(stream: Any) -> Iterator[bytes]:
    """A sheet's XML in parts that cut no cell, row or merged cell in two."""
    rest, is_after = b"", False
    while chunk := stream.read(_CHUNK):
        rest += chunk
        is_after = is_after or bool(_END_OF_CELLS.search(rest))
        mark = b">" if is_after else b"row>"
        end = rest.rfind(mark) + len(mark) if mark in rest else 0
        yield rest[:end]
        rest = rest[end:]
    yield rest
