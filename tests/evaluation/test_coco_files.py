"""COCO files as tools write them: what they mean, and every fault by its entry."""

import copy
import json

import numpy as np
import pytest

from aals_jax.evaluation import score
from aals_jax.metrics import readings
from tests.support.submission_files import IMAGES, LESIONS, faults, read

TRUTH = {
    "images": [
        {"id": i, "file_name": f"f{i}.png", "width": 200, "height": 200}
        for i in range(1, 6)
    ],
    "categories": [{"id": 1, "name": "fracture"}, {"id": 2, "name": "other"}],
    "annotations": [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [10, 10, 20, 20]}
        for i in (1, 2, 3)
    ],
}
RESULTS = [
    {"image_id": i, "category_id": 1, "bbox": [12, 12, 16, 16], "score": s}
    for i, s in ((1, 0.9), (2, 0.8), (3, 0.7), (4, 0.3))
]


def changed(record, part, number, **fields):
    """A copy in which an entry of a list has other fields; ... takes one away."""
    record = copy.deepcopy(record)
    entry = (record[part] if part else record)[number]
    entry.update(fields)
    for name in [name for name, value in fields.items() if value is ...]:
        del entry[name]
    return record


def scored(folder, truth=TRUTH, results=RESULTS, category="fracture", **others):
    return read(folder, lesions=truth, detections=results, category=category, **others)


def told(folder, truth=TRUTH, results=RESULTS, category="fracture"):
    return faults(folder, lesions=truth, detections=results, category=category)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_any_encoding_of_unicode_is_read(tmp_path, encoding):
    truth, results = (json.dumps(v).encode(encoding) for v in (TRUTH, RESULTS))
    found = scored(tmp_path, truth=truth, results=results)
    assert found.truth.label.tolist() == [True, True, True, False, False]
    np.testing.assert_array_equal(found.detections[0][0], [[12, 12, 28, 28, 0.9]])


@pytest.mark.parametrize("patient", [None, float("nan"), "NA", "", "none", "-"])
def test_a_missing_patient_is_nobody(tmp_path, patient):
    truth = copy.deepcopy(TRUTH)
    for image in truth["images"]:
        image["patient_id"] = patient
    assert len(set(scored(tmp_path, truth).truth.patient)) == 5
    for image in truth["images"]:
        del image["patient_id"]
        image["PatientID"] = image["id"] // 2
    assert len(set(scored(tmp_path, truth).truth.patient)) == 3


def test_a_category_is_its_name_under_all_its_ids(tmp_path):
    truth = copy.deepcopy(TRUTH)
    truth["categories"].append({"id": 3, "name": "fracture"})
    truth["annotations"][0]["category_id"] = 3
    results = changed(RESULTS, "", 1, category_id=3)
    found = scored(tmp_path, truth, results)
    assert sum(map(len, found.truth.lesions)) == 3
    assert found.image_scores()[0].tolist() == [0.9, 0.8, 0.7, 0.3, 0]
    assert sum(map(len, scored(tmp_path, category="FRACTURE").truth.lesions)) == 3
    (text,) = told(tmp_path, category="Fractures")
    assert "one of ['fracture', 'other']" in text


def test_crowds_and_ignored_regions_are_neither_hit_nor_false(tmp_path):
    results = changed(RESULTS, "", 2, score=0.95)
    for flags, label in (
        ({"iscrowd": 1}, True),
        ({"isCrowd": "1"}, True),
        ({"ignore": True}, False),
        ({"isIgnore": 1, "ignore": 0}, False),
        ({"attributes": {"ignored": True, "occluded": False}}, False),
    ):
        truth = changed(TRUTH, "annotations", 2, **flags)
        found = scored(tmp_path, truth, results)
        assert found.truth.label[2] == label and found.truth.judged.all()
        assert sum(map(len, found.truth.lesions)) == 2
        kept, dropped = score.without_ignored(found, readings.Hit())
        assert dropped == 1 and not len(kept.detections[0][2])
        # in a crowd it calls its positive image rightly
        called = 0.95 if label else 0
        assert kept.image_scores()[0].tolist() == [0.9, 0.8, called, 0.3, 0]
    # a detection outside of the region is false, and one on a lesion within is a hit
    away = changed(results, "", 2, bbox=[100, 100, 16, 16])
    assert score.without_ignored(scored(tmp_path, truth, away), readings.Hit())[1] == 0
    both = copy.deepcopy(truth)
    both["annotations"].append({**TRUTH["annotations"][2], "id": 9})
    found = scored(tmp_path, both, results)
    assert score.without_ignored(found, readings.Hit())[1] == 0


def test_what_belongs_to_another_category_is_not_looked_at(tmp_path):
    truth = copy.deepcopy(TRUTH)
    other = {"image_id": 4, "category_id": 2}
    truth["annotations"] += [
        {**other, "id": 8, "bbox": [0, 0, 50, 50], "iscrowd": 1},
        {**other, "id": 9, "bbox": []},
    ]
    found = scored(tmp_path, truth)
    assert not any(map(len, found.ignored)) and not found.truth.label[3]


def test_unknown_sizes_are_unknown(tmp_path):
    truth = copy.deepcopy(TRUTH)
    for image in truth["images"]:
        image.update(width=None, height=None)
    assert scored(tmp_path, truth).truth.unit == (1.0, "units of the tables")
    half = changed(TRUTH, "images", 1, width=None)
    assert "images entry 2: width and height must both" in told(tmp_path, half)[0]
    assert "images entry 2" in told(tmp_path, changed(TRUTH, "images", 1, width=-5))[0]


