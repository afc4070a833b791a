"""Lines of a CSV file: its encoding, its separator, and quotes that are not closed.

UTF-8 and UTF-16 are read, with or without a byte order mark; the separator is a comma,
a semicolon, a tab or a bar, whichever the header has most of, or what Excel's line
"sep=;" says. Anything else is refused by name.
"""

import collections
import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.cxr_registry.tables.limits import Noted, UnreadableTable

_SEPARATORS = ",;\t|"
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
_WHOLE = 256 << 20  # bytes of a file that is read in one go
_NAMED = re.compile(r'"?sep=(.)"?,*', re.IGNORECASE)  # Excel's line
_PROBED = 64  # bytes of the header, from which an encoding without a mark is judged
_MOST_ZEROS = 0.4  # share of bytes at even or odd places; UTF-16 of ASCII has 1
_BOOKS = {
    b"PK\x03\x04": "an Excel workbook or another zip",
    b"\xd0\xcf\x11\xe0": ".xls",
}
# Encodings of old exports, and the share of high bytes in a text that uses them.
_EAST_ASIAN = {"big5": "Big5", "gbk": "GBK", "shift_jis": "Shift JIS", "euc_kr": "EUC"}
_CUT = "the file ends within this row; export it again, or complete the row"
_FILE = re.compile(r"[^\s,;|]+\.[A-Za-z0-9]{2,5}")  # the name of an image's file


def lines(path: Path) -> Iterator[list[str] | Noted]:
    """The rows as lists of cells; a broken one is noted, and the next ones are read.

    Raises:
        UnreadableTable: it is no text in UTF-8 or UTF-16.
    """
    encoding = _encoding(path)
    try:
        with path.open(encoding=encoding, newline="") as stream:
            yield from _Records(stream).read()
    except UnicodeDecodeError:
        raise UnreadableTable(_undecodable(path, encoding)) from None


def plain(path: Path) -> list[list[str]] | None:
    """All rows, stripped, of a file whose lines need no second look: the fast way.

    Its text is UTF-8 or UTF-16 with printable characters alone, every line is a row,
    and all rows have as many cells as the header. None: read it by `lines`, which gives
    the same rows and says what is wrong.
    """
    if path.stat().st_size > _WHOLE:
        return None
    try:
        with path.open(encoding=_encoding(path), newline="") as stream:
            text = stream.read().replace("\r\n", "\n")
    except (UnreadableTable, UnicodeDecodeError):
        return None
    found = text.split("\n")
    if not found[-1]:
        found.pop()
    separator = _separator(found[0]) if found else ","
    is_named = bool(found) and _NAMED.fullmatch(found[0])
    shown = "".join(found)
    if separator == "\t":
        shown = shown.replace("\t", "")
    is_escaped = "_x00" in shown
    if is_named or is_escaped or not all(found) or not shown.isprintable():
        return None
    try:
        rows = list(csv.reader(found, delimiter=separator, strict=True))
    except csv.Error:
        return None
    if len(rows) != len(found) or len(set(map(len, rows))) != 1:
        return None
    has_ends = " " in shown or separator == "\t"
    return [[*map(str.strip, row)] for row in rows] if has_ends else rows


