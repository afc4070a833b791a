"""Tables of a registry as rows of text: CSV, Parquet, Excel, and COCO regions.

Every cell is text, so that record number 00123 stays 00123. A row's number is the
one that a spreadsheet shows: the header is row 1.
"""

import csv
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

SUFFIXES = (".csv", ".parquet", ".xlsx")


class Table(NamedTuple):
    """A table's file name, its columns and its rows of stripped text."""

    name: str
    columns: tuple[str, ...]
    rows: list[dict[str, str]]

    def numbered(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Rows that hold something, with their number in the file."""
        numbered = enumerate(self.rows, start=2)
        return ((number, cells) for number, cells in numbered if any(cells.values()))


def find_table(root: Path, stem: str, *, suffixes: tuple[str, ...] = SUFFIXES):
    """The one file of that stem below the registry; None when there is none."""
    found = [
        root / f"{stem}{end}" for end in suffixes if (root / (stem + end)).exists()
    ]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ValueError(f"{names}: two tables of the same kind; keep one")
    return found[0] if found else None


def read_table(path: Path) -> Table:
    """Reads one table, every column as text."""
    readers = {
        ".csv": _csv_lines,
        ".parquet": _parquet_lines,
        ".xlsx": _excel_lines,
        ".json": _coco_lines,
    }
    if path.suffix.lower() not in readers:
        known = ", ".join(readers)
        raise ValueError(
            f"{path.name}: is none of {known} by its ending; save it as one"
        )
    lines = readers[path.suffix.lower()](path)
    columns = tuple(_text(name) for name in next(lines, ()))
    named = [name for name in columns if name]  # Excel keeps formatted empty columns
    if len(set(named)) < len(named):
        raise ValueError(f"{path.name}: two columns of one name; rename one")
    rows = []
    for number, line in enumerate(lines, start=2):
        if len(line) > len(columns):
            raise ValueError(
                f"{path.name} row {number}: {len(line)} cells under {len(columns)} "
                "columns; quote cells that hold the separator"
            )
        cells = [_text(cell) for cell in line] + [""] * (len(columns) - len(line))
        pairs = zip(columns, cells, strict=True)
        rows.append({name: cell for name, cell in pairs if name})
    return Table(path.name, tuple(named), rows)


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()


def _csv_lines(path: Path) -> Iterator[list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield from csv.reader(stream, strict=True)
    except UnicodeDecodeError:
        raise ValueError(f"{path.name}: is not UTF-8; save it as UTF-8") from None
    except csv.Error as error:
        raise ValueError(f"{path.name}: is no CSV ({error}); save it again") from None


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
        raise ValueError(
            f"{path.name}: .xlsx needs the package openpyxl; install it, or save the "
            "table as .csv"
        ) from None
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (zipfile.BadZipFile, KeyError, OSError):
        raise ValueError(f"{path.name}: is no Excel file; save it again") from None
    try:
        yield from book.worksheets[0].iter_rows(values_only=True)
    finally:
        book.close()


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
        raise ValueError(
            f"{path.name}: is no COCO file ({type(error).__name__}); it needs images, "
            "categories and annotations with bbox"
        ) from None
