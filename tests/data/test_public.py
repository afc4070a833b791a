"""Public sets to registries: the readers' rule, golden rows, all problems at once.

The downloads are written here in their official layout. With AALS_SHARED_DATA set, the
1,000 real films in its folder nih_cxr_pneumonia are built too.
"""

import dataclasses
import itertools
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import given
from hypothesis import strategies as st

from aals_jax.input import audit, prepare
from configs import nih_cxr14 as nih_config
from configs import vindr_clavicle, vindr_rib
from data.cxr_registry.build import builds
from data.cxr_registry.guard import checks
from data.cxr_registry.tables import records
from data.public import (
    conversion,
    convert_command,
    downloads,
    nih_cxr14,
    readers,
    vindr_cxr,
)
from tests.support import datasets
from tests.support.registry_files import WINDOW, dataset, film, table

# What the official de-identification leaves in a header: no modality, no view.
VINDR_TAGS = {
    "Rows", "Columns", "PhotometricInterpretation", "SamplesPerPixel", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "PixelSpacing", "WindowCenter",
    "WindowWidth", "PixelData",
}  # fmt: skip
VINDR_LABELS = (
    "Clavicle fracture", "Lung Opacity", "Nodule/Mass", "Rib fracture", "Pneumonia",
    "No finding",
)  # fmt: skip
CORNERS = ("x_min", "y_min", "x_max", "y_max")
NIH_2017 = (
    "Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age",
    "Patient Gender", "View Position", "OriginalImage[Width", "Height]",
    "OriginalImagePixelSpacing[x", "y]", "",
)  # fmt: skip
NIH_BOXES = ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]", "", "", "")


def problems(convert, root: Path, **options) -> set[tuple[str, int | None, str]]:
    with pytest.raises(checks.RegistryError) as caught:
        convert(root, **options)
    assert "CANARY" not in str(caught.value)
    return {(p.file, p.row, p.check) for p in caught.value.problems}


# ---- the readers' rule

boxes = st.builds(
    lambda x, y, w, h: (float(x), float(y), float(x + w), float(y + h)),
    *[st.integers(0, 6)] * 2,
    *[st.integers(1, 6)] * 2,
)
marks = st.builds(
    lambda said, drawn: readers.Mark(said or bool(drawn), tuple(drawn)),
    st.booleans(),
    st.lists(boxes, max_size=3),
)


@given(st.lists(marks, max_size=4), st.integers(1, 3), st.sampled_from([0.2, 0.5, 1.0]))
def test_the_order_of_the_readers_and_of_their_boxes_does_not_matter(found, agree, iou):
    expected = readers.merge(found, agree=agree, min_iou=iou)
    for order in itertools.permutations(found):
        turned = [readers.Mark(mark.is_positive, mark.boxes[::-1]) for mark in order]
        assert readers.merge(turned, agree=agree, min_iou=iou) == expected


@given(st.lists(boxes, max_size=4, unique=True), st.integers(1, 5))
def test_unanimous_readers_are_themselves(drawn, number):
    mark = readers.Mark(bool(drawn), tuple(drawn))
    reading = readers.merge([mark] * number, agree=number, min_iou=0.5)
    assert reading == (int(bool(drawn)), tuple(sorted(drawn)), 0)


@given(st.lists(boxes, max_size=3, unique=True), st.integers(0, 3))
def test_a_finding_of_one_reader_only_is_unknown(drawn, others):
    found = [readers.Mark(True, tuple(drawn)), *[readers.Mark(False)] * others]
    reading = readers.merge(found, agree=2, min_iou=0.5)
    assert reading == (-1, (), len(drawn))


@given(st.lists(marks, max_size=4), st.integers(1, 3))
def test_a_box_is_kept_on_positives_only(found, agree):
    reading = readers.merge(found, agree=agree, min_iou=0.5)
    assert reading.label == 1 or not reading.boxes


def test_too_few_readers_make_no_negative():
    assert readers.merge([readers.Mark(False)], agree=2, min_iou=0.5).label == -1
    assert readers.merge([readers.Mark(False)] * 2, agree=2, min_iou=0.5).label == 0


