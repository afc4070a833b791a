"""Problems of a registry, collected and reported at once, none with a patient's data.

A problem names the table's file, the row and the check; never the cell's content.
"""

import collections
from collections.abc import Collection
from typing import NamedTuple

# Check -> what happens to the row when it is allowed to pass.
CHECKS = {
    "bad_value": "the cell counts as empty",
    "bad_date": "the date counts as unknown",
    "unreadable": "the row is left out",
    "leaves_folder": "the row is left out",
    "duplicate_image": "the first row is kept",
    "unknown_site": "the box is left out",
    "box_outside": "the box is left out",
    "box_without_study": "the box is left out",
    "box_on_negative": "the box wins: the image is positive",
    "patient_in_two_splits": "the rows stay where the split column says",
    "same_pixels": "both images are kept",
    "burned_in": "images flagged as having burned-in text are kept",
}
# Problems that nothing lets pass: of a file, of a whole table, of too many images.
ALWAYS = ("table", "columns", "quarantine")
_SHOWN = 50  # problems in the message; all of them are in `.problems`


class Problem(NamedTuple):
    """One finding of the audit."""

    file: str  # the table's file name
    row: int | None  # as a spreadsheet numbers it; None for the whole table
    check: str  # a key of CHECKS, or one of ALWAYS
    text: str  # what is wrong and what to do

    def __str__(self) -> str:
        place = self.file if self.row is None else f"{self.file} row {self.row}"
        return f"{place}: {self.text} [{self.check}]"


class RegistryError(ValueError):
    """Everything wrong with a registry, in one message."""

    def __init__(self, problems: Collection[Problem]):
        self.problems = tuple(
            sorted(problems, key=lambda problem: (problem.file, problem.row or 0))
        )
        lines = [f"  {problem}" for problem in self.problems[:_SHOWN]]
        if left := len(self.problems) - _SHOWN:
            lines += (
                [f"  ... and {left} more: --mode=audit lists all"] if left > 0 else []
            )
        kinds = sorted({p.check for p in self.problems} & CHECKS.keys())
        remedy = f"; mend the tables, or allow: {', '.join(kinds)}" if kinds else ""
        head = f"{len(self.problems)} problem(s) in the registry{remedy}"
        super().__init__("\n".join([head, *lines]))

    def __reduce__(self):
        return RegistryError, (self.problems,)


class Audit:
    """Collects problems; those of an allowed check are counted instead."""

    def __init__(self, allow: Collection[str]):
        if unknown := sorted(set(allow) - CHECKS.keys()):
            raise ValueError(f"allow={unknown} are no checks; they are {list(CHECKS)}")
        self.allow = frozenset(allow)
        self.problems: list[Problem] = []
        self.allowed: collections.Counter[str] = collections.Counter()

    def report(self, file: str, row: int | None, check: str, text: str) -> bool:
        """Notes a problem; returns whether it may pass."""
        if check in self.allow:
            self.allowed[check] += 1
        else:
            self.problems.append(Problem(file, row, check, text))
        return check in self.allow

    def stop(self) -> None:
        """Raises what has been collected, if anything."""
        if self.problems:
            raise RegistryError(self.problems)
