"""Patients, dates and files of a registry that spreadsheets and people have changed."""

import datetime
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.cxr_registry.guard import checks
from data.cxr_registry.labels import report_text
from data.cxr_registry.tables import dates, own_labels, records
from tests.support.registry_files import REGIONS_HEAD, STUDIES_HEAD, table

TODAY = datetime.date.today()


def scan(root, columns, rows, *, allow=(), findings=("rib",), regions=()):
    """The registry of rows of cells, its images empty files; (row, check) of faults."""
    head = (*STUDIES_HEAD, *columns)
    for row in rows:
        (root / row[0]).touch()
    table(root / "studies.csv", [head, *rows])
    if regions:
        table(root / "regions.csv", [REGIONS_HEAD, *regions])
    problems = checks.Problems(allow)
    found = records.scan_registry(
        root, findings=findings, problems=problems, options=records.ReadingOptions()
    )
    return found, [(p.row, p.check) for p in problems.standing], problems


def of_patients(root, *numbers, **options):
    rows = [(f"{i}.png", number, "", 0) for i, number in enumerate(numbers)]
    return scan(root, ["rib"], rows, **options)


# ---- patients


@pytest.mark.parametrize(
    "word",
    ["NULL", "nan", "NA", "N/A", "#N/A", "None", "-", "?", "unknown", "<NA>", "#REF!",
     "anonymous", "不明", "\u3000", "(null)", "[NULL]", "#BEZUG!", "#WERT!", "#NV",
     "#¡REF!", "k. A.", "no ID", "XXXX", "-1", "dummy", "未填", "-9", "-99", "-8.0",
     "(leer)", "(blank)"],
)  # fmt: skip
def test_a_word_for_nobody_is_no_patient(tmp_path, word):
    found, faults, problems = of_patients(tmp_path, "1", word, "NADIA")
    assert faults == [(3, "bad_value")] and word not in problems.standing[0].text[11:]
    found, faults, _ = of_patients(tmp_path, "1", word, "NADIA", allow=["bad_value"])
    assert [study.row for study in found.studies] == [2, 4] and not faults


@pytest.mark.parametrize(
    "number",
    ["1.23457E+11", "1,23457E+11", "1e+05", "1.2345678901234568e+17"],
)
def test_a_rounded_number_is_no_number(tmp_path, number):
    _, faults, problems = of_patients(tmp_path, number, "12E5", "7E", "2.5")
    assert faults == [(2, "patient_id")]
    assert number not in str(problems.standing[0])


def test_numbers_cut_after_fifteen_digits_are_told_if_all_are(tmp_path):
    cut = ["123456789012345000", "123456789012346000"]
    assert of_patients(tmp_path, *cut)[1] == [(2, "patient_id"), (3, "patient_id")]
    assert not of_patients(tmp_path, *cut, "123456789012345678")[1]


@pytest.mark.parametrize(
    "other",
    [
        "123.0",
        "00123",
        "'123",
        "\u00b4123",
        "\u2019123",
        '="123"',
        "123,00",
        "1 23",
        "\uff11\uff12\uff13",
    ],
)
def test_two_spellings_of_a_number_are_one_patient_and_told(tmp_path, other):
    _, faults, _ = of_patients(tmp_path, "123", "a7", other)
    assert faults == [(4, "patient_id")]
    found, faults, _ = of_patients(tmp_path, "123", "a7", other, allow=["patient_id"])
    assert not faults
    assert [study.patient for study in found.studies] == ["123", "a7", "123"]


@pytest.mark.parametrize(
    "number",
    ["7777", "8888", "9999", "999", "0000", "99999999.0", "009999", "88888888",
     "123456", "1234567890", "0", "9876543210"],
)  # fmt: skip
def test_a_number_that_stands_for_none_is_told(tmp_path, number):
    _, faults, problems = of_patients(tmp_path, "40713", number, "51288")
    assert faults == [(3, "patient_id")]
    assert f" {number} " not in problems.standing[0].text


@pytest.mark.parametrize(
    "cell", ["2-Jan", "Jan-45", "1-M\u00e4r", "02.01.2020", "1990-01-02", "3. Okt"]
)
def test_a_day_is_no_patient(tmp_path, cell):
    assert of_patients(tmp_path, "40713", cell, "MAY-7")[1] == [(3, "patient_id")]


@pytest.mark.parametrize("neighbour", ["9998", "10000", "010000.0"])
def test_nines_are_a_number_where_patients_are_numbered_up_to_it(tmp_path, neighbour):
    assert not of_patients(tmp_path, neighbour, "9999", "7")[1]
    assert of_patients(tmp_path, neighbour, "P9999")[1] == [(3, "patient_id")]