def test_neighbours_that_each_reader_drew_apart_stay_apart():
    """Two ribs, overlapping boxes: a chain of overlaps would make one of them."""
    upper, lower = (0.0, 0.0, 10.0, 10.0), (0.0, 3.0, 10.0, 13.0)  # overlap 7 / 13
    mark = readers.Mark(True, (upper, lower))
    reading = readers.merge([mark, mark], agree=2, min_iou=0.5)
    assert reading.boxes == (upper, lower)


@pytest.mark.parametrize("left", range(8))
def test_a_tie_goes_to_the_smaller_coordinates(left):
    """The middle box overlaps both of its neighbours alike, in any order of readers."""
    low, middle, high = ((left + k, 0.0, left + k + 9, 9.0) for k in (0.0, 2.0, 4.0))
    found = [readers.Mark(True, (high, low)), readers.Mark(True, (middle,))]
    for marks in (found, found[::-1]):
        reading = readers.merge(marks, agree=2, min_iou=0.5)
        assert reading.boxes == ((left + 1, 0, left + 10, 9),)


def test_the_mean_of_two_boxes_and_the_overlap_by_hand():
    one, other = (8.0, 12.0, 20.0, 24.0), (10.0, 12.0, 22.0, 24.0)
    assert readers.overlap(one, other) == pytest.approx(120 / 168)
    found = [readers.Mark(True, (one,)), readers.Mark(True, (other,))]
    reading = readers.merge(found, agree=2, min_iou=120 / 168 - 1e-9)
    assert reading.boxes == ((9.0, 12.0, 21.0, 24.0),)
    assert readers.merge(found, agree=2, min_iou=120 / 168 + 1e-9).boxes == ()


# ---- the validation split


def test_validation_is_a_choice_of_patients_by_seed_alone():
    names = [f"{number:08d}" for number in range(4_000)]
    chosen = [conversion.in_validation(n, share=0.1, seed=0) for n in names]
    assert 0.08 < np.mean(chosen) < 0.12
    other = [conversion.in_validation(n, share=0.1, seed=1) for n in names]
    assert 0.005 < np.mean(np.array(chosen) & np.array(other)) < 0.02
    wider = [conversion.in_validation(n, share=0.3, seed=0) for n in names]
    assert all(np.array(wider)[chosen])
    assert not any(conversion.in_validation(n, share=0, seed=0) for n in names)


# ---- VinDr-CXR


def vindr_film(path: Path, seed: int) -> None:
    ds = dataset(film(seed), **WINDOW)
    ds.PixelSpacing = [0.2, 0.2]
    for element in list(ds):
        if element.keyword not in VINDR_TAGS:
            del ds[element.tag]
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)


def vindr_row(image: str, seen: str = "", *, reader: str | None = None) -> list:
    """A row of labels: 1 for each label that `seen` names, else No finding."""
    values = [int(label in seen.split(",")) for label in VINDR_LABELS]
    values[-1] = int(not seen)
    return [image, *([] if reader is None else [reader]), *values]


def vindr(root: Path) -> Path:
    """Two ribs agreed on, one doubted, one not located; the rest without findings."""
    rib = "Rib fracture"
    seen = {
        "a": [rib, rib, rib],
        "b": [rib, "", f"{rib},Pneumonia"],
        "c": ["", rib, ""],
        "d": [rib, rib, ""],
        "e": ["", "", ""],
    }
    drawn = [
        *[("a", f"R{k}", rib, 8, 12, 20, 24) for k in (1, 2, 3)],
        ("b", "R1", rib, 8, 12, 20, 24),
        ("b", "R3", rib, 10, 12, 22, 24),
        ("b", "R3", rib, 30, 30, 40, 40),
        ("c", "R2", rib, 8, 12, 20, 24),
        ("d", "R1", rib, 0, 0, 9, 9),
        ("d", "R2", rib, 20, 20, 40, 40),
        *[("e", f"R{k}", "No finding", "", "", "", "") for k in (1, 2, 3)],
    ]
    labels = [
        vindr_row(image, what, reader=f"R{k}")
        for image, readings in seen.items()
        for k, what in enumerate(readings, 1)
    ]
    folder = root / "annotations"
    head = ["image_id", "rad_id", *VINDR_LABELS]
    table(folder / "image_labels_train.csv", [head, *labels])
    head = ["image_id", "rad_id", "class_name", *CORNERS]
    table(folder / "annotations_train.csv", [head, *drawn])
    test = [vindr_row("t", "Clavicle fracture,Nodule/Mass"), vindr_row("u")]
    table(folder / "image_labels_test.csv", [["image_id", *VINDR_LABELS], *test])
    test = [
        ("t", "Clavicle fracture", 1.5, 2.25, 30.125, 20),
        ("t", "Nodule/Mass", 8, 12, 20, 24),
        ("u", "No finding", "", "", "", ""),
    ]
    table(
        folder / "annotations_test.csv", [["image_id", "class_name", *CORNERS], *test]
    )
    for seed, name in enumerate(
        ["train/a", "train/b", "train/c", "train/d", "train/e"]
    ):
        vindr_film(root / f"{name}.dicom", seed)
    for seed, name in enumerate(["test/t", "test/u"], 100):
        vindr_film(root / f"{name}.dicom", seed)
    return root


