"""Tables as rows of text: CSV, Parquet, Excel, and regions of a COCO file.

Every cell is text, so that record number 00123 stays 00123. Rows are numbered as a
spreadsheet does: the header is row 1.
"""

import contextlib
import csv
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data.cxr_registry.guard import checks
from data.cxr_registry.tables.limits import UnreadableTable, lines_within_limits

SUFFIXES = (".csv", ".parquet", ".xlsx")


class Table(NamedTuple):
    """A table's file name, its columns and its rows of stripped text."""

    name: str
    columns: tuple[str, ...]
    rows: list[dict[str, str]]

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
    if not files:
        return None
    file = files[0]
    if not file.resolve().is_relative_to(root.resolve()):
        text = "is a link out of the registry's folder; copy the table into it"
        problems.add(file.name, None, text, check="table")
        return Table(file.name, (), [])
    return scan_table(file, problems)


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

    def add(row: int | None, text: str) -> None:
        problems.add(path.name, row, text, check="table")

    lines = _lines(path, add)
    columns = tuple(_text(name) for name in next(lines, ()))
    if len(columns) == 1 and (";" in columns[0] or "\t" in columns[0]):
        add(None, "is separated by semicolons or tabs; save it with commas")
        return Table(path.name, (), [])
    named = [name for name in columns if name]  # Excel keeps formatted empty columns
    if len(set(named)) < len(named):
        add(None, "two columns have the same name; rename one")
    rows = []
    for number, line in enumerate(lines, start=2):
        cells = [_text(cell) for cell in line]
        if len(cells) > len(columns):
            text = f"{len(cells)} cells under {len(columns)} columns; "
            add(number, text + "quote cells that hold the separator")
            cells = []
        cells += [""] * (len(columns) - len(cells))
        pairs = zip(columns, cells, strict=True)
        rows.append({name: cell for name, cell in pairs if name})
    return Table(path.name, tuple(dict.fromkeys(named)), rows)


def _lines(path: Path, add: Callable[[int | None, str], None]) -> Iterator[Any]:
    """The lines up to the first that can't be read."""
    readers = {
        ".csv": _csv_lines,
        ".parquet": _parquet_lines,
        ".xlsx": _excel_lines,
        ".json": _coco_lines,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        text = f"its ending must be one of {', '.join(readers)}; save it as one of them"
        add(None, text)
        return
    try:
        yield from lines_within_limits(path, reader)
    except UnreadableTable as error:
        add(None, str(error))


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()


def _csv_lines(path: Path) -> Iterator[list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield from csv.reader(stream, strict=True)
    except UnicodeDecodeError:
        raise UnreadableTable("is not UTF-8; save it as UTF-8") from None
    except csv.Error as error:
        raise UnreadableTable(f"is not valid CSV ({error}); save it again") from None


def _parquet_lines(path: Path) -> Iterator[Any]:
    from pyarrow import parquet  # only for those who use it: half a second

    table = parquet.read_table(path)
    yield table.column_names
    for batch in table.to_batches():
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _excel_lines(path: Path) -> Iterator[Any]:
    try:
        import openpyxl
    except ImportError:
        raise UnreadableTable(
            ".xlsx needs the package openpyxl; install it, or save the table as .csv"
        ) from None
    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    with contextlib.closing(book):
        yield from book.worksheets[0].iter_rows(values_only=True)


def _coco_lines(path: Path) -> Iterator[list[Any]]:
    """Annotations of a COCO file as rows of the regions table."""
    try:
        coco = json.loads(path.read_text(encoding="utf-8"))
        images = {image["id"]: image["file_name"] for image in coco["images"]}
        sites = {kind["id"]: kind["name"] for kind in coco["categories"]}
        yield ["image", "site", "x0", "y0", "x1", "y1"]
        for item in coco["annotations"]:
            x, y, width, height = (float(value) for value in item["bbox"])
            image, site = images[item["image_id"]], sites[item["category_id"]]
            yield [image, site, x, y, x + width, y + height]
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableTable(
            f"is not a COCO file ({type(error).__name__}); it needs images, categories "
            "and annotations with bbox"
        ) from None
