"""Laws of the registry's reading: labels, audit, privacy of its messages."""

import csv
import json

import cv2
import numpy as np
import pytest

from data.cxr_registry.guard import checks
from data.cxr_registry.labels import codes
from data.cxr_registry.tables import dates, formats, records
from tests.support.registry_files import (
    REGIONS_HEAD,
    STUDIES_HEAD,
    film,
    one_image,
    registry,
    table,
    write,
)


def read(root, findings=("rib",), **options):
    return records.read_registry(root, findings=findings, **options)


def problems_of(caught):
    return sorted((p.file, p.row or 0, p.check) for p in caught.value.problems)


@pytest.mark.parametrize(
    ("cell", "rib", "clavicle"),
    [
        ("807.01", 1, 0),
        ("80711;810.00", 1, 1),
        ("807.4", 1, 0),
        ("807.2", 0, 0),
        ("807.3", 0, 0),
        ("S22.41XA", 1, 0),
        ("s2249xb", 1, 0),
        ("S22.5XXA", 1, 0),
        ("S22.20XA", 0, 0),
        ("S22.9XXA", -1, 0),
        ("S22.9XXA;S22.31XA", 1, 0),
        ("S42.021A", 0, 1),
        ("S42.0", 0, 1),
        ("S42.1", 0, 0),
        ("S42.201A", 0, 0),
        ("S22.41XD", -1, 0),
        ("S42.021S", 0, -1),
        ("S22.41XD;S22.41XA", 1, 0),
        ("J18.9", 0, 0),
        ("", 0, 0),
    ],
)
def test_codes_give_the_labels_of_the_contract(tmp_path, cell, rib, clavicle):
    one_image(tmp_path, ["diagnosis_codes"], [cell])
    study = read(tmp_path, ("rib", "clavicle")).studies[0]
    assert dict(study.labels) == {"rib": rib, "clavicle": clavicle}


def test_non_acute_codes_are_counted_and_kept_on_demand(tmp_path):
    one_image(tmp_path, ["diagnosis_codes"], ["S22.41XD;S22.31XS"])
    assert read(tmp_path).non_acute == 2
    kept = read(tmp_path, options=records.ReadingOptions(keep_non_acute=True))
    assert kept.studies[0].labels["rib"] == 1 and kept.non_acute == 0


def test_column_wins_over_codes_and_the_disagreement_is_kept(tmp_path):
    one_image(tmp_path, ["rib", "diagnosis_codes"], ["0", "S22.41XA"])
    found = read(tmp_path)
    assert found.studies[0].labels["rib"] == 0
    assert found.disagreements == ((2, "rib", "column 0", "codes 1"),)
    one_image(tmp_path, ["rib", "diagnosis_codes"], ["", "S22.41XA"])
    assert read(tmp_path).studies[0].labels["rib"] == 1


def test_empty_cell_without_codes_is_unknown(tmp_path):
    one_image(tmp_path, ["rib"], [""])
    assert read(tmp_path).studies[0].labels["rib"] == -1


def test_region_makes_an_unknown_image_positive(tmp_path):
    box = [REGIONS_HEAD, ("a.dcm", "rib", 1, 2, 30, 40)]
    one_image(tmp_path, ["rib"], [""], regions=box)
    study = read(tmp_path).studies[0]
    assert study.labels["rib"] == 1 and study.evidence["rib"] == "region"
    assert study.regions[0][1:] == (1, 2, 30, 40)


def test_box_on_a_negative_record_is_an_error_unless_allowed(tmp_path):
    box = [REGIONS_HEAD, ("a.dcm", "rib", 1, 2, 30, 40)]
    one_image(tmp_path, ["rib"], ["0"], regions=box)
    with pytest.raises(checks.RegistryError) as caught:
        read(tmp_path)
    assert problems_of(caught) == [("studies.csv", 2, "box_on_negative")]
    found = read(tmp_path, allow=["box_on_negative"])
    assert found.studies[0].labels["rib"] == 1
    assert found.allowed == {"box_on_negative": 1}


