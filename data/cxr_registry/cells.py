"""Cells of the studies table to values: labels with evidence, dates, ages."""

import datetime
import re
from collections.abc import Mapping, Sequence

from data.cxr_registry import audit as audits
from data.cxr_registry import codes, tables

_LABELS = {"1": 1, "1.0": 1, "0": 0, "0.0": 0, "": None}


class Cells:
    """Reads the cells of a studies table and collects the problems of its rows."""

    def __init__(
        self,
        table: tables.Table,
        *,
        keep_non_acute: bool,
        audit: audits.Audit,
    ):
        self._table, self._audit = table, audit
        self._keep_non_acute = keep_non_acute
        self.disagreements: list[tuple[int, str]] = []
        self.non_acute = 0

    def days(self, rows: Sequence[tuple[int, Mapping[str, str]]]) -> dict[int, int]:
        """Row -> days since the patient's first dated study; -1 undated."""
        dates, first = {}, {}
        for row, cells in rows:
            try:
                date = parse_date(cells["study_date"])
            except ValueError:
                date = None
                text = "study_date is no date; write YYYY-MM-DD, or leave it empty"
                self._audit.report(self._table.name, row, "bad_date", text)
            dates[row] = date
            if date is not None:
                patient = cells["patient_id"]
                first[patient] = min(first.get(patient, date), date)
        return {
            row: -1
            if dates[row] is None
            else (dates[row] - first[c["patient_id"]]).days
            for row, c in rows
        }

    def label(
        self,
        row: int,
        cells: Mapping[str, str],
        name: str,
        found: list[str],
        boxed: bool,
    ) -> tuple[int, str]:
        """The label of one finding and what decided it.

        Args:
            row: of the table.
            cells: of the row.
            name: the finding.
            found: the row's codes.
            boxed: whether an expert drew a box of the finding.
        """
        stated = None
        if name in self._table.columns:
            stated = self.choice(row, cells, name, _LABELS)
        label, why = (-1, "nothing") if stated is None else (stated, "column")
        if name in codes.POSITIVE and "diagnosis_codes" in self._table.columns:
            read = codes.read_codes(found, name, keep_non_acute=self._keep_non_acute)
            self.non_acute += read.non_acute
            if stated is None:
                label, why = read.label, f"codes: {read.evidence}"
            elif read.label >= 0 and cells["diagnosis_codes"] and read.label != stated:
                self.disagreements.append((row, name))
        if boxed and label == 0:
            text = f"a box of {name} on an image whose record says negative"
            self._audit.report(self._table.name, row, "box_on_negative", text)
            return 1, f"region, against {why}"
        return (1, "region") if boxed and label < 0 else (label, why)

    def codes(self, row: int, cells: Mapping[str, str]) -> list[str]:
        """The row's diagnosis codes, upper case without dots."""
        good, bad = codes.split_codes(cells.get("diagnosis_codes", ""))
        if bad:
            text = f"diagnosis_codes: {len(bad)} of {len(good) + len(bad)} are no codes"
            self._audit.report(self._table.name, row, "bad_value", text)
        return good

    def choice(self, row: int, cells: Mapping[str, str], column: str, values: Mapping):
        """The value of a cell out of a table of values; None when it is empty."""
        cell = cells.get(column, "")
        if cell in values or cell.upper() in values:
            return values[cell if cell in values else cell.upper()]
        if cell:
            shown = ", ".join(str(value) for value in values if value)
            text = f"{column} is none of {shown} or empty"
            self._audit.report(self._table.name, row, "bad_value", text)
        return None

    def age(self, row: int, cell: str) -> int | None:
        """Years, from "36", "36.5" or DICOM's "036Y"."""
        match = re.fullmatch(r"(\d{1,3})(?:\.\d+)?\s*([YMWD]?)", cell.upper())
        if match:
            years = int(match[1]) if match[2] in ("", "Y") else 0
            if years <= 130:
                return years
        if cell:
            text = "age is no number of years from 0 to 130"
            self._audit.report(self._table.name, row, "bad_value", text)
        return None


def parse_date(cell: str) -> datetime.date | None:
    """A date as YYYY-MM-DD, YYYY/MM/DD or YYYYMMDD, a time after it ignored."""
    if not cell:
        return None
    match = re.fullmatch(r"(\d{4})([-/]?)(\d{2})\2(\d{2})(?:[T ][\d:.]*)?", cell)
    if not match:
        raise ValueError("no date")
    return datetime.date(int(match[1]), int(match[3]), int(match[4]))