VINDR_STUDIES = """\
image,patient_id,study_date,clavicle,lung_opacity,nodule_mass,rib,pneumonia,split,view
train/a.dicom,a,,0,0,0,1,0,train,PA
train/b.dicom,b,,0,0,0,1,,train,PA
train/c.dicom,c,,0,0,0,,0,train,PA
train/d.dicom,d,,0,0,0,1,0,train,PA
train/e.dicom,e,,0,0,0,0,0,train,PA
test/t.dicom,t,,1,0,1,0,0,test,PA
test/u.dicom,u,,0,0,0,0,0,test,PA
"""
VINDR_REGIONS = """\
image,site,x0,y0,x1,y1
train/a.dicom,rib,8.00,12.00,20.00,24.00
train/b.dicom,rib,9.00,12.00,21.00,24.00
test/t.dicom,clavicle,1.50,2.25,30.12,20.00
test/t.dicom,nodule_mass,8.00,12.00,20.00,24.00
"""


def test_vindr_rows_by_hand_then_registry_then_dataset(tmp_path, capsys):
    root = vindr(tmp_path / "vindr")
    vindr_cxr.main(["--download", str(root), "--validation_share", "0"])
    assert (root / "studies.csv").read_text() == VINDR_STUDIES
    assert (root / "regions.csv").read_text() == VINDR_REGIONS
    shown = capsys.readouterr().out
    assert "7 images, 7 patients" in shown
    assert "rib: R 2 (2/0), P 1 (1/0), N 3 (1/2), unknown 1 (1/0)" in shown
    assert "in brackets train/test" in shown
    # the third box of b, one of c, two of d
    assert "lesions that too few readers drew, left out: 4" in shown

    source = records.read_registry(root, findings=["rib", "clavicle"])
    assert source.counts()["rib"] == {
        "positive": 3,
        "negative": 3,
        "unknown": 1,
        "with_regions": 2,
        "regions": 2,
        "with_count": 0,
    }
    path = datasets.build(
        root,
        tmp_path,
        findings=(
            "rib",
            "clavicle",
        ),
    )
    assert builds.describe(path)["quarantined"] == 0
    train = tfds.builder_from_directory(path).as_data_source(split="train")
    by_row = {int(example["row"]): example for example in train}
    assert by_row[2]["view"] == b"PA" and by_row[2]["labels"]["rib"] == 1
    # 60 x 48 pixels in a square of 64: scale 64 / 60 in y, 51 / 48 in x, 6 to the left
    expected = [12 / 60, (8 * 51 / 48 + 6) / 64, 24 / 60, (20 * 51 / 48 + 6) / 64]
    np.testing.assert_allclose(by_row[2]["objects"]["bbox"][0], expected, atol=1e-6)


def test_vindr_agreement_is_an_option(tmp_path):
    root = vindr(tmp_path)
    for agree, label in ((1, 1), (2, -1)):
        made = vindr_cxr.convert(root, agree=agree)
        assert made.studies[2].labels["rib"] == label
    strict = vindr_cxr.convert(root, agree=3)
    assert [study.labels["rib"] for study in strict.studies[:5]] == [1, -1, -1, -1, 0]
    # the consensus of the test set stays what it is
    assert strict.studies[5].labels["clavicle"] == 1


def test_vindr_test_images_stay_test_and_parts_have_no_split(tmp_path):
    root = vindr(tmp_path)
    halves = vindr_cxr.convert(root, validation_share=0.5).studies
    splits = [study.split for study in halves]
    assert set(splits[:5]) == {"train", "validation"} and splits[5:] == ["test"] * 2
    parts = vindr_cxr.convert(root, splits="parts")
    assert {study.split for study in parts.studies} == {""}
    conversion.write(parts, root)
    assert ",split" not in (root / "studies.csv").read_text().splitlines()[0]