def _encoding(path: Path) -> str:
    with path.open("rb") as stream:
        start = stream.read(_PROBED)
    for mark, kind in _BOOKS.items():
        if start.startswith(mark):
            raise UnreadableTable(f"is {kind} by another name; save it as .csv")
    for mark, encoding in _MARKS.items():
        if start.startswith(mark):
            return encoding
    half = max(len(start) // 2, 1)
    if start[1::2].count(0) > _MOST_ZEROS * half:
        return "utf-16-le"
    if start[0::2].count(0) > _MOST_ZEROS * half:
        return "utf-16-be"
    return "utf-8"


class _Records:
    """The records of a stream of physical lines."""

    def __init__(self, stream: Iterator[str]):
        self._stream = stream
        self._ahead: collections.deque[str] = collections.deque()
        self._taken: list[str] = []  # lines of the record that is being read
        self._separator = ","
        self._header: list[str] = []

    def read(self) -> Iterator[list[str] | Noted]:
        first = next(self._stream, "")
        named = _NAMED.fullmatch(first.strip("\r\n"))
        if not named:
            self._ahead.append(first)
        header = "" if named else first
        if named:
            header = next(self._stream, "")
            self._ahead.append(header)
        self._separator = named[1] if named else _separator(header)
        reader = self._reader()
        while True:
            self._taken.clear()
            try:
                record = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                # the rest of a record without an end may hold whole rows
                self._return(self._first_row(self._taken))
                reader = self._reader()
                yield Noted(fault=_broken(error))
                continue
            if not self._header:
                self._header = record
            elif len(self._taken) > 1 and self._swallowed(record):
                self._return(1)
                reader = self._reader()
                yield Noted(fault=_broken("a cell holds whole rows"))
                continue
            elif self._is_cut(record):
                yield Noted(fault=_CUT)
                continue
            yield record

    def _is_cut(self, record: list[str]) -> bool:
        """Whether the file ends within this record, as a killed export leaves it."""
        is_last = bool(self._taken) and not self._taken[-1].endswith(("\n", "\r"))
        return is_last and 0 < len(record) < len(self._header)

    def _reader(self) -> Any:
        def feed() -> Iterator[str]:
            while True:
                line = self._ahead.popleft() if self._ahead else next(self._stream, "")
                if not line:
                    return
                self._taken.append(line)
                yield line

        return csv.reader(feed(), delimiter=self._separator, strict=True)

    def _return(self, start: int) -> None:
        """Gives lines of the record back, to be read once more."""
        self._ahead.extendleft(reversed(self._taken[start:]))

    def _first_row(self, taken: list[str]) -> int:
        """The first line after the first that looks like a row; all if none does."""
        places = range(1, len(taken))
        return next((i for i in places if self._is_row(taken[i])), len(taken))

    def _swallowed(self, record: list[str]) -> bool:
        """Whether a line within a cell looks like a row: two stray quotes."""
        within = "\n".join(cell for cell in record if "\n" in cell).splitlines()[1:]
        return any(self._is_row(line) for line in within)

    def _is_row(self, line: str) -> bool:
        cells = line.split(self._separator)
        if "image" not in self._header or len(cells) < len(self._header):
            return False
        place = self._header.index("image")
        return bool(_FILE.fullmatch(cells[place].strip().strip('"')))


def _separator(header: str) -> str:
    unquoted = re.sub(r'"[^"]*"', "", header)
    return max(_SEPARATORS, key=lambda mark: (unquoted.count(mark), mark == ","))


def _broken(error: object) -> str:
    return (
        f"is not valid CSV ({error}); close the quote, and write a quote within a cell "
        "twice"
    )


def _undecodable(path: Path, encoding: str) -> str:
    """What is wrong with the first byte that is not of the encoding, and its row."""
    data = path.read_bytes()
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(encoding, errors="replace")
    else:
        before = ""
    ends = before.endswith(("\n", "\r"))
    row = sum(1 for _ in csv.reader(io.StringIO(before, newline=""))) + (ends or 0)
    text = f"is not UTF-8 from row {max(row, 1)} on; "
    if encoding.startswith("utf-16"):
        text = "is not UTF-8, and broken as UTF-16; "
    return text + f"{_likely(data)}save it as UTF-8"


def _likely(data: bytes) -> str:
    """Which old encoding a file may have, as half a sentence."""
    runs = re.findall(rb"[\x80-\xff]+", data)
    high = sum(map(len, runs))
    letters = high + len(re.findall(rb"[A-Za-z]", data))
    # words of an alphabet have single high bytes among many plain ones
    if high / max(letters, 1) < 0.2 and sum(len(r) == 1 for r in runs) > len(runs) / 2:
        return "it may be Windows-1252 or Latin-1; "
    fits = []
    for codec, name in _EAST_ASIAN.items():
        try:
            data.decode(codec)
        except UnicodeDecodeError:
            continue
        fits.append(name)
    return f"it may be {' or '.join(fits)}; " if fits else ""
