"""The checks of a registry, and the problems that they find.

All problems are collected and raised together. A problem names the file, the row and
the check, never the cell's content, which may name a patient.
"""

import collections
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

# Check -> what happens to the row when it is allowed to pass. Three more can't be
# allowed: "table" (of a file), "columns" (of a whole table), "quarantine" (of too many
# unusable images).
CHECKS = {
    "bad_value": "the cell counts as empty, a label or codes as unknown",
    "bad_date": "the date counts as unknown",
    "future_date": "the date counts",
    "patient_id": "spellings count as one patient, rounded numbers as they stand",
    "hidden_row": "the row counts",
    "hidden_column": "the column counts",
    "struck_out": "the row is left out",
    "unreadable": "the row is left out",
    "leaves_folder": "the row is left out",
    "duplicate_image": "the first row is kept",
    "unknown_site": "the box is left out",
    "box_outside": "the box is left out",
    "box_scale": "the box stays where its numbers put it",
    "box_without_study": "the box is left out",
    "duplicate_box": "the first box is kept",
    "box_on_negative": "the box wins: the image is positive",
    "patient_in_two_splits": "the rows stay where the split column says",
    "same_pixels": "both images are kept",
    "burned_in": "images flagged as having burned-in text are kept",
    "lateral": "lateral films, which a build leaves out, are kept",
    "view": "films whose header names two views, which a build leaves out, are kept",
    "modality": "images of Modality DR, XR, OT or SC are read as radiographs",
    "negative": "images that look like negatives are kept; only an audit looks",
}
_LISTED = 50  # problems in a message; an error's `problems` holds all of them


class Problem(NamedTuple):
    """One thing that is wrong, and where."""

    file: str  # the file's name; "" where the problem is in no file
    row: int | None  # as a spreadsheet numbers it; None for the whole file
    check: str  # a key of CHECKS or one that can't be allowed; "" outside of a registry
    text: str  # what is wrong and what to do

    def __str__(self) -> str:
        place = self.file if self.row is None else f"{self.file} row {self.row}"
        check = f" [{self.check}]" if self.check else ""
        return f"{place}: {self.text}{check}" if place else f"{self.text}{check}"


def list_first(
    problems: Collection[object], *, bullet: str = "", hint: str = ""
) -> list[str]:
    """The first 50 problems, a line each, and how many more there are.

    Args:
        problems: anything whose `str` is one line.
        bullet: what each line begins with.
        hint: what follows the number of those not listed.
    """
    lines = [f"{bullet}{problem}" for problem in problems][:_LISTED]
    left = len(problems) - _LISTED
    return lines + [f"{bullet}... and {left} more{hint}"] * (left > 0)


class RegistryError(ValueError):
    """Everything wrong with a registry, in one message."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = tuple(
            sorted(problems, key=lambda problem: (problem.file, problem.row or 0))
        )
        failed = sorted({p.check for p in self.problems} & CHECKS.keys())
        remedy = f"; mend the tables, or allow: {', '.join(failed)}" if failed else ""
        head = f"{len(self.problems)} problem(s) in the registry{remedy}"
        hint = ": --mode=audit lists all"
        lines = list_first(self.problems, bullet="  ", hint=hint)
        super().__init__("\n".join([head, *lines]))

    def __reduce__(self):
        return RegistryError, (self.problems,)


class Problems:
    """Collects problems; those of an allowed check are counted instead.

    Args:
        allow: checks that may pass, keys of CHECKS.
        error: makes the exception out of all problems.

    Raises:
        ValueError: `allow` names something that is not a check.
    """

    def __init__(
        self,
        allow: Collection[str] = (),
        *,
        error: Callable[[Sequence[Problem]], Exception] = RegistryError,
    ):
        if unknown := sorted(set(allow) - CHECKS.keys()):
            raise ValueError(f"allow={unknown} are not checks; use {list(CHECKS)}")
        self.allow = frozenset(allow)
        self.standing: list[Problem] = []  # in the order in which they were found
        self.allowed: collections.Counter[str] = collections.Counter()  # by check
        self._error = error

    def add(self, file: str, row: int | None, text: str, *, check: str = "") -> bool:
        """Notes a problem; returns whether it is allowed to pass."""
        if check in self.allow:
            self.allowed[check] += 1
        else:
            self.standing.append(Problem(file, row, check, text))
        return check in self.allow

    def raise_if_any(self) -> None:
        """Raises one exception with all problems that stand."""
        if self.standing:
            raise self._error(self.standing)