def test_vindr_problems_come_at_once_by_file_and_row(tmp_path):
    root = vindr(tmp_path)
    folder = root / "annotations"
    with (folder / "image_labels_train.csv").open("a") as stream:
        stream.write("CANARY-missing,R1,0,0,0,0,0,1\ne,R1,0,0,0,0,0,1\n")
        stream.write("e,R4,0,0,0,CANARY,0,1\n")
    with (folder / "annotations_train.csv").open("a") as stream:
        stream.write("CANARY,R1,Rib fracture,1,1,9,9\na,R9,Rib fracture,1,1,9,9\n")
        stream.write("a,R1,CANARY,1,1,9,9\na,R1,Rib fracture,9,1,9,9\n")
        stream.write("a,R1,Rib fracture,1,1,CANARY,9\n")
    (folder / "annotations_test.csv").unlink()
    found = problems(vindr_cxr.convert, root)
    assert found == {
        ("image_labels_train.csv", 17, "unreadable"),
        ("image_labels_train.csv", 18, "duplicate_image"),
        ("image_labels_train.csv", 19, "bad_value"),
        ("annotations_train.csv", 14, "box_without_study"),
        ("annotations_train.csv", 15, "box_without_study"),
        ("annotations_train.csv", 16, "unknown_site"),
        ("annotations_train.csv", 17, "box_outside"),
        ("annotations_train.csv", 18, "box_outside"),
        ("annotations_test.csv", None, "columns"),
    }


def test_vindr_partial_download_passes_when_allowed(tmp_path):
    root = vindr(tmp_path)
    (root / "train/e.dicom").unlink()
    assert ("image_labels_train.csv", 14, "unreadable") in problems(
        vindr_cxr.convert, root
    )
    allow = ["unreadable", "box_without_study"]
    made = vindr_cxr.convert(root, allow=allow)
    assert len(made.studies) == 6
    assert made.notes["allowed unreadable (the row is left out)"] == 1


# ---- NIH ChestX-ray14


def nih_film(path: Path, seed: int, side: int = 1024) -> None:
    pixels = np.zeros((side, side), np.uint8)
    pixels[:8, :8] = np.random.default_rng(seed).integers(1, 256, (8, 8))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)


def nih(root: Path) -> Path:
    """Five images of four patients; the odd headers and cells of the 2017 files."""
    names = [f"{name}.png" for name in ("1_000", "1_001", "2_000", "3_000", "4_000")]
    for seed, name in enumerate(names):
        nih_film(root / f"images_{1 + seed // 3:03d}/images" / name, seed)
    size = ["2682", "2749", "0.143", "0.143", ""]
    rows = [
        ("Pneumonia|Pleural_Thickening", 0, 1, "058Y", "M", "PA"),
        ("No Finding", 1, 1, "059Y", "M", "AP"),
        ("Infiltration", 0, 2, "011M", "F", "AP"),
        ("No Finding", 0, 3, "411Y", "F", "PA"),
        ("Cardiomegaly", 0, 4, "130Y", "M", "PA"),
    ]
    rows = [[name, *row, *size] for name, row in zip(names, rows, strict=True)]
    table(root / "Data_Entry_2017.csv", [NIH_2017, *rows])
    drawn = [
        ("1_000.png", "Pneumonia", 225.084745762712, 547.019216763771, 86.5, 79.25),
        ("2_000.png", "Infiltrate", 1000, 0, 30, 512),
        ("3_000.png", "Mass", 10, 20, 30, 40),
    ]
    table(root / "BBox_List_2017.csv", [NIH_BOXES, *drawn])
    (root / "train_val_list.txt").write_text("1_000.png\n1_001.png\n4_000.png\n")
    (root / "test_list.txt").write_text("2_000.png\n3_000.png")
    return root


