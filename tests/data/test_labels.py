"""Laws of the precedence: column, then what is stated, doubted, implied, silent."""

import itertools
from pathlib import Path

import pytest

from data.cxr_registry.guard import checks
from data.cxr_registry.labels import report_text, settling
from data.cxr_registry.labels.settling import Statement, Weight
from data.cxr_registry.tables import records
from tests.support.registry_files import STUDIES_HEAD, film, one_image, table, write

CODES = {
    "positive": Statement("codes", 1, "S2241XA", Weight.STATED),
    "unclear": Statement("codes", -1, "S229", Weight.DOUBTED),
    "others": Statement("codes", 0, "no code of the finding", Weight.IMPLIED),
    "empty": Statement("codes", 0, "no code of the finding", Weight.SILENT),
}
REPORT = {
    "affirmed": Statement("report", 1, "4-16", Weight.STATED),
    "denied": Statement("report", 0, "4-16 (negation)", Weight.STATED),
    "doubtful": Statement("report", -1, "4-16 (uncertain)", Weight.DOUBTED),
    "silent": Statement("report", 0, "no mention", Weight.SILENT),
}


@pytest.mark.parametrize(
    ("codes", "report", "label"),
    [
        ("positive", "affirmed", 1),
        ("positive", "denied", -1),  # a contradiction
        ("positive", "doubtful", 1),
        ("positive", "silent", 1),
        ("unclear", "affirmed", 1),
        ("unclear", "denied", 0),
        ("unclear", "doubtful", -1),
        ("unclear", "silent", -1),
        ("others", "affirmed", -1),  # a contradiction
        ("others", "denied", 0),
        ("others", "doubtful", -1),
        ("others", "silent", 0),
        ("empty", "affirmed", 1),
        ("empty", "denied", 0),
        ("empty", "doubtful", -1),
        ("empty", "silent", 0),
    ],
)
def test_codes_and_report_together(codes, report, label):
    said = [CODES[codes], REPORT[report]]
    assert settling.settle(said)[0] == label
    both = ("codes 1", "report 0") if codes == "positive" else ("codes 0", "report 1")
    disagree = (codes, report) in [("positive", "denied"), ("others", "affirmed")]
    assert list(settling.conflicts(said)) == ([both] if disagree else [])


def test_a_column_wins_over_all_and_contradictions_stay_listed():
    for stated, codes, report in itertools.product((0, 1, -1), CODES, REPORT):
        column = Statement("column", stated, "", Weight.STATED)
        said = [column, CODES[codes], REPORT[report]]
        assert settling.settle(said) == (stated, "column")
    column = Statement("column", 0, "", Weight.STATED)
    said = [column, CODES["positive"], REPORT["affirmed"]]
    assert list(settling.conflicts(said)) == [
        ("column 0", "codes 1"),
        ("column 0", "report 1"),
    ]


def test_no_source_is_unknown():
    assert settling.settle([]) == (-1, "nothing")


def test_the_evidence_names_the_source_and_both_of_a_contradiction():
    assert settling.settle([CODES["positive"]]) == (1, "codes: S2241XA")
    _, why = settling.settle([CODES["positive"], REPORT["denied"]])
    assert why == "codes: S2241XA against report: 4-16 (negation)"


@pytest.mark.parametrize(
    ("codes", "report", "boxed", "basis"),
    [
        ("positive", "silent", False, "codes"),
        ("positive", "silent", True, "region"),
        ("unclear", "silent", False, "codes"),
        ("unclear", "denied", False, "report"),
        ("others", "silent", False, "other codes"),
        ("others", "doubtful", False, "report"),
        ("others", "affirmed", False, "conflict"),
        ("empty", "denied", False, "report"),
        ("empty", "silent", False, "silence of codes"),
    ],
)
def test_what_a_label_rests_on(codes, report, boxed, basis):
    said = [CODES[codes], REPORT[report]]
    assert settling.basis(said, boxed=boxed) == basis
    column = Statement("column", 0, "", Weight.STATED)
    assert settling.basis([column, *said], boxed=False) == "column"


def test_a_label_rests_on_any_source_by_its_name_or_on_nothing():
    own = Statement("a reader of one's own", 1, "row 2", Weight.STATED)
    assert settling.basis([own, REPORT["silent"]], boxed=False) == own.source
    assert settling.basis([REPORT["silent"]], boxed=False) == "silence of report"
    assert settling.basis([], boxed=False) == "nothing"
    assert settling.basis([], boxed=True) == "region"


# ---- the table of docs/labels.md, field by field