def test_points_become_boxes_cut_at_the_border(tmp_path):
    points = [
        ["image", "site", "x", "y", "radius"],
        ["a.dcm", "rib", 20, 30, 5],
        ["a.dcm", "rib", 2, 30, ""],
    ]
    one_image(tmp_path, ["rib"], ["1"], regions=points)
    options = records.ReadingOptions(point_radius=10)
    first, second = read(tmp_path, options=options).studies[0].regions
    assert first[1:] == (15, 25, 25, 35) and second[1:] == (0, 20, 12, 40)


def test_coco_regions_read_like_the_table(tmp_path):
    root = registry(tmp_path)
    expected = [study.regions for study in read(root).studies]
    with (root / "regions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    (root / "regions.csv").unlink()
    coco = {
        "images": [{"id": i, "file_name": r["image"]} for i, r in enumerate(rows)],
        "categories": [{"id": 7, "name": "rib"}],
        "annotations": [
            {"image_id": i, "category_id": 7, "bbox": [8, 12, 12, 12]}
            for i in range(len(rows))
        ],
    }
    (root / "regions.json").write_text(json.dumps(coco))
    assert [study.regions for study in read(root).studies] == expected


def test_parquet_and_csv_read_alike_and_keep_leading_zeros(tmp_path):
    import pyarrow
    from pyarrow import parquet

    rows = [("image", "patient_id"), ("a", "00123"), ("b", "")]
    table(tmp_path / "t.csv", rows)
    columns = {name: [row[i] for row in rows[1:]] for i, name in enumerate(rows[0])}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    first = formats.read_table(tmp_path / "t.csv")
    assert first.rows == formats.read_table(tmp_path / "t.parquet").rows
    assert first.rows[0]["patient_id"] == "00123"


def test_excel_needs_openpyxl_or_reads_alike(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in [("image", "patient_id"), ("a", "00123"), (None, None)]:
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    expected = [{"image": "a", "patient_id": "00123"}]
    read = formats.read_table(tmp_path / "t.xlsx")
    assert [cells for _, cells in read.numbered()] == expected


@pytest.mark.parametrize("text", ["2020-01-31", "2020/01/31", "20200131 10:00:00"])
def test_dates_parse(text):
    assert str(dates.parse_date(text)) == "2020-01-31"


@pytest.mark.parametrize("text", ["31.01.2020", "2020-02-30", "2020-0131", "soon"])
def test_what_is_no_date_is_refused(text):
    with pytest.raises(ValueError, match=r"date|day"):
        dates.parse_date(text)


def test_days_count_from_the_patients_first_study(tmp_path):
    for name in "abc":
        write(tmp_path / f"{name}.dcm", film(0))
    rows = [
        ("a.dcm", "1", "2020-03-01"),
        ("b.dcm", "1", "2020-02-01"),
        ("c.dcm", "1", ""),
    ]
    table(
        tmp_path / "studies.csv", [(*STUDIES_HEAD, "rib"), *((*row, 0) for row in rows)]
    )
    assert [study.days for study in read(tmp_path).studies] == [29, 0, -1]


def test_all_problems_come_at_once_without_a_patients_data(tmp_path):
    outside, root = tmp_path / "outside.dcm", tmp_path / "registry"
    write(outside, film(0))
    for name in ("a", "b", "CANARY-c", "CANARY-d"):
        write(root / f"{name}.dcm", film(1))
    (root / "text.dcm").write_text("CANARY" * 100)
    (root / "link.dcm").symlink_to(outside)
    rows = [
        ("a.dcm", "CANARY-1", "2020-01-01", "1", "train"),
        ("./a.dcm", "CANARY-1", "2020-01-01", "1", "train"),
        ("link.dcm", "CANARY-2", "2020-01-01", "0", "test"),
        ("../outside.dcm", "CANARY-2", "2020-01-01", "0", "test"),
        ("/etc/hostname", "CANARY-2", "2020-01-01", "0", "test"),
        ("CANARY-missing.dcm", "CANARY-2", "2020-01-01", "0", "test"),
        ("b.dcm", "CANARY-1", "CANARY-date", "CANARY-label", "test"),
        ("CANARY-c.dcm", "", "2020-01-01", "0", "test"),
        ("CANARY-d.dcm", "CANARY-3", "2020-01-01", "0", "CANARY-split"),
        ("text.dcm", "CANARY-4", "2020-01-01", "1", "test"),
    ]
    table(root / "studies.csv", [(*STUDIES_HEAD, "rib", "split"), *rows])
    boxes = [
        ("a.dcm", "CANARY-site", 1, 1, 9, 9),
        ("a.dcm", "rib", 1, 1, 49, 9),
        ("a.dcm", "rib", 9, 9, 9, 20),
        ("a.dcm", "rib", "CANARY-x", 9, 9, 20),
        ("CANARY-missing.dcm", "rib", 1, 1, 9, 9),
        ("text.dcm", "rib", 1, 1, 9, 9),
    ]
    table(root / "regions.csv", [REGIONS_HEAD, *boxes])
    with pytest.raises(checks.RegistryError) as caught:
        read(root)
    assert "CANARY" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    found = problems_of(caught)
    for expected in [
        ("studies.csv", 3, "duplicate_image"),
        ("studies.csv", 4, "leaves_folder"),
        ("studies.csv", 5, "leaves_folder"),
        ("studies.csv", 6, "leaves_folder"),
        ("studies.csv", 7, "unreadable"),
        ("studies.csv", 8, "bad_date"),
        ("studies.csv", 8, "bad_value"),
        ("studies.csv", 8, "patient_in_two_splits"),
        ("studies.csv", 9, "bad_value"),
        ("studies.csv", 10, "bad_value"),
        ("studies.csv", 11, "unreadable"),
        ("regions.csv", 2, "unknown_site"),
        ("regions.csv", 3, "box_outside"),
        ("regions.csv", 4, "box_outside"),
        ("regions.csv", 5, "bad_value"),
        ("regions.csv", 6, "box_without_study"),
    ]:
        assert expected in found
    assert all(p.row for p in caught.value.problems)


def test_a_row_with_several_faults_has_all_of_them_named(tmp_path):
    """What is wrong with the file hides nothing of what is wrong with the cells."""
    write(tmp_path / "a.dcm", film(0))
    head = (*STUDIES_HEAD, "rib", "sex", "age", "split")
    bad = ("none.dcm", "1", "soon", "2", "?", "999", "later")
    good = ("a.dcm", "1", "2020-01-01", "1", "F", "30", "train")
    table(tmp_path / "studies.csv", [head, bad, good])
    box = ("nowhere.dcm", "sternum", 5, 5, 5, 9)
    table(tmp_path / "regions.csv", [REGIONS_HEAD, box])
    with pytest.raises(checks.RegistryError) as caught:
        read(tmp_path)
    assert problems_of(caught) == [
        *(("regions.csv", 2, n) for n in ("box_outside", "box_without_study")),
        ("regions.csv", 2, "unknown_site"),
        ("studies.csv", 2, "bad_date"),
        *[("studies.csv", 2, "bad_value")] * 4,
        ("studies.csv", 2, "columns"),
        ("studies.csv", 2, "unreadable"),
    ]
    # a row that an allowed check leaves out has no say in the rest
    found = read(tmp_path, allow=["unreadable", "box_without_study"])
    assert [study.row for study in found.studies] == [3]
    assert found.allowed == {"unreadable": 1, "box_without_study": 1}


def test_faults_of_one_table_do_not_hide_those_of_the_other(tmp_path):
    """Too many cells, a missing column and a broken regions.csv, in one message."""
    write(tmp_path / "a.dcm", film(0))
    lines = ["image,study_date,rib,split", "a.dcm,2020-13-01,1,train,extra"]
    lines += ["a.dcm,2020-13-01,5,train", "b.dcm,,1,train", "a.dcm,1,2,3,4,5"]
    (tmp_path / "studies.csv").write_text("\n".join(lines))
    head = "image,site,x0,y0,x1,y1"
    (tmp_path / "regions.csv").write_text(f"{head}\na.dcm,rib,9,9,1,20\na,b,c,d,e,f,g")
    with pytest.raises(checks.RegistryError) as caught:
        read(tmp_path)
    assert problems_of(caught) == [
        ("regions.csv", 2, "box_outside"),
        ("regions.csv", 3, "table"),
        ("studies.csv", 0, "columns"),
        ("studies.csv", 2, "table"),
        ("studies.csv", 3, "bad_date"),
        ("studies.csv", 3, "bad_value"),
        ("studies.csv", 4, "unreadable"),
        ("studies.csv", 5, "table"),
    ]
    assert "no column patient_id" in str(caught.value)
    assert "unchecked: patients in two splits" in str(caught.value)


def test_an_unreadable_table_leaves_the_other_checked(tmp_path):
    (tmp_path / "studies.csv").write_bytes(b"\xff\xfe\x00broken")
    rows = [REGIONS_HEAD, ("a.dcm", "rib", "?", 1, 2, 2)]
    table(tmp_path / "regions.csv", rows)
    with pytest.raises(checks.RegistryError, match="is not UTF-8") as caught:
        read(tmp_path)
    assert ("regions.csv", 2, "bad_value") in problems_of(caught)
    assert len(caught.value.problems) == 2


def test_reports_read_in_processes_give_the_same_labels(tmp_path):
    reports = ["Right rib fracture.", "No rib fracture.", "Old rib fracture.", ""]
    rows = [(f"{i}.dcm", i, "", f"{reports[i % 4]} {i}") for i in range(600)]
    for name, *_ in rows:
        (tmp_path / name).touch()  # pixels are not read here
    table(tmp_path / "studies.csv", [(*STUDIES_HEAD, "report"), *rows])
    one, two = (read(tmp_path, workers=n).studies for n in (1, 2))
    assert one == two
    assert {study.labels["rib"] for study in one} == {1, 0, -1}


def test_finding_that_nothing_defines_names_the_columns(tmp_path):
    root = registry(tmp_path)
    with pytest.raises(checks.RegistryError, match="finding clavicle; the columns are"):
        read(root, ("rib", "clavicle"))


def test_missing_folder_table_and_column_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match="folder does not exist"):
        read(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"no studies\.csv"):
        read(tmp_path)
    table(tmp_path / "studies.csv", [("image", "rib"), ("a", 1)])
    with pytest.raises(checks.RegistryError, match="no column patient_id"):
        read(tmp_path)


def test_unknown_check_in_allow_lists_the_checks(tmp_path):
    with pytest.raises(ValueError, match="are not checks"):
        read(registry(tmp_path), allow=["everything"])


def test_counts_by_finding(tmp_path):
    assert read(registry(tmp_path)).counts() == {
        "rib": {
            "positive": 12,
            "negative": 12,
            "unknown": 0,
            "with_regions": 6,
            "regions": 6,
            "with_count": 0,
        }
    }


def test_picture_files_serve_as_images(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((40, 30), np.uint8))
    table(tmp_path / "studies.csv", [(*STUDIES_HEAD, "rib"), ("a.png", "1", "", "1")])
    box = [REGIONS_HEAD, ("a.png", "rib", 0, 0, 30, 20)]
    table(tmp_path / "regions.csv", box)
    assert len(read(tmp_path).studies[0].regions) == 1


def test_text_that_is_no_code_is_a_bad_value():
    assert codes.split_codes("S22.41XA; J18.9") == (["S2241XA", "J189"], [])
    assert codes.split_codes("rib fracture")[1] == ["RIB", "FRACTURE"]


@pytest.mark.parametrize(
    ("head", "row"),
    [
        (("x0", "y0", "x1", "y1", "x"), ("", 1, 2, 2, 7)),  # a point without its y
        (("x", "y"), ("", "")),  # neither a point nor a box
    ],
)
def test_half_of_a_place_is_told(tmp_path, head, row):
    root = registry(tmp_path / "registry")
    rows = [("image", "site", *head), ("images/000.dcm", "rib", *row)]
    table(root / "regions.csv", rows)
    with pytest.raises(checks.RegistryError, match="not numbers") as caught:
        read(root)
    assert problems_of(caught) == [("regions.csv", 2, "bad_value")]