NIH_STUDIES = """\
images_001/images/1_000.png,1,,0,0,0,0,0,0,1,0,0,0,0,0,1,0,train,PA,M,58,0
images_001/images/1_001.png,1,,0,0,0,0,0,0,0,0,0,0,0,0,0,0,train,AP,M,59,1
images_001/images/2_000.png,2,,0,0,0,1,0,0,0,0,0,0,0,0,0,0,test,AP,F,0,0
images_002/images/3_000.png,3,,0,0,0,0,1,0,0,0,0,0,0,0,0,0,test,PA,F,,0
images_002/images/4_000.png,4,,0,1,0,0,0,0,0,0,0,0,0,0,0,0,train,PA,M,130,0
"""
NIH_REGIONS = """\
image,site,x0,y0,x1,y1
images_001/images/1_000.png,pneumonia,225.08,547.02,311.58,626.27
images_001/images/2_000.png,infiltration,1000.00,0.00,1024.00,512.00
images_002/images/3_000.png,mass,10.00,20.00,40.00,60.00
"""


def test_nih_rows_by_hand_then_registry_then_dataset(tmp_path, capsys):
    root = nih(tmp_path / "nih")
    nih_cxr14.main(["--download", str(root), "--validation_share", "0"])
    header, _, rows = (root / "studies.csv").read_text().partition("\n")
    names = ["image", "patient_id", "study_date", *nih_cxr14.FINDINGS]
    assert header.split(",") == [*names, "split", "view", "sex", "age", "follow_up"]
    assert rows == NIH_STUDIES
    assert (root / "regions.csv").read_text() == NIH_REGIONS
    shown = capsys.readouterr().out
    assert "mass: R 1 (0/1), P 0, N 4 (3/1), unknown 0" in shown
    assert "boxed findings that the mined labels do not name: now positive: 1" in shown
    assert "ages over 130 left out: 1" in shown
    assert "boxes cut at the image's border: 1" in shown

    path = datasets.build(root, tmp_path, findings=("mass",))
    test = tfds.builder_from_directory(path).as_data_source(split="test")
    boxed = next(e for e in test if e["labels"]["mass"] == 1)
    expected = np.array([20, 10, 60, 40]) / 1024
    np.testing.assert_allclose(boxed["objects"]["bbox"][0], expected, atol=1e-6)
    assert boxed["age_band"] == b"" and boxed["sex"] == b"F"


def test_nih_2020_file_reads_alike(tmp_path):
    root = nih(tmp_path)
    before = nih_cxr14.convert(root)
    file = root / "Data_Entry_2017.csv"
    text = file.read_text().replace("Patient Gender", "Patient Sex")
    for old, new in (("058Y", "58"), ("059Y", "59"), ("011M", "0"), ("130Y", "130")):
        text = text.replace(old, new)
    (root / "Data_Entry_2017_v2020.csv").write_text(text.replace("411Y", "411"))
    assert ("Data_Entry_2017.csv", None, "columns") in problems(nih_cxr14.convert, root)
    file.unlink()
    assert nih_cxr14.convert(root) == before


def test_nih_images_of_one_folder_serve_too(tmp_path):
    """The official archives all unpack into images/."""
    root = nih(tmp_path)
    (root / "images").mkdir()
    for path in list(root.glob("images_*/images/*.png")):
        path.rename(root / "images" / path.name)
    assert nih_cxr14.convert(root).studies[0].image == "images/1_000.png"


def test_nih_patients_are_in_one_split(tmp_path):
    root = nih(tmp_path)
    for seed in range(20):
        made = nih_cxr14.convert(root, validation_share=0.5, seed=seed)
        assert made.studies[0].split == made.studies[1].split


def test_nih_parts_need_no_lists(tmp_path):
    root = nih(tmp_path)
    (root / "test_list.txt").unlink()
    assert ("test_list.txt", None, "columns") in problems(nih_cxr14.convert, root)
    made = nih_cxr14.convert(root, splits="parts")
    assert {study.split for study in made.studies} == {""}