DOCS = Path(__file__).parents[2] / "docs" / "labels.md"
CELLS = {  # a row of the table -> cells of codes
    "name the fracture": ["S22.41XA", "807.01; J93.9", "S22.5"],
    "unspecified, late, sequela, suspected": ["S22.9", "S22.41XS", "S22.43 V"],
    "name others only": ["J93.9", "S42.001A"],
    "cell empty": [""],
    "no code of it here, but another row of the patient has it (below)": [""],
    "can't be read, and `bad_value` is allowed": ["rib #", "71045"],
    "no column of codes; `auto` reads the report": [None],
}
REPORTS = {  # a column of the table -> reports
    "affirms": ["FINDINGS: Left rib fracture."],
    "denies": ["FINDINGS: No rib fracture.", "No fracture."],
    "doubts": ["FINDINGS: Possible rib fracture.", "Old rib fracture."],
    "silent": ["FINDINGS: Heart and lungs are clear."],
    "unread": [
        "Fractura de la costilla izquierda, sin derrame pleural.",
        "左側肋骨骨折",
        "Fraktur der 5. Rippe links, kein Pneumothorax, Herz und Lunge ohne Befund.",
        "No acute findings.",
    ],
    "missing": ["NA", "report pending", "INDICATION: trauma."],
    "empty": [""],
    "not read": ["FINDINGS: Left rib fracture.", "NA", "No rib fracture.", ""],
}


def fields_of_the_docs():
    """(row, column, what the field says) of the table in docs/labels.md."""
    lines = iter(DOCS.read_text().splitlines())
    head = next(line for line in lines if line.startswith("| codes | affirms |"))
    columns = [cell.strip() for cell in head.strip("|").split("|")]
    next(lines)
    for line in itertools.takewhile(lambda line: line.startswith("|"), lines):
        name, *fields = (cell.strip() for cell in line.strip("|").split("|"))
        yield from ((name, *pair) for pair in zip(columns[1:], fields, strict=True))


def said_by_the_program(root, code, report, *, read, other_row):
    """A field of the table for one image, in the words of the table."""
    columns = ["report"] if code is None else ["report", "diagnosis_codes"]
    rows = [("a.dcm", "1", "2020-01-31", report, code)[: 3 + len(columns)]]
    write(root / "a.dcm", film(0))
    if other_row:
        write(root / "b.dcm", film(1))
        rows.append(("b.dcm", "1", "2020-01-31", "", "S22.41XA"))
    table(root / "studies.csv", [(*STUDIES_HEAD, *columns), *rows])
    problems = checks.Problems(["bad_value"])
    options = records.ReadingOptions(reports=report_text.ReportOptions(read=read))
    found = records.scan_registry(
        root, findings=["rib"], problems=problems, options=options
    )
    if problems.standing:
        return "refused"
    starred = any(2 in rows for rows in found.unclear.values())
    text = f"{found.studies[0].labels['rib']}{'*' * starred}"
    return text + ", listed" * any(pair.row == 2 for pair in found.disagreements)


FIELDS = list(fields_of_the_docs())


def test_the_docs_table_has_every_row_and_column_that_is_tried():
    assert {row for row, *_ in FIELDS} == CELLS.keys()
    assert {column for _, column, _ in FIELDS} == REPORTS.keys()
    assert len(FIELDS) == len(CELLS) * len(REPORTS)


@pytest.mark.parametrize(("row", "column", "field"), FIELDS)
def test_the_docs_table_of_codes_and_report(tmp_path, row, column, field):
    modes = ["never", "auto"] if column == "not read" else ["always"]
    if CELLS[row] == [None]:
        modes = ["never"] if column == "not read" else ["always", "auto"]
    tried = itertools.product(CELLS[row], REPORTS[column], modes)
    for number, (code, report, read) in enumerate(tried):
        said = said_by_the_program(
            tmp_path / str(number), code, report, read=read, other_row="another" in row
        )
        assert said == field.replace("**", ""), (code, report, read)


@pytest.mark.parametrize(("code", "label"), [("S22.41XA", 1), ("J93.9", 0), ("", -1)])
def test_silence_that_is_unknown_leaves_no_negative_by_empty_codes(
    tmp_path, code, label
):
    one_image(tmp_path, ["diagnosis_codes", "report"], [code, "Lungs are clear."])
    options = report_text.ReportOptions(read="always", silence="unknown")
    found = records.read_registry(
        tmp_path, findings=["rib"], options=records.ReadingOptions(reports=options)
    )
    assert found.studies[0].labels == {"rib": label}
    assert found.unclear == {"report: no mention": (2,)}
