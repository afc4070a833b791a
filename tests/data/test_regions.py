"""Boxes that are not what they seem: shares, sizes, doubles, other images' pixels."""

import json

import cv2
import numpy as np
import pytest

from data.cxr_registry.guard import checks
from data.cxr_registry.tables import records
from tests.support.registry_files import REGIONS_HEAD, STUDIES_HEAD, table

SHAPE = (60, 48)  # rows, columns of every image


def scan(
    root, boxes, *, head=REGIONS_HEAD, images=("img/a.png",), allow=(), shape=SHAPE
):
    """Boxes of each image as they are read, and (row, check) of the faults."""
    for name in images:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), np.zeros(shape, np.uint8))
    rows = [(name, str(i), "", 1) for i, name in enumerate(images)]
    table(root / "studies.csv", [(*STUDIES_HEAD, "rib"), *rows])
    if isinstance(boxes, dict):
        (root / "regions.json").write_text(json.dumps(boxes))
    else:
        table(root / "regions.csv", [head, *boxes])
    problems = checks.Problems(allow)
    found = records.scan_registry(
        root, findings=["rib"], problems=problems, options=records.ReadingOptions()
    )
    faults = [(p.row, p.check) for p in problems.standing]
    return [[r[1:] for r in study.regions] for study in found.studies], faults, found


@pytest.mark.parametrize(
    "corners",
    [
        (0.25, 0.3, 0.5, 0.6),
        (0, 0, 1, 1),
        (0.1, 10, 0.9, 20),
        (5, 5, 5.5, 20),
        (5, 5, 20, 5.5),
        (0, 0, 48, 60),
        (0, 1, 47, 60),
    ],
)
def test_a_box_of_less_than_a_pixel_or_of_all_is_none(tmp_path, corners):
    boxes, faults, _ = scan(tmp_path, [("img/a.png", "rib", *corners)])
    assert boxes == [[]] and faults == [(2, "box_outside")]


def test_a_point_in_shares_of_the_image_is_none(tmp_path):
    head = ("image", "site", "x", "y")
    rows = [("img/a.png", "rib", 0.4, 0.5), ("img/a.png", "rib", 24, 30)]
    boxes, faults, _ = scan(tmp_path, rows, head=head)
    assert boxes == [[(0, 0, 48, 60)]] and faults == [(2, "box_outside")]


@pytest.mark.parametrize(
    ("second", "is_same"),
    [
        ((5, 6, 30, 20), True),
        ((5.0, 6.4, 30, 20.3), True),
        ((6, 6, 31, 21), True),
        ((5, 6, 30, 34), False),  # half of it
        ((30, 20, 40, 40), False),
    ],
)
def test_a_lesion_that_is_boxed_twice_is_one(tmp_path, second, is_same):
    rows = [("img/a.png", "rib", 5, 6, 30, 20), ("img/a.png", "rib", *second)]
    _, faults, _ = scan(tmp_path, rows)
    assert faults == ([(3, "duplicate_box")] if is_same else [])
    boxes, faults, _ = scan(tmp_path, rows, allow=["duplicate_box"])
    assert boxes[0][0] == (5, 6, 30, 20) and len(boxes[0]) == 2 - is_same and not faults


def test_the_same_place_on_two_images_is_two_lesions(tmp_path):
    images = ("img/a.png", "img/b.png")
    rows = [(name, "rib", 5, 6, 30, 20) for name in images]
    assert not scan(tmp_path, rows, images=images)[1]


def test_width_and_height_in_place_of_the_second_corner_are_told(tmp_path):
    rows = [("img/a.png", "rib", 20 + i, 30 - i, 5, 8 + i) for i in range(3)]
    rows.append(("img/a.png", "rib", 3, 4, 9, 9))  # passes for two corners
    _, faults, _ = scan(tmp_path, rows, allow=["box_outside"])
    assert faults == [(None, "columns")]


@pytest.mark.parametrize("sizes", [("w", "h"), ("width", "height")])
def test_a_corner_with_sizes_is_no_point(tmp_path, sizes):
    rows = [("img/a.png", "rib", 10, 10, 5, 5)]
    boxes, faults, _ = scan(tmp_path, rows, head=("image", "site", "x", "y", *sizes))
    assert boxes == [[]] and faults == [(None, "columns")]


HEAD = (*REGIONS_HEAD, "image_width", "image_height")


@pytest.mark.parametrize("width", [96, 97])  # a program may round a side
def test_boxes_of_a_larger_copy_are_scaled_and_counted(tmp_path, width):
    row = ("img/a.png", "rib", 10, 10, 20, 30, width, 120)
    boxes, faults, found = scan(tmp_path, [row], head=HEAD)
    assert boxes == [[(480 / width, 5, 960 / width, 15)]] and not faults
    assert found.unclear == {"boxes scaled from another image size": (2,)}


