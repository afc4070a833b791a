"""Official files of a download, read as text; every problem is collected.

A problem names the file and the row as a spreadsheet numbers it (the header is row 1),
and never quotes a cell: names of images hold patients' numbers.
"""

import csv
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from data.cxr_registry.guard import checks
from data.public import readers


class Sheet(NamedTuple):
    """A CSV file as it is: header and numbered rows, both empty after a problem."""

    file: str
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]

    def records(self) -> Iterable[tuple[int, dict[str, str]]]:
        """Number and cells by column of each row; short rows get empty cells."""
        for number, cells in self.rows:
            missing = ("",) * (len(self.header) - len(cells))
            yield number, dict(zip(self.header, cells + missing, strict=False))


def read_sheet(
    path: Path, *, columns: Sequence[str], official: str, problems: checks.Problems
) -> Sheet:
    """Reads a CSV file; reports a missing file and missing columns.

    Args:
        path: the file.
        columns: names that the header must have.
        official: where the file comes from, for the message.
        problems: takes the problems.
    """
    empty = Sheet(path.name, (), ())
    if not path.is_file():
        text = f"is missing; it is one of the official files of {official}"
        problems.add(path.name, None, text, check="columns")
        return empty
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream, strict=True)
            rows = [
                (lines.line_num, tuple(cell.strip() for cell in line))
                for line in lines
                if line
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        text = f"is not CSV in UTF-8 ({type(error).__name__}); download it again"
        problems.add(path.name, None, text, check="columns")
        return empty
    header = rows[0][1] if rows else ()
    if missing := [name for name in columns if name not in header]:
        text = f"has no column {', '.join(missing)}; is it the file of {official}?"
        problems.add(path.name, None, text, check="columns")
        return empty
    return Sheet(path.name, header, tuple(rows[1:]))


def read_names(
    path: Path, *, official: str, problems: checks.Problems
) -> dict[str, int]:
    """Name -> row, of a file with one name per line."""
    if not path.is_file():
        text = f"is missing; it is one of the official files of {official}"
        problems.add(path.name, None, text, check="columns")
        return {}
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return {line.strip(): row for row, line in enumerate(lines, 1) if line.strip()}


def find_images(
    root: Path, folders: Iterable[Path], *, suffix: str, problems: checks.Problems
) -> dict[str, str]:
    """File name -> path below the download; folders that don't exist are skipped."""
    images: dict[str, str] = {}
    for folder in sorted(folders):
        where = folder.relative_to(root).as_posix()
        for name in sorted(os.listdir(folder) if folder.is_dir() else ()):
            if not name.endswith(suffix):
                continue
            if name in images:
                text = f"an image of {where}/ lies in an earlier folder too"
                problems.add("images", None, text, check="duplicate_image")
            images.setdefault(name, f"{where}/{name}")
    if not images:
        text = f"no *{suffix} files where the official download has them"
        problems.add("images", None, text, check="columns")
    return images


def parse_box(cells: Sequence[str], *, as_size: bool) -> readers.Box:
    """A box out of four cells.

    Args:
        cells: x0, y0, x1, y1; or x, y, width, height.
        as_size: whether the last two are width and height.

    Raises:
        ValueError: they are not numbers, or the box has no area.
    """
    x0, y0, x1, y1 = (float(cell) for cell in cells)
    if as_size:
        x1, y1 = x0 + x1, y0 + y1
    if not all(map(math.isfinite, (x0, y0, x1, y1))) or x1 <= x0 or y1 <= y0:
        raise ValueError("no area")
    return x0, y0, x1, y1


def allowed_notes(problems: checks.Problems) -> dict[str, int]:
    """What was allowed, in words -> how often."""
    return {
        f"allowed {check} ({checks.CHECKS[check]})": number
        for check, number in problems.allowed.items()
    }


def slug(label: str, *, names: Mapping[str, str]) -> str:
    """A label of the data set as a finding's name: lower case, words joined by "_".

    Args:
        label: as the data set writes it.
        names: such a name -> the one to use instead.

    >>> slug("Nodule/Mass", names={"rib_fracture": "rib"})
    'nodule_mass'
    """
    letters = "".join(c if c.isalnum() else " " for c in label.lower())
    name = "_".join(letters.split())
    return names.get(name, name)