def test_nih_problems_come_at_once_by_file_and_row(tmp_path):
    root = nih(tmp_path)
    nih_film(root / "images_002/images/5_000.png", 9, side=64)
    with (root / "Data_Entry_2017.csv").open("a") as stream:
        stream.write("CANARY.png,No Finding,0,9,058Y,M,PA,1,1,1,1,\n")
        stream.write("1_000.png,No Finding,0,1,058Y,M,PA,1,1,1,1,\n")
        stream.write("5_000.png,CANARY,0,5,CANARY,M,PA,1,1,1,1,\n")
    with (root / "BBox_List_2017.csv").open("a") as stream:
        stream.write("CANARY.png,Mass,1,1,9,9,,,\n1_000.png,CANARY,1,1,9,9,,,\n")
        stream.write("1_000.png,Mass,1,1,0,9,,,\n1_000.png,Mass,1,CANARY,9,9,,,\n")
        stream.write("1_000.png,Mass,1024,1,9,9,,,\n5_000.png,Mass,1,1,9,9,,,\n")
    with (root / "train_val_list.txt").open("a") as stream:
        stream.write("2_000.png\n")
    assert problems(nih_cxr14.convert, root) == {
        ("Data_Entry_2017.csv", 7, "unreadable"),
        ("Data_Entry_2017.csv", 8, "duplicate_image"),
        ("Data_Entry_2017.csv", 9, "bad_value"),
        ("Data_Entry_2017.csv", 4, "columns"),  # in both lists
        ("Data_Entry_2017.csv", 9, "columns"),  # in neither
        ("BBox_List_2017.csv", 5, "box_without_study"),
        ("BBox_List_2017.csv", 6, "unknown_site"),
        ("BBox_List_2017.csv", 7, "box_outside"),
        ("BBox_List_2017.csv", 8, "box_outside"),
        ("BBox_List_2017.csv", 9, "box_outside"),
        ("BBox_List_2017.csv", 10, "box_outside"),
    }


# ---- the command


@pytest.mark.parametrize("module", [vindr_cxr, nih_cxr14])
def test_an_empty_folder_names_every_official_file(tmp_path, module):
    with pytest.raises(SystemExit) as caught:
        module.main(["--download", str(tmp_path)])
    message = str(caught.value)
    needed = {
        vindr_cxr: ["image_labels_train.csv", "annotations_test.csv", "*.dicom"],
        nih_cxr14: ["Data_Entry_2017.csv", "BBox_List_2017.csv", "test_list.txt"],
    }
    assert all(name in message for name in needed[module])
    assert str(tmp_path) not in message and module.OFFICIAL in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--allow", "burned_in"], "see --help"),
        (["--validation_share", "1"], "validation_share"),
        (["--agree", "0"], "agree=0"),
    ],
)
def test_flags_out_of_range_are_refused(tmp_path, flags, message):
    with pytest.raises(SystemExit, match=message):
        vindr_cxr.main(["--download", str(tmp_path), *flags])


def test_a_download_that_is_not_there_is_told_without_its_path(tmp_path):
    with pytest.raises(SystemExit, match="--download does not exist") as caught:
        nih_cxr14.main(["--download", str(tmp_path / "CANARY")])
    assert "CANARY" not in str(caught.value)


def test_out_leaves_the_download_as_it_is(tmp_path):
    root = vindr(tmp_path / "vindr")
    before = sorted(root.rglob("*"))
    vindr_cxr.main(["--download", str(root), "--out", str(tmp_path / "tables")])
    assert sorted(root.rglob("*")) == before
    written = sorted(path.name for path in (tmp_path / "tables").iterdir())
    assert written == ["regions.csv", "studies.csv"]


def test_both_tables_or_neither(tmp_path, monkeypatch):
    made = vindr_cxr.convert(vindr(tmp_path / "vindr"))
    out = tmp_path / "out"
    conversion.write(made, out)
    before = {path.name: path.read_text() for path in out.iterdir()}

    def fail(rows):
        raise OSError("no space")

    monkeypatch.setattr(conversion, "_study_rows", fail)
    with pytest.raises(OSError, match="no space"):
        conversion.write(made, out)
    assert {path.name: path.read_text() for path in out.iterdir()} == before


def test_a_repeated_conversion_gives_the_same_bytes(tmp_path):
    root = vindr(tmp_path)
    for name in ("studies.csv", "regions.csv"):
        vindr_cxr.main(["--download", str(root)])
        first = (root / name).read_bytes()
        vindr_cxr.main(["--download", str(root)])
        assert (root / name).read_bytes() == first


def test_report_says_what_the_letters_mean(tmp_path):
    made = vindr_cxr.convert(vindr(tmp_path), splits="parts")
    shown = convert_command.report(made)
    assert "rib: R 2, P 1, N 3, unknown 1\n" in shown
    assert "R positive with a box" in shown


# ---- a download where a registry is asked for


