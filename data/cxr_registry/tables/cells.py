"""Cells of the studies table to values: labels, counts, ages."""

import collections
import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from data.cxr_registry.guard import checks
from data.cxr_registry.labels import codes, report_text, settling, words
from data.cxr_registry.tables import formats, own_labels, siblings

LABELS = words.accepted(words.Reader.COLUMN)
COUNT = "_count"  # ends the name of the column with a finding's number of lesions
_LONGEST_CODES = 200  # characters of a cell of codes; a longer one is text
# Columns beside `report` that hold another part of it, in English and German.
_PARTS = frozenset(
    {"findings", "impression", "conclusion", "interpretation", "addendum"}
    | {"final_report", "report_2", "befund", "beurteilung", "nachtrag"}
)
MOST_LESIONS = 100  # a larger number is not a count but a year, a record number
Rows = Sequence[tuple[int, Mapping[str, str]]]  # number and cells of each row


class Sources(NamedTuple):
    """What a row's codes and report hold, read once for all findings."""

    codes: list[str]  # upper case without dots
    unreadable: int  # parts of the cell of codes that are none
    report: Mapping[str, report_text.TextLabel]  # by finding; empty where not read
    own: Mapping[str, own_labels.OwnLabel]  # by finding, of the user's own reader


class Comparison(NamedTuple):
    """One label by the rules for reports, and by the user's own reader."""

    row: int
    finding: str
    rules: int  # 1, 0 or -1 unknown
    own: int


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
        own: own_labels.OwnLabels | None = None,
    ):
        self._table, self._problems = table, problems
        self._keep_non_acute = keep_non_acute
        self._findings = tuple(findings)
        self._own_table = own
        self._own = self._own_labels(findings, reports)
        self._by_report = self._findings_of_reports(findings, reports)
        # those that reports decide, and those that own labels are compared on
        self._sought = self._by_report
        if self._own and "report" in table.columns:
            readable = report_text.findings(reports)
            named = {name for _, name in self._own}
            self._sought = tuple(
                name
                for name in findings
                if name in self._by_report or name in named & readable
            )
        self._reader = report_text.Reader(reports) if self._sought else None
        self._options = reports
        self._reports: dict[str, dict[str, report_text.TextLabel]] = {}
        self._others = siblings.Siblings()
        self._place: dict[int, tuple[str, int]] = {}  # row -> patient, days
        self._system = codes.System.UNCLEAR
        # (finding, row) of codes that stand in a column that is not read
        self._elsewhere: set[tuple[str, int]] = set()
        self._told_elsewhere: set[tuple[str, int]] = set()  # and of parts of a report
        self.disagreements: list[settling.Disagreement] = []
        self.unclear: dict[str, dict[int, None]] = collections.defaultdict(dict)
        self.comparisons: list[Comparison] = []
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
        if own := sources.own.get(name):
            statements.append(_owned(own))
            if name in sources.report:
                read = sources.report[name].label
                self.comparisons.append(Comparison(row, name, read, own.label))
        elif name in sources.report and name in self._by_report:
            read = sources.report[name]
            if (name, row) in self._told_elsewhere and read.label == 0:
                self._doubt(row, "a finding in a part of the report that is not read")
                why = f"{read.evidence}, but another column affirms it"
                statements.append(_doubted("report", why))
            else:
                statements.append(_reported(read))
        count = self._count(row, cells, name, statements)
        statements += [_counted(count)] if count >= 0 else []
        label, why = settling.settle(statements)
        if why == f"report: {report_text.NO_REPORT}":  # an empty cell is counted here
            self._doubt(row, why)
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
                self._sought,
                options=self._options,
                workers=workers,
            )

    def compare_texts(self, rows: Rows, unread: Sequence[str]) -> None:
        """Notes rows whose report is in several columns, of which one is read."""
        for column in unread if self._reader else ():
            if column.casefold() not in _PARTS:
                continue
            for row, cells in rows:
                self._told_elsewhere.update(
                    (name, row)
                    for name, read in self._report(cells[column]).items()
                    if read.label > 0
                )

    def compare_rows(
        self,
        rows: Rows,
        patient_of: Mapping[int, str],
        days: Mapping[int, int],
        boxed: Mapping[int, Collection[str]],
        unread: Sequence[str],
    ) -> None:
        """Reads what the whole table says about the codes of a row.

        Args:
            rows: of the table.
            patient_of: row -> patient; "" unknown.
            days: row -> since the patient's first study; -1 undated.
            boxed: row -> findings that an expert drew.
            unread: columns that are not read, and may hold codes.
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
                if bad or self._read_codes(found, name).label
            }
            for row, cells in rows:
                is_coded = cells["diagnosis_codes"] in telling
                is_boxed = name in boxed.get(row, ())
                if is_coded or is_boxed or self._is_told(cells, name):
                    self._others.add(name, row, patient_of[row], days[row])
        self._find_elsewhere(rows, unread)
        self._place = {row: (patient_of[row], days[row]) for row, _ in rows}

    def _find_elsewhere(self, rows: Rows, unread: Sequence[str]) -> None:
        """Notes codes of findings in columns beside diagnosis_codes.

        Tables have a column for each of several diagnoses. Which of them count is not
        for this program to say, but no row is negative against one of them.
        """
        for column in unread:
            rows_of = collections.defaultdict(list)  # cell -> rows
            for row, cells in rows:
                rows_of[cells[column]].append(row)
            rows_of.pop("", None)
            split = {
                cell: codes.split_codes(cell)
                for cell in rows_of
                if len(cell) < _LONGEST_CODES
            }
            coded = {cell: found for cell, (found, bad) in split.items() if not bad}
            # 810 may be a room's number: some codes have letters
            has_letters = any(map(str.isalpha, "".join(coded)))
            if has_letters and 2 * len(coded) >= len(rows_of):
                self._elsewhere |= {
                    (name, row)
                    for cell, found in coded.items()
                    for name in codes.POSITIVE
                    if self._read_codes(found, name).label > 0
                    for row in rows_of[cell]
                }

    def _is_told(self, cells: Mapping[str, str], name: str) -> bool:
        """Whether column, number or report says that there is or may be a finding."""
        count = cells.get(name + COUNT, "")
        if LABELS.get(cells.get(name, "")) or count.strip("0."):
            return True
        if own := self._own.get((cells["image"], name)):
            return own.label != 0
        if name not in self._by_report:
            return False
        read = self._report(cells["report"])[name]
        return read.label != 0 and not read.silent

    def _report(self, report: str) -> Mapping[str, report_text.TextLabel]:
        """What a report says about each finding; each is read once."""
        if self._reader and report not in self._reports:
            self._reports[report] = self._reader.labels(report, self._sought)
        return self._reports[report]

    @property
    def report_rules(self) -> dict[str, Any]:
        """How reports are read, for build.json; empty where none is read."""
        facts = self._reader.facts if self._reader else {}
        facts |= {"labels": self._own_table.digest} if self._own_table else {}
        return {"reports": facts} if facts else {}

    def defines(self, name: str) -> bool:
        """Whether anything in the table gives the finding's label."""
        counted = name + COUNT in self._table.columns
        owned = self._own_table is not None and name in self._own_table.findings
        return self._is_recorded(name) or name in self._by_report or counted or owned

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
            report = self._report(cells["report"])
            for read in report.values() if cells["report"] else ():
                if read.label < 0:
                    self._doubt(row, f"report: {read.reason}")
        own = {
            name: label
            for name in self._findings
            if (label := self._own.get((cells["image"], name)))
        }
        return Sources(valid, len(bad), report, own)

    def _own_labels(
        self, findings: Sequence[str], reports: report_text.ReportOptions
    ) -> Mapping[tuple[str, str], own_labels.OwnLabel]:
        """(image, finding) -> label of the user's own reader."""
        if self._own_table is None:
            return {}
        named = {*findings, *codes.POSITIVE, *report_text.findings(reports)}
        images = {line.get("image", "") for _, line in self._table.numbered()}
        return self._own_table.of_images(images, named, self._problems)

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

    def _read_codes(self, found: list[str], name: str) -> codes.CodeLabel:
        return codes.read_codes(
            found, name, keep_non_acute=self._keep_non_acute, system=self._system
        )

    def _coded(
        self, row: int, name: str, sources: Sources, *, decides: bool
    ) -> settling.Statement:
        coded = self._read_codes(sources.codes, name)
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
        elif decides and (name, row) in self._elsewhere:
            self._doubt(row, "codes of the finding in a column that is not read")
            return _doubted("codes", f"{evidence}, but another column has one")
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
    if report.silent and not report.unread:  # what is not read may name the finding
        weight = settling.Weight.SILENT
    return settling.Statement("report", report.label, report.evidence, weight)


def _owned(own: own_labels.OwnLabel) -> settling.Statement:
    weight = settling.Weight.STATED if own.label >= 0 else settling.Weight.DOUBTED
    return settling.Statement("report_labels", own.label, f"row {own.row}", weight)


def _counted(count: int) -> settling.Statement:
    return _stated("count", int(count > 0), str(count))
