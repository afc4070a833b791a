"""Laws of --report_labels: the user's own labels of reports, checked and compared."""

import pytest

from data.cxr_registry.build import builds
from data.cxr_registry.guard import checks
from data.cxr_registry.labels import report_text
from data.cxr_registry.survey import table_survey
from data.cxr_registry.tables import own_labels, records
from tests.support import datasets
from tests.support.registry_files import STUDIES_HEAD, registry, table

REPORTS = (
    "Acute right rib fracture.",
    "No rib fracture. Lungs clear.",
    "Lungs are clear.",
    "Possible rib fracture.",
)
IMAGES = tuple(f"{index}.dcm" for index in range(len(REPORTS)))


def studies(root, *, codes=()):
    head = (*STUDIES_HEAD, "report", *(["diagnosis_codes"] if codes else []))
    rows = [
        (image, f"p{index}", "2020-01-01", REPORTS[index], *codes[index : index + 1])
        for index, image in enumerate(IMAGES)
    ]
    for image in IMAGES:
        (root / image).touch()  # pixels are not read here
    table(root / "studies.csv", [head, *rows])
    return root


def own(root, *rows, head=own_labels.COLUMNS):
    table(root / "own.csv", [head, *rows])
    return root / "own.csv"


def read(root, path, *, findings=("rib",), **reports):
    options = report_text.ReportOptions(labels=path, **reports)
    reading = records.ReadingOptions(reports=options)
    return records.read_registry(root, findings=findings, options=reading)


def labels(found):
    return [study.labels["rib"] for study in found.studies]


def test_an_own_label_counts_instead_of_the_rules_and_the_rest_is_read(tmp_path):
    path = own(
        studies(tmp_path),
        ("0.dcm", "rib", "negative"),
        ("1.dcm", "rib", "1"),
        ("3.dcm", "rib", "Unknown"),
    )
    found = read(tmp_path, path)
    assert labels(found) == [0, 1, 0, -1]
    evidence = [study.evidence["rib"] for study in found.studies]
    assert evidence[:2] == ["report_labels: row 2", "report_labels: row 3"]
    assert evidence[2] == "report: no mention"
    assert table_survey.own_labels(found) == {
        "rib": {
            "images": 3,
            "alike": 1,
            "counts": [
                {"rules": 1, "own": 0, "images": 1, "examples": [2]},
                {"rules": 0, "own": 1, "images": 1, "examples": [3]},
                {"rules": -1, "own": -1, "images": 1, "examples": [5]},
            ],
        }
    }


def test_an_own_label_stands_beside_codes_without_being_asked_for(tmp_path):
    root = studies(tmp_path, codes=("S22.41XA", "S22.41XA", "", ""))
    path = own(root, ("0.dcm", "rib", "1"), ("1.dcm", "rib", "0"))
    found = read(tmp_path, path)
    # the rules are not read for labels where there are codes (auto)
    assert labels(found) == [1, -1, 0, 0]
    assert found.disagreements == ((3, "rib", "codes 1", "report_labels 0"),)


def test_own_labels_define_a_finding_and_need_no_report(tmp_path):
    rows = [(image, f"p{image}", "2020-01-01", "1") for image in IMAGES]
    for image in IMAGES:
        (tmp_path / image).touch()
    table(tmp_path / "studies.csv", [(*STUDIES_HEAD, "clavicle"), *rows])
    found = read(tmp_path, own(tmp_path, ("2.dcm", "rib", "-1")))
    assert labels(found) == [-1] * 4 and not found.comparisons
    scanned = records.scan_registry(
        tmp_path,
        findings=None,
        problems=checks.Problems(),
        options=records.ReadingOptions(
            reports=report_text.ReportOptions(labels=tmp_path / "own.csv")
        ),
    )
    assert scanned.findings == ("clavicle", "rib")


def test_every_fault_is_told_at_once_by_row(tmp_path):
    path = own(
        studies(tmp_path),
        ("0.dcm", "rib", "CANARY"),
        ("CANARY.dcm", "rib", "1"),
        ("1.dcm", "CANARY", "1"),
        ("2.dcm", "rib", "1"),
        ("2.dcm", "rib", "0"),
        ("", "", "1"),
    )
    with pytest.raises(checks.RegistryError) as caught:
        read(tmp_path, path)
    told = {(p.file, p.row, p.text.split(";")[0][:30]) for p in caught.value.problems}
    assert told == {
        ("own.csv", 2, "label must be one of 1, 1.0, p"),
        ("own.csv", 3, "its image is not in the studie"),
        ("own.csv", 4, "finding must be one of clavicl"),
        ("own.csv", 6, "the same image and finding as "),
        ("own.csv", 7, "its image is not in the studie"),
        ("own.csv", 7, "finding must be one of clavicl"),
    }
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "no such file"),
        ("image,label\n", "no column finding; it needs image, finding, label"),
    ],
)
def test_a_file_that_can_not_be_read_is_refused(tmp_path, text, told):
    root = studies(tmp_path)
    if text is not None:
        (root / "own.csv").write_text(text)
    with pytest.raises(checks.RegistryError, match=told):
        read(tmp_path, root / "own.csv")


def test_own_labels_with_reports_unread_are_refused():
    with pytest.raises(ValueError, match="leaves labels unused"):
        report_text.ReportOptions(labels="own.csv", read="never")


def test_windows_paths_find_their_images(tmp_path):
    root = registry(tmp_path / "registry", images=12)
    path = own(tmp_path, ("images\\003.dcm", "clavicle", "1"))
    reading = records.ReadingOptions(reports=report_text.ReportOptions(labels=path))
    found = records.read_registry(root, findings=["clavicle"], options=reading)
    assert [s.row for s in found.studies if s.labels["clavicle"] == 1] == [5]


def test_another_file_of_labels_is_another_dataset(tmp_path):
    root = registry(tmp_path / "registry")
    names = set()
    for label in ("0", "1"):
        path = own(tmp_path, ("images/001.dcm", "clavicle", label))
        reading = records.ReadingOptions(reports=report_text.ReportOptions(labels=path))
        built = datasets.build(
            root, tmp_path, side=32, findings=("clavicle",), reading=reading
        )
        names.add(built)
        facts = builds.describe(built)
        assert len(facts["options"]["reports"]["labels"]) == 64
        assert facts["evidence"]["clavicle"]["report_labels"] == 1
    assert len(names) == 2