@pytest.mark.parametrize(
    ("make", "name", "finding"), [(nih, "NIH", "mass"), (vindr, "VinDr", "rib")]
)
def test_audit_and_build_take_a_download_as_it_is(
    tmp_path, caplog, make, name, finding
):
    """As its converter would with the command that is logged; nothing is written."""
    caplog.set_level("INFO", logger="aals_jax")
    root = make(tmp_path / "download")
    before = sorted((path.name, path.stat().st_mtime_ns) for path in root.rglob("*"))
    out = tmp_path / "audit"
    options = audit.AuditOptions(
        registry=root,
        out=out,
        findings=(finding,),
        allow=("negative",),  # the pictures are noise
    )
    assert audit.audit(options)
    found = json.loads((out / "audit.json").read_text())
    after = sorted((path.name, path.stat().st_mtime_ns) for path in root.rglob("*"))
    assert after == before and sorted(p.name for p in out.iterdir()) == [
        "audit.html",
        "audit.json",
        "tables",
    ]
    source = downloads.recognise(root)
    assert source and name in source.name and source.command in caplog.text
    assert caplog.text.count("its tables: converted") == 1
    assert audit.audit(options)
    assert caplog.text.count("its tables: kept from before") == 1
    assert json.loads((out / "audit.json").read_text()) == found
    assert str(tmp_path) not in caplog.text.replace(str(out), "")

    # the same tables, written beside the download by the command that was logged
    reading = prepare.with_tables(
        records.ReadingOptions(), root, tmp_path / "tables", allow=()
    )
    assert reading.tables
    apart = records.read_registry(root, findings=[finding], options=reading)
    module = {"NIH": nih_cxr14, "VinDr": vindr_cxr}[name]
    module.main(source.command.replace("DIR", str(root)).split()[3:])
    beside = records.read_registry(root, findings=[finding])
    assert apart.studies == beside.studies
    assert found["labels"][finding]["1"] == apart.counts()[finding]["positive"]
    assert downloads.recognise(root) is None  # now it is a registry


def counted(source: downloads.Source) -> tuple[downloads.Source, list[Path]]:
    """The source, and a list that grows with each conversion."""
    calls: list[Path] = []

    def convert(root, **options):
        calls.append(root)
        return source.convert(root, **options)

    return source._replace(convert=convert), calls


def alter_labels(root):
    for path in (*root.glob("Data_Entry*"), *root.glob("annotations/image_labels_te*")):
        path.write_text(path.read_text().replace("058Y", "057Y") + "\n")


def alter_boxes(root):
    for path in (*root.glob("BBox*"), *root.glob("annotations/annotations_te*")):
        path.write_text(path.read_text().replace("512", "511").replace("1.5", "1.25"))


def add_an_image(root):
    folder = next(
        path for path in (root / "images_001/images", root / "test") if path.is_dir()
    )
    first = min(folder.iterdir())
    (folder / f"z{first.suffix}").write_bytes(first.read_bytes())


def resize_an_image(root):
    path = min([*root.glob("images_*/images/*"), *root.glob("test/*")])
    path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize("make", [nih, vindr])
def test_a_download_is_converted_once_and_anew_when_it_changes(tmp_path, make):
    root, home = make(tmp_path / "download"), tmp_path / "tables"
    recognised = downloads.recognise(root)
    assert recognised
    source, calls = counted(recognised)

    def tables(allow=()):
        return downloads.tables_of(source, root, home, allow=allow)

    first = tables()
    written = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    assert first.is_new and {*conversion.TABLES, downloads.FINISHED} <= written.keys()
    assert tables() == (first.folder, False) and len(calls) == 1
    moved = root.rename(tmp_path / "moved")  # its place does not count
    assert downloads.tables_of(source, moved, home, allow=()).folder == first.folder
    moved.rename(root)
    seen = {first.folder}
    for alter in (alter_labels, alter_boxes, add_an_image, resize_an_image):
        alter(root)
        changed = tables()
        assert changed.is_new and changed.folder not in seen
        assert tables() == (changed.folder, False)
        seen.add(changed.folder)
    # another check of the converters that may pass; one that they don't have
    assert tables(["bad_value"]).is_new and not tables(["negative"]).is_new
    assert written == {path.name: path.read_bytes() for path in first.folder.iterdir()}