def test_a_blank_within_a_number_is_a_slip_unless_many_have_one(tmp_path):
    for cell in ("12 3", "12\u00a03", "12\t3", "A 12"):
        assert of_patients(tmp_path, "40713", cell, "7")[1] == [(3, "patient_id")]
    assert not of_patients(tmp_path, "Smith John", "Ng", "7")[1]
    assert not of_patients(tmp_path, "40 713", "12 3", "71 4")[1]
    _, faults, _ = of_patients(tmp_path, "123", "12 3", "7")
    assert faults == [(3, "patient_id")]  # told once, as another spelling
    found, *_ = of_patients(tmp_path, "123", "12 3", "7", allow=["patient_id"])
    assert [study.patient for study in found.studies] == ["123", "123", "7"]


@pytest.mark.parametrize(
    "grouped", ["1.234.567", "1,234,567", "1 234 567", "1'234'567"]
)
def test_a_number_in_groups_is_that_number(tmp_path, grouped):
    _, faults, _ = of_patients(tmp_path, "1234567", grouped, "1234568")
    assert faults == [(3, "patient_id")]


def test_other_numbers_stay_other_patients(tmp_path):
    numbers = ["1-23", "12-3", "123", "a7", "7", "0", "00a7", "123.5"]
    found, faults, _ = of_patients(tmp_path, *numbers)
    assert not faults and [study.patient for study in found.studies] == numbers


def test_a_leak_between_spellings_is_found_by_the_splits(tmp_path):
    rows = [("a.png", "7", "", 0, "train"), ("b.png", "007", "", 0, "test")]
    _, faults, _ = scan(tmp_path, ["rib", "split"], rows, allow=["patient_id"])
    assert faults == [(3, "patient_in_two_splits")]


# ---- dates


@pytest.mark.parametrize(
    "cell",
    ["1900-01-01", "1899-12-30", "9999-12-31", "1753-01-01", "0001-01-01", "19000101",
     "1970-01-01", "1601/01/01", "2999-12-31 00:00:00", "2099-12-31"],
)  # fmt: skip
def test_a_day_that_stands_for_none_is_no_date(tmp_path, cell):
    rows = [("a.png", "1", cell, 0), ("b.png", "1", "2020-01-05", 0)]
    _, faults, _ = scan(tmp_path, ["rib"], rows)
    assert faults == [(2, "bad_date")]
    found, faults, _ = scan(tmp_path, ["rib"], rows, allow=["bad_date"])
    assert [study.days for study in found.studies] == [-1, 0] and not faults


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("43831", "spreadsheet"),
        ("01/02/2020", "day or month first"),
        ("1.2.20", "day or month first"),
        ("2020-02-30", "no such day"),
        ("NULL", "is not a date"),
    ],
)
def test_why_a_cell_is_no_date(cell, why):
    with pytest.raises(ValueError, match=why):
        dates.parse_date(cell)


def test_dates_ahead_are_told_unless_the_whole_table_lies_ahead(tmp_path):
    ahead = (TODAY + datetime.timedelta(days=400)).isoformat()
    past = [(f"{i}.png", str(i), f"2020-01-{i + 1:02d}", 0) for i in range(3)]
    rows = [*past, ("z.png", "9", ahead, 0)]
    assert scan(tmp_path, ["rib"], rows)[1] == [(5, "future_date")]
    found, faults, _ = scan(tmp_path, ["rib"], rows, allow=["future_date"])
    assert found.studies[3].days == 0 and not faults
    assert scan(tmp_path, ["rib"], rows[2:])[1] == [(3, "future_date")]  # half of them
    shifted = [
        (name, who, f"218{i}-05-06", 0) for i, (name, who, *_) in enumerate(past)
    ]
    assert not scan(tmp_path, ["rib"], shifted)[1]


# ---- one record for several images


def of_codes(root, *rows, **options):
    rows = [(f"{i}.png", *row) for i, row in enumerate(rows)]
    found, faults, _ = scan(root, ["diagnosis_codes"], rows, **options)
    labels = [study.labels["rib"] for study in found.studies]
    return labels, faults, found


DAY, NEXT = "2020-01-01", "2020-01-02"