def test_polygons_give_the_box_that_is_missing(tmp_path):
    polygon = [[10, 10, 30, 10, 30, 30, 10, 30]]
    truth = changed(TRUTH, "annotations", 0, bbox=..., segmentation=polygon)
    found = scored(tmp_path, truth)
    assert found.truth.lesions[0].tolist() == [[10, 10, 30, 30]]
    mask = {"counts": "abc", "size": [9, 9]}
    truth = changed(TRUTH, "annotations", 0, bbox=..., segmentation=mask)
    assert "truth" not in told(tmp_path, truth)[0]
    assert told(tmp_path, truth)[0].startswith("lesions.json entry 1: has no bbox")


def test_results_may_be_wrapped_and_have_ids_of_their_own(tmp_path):
    plain = scored(tmp_path)
    own = {
        "images": [{"id": 100 + i, "file_name": f"f{i}.png"} for i in range(1, 6)],
        "categories": [{"id": 7, "name": "fracture"}],
        "annotations": [
            {**entry, "image_id": 100 + entry["image_id"], "category_id": 7}
            for entry in RESULTS
        ],
    }
    texts = [{**e, "image_id": str(e["image_id"]), "category_id": 1.0} for e in RESULTS]
    for results in ({"annotations": RESULTS}, {"predictions": RESULTS}, own, texts):
        found = scored(tmp_path, TRUTH, results)
        for one, other in zip(plain.detections[0], found.detections[0], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("part", "number", "fields", "text"),
    [
        ("annotations", 1, {"bbox": []}, "lesions.json entry 2: its bbox is not four"),
        (
            "annotations",
            1,
            {"bbox": None},
            "lesions.json entry 2: its bbox is not four",
        ),
        ("annotations", 1, {"bbox": [1, 2, "x", 4]}, "lesions.json entry 2: its bbox"),
        ("annotations", 1, {"image_id": 99}, "lesions.json entry 2: its image is not"),
        ("annotations", 1, {"image_id": ...}, "lesions.json entry 2: has no image_id"),
        ("annotations", 1, {"area": 0.0, "bbox": [10, 10, 30, 10]}, "two corners"),
        ("images", 1, {"id": 1}, "lesions.json images entry 2: its id is that of"),
        ("images", 1, {"file_name": "f1.png"}, "images entry 2: the image of entry 1"),
        ("images", 1, {"file_name": None}, "images entry 2: has no file_name"),
        ("categories", 1, {"id": 1}, "categories entry 2: its id is that of"),
        ("", 1, {"image_id": 77}, "detections.json entry 2: its image is not"),
        ("", 1, {"score": None}, "detections.json entry 2: score must be finite"),
        ("", 1, {"score": ...}, "detections.json entry 2: has no score"),
        ("", 1, {"category_id": ...}, "detections.json entry 2: has no category_id"),
        ("", 1, {"category_id": 0}, "detections.json entry 2: its category_id is not"),
        ("", 1, {"bbox": [9, 9, -9, 9]}, "detections.json entry 2: a box without area"),
    ],
)
def test_a_fault_names_its_entry(tmp_path, part, number, fields, text):
    if part:
        found = told(tmp_path, changed(TRUTH, part, number, **fields))
    else:
        found = told(tmp_path, TRUTH, changed(RESULTS, part, number, **fields))
    assert any(text in each for each in found), found


def test_an_unknown_id_is_no_image_of_that_name(tmp_path):
    truth = changed(TRUTH, "images", 4, file_name="77")
    found = told(tmp_path, truth, changed(RESULTS, "", 0, image_id=77))
    assert found == ["detections.json entry 1: its image is not in the images table"]


def test_corners_in_place_of_sizes_are_refused(tmp_path):
    corners = [{**entry, "bbox": [112, 112, 128, 128]} for entry in RESULTS]
    at = [{**a, "bbox": [110, 110, 20, 20]} for a in TRUTH["annotations"]]
    (text,) = told(tmp_path, {**TRUTH, "annotations": at}, corners)
    assert "all fit if read as two corners" in text and "(see entry 1)" in text


def test_faults_of_both_files_are_told_together(tmp_path):
    found = told(
        tmp_path,
        changed(TRUTH, "annotations", 1, bbox=[]),
        changed(RESULTS, "", 0, score=None),
    )
    assert [text.split(":")[0] for text in found] == [
        "lesions.json entry 2",
        "detections.json entry 1",
    ]


def test_categories_without_names_can_not_be_told_apart(tmp_path):
    results = [
        {"image_id": "a", "category_id": k, "bbox": [12, 12, 16, 15 + k], "score": 0.9}
        for k in (1, 2)
    ]
    given = {"images": IMAGES, "lesions": LESIONS}
    (text,) = faults(tmp_path, **given, detections=results)
    assert "2 categories, which can't be told apart" in text
    (text,) = faults(tmp_path, **given, detections=results, category="fracture")
    assert "nothing tells which category_id that is" in text
    found = read(tmp_path, **given, detections=results[:1])
    assert found.image_scores()[0].tolist() == [0.9, 0, 0, 0]


def test_a_difficult_lesion_is_asked_about_once(tmp_path):
    truth = changed(TRUTH, "annotations", 0, difficult=1)
    truth = changed(truth, "annotations", 1, attributes={"Difficult": True})
    (told,) = faults(tmp_path, lesions=truth, detections=RESULTS, category="fracture")
    assert "marked difficult" in told and "entry 1" in told
    assert scored(tmp_path, changed(TRUTH, "annotations", 0, difficult=0))
