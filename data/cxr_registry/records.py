"""A registry folder to checked records: labels with evidence, days, regions.

Labels of an image: a region, the finding's own column, then the diagnosis codes and
the report by what they say of it, see labels.py.
"""

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.cxr_registry import audit as audits
from data.cxr_registry import cells, codes, labels, regions, tables
from data.cxr_registry import text as texts

SPLITS = ("train", "validation", "test")
_REQUIRED = ("image", "patient_id", "study_date")
_RESERVED = frozenset(
    {*_REQUIRED, "diagnosis_codes", "report", "split", "view", "sex", "age"}
)
_SEXES = {"M": "M", "MALE": "M", "F": "F", "FEMALE": "F", "": "", "U": "", "O": "O"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """One image of the registry. Holds identifiers: never written as it is."""

    row: int  # in the studies table, as a spreadsheet numbers it
    image: str  # path below the registry
    path: Path  # the resolved file
    patient: str  # the hospital's identifier
    days: int  # since the patient's first study; -1 unknown
    labels: Mapping[str, int]  # finding -> 1, 0, or -1 unknown
    evidence: Mapping[str, str]  # finding -> what decided; no patient's data
    regions: tuple[regions.Region, ...]
    split: str | None  # train, validation or test, when the user brings splits
    view: str  # "PA", "AP", ...; "" unknown
    sex: str  # "M", "F", "O"; "" unknown
    age: int | None  # years

    @property
    def stratum(self) -> str:
        """Supervision and site, by which the parts are balanced."""
        boxed = {f"box:{region.site}" for region in self.regions}
        known = {f"{name}:{value}" for name, value in self.labels.items() if value}
        return "+".join(sorted(boxed | known)) or "negative"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Registry:
    """All records, and what the audit let pass."""

    root: Path
    findings: tuple[str, ...]
    studies: tuple[Study, ...]
    has_splits: bool
    files: tuple[str, ...]  # the tables that were read
    table: str  # file name of the studies table
    allowed: Mapping[str, int]  # check -> problems that were allowed
    disagreements: tuple[labels.Disagreement, ...]  # of column, codes, report, boxes
    non_acute: int  # codes left out as subsequent encounter or sequela
    other_regions: int  # boxes of sites outside the findings
    report_rules: Mapping[str, Any]  # how reports were read; empty when none was

    def counts(
        self, studies: Sequence[Study] | None = None
    ) -> dict[str, dict[str, int]]:
        """For each finding: positive, negative, unknown, with_regions, regions.

        Args:
            studies: those to count; all by default.
        """
        studies = self.studies if studies is None else studies
        out = {}
        for name in self.findings:
            values = [study.labels[name] for study in studies]
            boxes = [sum(r.site == name for r in s.regions) for s in studies]
            out[name] = {
                "positive": values.count(1),
                "negative": values.count(0),
                "unknown": values.count(-1),
                "with_regions": sum(number > 0 for number in boxes),
                "regions": sum(boxes),
            }
        return out


def read_registry(
    root: Path,
    *,
    findings: Sequence[str],
    allow: Collection[str] = (),
    keep_non_acute: bool = False,
    point_radius: float = 32.0,
    reports: texts.Options = texts.AUTO,
) -> Registry:
    """Reads and checks a registry; every problem is reported at once.

    Args:
        root: the folder with studies and regions tables and the images.
        findings: what is to be detected, "rib", "clavicle" or a column's name.
        allow: checks (keys of `audit.CHECKS`) that may pass.
        keep_non_acute: whether codes of later encounters and sequelae count too.
        point_radius: half side of the box around a point without radius, in pixels.
        reports: whether and how the `report` column gives labels.

    Raises:
        RegistryError: file, row and check of each problem, no patient's data.
        ValueError: reports are to be read and can't be.
    """
    audit = audits.Audit(allow)
    table = _open(root)
    reader = cells.Cells(
        table,
        findings,
        keep_non_acute=keep_non_acute,
        audit=audit,
        reports=reports,
    )
    _check_columns(table, findings, audit, reader)
    audit.stop()
    paths = _Paths(root, table.name, audit)
    kept = [
        (row, line, path)
        for row, line in table.numbered()
        if (path := paths.resolve(row, line))
    ]
    by_path = {path: row for row, _, path in kept}
    known = ({*table.columns} - _RESERVED) | {*findings, *codes.POSITIVE}
    boxes = regions.read_regions(
        root, by_path=by_path, known=known, point_radius=point_radius, audit=audit
    )
    days = reader.days([(row, line) for row, line, _ in kept])
    studies = tuple(
        _study(
            reader,
            row,
            line,
            path=path,
            findings=findings,
            boxes=boxes.by_path.get(path, ()),
            days=days[row],
        )
        for row, line, path in kept
    )
    _check_splits(studies, table.name, audit)
    audit.stop()
    return Registry(
        root=root,
        findings=tuple(findings),
        studies=studies,
        has_splits=any(study.split for study in studies),
        files=(table.name, *((boxes.file,) if boxes.file else ())),
        table=table.name,
        allowed=dict(audit.allowed),
        disagreements=tuple(reader.disagreements),
        non_acute=reader.non_acute,
        report_rules=reader.report_rules,
        other_regions=sum(
            region.site not in findings
            for found in boxes.by_path.values()
            for region in found
        ),
    )


def _open(root: Path) -> tables.Table:
    if not root.is_dir():
        raise FileNotFoundError("the registry folder does not exist; check its path")
    path = tables.find_table(root, "studies")
    if path is None:
        raise FileNotFoundError(
            "the registry has no studies.csv, .parquet or .xlsx; see the data card"
        )
    return tables.read_table(path)


def _check_columns(
    table: tables.Table,
    findings: Sequence[str],
    audit: audits.Audit,
    reader: cells.Cells,
) -> None:
    have = ", ".join(table.columns)
    for name in _REQUIRED:
        if name not in table.columns:
            text = f"no column {name}; the columns are {have}"
            audit.report(table.name, None, "columns", text)
    for name in findings:
        if not reader.defines(name):
            text = f"nothing defines the finding {name}; the columns are {have}"
            audit.report(table.name, None, "columns", text)
    if not findings or len(set(findings)) < len(findings):
        audit.report(table.name, None, "columns", "give each finding once, at least 1")
    if not any(table.numbered()):
        audit.report(table.name, None, "columns", "the table has no rows")


class _Paths:
    """Image cells to files inside the folder, each once."""

    def __init__(self, root: Path, file: str, audit: audits.Audit):
        self._root, self._file, self._audit = root.resolve(), file, audit
        self._seen: dict[Path, int] = {}

    def resolve(self, row: int, line: Mapping[str, str]) -> Path | None:
        if not line["patient_id"]:
            return self._refuse(row, "bad_value", "patient_id is empty")
        if not line["image"] or "\0" in line["image"]:
            return self._refuse(row, "unreadable", "image is empty")
        try:
            path = (self._root / line["image"]).resolve()
            is_file = path.is_file()
        except (OSError, RuntimeError):  # a name too long, a link to itself
            return self._refuse(row, "unreadable", "image is no path; check the cell")
        if not path.is_relative_to(self._root):
            text = "image leaves the registry's folder; copy the file into it"
            return self._refuse(row, "leaves_folder", text)
        if not is_file:
            text = "image does not exist or is no file; check the path"
            return self._refuse(row, "unreadable", text)
        if path in self._seen:
            text = f"image is the one of row {self._seen[path]}; keep one row an image"
            return self._refuse(row, "duplicate_image", text)
        self._seen[path] = row
        return path

    def _refuse(self, row: int, check: str, text: str) -> None:
        self._audit.report(self._file, row, check, text)


def _study(
    reader: cells.Cells,
    row: int,
    line: Mapping[str, str],
    *,
    path: Path,
    findings: Sequence[str],
    boxes: Sequence[regions.Region],
    days: int,
) -> Study:
    sources = reader.sources(row, line)
    wanted = tuple(region for region in boxes if region.site in findings)
    read = {}
    for name in findings:
        boxed = any(region.site == name for region in wanted)
        read[name] = reader.label(row, line, name, sources, boxed)
    view = line.get("view", "").upper()
    return Study(
        row=row,
        image=line["image"],
        path=path,
        patient=line["patient_id"],
        days=days,
        labels={name: label for name, (label, _) in read.items()},
        evidence={name: why for name, (_, why) in read.items()},
        regions=wanted,
        split=reader.choice(row, line, "split", {name: name for name in SPLITS}),
        # free text does not pass: it may say anything
        view=view if re.fullmatch(r"[A-Z]{0,12}", view) else "",
        sex=reader.choice(row, line, "sex", _SEXES) or "",
        age=reader.age(row, line.get("age", "")),
    )


def _check_splits(studies: Sequence[Study], file: str, audit: audits.Audit) -> None:
    if not any(study.split for study in studies):
        return
    first: dict[str, Study] = {}
    for study in studies:
        if study.split is None:
            text = f"split is empty; write one of {', '.join(SPLITS)} in every row"
            audit.report(file, study.row, "columns", text)
            continue
        other = first.setdefault(study.patient, study)
        if other.split != study.split:
            text = f"its patient is in another split in row {other.row}"
            audit.report(file, study.row, "patient_in_two_splits", text)
