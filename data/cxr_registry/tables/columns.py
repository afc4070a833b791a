"""Columns of the studies table: which are needed, and which findings they define."""

from collections.abc import Sequence

from data.cxr_registry.guard import checks
from data.cxr_registry.labels import codes, report_text
from data.cxr_registry.tables import cells, formats

# Needed column -> what can't be checked without it.
REQUIRED = {
    "image": "files, pixels, and the images of boxes",
    "patient_id": "patients in two splits",
    "study_date": "dates",
}
RESERVED = frozenset(
    {*REQUIRED, "diagnosis_codes", "report", "split", "view", "sex", "age"}
    | {"follow_up"}  # of the converters of public sets; not read
)


def check(
    table: formats.Table,
    findings: Sequence[str],
    problems: checks.Problems,
    reader: cells.Cells,
) -> None:
    """Reports what is wrong with the table as a whole."""
    have = table.name_columns(_described(findings))

    def report(text: str) -> None:
        problems.add(table.name, None, text, check="columns")

    for name, needing in REQUIRED.items():
        if name not in table.columns:
            report(f"no column {name}; the columns are {have}; unchecked: {needing}")
    for name in findings:
        if name.endswith(cells.COUNT):
            report(
                f"{name}: {cells.COUNT} marks a number of lesions; rename the column"
            )
        if not reader.defines(name):
            report(f"nothing defines the finding {name}; the columns are {have}")
    if not findings:
        report(
            "no column looks like a finding (mostly 1 or 0) and there are no codes: "
            "name the findings, or add diagnosis_codes"
        )
    if len(set(findings)) < len(findings):
        report("give each finding once")
    is_broken = any(problem.check == "table" for problem in problems.standing)
    if not any(table.numbered()) and not is_broken:
        report("the table has no rows")


def missing(table: formats.Table, findings: Sequence[str]) -> dict[str, int]:
    """Column -> its empty cells, in order.

    A column that README.md does not describe is called by its position: in a table
    without a header its name may be a patient's cell.
    """
    described = _described(findings)
    return {
        name if name in described else f"column {place}": sum(
            not line[name] for _, line in table.numbered()
        )
        for place, name in enumerate(table.columns, start=1)
    }


def findings_of(
    table: formats.Table, reports: report_text.ReportOptions
) -> tuple[str, ...]:
    """The findings that the table defines, for an audit that names none.

    These are the coded findings where there are codes or a count of lesions, and the
    columns whose filled cells are mostly 1 or 0. Where there is neither, they are the
    findings that reports are read for.
    """
    coded = codes.POSITIVE if "diagnosis_codes" in table.columns else ()
    counted = (n for n in codes.POSITIVE if n + cells.COUNT in table.columns)
    others = (name for name in _free(table) if _is_label(table, name))
    names = dict.fromkeys([*coded, *counted, *others])
    if not names and "report" in table.columns and reports.read != "never":
        return tuple(sorted(report_text.findings(reports)))
    return tuple(names)


def sites(table: formats.Table, findings: Sequence[str]) -> set[str]:
    """The sites that a box may name: findings, whether asked for or not."""
    return {*_free(table), *findings, *codes.POSITIVE}


def unread(table: formats.Table, findings: Sequence[str]) -> list[str]:
    """The columns that nothing is read of."""
    described = _described(findings)
    return [name for name in _free(table) if name not in described]


def _described(findings: Sequence[str]) -> set[str]:
    """The columns that README.md describes, for these findings."""
    return {*RESERVED, *findings, *(name + cells.COUNT for name in findings)}


def _free(table: formats.Table) -> list[str]:
    """The columns that may be findings: not reserved, and no count."""
    return [
        name
        for name in table.columns
        if name not in RESERVED and not name.endswith(cells.COUNT)
    ]


def _is_label(table: formats.Table, name: str) -> bool:
    filled = [cell for _, row in table.numbered() if (cell := row[name])]
    return sum(cell in cells.LABELS for cell in filled) > len(filled) / 2
