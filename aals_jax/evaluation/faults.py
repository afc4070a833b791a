"""What is wrong with the files of a scoring: all of it at once, with file and row.

A row's number is the one that a spreadsheet shows, an entry's its place in the list of
a COCO file, from 1. A message never repeats a cell, which may name a patient.
"""

import itertools
from collections.abc import Iterator, Sequence

from data.cxr_registry.guard import checks
from data.cxr_registry.tables.formats import Table

_ENTRY = "entry"  # stands for the check of a problem whose row is an entry
_ALIKE = 4  # rows with one fault, from which they stand in one line
_ROWS = 5  # rows that such a line names


class Numbered(Table):
    """A table whose rows say in the cell `entry` where in the file they stand."""

    __slots__ = ()

    def numbered(self) -> Iterator[tuple[int, dict[str, str]]]:
        return ((int(cells["entry"]), cells) for cells in self.rows)


class Entries(Numbered):
    """A list of a COCO file; a row's place is counted from 1."""

    __slots__ = ()


class SubmissionError(ValueError):
    """Everything wrong with the files, in one message."""

    def __init__(self, problems: Sequence[checks.Problem]):
        place = {
            name: i for i, name in enumerate(dict.fromkeys(p.file for p in problems))
        }
        in_order = sorted(problems, key=lambda p: (place[p.file], p.row or 0))
        in_order = tuple(dict.fromkeys(in_order))
        self.faults = tuple(dict.fromkeys(map(_text, in_order)))  # a line each
        head = f"{len(self.faults)} fault(s) in the files"
        lines = checks.list_first(_lines(in_order), bullet="- ")
        super().__init__("\n".join([head, *lines]))


def _text(problem: checks.Problem) -> str:
    """A problem without its check's name: those belong to registries."""
    if problem.check == _ENTRY:
        file = f"{problem.file} entry {problem.row}"
        problem = problem._replace(file=file, row=None)
    return str(problem._replace(check=""))


def _lines(problems: Sequence[checks.Problem]) -> list[str]:
    """A line each; one for many rows of a file that have one fault."""
    alike: dict[tuple[str, str, bool], list[checks.Problem]] = {}
    for each in problems:
        key = (each.file, each.text, each.check == _ENTRY)
        alike.setdefault(key, []).append(each)
    lines = (
        [_together(each)] if len(each) >= _ALIKE else map(_text, each)
        for each in alike.values()
    )
    return list(dict.fromkeys(itertools.chain(*lines)))


def _together(problems: Sequence[checks.Problem]) -> str:
    """`a.csv rows 2, 3, 4, 5, 6 and 75 more: what is wrong`."""
    first = problems[0]
    rows = [str(each.row) for each in problems if each.row is not None]
    what = "entries" if first.check == _ENTRY else "rows"
    named = ", ".join(rows[:_ROWS])
    left = f" and {len(rows) - _ROWS} more" * (len(rows) > _ROWS)
    return f"{first.file} {what} {named}{left}: {first.text}"


class Faults:
    """Collects faults; `problems` is for those who know nothing of submissions."""

    def __init__(self):
        self.problems = checks.Problems(error=SubmissionError)

    def add(self, table: Table, row: int | None, text: str) -> None:
        check = _ENTRY if isinstance(table, Entries) and row is not None else ""
        self.problems.add(table.name, row, text, check=check)

    def is_broken(self, table: Table) -> bool:
        """Whether something is wrong with a table as a whole."""
        return any(p.file == table.name and not p.row for p in self.problems.standing)

    def stop(self) -> None:
        """Raises SubmissionError with all that was found, if there is any."""
        self.problems.raise_if_any()


def place(table: Table, row: int) -> str:
    """`row 3`, or `entry 3` of a COCO file, for a message."""
    return f"{'entry' if isinstance(table, Entries) else 'row'} {row}"
