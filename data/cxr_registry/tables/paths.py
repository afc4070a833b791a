"""From image cells to files inside the registry's folder."""

import collections
import functools
import os
import re
import unicodedata
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

from data.cxr_registry.guard import checks
from data.cxr_registry.tables import formats, patients

_ELSEWHERE = re.compile(r"[A-Za-z]:[\\/]|\\\\|[A-Za-z][\w+.-]+://")


class Paths:
    """Resolves the image cells of both tables; a file may have one row of studies."""

    def __init__(self, root: Path, studies: formats.Table, problems: checks.Problems):
        self._root, self._studies, self._problems = root.resolve(), studies, problems
        self.rows: dict[Path, int] = {}  # usable file -> its row of the studies table
        self.left_out: set[int] = set()  # rows that an allowed check leaves out
        self._listed: dict[str, dict[str, str]] = {}  # folder -> see `_names`

    def locate(self, cell: str) -> Path | None:
        """The path that a cell means, links followed; None where it is not a path."""
        if not cell or "\0" in cell:
            return None
        try:
            return (self._root / cell).resolve()
        except (OSError, RuntimeError, ValueError):  # a link loop, half a surrogate
            return None

    def find(self, cell: str) -> Path | None:
        """The usable file that a cell of the regions table means; else as `locate`.

        A name without a folder means the only file of that name, as in COCO files.
        """
        path = self.locate(cell)
        if path in self.rows or "/" in cell:
            return path
        named = self._by_name.get(cell, ())
        return named[0] if len(named) == 1 else path

    @functools.cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        by_name = collections.defaultdict(list)
        for path in self.rows:
            by_name[path.name].append(path)
        return dict(by_name)

    def resolve(self, row: int, line: Mapping[str, str]) -> Path | None:
        """The file of a row of studies; None after a problem."""
        if "patient_id" in self._studies.columns and patients.is_missing(
            line["patient_id"]
        ):
            what = "is a word for no patient" if line["patient_id"] else "is empty"
            self._refuse(
                row,
                "bad_value",
                f"patient_id {what}; give each patient one, or take the row out",
            )
            return None
        if "image" not in self._studies.columns:
            return None
        path = self.locate(line["image"])
        if path is None:
            text = "is not a path; check the cell" if line["image"] else "is empty"
            self._refuse(row, "unreadable", f"image {text}")
        elif not path.is_relative_to(self._root):
            text = "image leaves the registry's folder; copy the file into it"
            self._refuse(row, "leaves_folder", text)
        elif not is_file(path):
            self._refuse(row, "unreadable", self.explain(line["image"]))
        elif path in self.rows:
            text = f"image is also in row {self.rows[path]}; keep one row per image"
            self._refuse(row, "duplicate_image", text)
        else:
            self.rows[path] = row
            return path
        return None

    def explain(self, cell: str) -> str:
        """Why a cell leads to no file: what it would have to be written like."""
        if _ELSEWHERE.match(cell):
            return (
                "image does not exist: it is an address outside of the registry (a "
                "drive, a server, a link); write the path below its folder, with /"
            )
        differs = []
        if "\\" in cell:
            differs.append("backslashes (Windows)")
            cell = cell.replace("\\", "/")
        if not self._match(cell) and "%" in cell:
            differs.append("percent signs for characters")
            cell = urllib.parse.unquote(cell)
        plain = unicodedata.normalize("NFKC", cell)
        if not self._match(cell) and self._match(plain):
            differs.append("full-width signs")
            cell = plain
        found = self._match(cell)
        if found and found != cell:
            differs.append(_difference(cell, found))
        if found and differs:
            return (
                f"image does not exist as it is written, for {' and '.join(differs)}; "
                "write it as the file is named, with /"
            )
        if differs:
            return f"image does not exist; it has {' and '.join(differs)}; write /"
        return "image does not exist or is not a file; check the path"

    def _match(self, cell: str) -> str:
        """The path of a file that is spelled a little differently; "" for none."""
        place: list[str] = []
        if not cell or ".." in Path(cell).parts or Path(cell).is_absolute():
            return ""
        for part in Path(cell).parts:
            folder, bare = "/".join(place), _bare(part)
            names = self._names(folder)
            is_there = _is_there(self._root / folder / part)
            place.append(
                part if is_there else names.get(bare) or names.get(bare + ".", "")
            )
            if not place[-1]:
                return ""
        return "/".join(place)

    def _names(self, folder: str) -> dict[str, str]:
        """Bare name -> name in a folder; "i0." is one without its ending."""
        if folder not in self._listed:
            try:
                names = sorted(os.listdir(self._root / folder))
            except (OSError, ValueError):
                names = []
            stems = {_bare(Path(name).stem) + ".": name for name in names}
            self._listed[folder] = stems | {_bare(name): name for name in names}
        return self._listed[folder]

    def _refuse(self, row: int, check: str, text: str) -> None:
        if self._problems.add(self._studies.name, row, text, check=check):
            self.left_out.add(row)


def _bare(name: str) -> str:
    return unicodedata.normalize("NFC", "".join(name.split())).casefold()


def _difference(cell: str, found: str) -> str:
    """In what the cell differs from the path that is there."""
    cell, found = (unicodedata.normalize("NFC", text) for text in (cell, found))
    if cell == found:
        return "marks on letters in another Unicode form (decomposed, macOS)"
    if cell.casefold() == found.casefold():
        return "capital and small letters"
    if Path(cell).suffix != Path(found).suffix:
        return "a missing ending"
    return "blanks"


def is_file(path: Path) -> bool:
    """Whether a path leads to a file; it may be none at all."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, half a surrogate pair
        return False


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