@pytest.mark.parametrize(
    ("size", "check"),
    [
        ((60, 48), "box_outside"),  # turned
        ((48, 48), "box_outside"),  # cut
        ((48, ""), "bad_value"),
        ((0, 60), "bad_value"),
        (("nan", 60), "bad_value"),
    ],
)
def test_boxes_of_another_shape_are_refused(tmp_path, size, check):
    row = ("img/a.png", "rib", 10, 10, 20, 30, *size)
    boxes, faults, _ = scan(tmp_path, [row], head=HEAD)
    assert boxes == [[]] and faults == [(2, check)]


def coco(name, width, height):
    return {
        "images": [{"id": 1, "file_name": name, "width": width, "height": height}],
        "categories": [{"id": 3, "name": "rib"}],
        "annotations": [{"image_id": 1, "category_id": 3, "bbox": [10, 10, 10, 20]}],
    }


@pytest.mark.parametrize(
    ("width", "height", "boxes"),
    [(48, 60, [(10, 10, 20, 30)]), (24, 30, [(20, 20, 40, 60)]), (60, 48, [])],
)
def test_coco_boxes_fit_the_stored_image_or_are_refused(tmp_path, width, height, boxes):
    found, faults, _ = scan(tmp_path, coco("img/a.png", width, height))
    assert found == [boxes] and faults == ([] if boxes else [(2, "box_outside")])


def test_a_name_without_its_folder_means_the_only_file_of_that_name(tmp_path):
    boxes, faults, _ = scan(tmp_path, coco("a.png", 48, 60))
    assert boxes == [[(10, 10, 20, 30)]] and not faults
    images = ("img/a.png", "more/a.png")
    boxes, faults, _ = scan(tmp_path, coco("a.png", 48, 60), images=images)
    assert boxes == [[], []] and faults == [(2, "box_without_study")]


@pytest.mark.parametrize(
    ("shape", "corners", "are_percent"),
    [
        ((1300, 1100), [(25, 30, 50, 60)], True),
        ((1300, 1100), [(25, 30, 50, 60), (400, 300, 500, 600)], True),
        ((600, 500), [(25, 30, 50, 60), (40, 20, 99.5, 31), (1, 2, 9, 8)], True),
        ((600, 500), [(25, 30, 50, 60), (40, 20, 99.5, 31)], False),
        ((600, 500), [(25, 30, 50, 60)], False),  # may lie at the acromion
        ((600, 500), [(25, 30, 50, 60), (40, 20, 101, 31), (1, 2, 9, 8)], False),
        ((480, 600), [(25, 30, 50, 60), (40, 20, 99.5, 31), (1, 2, 9, 8)], False),
    ],
)
def test_percent_on_a_large_film_are_told(tmp_path, shape, corners, are_percent):
    rows = [("img/a.png", "rib", *box) for box in corners]
    boxes, faults, _ = scan(tmp_path, rows, shape=shape)
    small = [row for row, box in enumerate(corners, start=2) if max(box) <= 100]
    assert faults == [(row, "box_scale") for row in small] * are_percent
    assert boxes == [list(corners)]  # and the numbers stay, if that is allowed
    assert not scan(tmp_path, rows, shape=shape, allow=["box_scale"])[1]


def test_percent_of_a_point_are_told(tmp_path):
    rows = [("img/a.png", "rib", 80, 95)]
    head = ("image", "site", "x", "y")
    assert scan(tmp_path, rows, head=head, shape=(1300, 1100))[1] == [(2, "box_scale")]


@pytest.mark.parametrize(("number", "farthest"), [(20, 0.5), (19, 0.5), (20, 0.51)])
def test_many_boxes_all_in_a_quarter_are_of_a_smaller_copy(tmp_path, number, farthest):
    names = [f"img/{i}.png" for i in range(number)]
    rows = [(name, "rib", 4, 5, 24, 6 + i) for i, name in enumerate(names)]
    rows[-1] = (names[-1], "rib", 4, 5, 48 * farthest, 20)
    faults = scan(tmp_path, rows, images=names)[1]
    told = number >= 20 and farthest <= 0.5
    assert faults == [(row, "box_scale") for row in range(2, number + 2)] * told
    # a box that says of which size its copy is needs no guess
    head = (*REGIONS_HEAD, "image_width", "image_height")
    sized = [(*row, 96, 120) for row in rows]
    assert scan(tmp_path, sized, images=names, head=head)[1] == []
