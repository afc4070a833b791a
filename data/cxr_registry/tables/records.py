"""A registry folder to checked records: labels with evidence, days, regions.

Labels of an image: a region, the finding's own column, then the diagnosis codes and
the report by what they say of it, see labels.py.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.cxr_registry.dicom import reader as dicom
from data.cxr_registry.guard import problems
from data.cxr_registry.labels import report_text
from data.cxr_registry.labels import settling as labels
from data.cxr_registry.tables import cells, columns, formats, paths, regions

OTHER_VIEW = "OTHER"  # a word that is no known view: it may be a name
SPLITS = ("train", "validation", "test")
_SEXES = {"M": "M", "MALE": "M", "F": "F", "FEMALE": "F", "": "", "U": "", "O": "O"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """One image of the registry. Holds identifiers: never written as it is."""

    row: int  # in the studies table, as a spreadsheet numbers it
    image: str  # path below the registry
    path: Path  # the resolved file
    patient: str  # the hospital's identifier
    days: int  # since the patient's first study; -1 unknown
    year: int | None  # of the study; for counts only
    labels: Mapping[str, int]  # finding -> 1, 0, or -1 unknown
    evidence: Mapping[str, str]  # finding -> what decided; no patient's data
    counts: Mapping[str, int]  # finding -> lesions the record names; -1 unknown
    regions: tuple[regions.Region, ...]
    split: str | None  # train, validation or test, when the user brings splits
    view: str  # one of dicom.VIEWS, OTHER_VIEW, or "" unknown
    sex: str  # "M", "F", "O"; "" unknown
    age: int | None  # years

    def supervision(self, finding: str) -> str:
        """R positive with a box, P positive without, N negative, or unknown."""
        if any(region.site == finding for region in self.regions):
            return "R"
        return {1: "P", 0: "N", -1: "unknown"}[self.labels[finding]]

    @property
    def stratum(self) -> str:
        """Supervision and site, by which the parts are balanced."""
        boxed = {f"box:{region.site}" for region in self.regions}
        known = {f"{name}:{value}" for name, value in self.labels.items() if value}
        return "+".join(sorted(boxed | known)) or "negative"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How a registry is read; none of it changes what is checked."""

    keep_non_acute: bool = False  # codes of later encounters and sequelae count too
    point_radius: float = 32.0  # half side of a box around a point, stored pixels
    reports: report_text.Options = (
        report_text.AUTO
    )  # whether and how reports give labels
    workers: int = 0  # processes for reports and images; 0: this one


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
    rows: int  # of the studies table, unusable ones too
    missing: Mapping[str, int]  # column -> its empty cells
    shapes: Mapping[int, tuple[int, int]]  # row -> stored rows, columns; boxed images
    report_rules: Mapping[str, Any]  # how reports were read; empty when none was

    def counts(
        self, studies: Sequence[Study] | None = None
    ) -> dict[str, dict[str, int]]:
        """For each finding: positive, negative, unknown, with_regions, regions,
        and with_count, the positives whose record says how many lesions there are.

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
                "with_count": sum(
                    s.labels[name] == 1 and s.counts[name] > 0 for s in studies
                ),
            }
        return out


def read_registry(
    root: Path,
    *,
    findings: Sequence[str],
    allow: Collection[str] = (),
    keep_non_acute: bool = False,
    point_radius: float = 32.0,
    reports: report_text.Options = report_text.AUTO,
    workers: int = 0,
) -> Registry:
    """Reads and checks a registry; every problem of both tables is reported at once.

    Args:
        root: the folder with studies and regions tables and the images.
        findings: what is to be detected, "rib", "clavicle" or a column's name.
        allow: checks (keys of `audit.CHECKS`) that may pass.
        keep_non_acute: see `Options`, as the others.
        point_radius: in pixels.
        reports: of the `report` column.
        workers: processes.

    Raises:
        RegistryError: file, row and check of each problem, no patient's data.
        ValueError: reports are to be read and can't be.
    """
    audit = problems.Audit(allow)
    options = Options(
        keep_non_acute=keep_non_acute,
        point_radius=point_radius,
        reports=reports,
        workers=workers,
    )
    registry = scan_registry(root, findings=findings, audit=audit, options=options)
    audit.stop()
    return registry


def scan_registry(
    root: Path,
    *,
    findings: Sequence[str] | None,
    audit: problems.Audit,
    options: Options,
) -> Registry:
    """Reads what can be read of a registry; `audit` takes all problems.

    Args:
        root: as of `read_registry`.
        findings: None takes those that the table defines.
        audit: stops nothing here. Rows of a problem that stands are checked further,
            those that an allowed one leaves out are not.
        options: of the reading.
    """
    table, is_table = _open(root, audit)
    if findings is None:
        findings = columns.findings_of(table, options.reports)
    reader = cells.Cells(
        table,
        findings,
        keep_non_acute=options.keep_non_acute,
        audit=audit,
        reports=options.reports,
    )
    if is_table:
        columns.check(table, findings, audit, reader)
    blank = dict.fromkeys(columns.REQUIRED, "")
    lines = [(row, blank | line) for row, line in table.numbered()]
    resolver = paths.Paths(root, table, audit)
    path_of = {row: resolver.resolve(row, line) for row, line in lines}
    lines = [(row, line) for row, line in lines if row not in resolver.left_out]
    reader.read_reports(lines, workers=options.workers)
    boxes = regions.read_regions(
        root,
        images=resolver,
        studies=table,
        known=columns.sites(table, findings),
        point_radius=options.point_radius,
        audit=audit,
    )
    dates = reader.dates(lines)
    studies = [
        _study(
            reader,
            row,
            line,
            path=path_of[row] or root,
            findings=findings,
            boxes=boxes.by_row.get(row, ()),
            dated=dates[row],
        )
        for row, line in lines
    ]
    _check_splits(studies, table.name, audit)
    return Registry(
        root=root,
        findings=tuple(findings),
        studies=tuple(study for study in studies if path_of[study.row]),
        has_splits=any(study.split for study in studies),
        files=(table.name, *((boxes.file,) if boxes.file else ())),
        table=table.name,
        allowed=dict(audit.allowed),
        disagreements=tuple(reader.disagreements),
        non_acute=reader.non_acute,
        report_rules=reader.report_rules,
        other_regions=sum(
            region.site not in findings
            for found in boxes.by_row.values()
            for region in found
        ),
        rows=len(path_of),
        missing=columns.missing(table, findings),
        shapes=boxes.shapes,
    )


def _open(root: Path, audit: problems.Audit) -> tuple[formats.Table, bool]:
    """The studies table, and whether it has columns to be checked."""
    if not root.is_dir():
        raise FileNotFoundError("the registry folder does not exist; check its path")
    table = formats.open_table(root, "studies", audit)
    if table is None:
        raise FileNotFoundError(
            "the registry has no studies.csv, .parquet or .xlsx; see the data card"
        )
    return table, bool(table.columns) or not audit.problems


def _study(
    reader: cells.Cells,
    row: int,
    line: Mapping[str, str],
    *,
    path: Path,
    findings: Sequence[str],
    boxes: Sequence[regions.Region],
    dated: cells.Dated,
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
        days=dated.days,
        year=dated.year,
        labels={name: one.label for name, one in read.items()},
        evidence={name: one.evidence for name, one in read.items()},
        counts={name: one.count for name, one in read.items()},
        regions=wanted,
        split=reader.choice(row, line, "split", {name: name for name in SPLITS}),
        # free text does not pass: it may say anything
        view=view if view in dicom.VIEWS else OTHER_VIEW if view else "",
        sex=reader.choice(row, line, "sex", _SEXES) or "",
        age=reader.age(row, line.get("age", "")),
    )


def _check_splits(studies: Sequence[Study], file: str, audit: problems.Audit) -> None:
    if not any(study.split for study in studies):
        return
    first: dict[str, Study] = {}
    for study in studies:
        if study.split is None:
            text = f"split is no split; write one of {', '.join(SPLITS)} in every row"
            audit.report(file, study.row, "columns", text)
            continue
        if not study.patient:
            continue
        other = first.setdefault(study.patient, study)
        if other.split != study.split:
            text = f"its patient is in another split in row {other.row}"
            audit.report(file, study.row, "patient_in_two_splits", text)
