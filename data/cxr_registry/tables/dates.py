"""Dates of studies: what is a date, what stands for none, and days since the first."""

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from data.cxr_registry.guard import checks

_FIRST_YEAR, _LAST_YEAR = (
    1950,
    2500,
)  # films outside have no digital image; de-identified
# tables may lie some centuries ahead. Days within that programs write for no date:
_NO_DATES = frozenset(
    datetime.date(*day)
    for day in (
        (1950, 1, 1), (1960, 1, 1), (1970, 1, 1), (1980, 1, 1),  # epochs
        (2099, 1, 1), (2099, 12, 31),
    )
)  # fmt: skip
_DATE = re.compile(
    r"(\d{4})([-/]?)(\d{2})\2(\d{2})(?:[T ][\d:.]*(?:Z|[+-]\d\d:?\d\d)?)?"
)
_REMEDY = "write YYYY-MM-DD, or leave it empty"


class StudyDate(NamedTuple):
    """What is kept of a study's date."""

    year: int | None
    days: int  # since the patient's first study; -1 undated


def parse_date(cell: str) -> datetime.date | None:
    """A date as YYYY-MM-DD, YYYY/MM/DD or YYYYMMDD, a time after it ignored.

    Raises:
        ValueError: it is none, or one that stands for none; says why.
    """
    if not cell:
        return None
    match = _DATE.fullmatch(cell)
    if not match:
        raise ValueError(_why(cell))
    try:
        date = datetime.date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:
        raise ValueError("is not a date: there is no such day") from None
    if not _FIRST_YEAR <= date.year <= _LAST_YEAR or date in _NO_DATES:
        raise ValueError("stands for no date, as programs fill it in")
    return date


def _why(cell: str) -> str:
    if re.fullmatch(r"[2-7]\d{4}(?:\.\d+)?", cell):
        return "is not a date but a spreadsheet's number of days"
    if re.match(r"\d{1,2}[-./]\d{1,2}[-./]\d{2,4}\b", cell):
        return "is not a date that all read alike: day or month first"
    return "is not a date"


def read_all(
    file: str,
    rows: Sequence[tuple[int, Mapping[str, str]]],
    patient_of: Mapping[int, str],
    problems: checks.Problems,
) -> dict[int, StudyDate]:
    """Row -> year and days since the patient's first dated study.

    Args:
        file: name of the table.
        rows: number and cells of each row.
        patient_of: row -> patient.
        problems: takes cells that are no dates, and dates ahead of today unless most of
            the table's are (a de-identified table may lie ahead as a whole).
    """
    dates: dict[int, datetime.date] = {}
    first: dict[str, datetime.date] = {}
    for row, cells in rows:
        try:
            date = parse_date(cells["study_date"])
        except ValueError as error:
            text = f"study_date {error}; {_REMEDY}"
            problems.add(file, row, text, check="bad_date")
            continue
        if date is not None:
            dates[row] = date
            patient = patient_of[row]
            first[patient] = min(first.get(patient, date), date)
    tomorrow = datetime.date.today() + datetime.timedelta(days=1)  # in any time zone
    ahead = [row for row, date in dates.items() if date > tomorrow]
    if 2 * len(ahead) <= len(dates):
        for row in ahead:
            text = "study_date lies ahead of today; correct it"
            problems.add(file, row, text, check="future_date")
    return {
        row: StudyDate(date.year, (date - first[patient_of[row]]).days)
        if (date := dates.get(row)) is not None
        else StudyDate(None, -1)
        for row, _ in rows
    }
