"""Cells of the studies table to values: labels, counts, ages."""

import collections
import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from data.cxr_registry.guard import checks
from data.cxr_registry.labels import codes, report_text, settling
from data.cxr_registry.tables import formats, siblings

LABELS = {"1": 1, "1.0": 1, "0": 0, "0.0": 0, "": None}
COUNT = "_count"  # ends the name of the column with a finding's number of lesions
MOST_LESIONS = 100  # a larger number is not a count but a year, a record number
Rows = Sequence[tuple[int, Mapping[str, str]]]  # number and cells of each row


class Sources(NamedTuple):
    """What a row's codes and report hold, read once for all findings."""

    codes: list[str]  # upper case without dots
    unreadable: int  # parts of the cell of codes that are none
    report: Mapping[str, report_text.TextLabel]  # by finding; empty where not read


@dataclasses.dataclass(frozen=True)
class LabelWithEvidence:
    """What a row gives for one finding."""

    label: int  # 1, 0 or -1 unknown
    evidence: str  # what decided; no patient's data
    basis: str  # the kind of evidence, as `settling.basis` names it
    count: int  # lesions that the record names; -1 where it gives no number


class Cells:
    """Reads the cells of a studies table and reports the problems of its rows."""

    def __init__(
        self,
        table: formats.Table,
        findings: Sequence[str],
        *,
        keep_non_acute: bool,
        problems: checks.Problems,
        reports: report_text.ReportOptions,
    ):
        self._table, self._problems = table, problems
        self._keep_non_acute = keep_non_acute
        self._by_report = self._findings_of_reports(findings, reports)
        self._reader = report_text.Reader(reports) if self._by_report else None
        self._options = reports
        self._reports: dict[str, dict[str, report_text.TextLabel]] = {}
        self._others = siblings.Siblings()
        self._place: dict[int, tuple[str, int]] = {}  # row -> patient, days
        self._system = codes.System.UNCLEAR
        self.disagreements: list[settling.Disagreement] = []
        self.unclear: dict[str, dict[int, None]] = collections.defaultdict(dict)
        self.non_acute = 0

    def label(
        self,
        row: int,
        cells: Mapping[str, str],
        name: str,
        sources: Sources,
        boxed: bool,
    ) -> LabelWithEvidence:
        """The label of one finding, what decided it, and how many lesions there are.

        Args:
            row: of the table.
            cells: of the row.
            name: the finding.
            sources: the row's codes and report.
            boxed: whether an expert drew a box of the finding.
        """
        statements = []
        if name in self._table.columns:
            value = self.choice(row, cells, name, LABELS)
            if value is not None:
                statements.append(_stated("column", value))
            elif cells[name]:  # it says something that nobody can read
                self._doubt(row, "labels that can't be read")
                statements.append(_doubted("column", "unreadable"))
        if name in codes.POSITIVE and "diagnosis_codes" in self._table.columns:
            statements.append(self._coded(row, name, sources, decides=not statements))
        if name in sources.report:
            statements.append(_reported(sources.report[name]))
        count = self._count(row, cells, name, statements)
        statements += [_counted(count)] if count >= 0 else []
        label, why = settling.settle(statements)
        drawn = [_stated("region", 1)] if boxed else []
        self.disagreements += [
            settling.Disagreement(row, name, *pair)
            for pair in settling.conflicts([*drawn, *statements])
        ]
        if boxed and label == 0:
            text = f"a box of {name} on an image whose record says negative"
            self._problems.add(self._table.name, row, text, check="box_on_negative")
            label, why = 1, f"region, against {why}"
        elif boxed and label < 0:
            label, why = 1, "region"
        if label == 1 and count == 0:
            count = -1  # it belongs to the record that the box overrules
        basis = settling.basis(statements, boxed=boxed)
        return LabelWithEvidence(label, why, basis, count)

    def read_reports(self, rows: Rows, *, workers: int) -> None:
        """Reads all reports ahead, in processes; `sources` reads the others itself."""
        if self._reader and workers > 1:
            self._reports = report_text.read_all(
                {cells["report"] for _, cells in rows},
                self._by_report,
                options=self._options,
                workers=workers,
            )

    def compare_rows(
        self,
        rows: Rows,
        patient_of: Mapping[int, str],
        days: Mapping[int, int],
        boxed: Mapping[int, Collection[str]],
    ) -> None:
        """Reads what the whole table says about the codes of a row.

        Args:
            rows: of the table.
            patient_of: row -> patient; "" unknown.
            days: row -> since the patient's first study; -1 undated.
            boxed: row -> findings that an expert drew.
        """
        if "diagnosis_codes" not in self._table.columns:
            return
        split = {
            cell: codes.split_codes(cell)
            for cell in {cells["diagnosis_codes"] for _, cells in rows}
        }
        self._system = codes.system_of(
            code for found, _ in split.values() for code in found
        )
        for name in codes.POSITIVE:
            telling = {
                cell
                for cell, (found, bad) in split.items()
                if bad or self._read(found, name).label
            }
            for row, cells in rows:
                count = cells.get(name + COUNT, "")
                is_stated = LABELS.get(cells.get(name, "")) or count.strip("0.")
                is_coded = cells["diagnosis_codes"] in telling
                if is_coded or is_stated or name in boxed.get(row, ()):
                    self._others.add(name, row, patient_of[row], days[row])
        self._place = {row: (patient_of[row], days[row]) for row, _ in rows}

    @property
    def report_rules(self) -> dict[str, Any]:
        """How reports are read, for build.json; empty where none is read."""
        return {"reports": self._reader.facts} if self._reader else {}

    def defines(self, name: str) -> bool:
        """Whether anything in the table gives the finding's label."""
        counted = name + COUNT in self._table.columns
        return self._is_recorded(name) or name in self._by_report or counted

    def sources(self, row: int, cells: Mapping[str, str]) -> Sources:
        """The row's diagnosis codes, and what its report says."""
        valid, bad = codes.split_codes(cells.get("diagnosis_codes", ""))
        if bad:
            total = len(valid) + len(bad)
            named = codes.name_systems(bad)
            of = f" but of {', '.join(named)}" if named else ""
            text = f"diagnosis_codes: {len(bad)} of {total} are not codes{of}"
            text += "; write ICD codes alone, split by ;"
            self._problems.add(self._table.name, row, text, check="bad_value")
        report = {}
        if self._reader:
            read_ahead = self._reports.get(cells["report"])
            report = read_ahead or self._reader.labels(cells["report"], self._by_report)
        return Sources(valid, len(bad), report)

    def _is_recorded(self, name: str) -> bool:
        by_code = name in codes.POSITIVE and "diagnosis_codes" in self._table.columns
        return name in self._table.columns or by_code

    def _findings_of_reports(
        self, findings: Sequence[str], reports: report_text.ReportOptions
    ) -> tuple[str, ...]:
        """The findings whose label the reports help to decide."""
        if reports.read == "never" or "report" not in self._table.columns:
            return ()
        needed = [
            name
            for name in findings
            if reports.read == "always" or not self._is_recorded(name)
        ]
        readable = report_text.findings(reports) if needed else frozenset()
        return tuple(name for name in needed if name in readable)

    def _read(self, found: list[str], name: str) -> codes.CodeLabel:
        return codes.read_codes(
            found, name, keep_non_acute=self._keep_non_acute, system=self._system
        )

    def _coded(
        self, row: int, name: str, sources: Sources, *, decides: bool
    ) -> settling.Statement:
        coded = self._read(sources.codes, name)
        self.non_acute += coded.non_acute
        side = f" ({coded.side})" if coded.side else ""
        evidence = coded.evidence + side
        has_codes = bool(sources.codes)
        weight = settling.Weight.IMPLIED if has_codes else settling.Weight.SILENT
        if sources.unreadable:
            evidence = f"{sources.unreadable} unreadable, {evidence}"
            self._doubt(row, "codes that can't be read")
            return _doubted("codes", evidence)
        if coded.label > 0:
            weight = settling.Weight.STATED
        elif coded.label < 0:
            self._doubt(row, "codes of an old, suspected or unnamed fracture")
            return _doubted("codes", evidence)
        elif decides and (
            other := self._others.find(
                name, row, *self._place[row], has_codes=has_codes
            )
        ):
            kind = "of the finding" if has_codes else "given"
            self._doubt(row, "only another row of the patient has the finding")
            pair = settling.Disagreement(row, name, "codes 0", "other image 1")
            self.disagreements.append(pair)
            evidence = f"none {kind}, but row {other} of the patient has the finding"
            return _doubted("codes", evidence)
        return settling.Statement("codes", coded.label, evidence, weight)

    def _doubt(self, row: int, kind: str) -> None:
        self.unclear[kind][row] = None

    def _count(
        self,
        row: int,
        cells: Mapping[str, str],
        name: str,
        statements: Sequence[settling.Statement],
    ) -> int:
        """The count of a row; -1 where it has none, or one against its label."""
        column = name + COUNT
        cell = cells.get(column, "")
        match = re.fullmatch(r"([0-9]{1,3})(?:\.0+)?", cell)
        count = int(match[1]) if match else MOST_LESIONS + 1
        if cell and count > MOST_LESIONS:
            text = f"{column} must be a whole number from 0 to {MOST_LESIONS}, or empty"
        elif cell and (
            contradicted := settling.contradicted_by(_counted(count), statements)
        ):
            claim = "names lesions" if count else "says that there are none"
            other = f"column {name}" if contradicted == "column" else contradicted
            text = (
                f"{column} {claim}, against the record's {other}; correct one of them, "
                "or leave the count empty"
            )
        else:
            return count if cell else -1
        self._problems.add(self._table.name, row, text, check="bad_value")
        return -1

    def choice(self, row: int, cells: Mapping[str, str], column: str, values: Mapping):
        """The value of a cell out of a table of values; None when it is empty."""
        cell = cells.get(column, "")
        if cell in values or cell.upper() in values:
            return values[cell if cell in values else cell.upper()]
        if cell:
            names = ", ".join(str(value) for value in values if value)
            text = f"{column} must be one of {names}, or empty"
            self._problems.add(self._table.name, row, text, check="bad_value")
        return None

    def age(self, row: int, cell: str) -> int | None:
        """Years, from "36", "36.5" or DICOM's "036Y"."""
        match = re.fullmatch(r"(\d{1,3})(?:\.\d+)?\s*([YMWD]?)", cell.upper())
        if match:
            years = int(match[1]) if match[2] in ("", "Y") else 0
            if years <= 130:
                return years
        if cell:
            text = "age must be a number of years from 0 to 130, or empty"
            self._problems.add(self._table.name, row, text, check="bad_value")
        return None


def _stated(source: str, label: int, evidence: str = "") -> settling.Statement:
    return settling.Statement(source, label, evidence, settling.Weight.STATED)


def _doubted(source: str, evidence: str) -> settling.Statement:
    return settling.Statement(source, -1, evidence, settling.Weight.DOUBTED)


def _reported(report: report_text.TextLabel) -> settling.Statement:
    weight = settling.Weight.STATED if report.label >= 0 else settling.Weight.DOUBTED
    if report.silent:
        weight = settling.Weight.SILENT
    return settling.Statement("report", report.label, report.evidence, weight)


def _counted(count: int) -> settling.Statement:
    return _stated("count", int(count > 0), str(count))