@pytest.mark.parametrize(
    ("other", "label"),
    [
        (("1", DAY, ""), -1),  # same study, its cell empty or merged
        (("1", f"{DAY} 17:00", ""), -1),
        (("1", DAY, "J93.9"), -1),  # same day, other codes
        (("1", NEXT, ""), -1),  # a fracture is seen for weeks
        (("1", "", ""), -1),  # perhaps the same study
        (("1", NEXT, "J93.9"), 0),
        (("1", "2019-12-31", ""), 0),  # before it happened
        (("2", DAY, ""), 0),
        (("1", DAY, "S22.31XA"), 1),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_codes_in_one_row_of_a_patient_cast_doubt_on_the_others(
    tmp_path, other, label, is_first
):
    rows = [("1", DAY, "S22.41XA"), other]
    labels, faults, found = of_codes(tmp_path, *(rows if is_first else rows[::-1]))
    assert sorted(labels) == sorted([1, label]) and not faults
    row = 3 if is_first else 2
    assert [pair.row for pair in found.disagreements] == [row] * (label < 0)
    doubts = {"only another row of the patient has the finding": (row,)}
    assert found.unclear == (doubts if label < 0 else {})


@pytest.mark.parametrize(
    ("columns", "first"),
    [
        (["rib"], ["1"]),
        (["rib_count"], ["2"]),
        ([], ["unreadable?"]),  # may hold the code
    ],
)
def test_whatever_one_row_says_casts_doubt_on_the_empty_codes_of_another(
    tmp_path, columns, first
):
    codes = first if not columns else [""]
    rows = [("a.png", "1", DAY, *codes, *(first if columns else []))]
    rows.append(("b.png", "1", DAY, "", *("" for _ in columns)))
    head = ["diagnosis_codes", *columns]
    found, _, _ = scan(tmp_path, head, rows, allow=["bad_value"])
    assert found.studies[1].labels["rib"] == -1


def test_a_box_on_one_image_casts_doubt_on_the_other_of_the_day(tmp_path):
    rows = [("a.png", "1", DAY, ""), ("b.png", "1", DAY, ""), ("c.png", "2", DAY, "")]
    for name, *_ in rows:
        cv2.imwrite(str(tmp_path / name), np.zeros((60, 48), np.uint8))
    table(tmp_path / "studies.csv", [(*STUDIES_HEAD, "diagnosis_codes"), *rows])
    table(tmp_path / "regions.csv", [REGIONS_HEAD, ("a.png", "rib", 5, 6, 30, 20)])
    found = records.read_registry(
        tmp_path, findings=["rib"], allow=["box_on_negative"]
    ).studies
    assert [study.labels["rib"] for study in found] == [1, -1, 0]


def test_without_dates_codes_count_for_the_patients_empty_cells(tmp_path):
    labels, *_ = of_codes(
        tmp_path, ("1", "", "S22.41XA"), ("1", "", ""), ("1", "", "I10"), ("2", "", "")
    )
    assert labels == [1, -1, 0, 0]


@pytest.mark.parametrize(
    ("report", "labels"),
    [
        ("Right rib fracture.", [1, -1]),
        ("Possible rib fracture.", [-1, -1]),
        ("No rib fracture.", [0, 0]),
        ("Heart is normal.", [0, 0]),
    ],
)
def test_a_report_of_one_row_casts_doubt_as_codes_do(tmp_path, report, labels):
    rows = [
        ("a.png", "1", DAY, "", report),
        ("b.png", "1", DAY, "", "Lungs are clear."),
    ]
    for row in rows:
        (tmp_path / row[0]).touch()
    table(
        tmp_path / "studies.csv", [(*STUDIES_HEAD, "diagnosis_codes", "report"), *rows]
    )
    table(tmp_path / "own.csv", [own_labels.COLUMNS, ("a.png", "rib", labels[0])])
    for reports in (
        report_text.ReportOptions(read="always"),
        report_text.ReportOptions(labels=tmp_path / "own.csv"),
    ):
        options = records.ReadingOptions(reports=reports)
        found = records.read_registry(tmp_path, findings=["rib"], options=options)
        assert [study.labels["rib"] for study in found.studies] == labels


def test_a_report_on_the_image_decides_against_the_doubt(tmp_path):
    rows = [
        ("a.png", "1", DAY, "S22.41XA", ""),
        ("b.png", "1", DAY, "", "No rib fracture."),
    ]
    for row in rows:
        (tmp_path / row[0]).touch()
    table(
        tmp_path / "studies.csv", [(*STUDIES_HEAD, "diagnosis_codes", "report"), *rows]
    )
    reports = report_text.ReportOptions(read="always")
    options = records.ReadingOptions(reports=reports)
    found = records.read_registry(tmp_path, findings=["rib"], options=options)
    assert [study.labels["rib"] for study in found.studies] == [1, 0]
    assert [pair.row for pair in found.disagreements] == [3]


# ---- what can't be read is unknown


@pytest.mark.parametrize(
    "cell", ["NULL", "33737001", "S22.41XA; rib", "S22.4?", "J93.9; S22.4O", "S22,4"]
)
def test_codes_that_cannot_be_read_are_unknown_and_not_negative(tmp_path, cell):
    rows = [("1", DAY, cell), ("2", DAY, "J93.9")]
    labels, faults, found = of_codes(tmp_path, *rows)
    assert faults == [(2, "bad_value")]
    labels, faults, found = of_codes(tmp_path, *rows, allow=["bad_value"])
    assert labels == [-1, 0] and not faults
    assert found.unclear == {"codes that can't be read": (2,)}


def test_the_message_names_the_other_system_and_not_the_code(tmp_path):
    rows = [("a.png", "1", DAY, "33737001")]
    text = scan(tmp_path, ["diagnosis_codes"], rows)[2].standing[0].text
    assert "SNOMED CT" in text and "33737001" not in text


def test_a_label_that_cannot_be_read_is_unknown_whatever_the_codes(tmp_path):
    rows = [("a.png", "1", DAY, "maybe", ""), ("b.png", "2", DAY, "", "S22.41XA")]
    columns = ["rib", "diagnosis_codes"]
    found, faults, _ = scan(tmp_path, columns, rows, allow=["bad_value"])
    assert [study.labels["rib"] for study in found.studies] == [-1, 1] and not faults


def test_the_letters_of_a_table_are_read_by_all_of_its_codes(tmp_path):
    rows = [("1", DAY, "S22.41G"), ("2", DAY, "S22.41A"), ("3", DAY, "J93.9V")]
    assert of_codes(tmp_path, *rows)[0] == [1, 0, 0]
    assert of_codes(tmp_path, *rows[:2])[0] == [-1, -1]


# ---- paths


def explained(root: Path, cell: str) -> str:
    head = (*STUDIES_HEAD, "rib")
    table(root / "studies.csv", [head, (cell, "1", "", 0)])
    problems = checks.Problems()
    records.scan_registry(
        root, findings=["rib"], problems=problems, options=records.ReadingOptions()
    )
    return problems.standing[0].text


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("img\\a.png", "backslashes"),
        ("img\\none.png", "backslashes"),
        ("IMG/a.PNG", "capital and small"),
        ("img/a", "ending"),
        ("img/b%20c.png", "percent"),
        ("img/b  c.png", "blanks"),
        ("img\uff0fa.png", "full-width"),
        ("C:\\img\\a.png", "a drive"),
        ("\\\\server\\img\\a.png", "a server"),
        ("https://x.org/a.png", "a link"),
        ("img/none.png", "does not exist or is not a file"),
    ],
)
def test_how_a_path_would_have_to_be_written(tmp_path, cell, why):
    (tmp_path / "img").mkdir()
    for name in ("a.png", "b c.png"):
        (tmp_path / "img" / name).touch()
    assert why in explained(tmp_path, cell)


