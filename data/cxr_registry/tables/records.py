"""A registry folder to checked records: labels with evidence, days, regions.

The label of an image comes from a region, the finding's own column, the diagnosis codes
or the report; labels/settling.py says which of them decides.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.cxr_registry.dicom import views
from data.cxr_registry.guard import checks
from data.cxr_registry.labels import report_text, settling
from data.cxr_registry.tables import (
    cells,
    columns,
    dates,
    formats,
    own_labels,
    paths,
    patients,
    regions,
)

OTHER_VIEW = "OTHER"  # stands for a word that is not a known view: it may be a name
SPLITS = ("train", "validation", "test")
_SEXES = {"M": "M", "MALE": "M", "F": "F", "FEMALE": "F", "": "", "U": "", "O": "O"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """One image of the registry. It holds identifiers and is never written as it is."""

    row: int  # in the studies table, as a spreadsheet numbers it
    image: str  # path below the registry
    path: Path  # the resolved file
    patient: str  # the hospital's identifier, in the first of its spellings
    days: int  # since the patient's first study; -1 unknown
    year: int | None  # of the study; for counts only
    labels: Mapping[str, int]  # finding -> 1, 0, or -1 unknown
    evidence: Mapping[str, str]  # finding -> what decided; no patient's data
    basis: Mapping[str, str]  # finding -> kind of evidence, see settling.basis
    counts: Mapping[str, int]  # finding -> lesions the record names; -1 unknown
    regions: tuple[regions.Region, ...]
    split: str | None  # train, validation or test, when the user brings splits
    view: str  # one of views.VIEWS, OTHER_VIEW, or "" unknown
    sex: str  # "M", "F", "O"; "" unknown
    age: int | None  # years

    def supervision(self, finding: str) -> str:
        """R (positive with a box), P (positive without), N (negative) or unknown."""
        if any(region.site == finding for region in self.regions):
            return "R"
        return {1: "P", 0: "N", -1: "unknown"}[self.labels[finding]]

    @property
    def stratum(self) -> str:
        """Boxed sites and labels that are not 0; the parts are balanced by it."""
        boxed = {f"box:{region.site}" for region in self.regions}
        labelled = {f"{name}:{value}" for name, value in self.labels.items() if value}
        return "+".join(sorted(boxed | labelled)) or "negative"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """How the tables of a registry become labels and boxes."""

    keep_non_acute: bool = False  # codes of later encounters and sequelae count too
    tables: Path | None = None  # folder of the two tables; None: the registry's own
    point_radius: float = 32.0  # half side of the box around a point, stored pixels
    reports: report_text.ReportOptions = dataclasses.field(
        default_factory=report_text.ReportOptions
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Registry:
    """All records, and the problems that were allowed to pass."""

    root: Path
    findings: tuple[str, ...]
    studies: tuple[Study, ...]
    has_splits: bool
    files: tuple[str, ...]  # the tables that were read
    table: str  # file name of the studies table
    allowed: Mapping[str, int]  # check -> problems that were allowed
    disagreements: tuple[settling.Disagreement, ...]  # of column, codes, report, boxes
    non_acute: int  # codes left out as subsequent encounter or sequela
    unclear: Mapping[str, tuple[int, ...]]  # what is not clear -> rows, for an audit
    other_regions: int  # boxes of sites outside the findings
    rows: int  # of the studies table, unusable ones too
    missing: Mapping[str, int]  # column -> its empty cells
    shapes: Mapping[int, tuple[int, int]]  # row -> stored rows, columns; boxed images
    report_rules: Mapping[str, Any]  # how reports were read; empty when none was
    comparisons: tuple[cells.Comparison, ...]  # rules against the user's own reader

    def counts(
        self, studies: Sequence[Study] | None = None
    ) -> dict[str, dict[str, int]]:
        """Finding -> kind -> number of images, or of boxes for the kind `regions`.

        The kinds are positive, negative, unknown, with_regions, regions and with_count:
        the positives whose record says how many lesions there are.

        Args:
            studies: those to count; all by default.
        """
        studies = self.studies if studies is None else studies
        counts = {}
        for name in self.findings:
            values = [study.labels[name] for study in studies]
            boxes = [sum(r.site == name for r in s.regions) for s in studies]
            counts[name] = {
                "positive": values.count(1),
                "negative": values.count(0),
                "unknown": values.count(-1),
                "with_regions": sum(number > 0 for number in boxes),
                "regions": sum(boxes),
                "with_count": sum(
                    s.labels[name] == 1 and s.counts[name] > 0 for s in studies
                ),
            }
        return counts


def read_registry(
    root: Path,
    *,
    findings: Sequence[str],
    allow: Collection[str] = (),
    options: ReadingOptions | None = None,
    workers: int = 0,
) -> Registry:
    """Reads and checks a registry; every problem of both tables is reported at once.

    Args:
        root: the folder with studies and regions tables and the images.
        findings: what is to be detected, "rib", "clavicle" or a column's name.
        allow: checks (keys of `checks.CHECKS`) that may pass.
        options: of the reading; None for the defaults.
        workers: processes that read reports; 0: this one.

    Raises:
        RegistryError: file, row and check of each problem, no patient's data.
        ValueError: reports are to be read and can't be.
    """
    problems = checks.Problems(allow)
    registry = scan_registry(
        root,
        findings=findings,
        problems=problems,
        options=options or ReadingOptions(),
        workers=workers,
    )
    problems.raise_if_any()
    return registry


def scan_registry(
    root: Path,
    *,
    findings: Sequence[str] | None,
    problems: checks.Problems,
    options: ReadingOptions,
    workers: int = 0,
) -> Registry:
    """Reads what can be read of a registry; `problems` takes all that is wrong.

    Args:
        root: as for `read_registry`.
        findings: None takes those that the table defines.
        problems: nothing is raised here. Rows with a problem that stands are checked
            further; rows that an allowed one leaves out are not.
        options: of the reading.
        workers: processes that read reports; 0: this one.
    """
    home = options.tables or root
    table, is_table = _open(root, home, problems)
    own = None
    if options.reports.labels:
        own = own_labels.OwnLabels(options.reports.labels, problems)
    if findings is None:
        named = columns.findings_of(table, options.reports)
        findings = tuple(dict.fromkeys([*named, *(own.findings if own else ())]))
    reader = cells.Cells(
        table,
        findings,
        keep_non_acute=options.keep_non_acute,
        problems=problems,
        reports=options.reports,
        own=own,
    )
    if is_table:
        columns.check(table, findings, problems, reader)
    blank = dict.fromkeys(columns.REQUIRED, "")
    lines = [(row, blank | line) for row, line in table.numbered()]
    resolver = paths.Paths(root, table, problems)
    path_of = {row: resolver.resolve(row, line) for row, line in lines}
    lines = [(row, line) for row, line in lines if row not in resolver.left_out]
    reader.read_reports(lines, workers=workers)
    boxes = regions.read_regions(
        home,
        images=resolver,
        studies=table,
        sites=columns.sites(table, findings),
        point_radius=options.point_radius,
        problems=problems,
    )
    patient_of = patients.identify(table.name, lines, problems)
    date_of = dates.read_all(table.name, lines, patient_of, problems)
    days = {row: date.days for row, date in date_of.items()}
    boxed = {
        row: {box.site for box in row_boxes} for row, row_boxes in boxes.by_row.items()
    }
    unread = columns.unread(table, findings)
    reader.compare_texts(lines, unread)
    reader.compare_rows(lines, patient_of, days, boxed, unread)
    studies = [
        _study(
            reader,
            row,
            line,
            path=path_of[row] or root,
            findings=findings,
            boxes=boxes.by_row.get(row, ()),
            patient=patient_of[row],
            date=date_of[row],
        )
        for row, line in lines
    ]
    _check_splits(studies, table.name, problems)
    return Registry(
        root=root,
        findings=tuple(findings),
        studies=tuple(study for study in studies if path_of[study.row]),
        has_splits=any(study.split for study in studies),
        files=(table.name, *((boxes.file,) if boxes.file else ())),
        table=table.name,
        allowed=dict(problems.allowed),
        disagreements=tuple(reader.disagreements),
        non_acute=reader.non_acute,
        unclear=_unclear(reader, table, boxes, studies),
        report_rules=reader.report_rules,
        comparisons=tuple(reader.comparisons),
        other_regions=sum(
            region.site not in findings
            for row_boxes in boxes.by_row.values()
            for region in row_boxes
        ),
        rows=len(path_of),
        missing=columns.missing(table, findings),
        shapes=boxes.shapes,
    )


def _unclear(
    reader: cells.Cells,
    table: formats.Table,
    boxes: regions.Regions,
    studies: Sequence[Study],
) -> dict[str, tuple[int, ...]]:
    """What was read in spite of a doubt -> rows of the studies table."""
    kinds = {kind: tuple(rows) for kind, rows in reader.unclear.items()}
    kinds["cells filled from a merged cell"] = tuple(sorted(table.filled))
    kinds["boxes scaled from another image size"] = tuple(sorted(boxes.scaled))
    kinds["views in other words; laterals may be among them"] = tuple(
        study.row for study in studies if study.view == OTHER_VIEW
    )
    return {kind: rows for kind, rows in kinds.items() if rows}


def _open(
    root: Path, home: Path, problems: checks.Problems
) -> tuple[formats.Table, bool]:
    """The studies table, and whether its columns are to be checked."""
    if not root.is_dir():
        raise FileNotFoundError("the registry folder does not exist; check its path")
    table = formats.open_table(home, "studies", problems)
    if table is None:
        raise FileNotFoundError(
            "the registry has no studies.csv, .parquet or .xlsx; see README.md of "
            "data/cxr_registry, or of data/public for a public download"
        )
    return table, bool(table.columns) or not problems.standing


def _study(
    reader: cells.Cells,
    row: int,
    line: Mapping[str, str],
    *,
    path: Path,
    findings: Sequence[str],
    boxes: Sequence[regions.Region],
    patient: str,
    date: dates.StudyDate,
) -> Study:
    sources = reader.sources(row, line)
    wanted = tuple(region for region in boxes if region.site in findings)
    labels = {}
    for name in findings:
        boxed = any(region.site == name for region in wanted)
        labels[name] = reader.label(row, line, name, sources, boxed)
    view = line.get("view", "")
    return Study(
        row=row,
        image=line["image"],
        path=path,
        patient=patient,
        days=date.days,
        year=date.year,
        labels={name: entry.label for name, entry in labels.items()},
        evidence={name: entry.evidence for name, entry in labels.items()},
        basis={name: entry.basis for name, entry in labels.items()},
        counts={name: entry.count for name, entry in labels.items()},
        regions=wanted,
        split=reader.choice(row, line, "split", {name: name for name in SPLITS}),
        # free text does not pass: it may say anything
        view=views.known(view) or (OTHER_VIEW if view else ""),
        sex=reader.choice(row, line, "sex", _SEXES) or "",
        age=reader.age(row, line.get("age", "")),
    )


def _check_splits(
    studies: Sequence[Study], file: str, problems: checks.Problems
) -> None:
    if not any(study.split for study in studies):
        return
    first: dict[str, Study] = {}
    for study in studies:
        if study.split is None:
            text = "split must be train, validation or test in every row"
            problems.add(file, study.row, text, check="columns")
            continue
        if not study.patient:
            continue
        other = first.setdefault(study.patient, study)
        if other.split != study.split:
            text = f"its patient is in another split in row {other.row}"
            problems.add(file, study.row, text, check="patient_in_two_splits")
