"""From image cells to files inside the registry's folder."""

from collections.abc import Mapping
from pathlib import Path

from data.cxr_registry.guard import checks
from data.cxr_registry.tables import formats


class Paths:
    """Resolves the image cells of both tables; a file may have one row of studies."""

    def __init__(self, root: Path, studies: formats.Table, problems: checks.Problems):
        self._root, self._studies, self._problems = root.resolve(), studies, problems
        self.rows: dict[Path, int] = {}  # usable file -> its row of the studies table
        self.left_out: set[int] = set()  # rows that an allowed check leaves out

    def locate(self, cell: str) -> Path | None:
        """The path that a cell means, links followed; None where it is not a path."""
        if not cell or "\0" in cell:
            return None
        try:
            return (self._root / cell).resolve()
        except (OSError, RuntimeError, ValueError):  # a link loop, half a surrogate
            return None

    def resolve(self, row: int, line: Mapping[str, str]) -> Path | None:
        """The file of a row of studies; None after a problem."""
        if not line["patient_id"] and "patient_id" in self._studies.columns:
            self._refuse(
                row,
                "bad_value",
                "patient_id is empty; give each patient one, or take the row out",
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
        elif not _is_file(path):
            text = "image does not exist or is not a file; check the path"
            self._refuse(row, "unreadable", text)
        elif path in self.rows:
            text = f"image is also in row {self.rows[path]}; keep one row per image"
            self._refuse(row, "duplicate_image", text)
        else:
            self.rows[path] = row
            return path
        return None

    def _refuse(self, row: int, check: str, text: str) -> None:
        if self._problems.add(self._studies.name, row, text, check=check):
            self.left_out.add(row)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, half a surrogate pair
        return False
