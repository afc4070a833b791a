"""Limits on the memory and time that a table's file may take, and on what it raises.

A few KB of a zip or of Parquet may stand for any number of cells, and the libraries
that read them raise any exception, with paths and cells in its text.
"""

import dataclasses
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

MAX_BYTES = 1 << 30  # size of the file
MAX_UNPACKED = 512 << 20  # bytes that a zip's members or Parquet's columns claim
MAX_CELLS = 10_000_000  # 400,000 rows of 25 columns, some 10 s to read
_ROW = 10  # cells that each row counts for at least: empty rows take memory too
MAX_EMPTY = 200_000  # rows of empty cells; a program may leave a million of them
_KINDS = {".csv": "CSV", ".parquet": "Parquet", ".xlsx": "Excel", ".json": "COCO"}


class UnreadableTable(ValueError):
    """Why a file can't be read as a table, in one line without the file's name."""


@dataclasses.dataclass(frozen=True)
class Noted:
    """A line of a table with a remark of its reader."""

    cells: Sequence[Any] = ()
    fault: str = ""  # what is wrong and what to do; "" for nothing
    check: str = "table"  # of the fault
    is_row: bool = True  # False: the fault is the whole file's and there are no cells
    is_filled: bool = False  # some cells come from a merged cell


def is_over(rows: int, cells: int) -> bool:
    """Whether so many rows, of so many cells each, are more than a table may have."""
    return rows * max(cells, _ROW) > MAX_CELLS


def lines_within_limits(
    path: Path, reader: Callable[[Path], Iterator[Any]]
) -> Iterator[Any]:
    """The reader's lines, as long as the file is within the limits.

    Args:
        path: the table.
        reader: gives its lines, the header first.

    Raises:
        UnreadableTable: the file can't be read or is over a limit.
    """
    cells = empty = 0
    try:
        _check_claims(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl's quote cells
            for line in reader(path):
                found = line.cells if isinstance(line, Noted) else line
                cells += max(len(found), _ROW)
                empty += not any(map(_is_filled, found))
                if empty > MAX_EMPTY:
                    raise UnreadableTable(
                        f"holds over {MAX_EMPTY:,} empty rows; remove them: save the "
                        "filled ones alone"
                    )
                if cells > MAX_CELLS:
                    raise UnreadableTable(
                        f"holds over {MAX_CELLS:,} cells; remove empty rows and "
                        "columns, or split it"
                    )
                yield line
    except UnreadableTable:
        raise
    except Exception as error:  # a hostile file may raise anything
        kind = _KINDS.get(path.suffix.lower(), "table")
        raise UnreadableTable(
            f"is not a valid {kind} file, or can't be opened "
            f"({type(error).__name__}); save it again"
        ) from None


def _is_filled(cell: Any) -> bool:
    return cell is not None and bool(str(cell).strip())


def _check_claims(path: Path) -> None:
    """Checks what the file claims to hold; its readers never unpack more than that."""
    if path.stat().st_size > MAX_BYTES:
        raise UnreadableTable(f"is over {MAX_BYTES >> 20} MiB; split it")
    claimed = 0
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as members:
            claimed = sum(member.file_size for member in members.infolist())
    elif path.suffix.lower() == ".parquet":
        from pyarrow import parquet  # half a second, only for those who use it

        facts = parquet.read_metadata(path)
        groups = [facts.row_group(index) for index in range(facts.num_row_groups)]
        claimed = sum(group.total_byte_size for group in groups)
        # a run of equal cells takes a few bytes, whatever its length
        if facts.num_rows * max(facts.num_columns, _ROW) > MAX_CELLS:
            claimed = max(claimed, MAX_UNPACKED + 1)
    if claimed > MAX_UNPACKED:
        raise UnreadableTable(
            f"unpacks to over {MAX_UNPACKED >> 20} MiB or {MAX_CELLS:,} cells; split it"
        )
