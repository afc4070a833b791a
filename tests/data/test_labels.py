"""Laws of the precedence: column, then what is stated, doubted, implied, silent."""

import itertools

import pytest

from data.cxr_registry.labels import settling
from data.cxr_registry.labels.settling import Statement, Weight

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