@pytest.mark.parametrize(("on_disk", "in_table"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_another_unicode_form_of_a_name_is_told(tmp_path, on_disk, in_table):
    name = "r\u00f6ntgen.png"
    (tmp_path / unicodedata.normalize(on_disk, name)).touch()
    text = explained(tmp_path, unicodedata.normalize(in_table, name))
    assert "Unicode" in text and "ntgen" not in text


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        ("S22.41XA", -1),
        ("J93.9; S22.3 G", -1),
        ("J93.9", 0),
        ("S22.41XA seen", 0),
        ("", 0),
    ],
)
def test_codes_in_a_column_that_is_not_read_leave_no_negative(tmp_path, cell, label):
    rows = [
        ("a.png", "1", "", "J18.9", cell, "810"),
        ("b.png", "2", "", "J18.9", "", ""),
    ]
    columns = ["diagnosis_codes", "secondary", "room"]
    found, faults, _ = scan(tmp_path, columns, rows, findings=["rib", "clavicle"])
    assert [s.labels["clavicle"] for s in found.studies] == [0, 0]
    assert not faults and [s.labels["rib"] for s in found.studies] == [label, 0]
    kind = "codes of the finding in a column that is not read"
    assert found.unclear.get(kind, ()) == (2,) * (label < 0)


@pytest.mark.parametrize(
    ("impression", "label"),
    [("Left rib fracture.", -1), ("No rib fracture.", 0), ("", 0), ("NA", 0)],
)
def test_a_part_of_the_report_that_is_not_read_leaves_no_negative(
    tmp_path, impression, label
):
    rows = [("a.png", "1", "", "Lungs are clear.", impression, impression)]
    head = ["report", "Impression", "remarks"]
    found, faults, _ = scan(tmp_path, head, rows)
    assert not faults and found.studies[0].labels["rib"] == label
    kind = "a finding in a part of the report that is not read"
    assert found.unclear.get(kind, ()) == (2,) * (label < 0)