def test_a_conversion_that_was_cut_off_or_altered_is_done_again(tmp_path, monkeypatch):
    root, home = nih(tmp_path / "download"), tmp_path / "tables"
    recognised = downloads.recognise(root)
    assert recognised
    source, calls = counted(recognised)

    def tables():
        return downloads.tables_of(source, root, home, allow=())

    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:  # before, while and after the tables are made
        for name in ("_write_table", "_study_rows"):
            patch.setattr(conversion, name, killed)
            with pytest.raises(Killed):
                tables()
        patch.undo()
        patch.setattr(downloads.atomic, "sync", killed)
        with pytest.raises(Killed):
            tables()
    (folder,) = home.iterdir()
    assert not (folder / downloads.FINISHED).exists() and len(calls) == 3
    assert tables() == (folder, True) and not tables().is_new
    good = {name: (folder / name).read_bytes() for name in conversion.TABLES}
    for spoil in (
        lambda: (folder / downloads.FINISHED).write_text("{"),
        lambda: (folder / "studies.csv").write_bytes(good["studies.csv"][:-9]),
        lambda: (folder / "regions.csv").unlink(),
    ):
        spoil()
        assert tables() == (folder, True)
        assert good == {name: (folder / name).read_bytes() for name in good}


def test_other_code_of_the_converters_converts_anew(tmp_path, monkeypatch):
    root = vindr(tmp_path / "download")
    source = downloads.recognise(root)
    assert source
    first = downloads.tables_of(source, root, tmp_path / "t", allow=())
    monkeypatch.setattr(conversion, "VERSION", conversion.VERSION + 1)
    other = downloads.tables_of(source, root, tmp_path / "t", allow=())
    assert other.is_new and other.folder != first.folder


def test_a_build_takes_tables_from_another_folder(tmp_path):
    root = vindr(tmp_path / "vindr")
    tables = tmp_path / "tables"
    conversion.write(vindr_cxr.convert(root), tables)
    reading = records.ReadingOptions(tables=tables)
    path = datasets.build(root, tmp_path, findings=("rib",), reading=reading)
    assert builds.describe(path)["images"] == 7


def test_a_download_in_a_folder_below_is_told_with_its_command(tmp_path):
    nih(tmp_path / "nih")
    with pytest.raises(FileNotFoundError, match=r"folder below.*nih_cxr14") as caught:
        downloads.recognise(tmp_path)
    assert str(tmp_path) not in str(caught.value)


def test_a_registry_or_an_empty_folder_is_no_download(tmp_path):
    assert downloads.recognise(tmp_path) is None
    (tmp_path / "Data_Entry_2017.csv").touch()  # the label file alone
    assert downloads.recognise(tmp_path) is None


def test_a_download_with_parts_missing_has_its_faults_told(tmp_path):
    root = nih(tmp_path / "nih")
    (root / "images_002/images/4_000.png").unlink()
    options = audit.AuditOptions(registry=root, out=tmp_path / "audit")
    with pytest.raises(checks.RegistryError, match="all 12 image archives"):
        audit.audit(options)
    allowed = dataclasses.replace(options, allow=("unreadable",), pixels=False)
    assert audit.audit(allowed)


# ---- recipes


def test_recipes_name_a_finding_of_their_converter_and_no_phantom():
    for config in (vindr_rib.get_config(), vindr_clavicle.get_config("paper")):
        assert config.finding in vindr_cxr.NAMES.values() and config.registry
    assert nih_config.get_config("").finding == "pneumonia"
    config = nih_config.get_config("mass,paper")
    assert (config.finding, config.scale) == ("mass", "paper") and config.registry
    with pytest.raises(ValueError, match="has no boxes"):
        nih_config.get_config("hernia")


# ---- real films


def test_shared_nih_films_build_cleanly(tmp_path):
    folder = os.environ.get("AALS_SHARED_DATA")
    if not folder:
        pytest.skip("AALS_SHARED_DATA does not name the folder of nih_cxr_pneumonia")
    root = Path(folder) / "nih_cxr_pneumonia"
    source = records.read_registry(root, findings=["pneumonia"])
    assert source.counts()["pneumonia"] == {
        "positive": 500,
        "negative": 500,
        "unknown": 0,
        "with_regions": 43,
        "regions": 43,
        "with_count": 0,
    }
    facts = builds.describe(datasets.build(root, tmp_path, findings=("pneumonia",)))
    assert (facts["images"], facts["patients"]) == (1_000, 682)
    assert facts["quarantined"] == 0
