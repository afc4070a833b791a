"""Laws of the files in which people draw: tools read them, and boxes stay in place."""

import csv
import io
import json

import cv2
import numpy as np
import pytest

from aals_jax.evaluation import annotation_files
from aals_jax.evaluation.annotation_files import Chosen
from data.cxr_registry.tables import coco

FINDING = 'rib & "co"'


def chosen(place: int, boxes: list, size=(200, 300)) -> Chosen:
    return Chosen(
        place=place,
        row=40 + place,
        image=f"{place:032x}",
        record="positive",
        reasons=["dead_zone", "disagreement"],
        sentences=["=its peak is below t", "the student sees something else"],
        value=1.25,
        peak=0.125,
        disagreement=0.5,
        size=size,
        boxes=np.array(boxes, np.float64).reshape(-1, 5),
    )


FILMS = [
    chosen(1, [[20, 30, 60, 45, 0.5], [100, 150, 200, 300, 0.25]]),
    chosen(2, [], size=(64, 50)),
    chosen(3, [[0, 0, 32, 12.5, 0.75]], size=(64, 50)),
]


@pytest.fixture
def coco_path(tmp_path):
    path = tmp_path / "coco.json"
    made = annotation_files.coco(FILMS, finding=FINDING, said="candidates")
    path.write_text(json.dumps(made))
    return path


@pytest.fixture
def tasks():
    return annotation_files.label_studio(FILMS, finding=FINDING, model="teacher")


def test_the_table_has_a_line_for_each_film_and_runs_no_formula():
    lines = list(csv.DictReader(io.StringIO(annotation_files.table(FILMS))))
    assert [line["row"] for line in lines] == ["41", "42", "43"]
    assert tuple(lines[0]) == annotation_files.HEADER
    assert lines[0]["reason"] == "dead_zone" and lines[0]["reasons"][:2] == "'="
    assert [float(lines[0][n]) for n in ("value", "peak")] == [1.25, 0.125]


def test_the_registrys_own_reader_finds_the_boxes(coco_path):
    header, *rows = coco.lines(coco_path)
    assert header == coco.HEADER
    expected = [
        [f"{film.image}.png", FINDING, *box[:4], *film.size]
        for film in FILMS
        for box in film.boxes.tolist()
    ]
    assert rows == expected


def test_percent_and_pixels_are_the_same_places(tasks):
    for task, film in zip(tasks, FILMS, strict=True):
        (prediction,) = task["predictions"]
        assert len(prediction["result"]) == len(film.boxes)
        for item, box in zip(prediction["result"], film.boxes, strict=True):
            width, height = item["original_width"], item["original_height"]
            assert (width, height) == film.size
            v = item["value"]
            x, y = v["x"] * width / 100, v["y"] * height / 100
            corners = [
                x,
                y,
                x + v["width"] * width / 100,
                y + v["height"] * height / 100,
            ]
            np.testing.assert_allclose(corners, box[:4], atol=1e-3)


def test_cocos_own_reader_reads_it(coco_path):
    """pycocotools, of requirements/bench.txt."""
    reader = pytest.importorskip("pycocotools.coco").COCO(str(coco_path))
    assert reader.getImgIds() == [1, 2, 3]
    boxes = reader.loadAnns(reader.getAnnIds(imgIds=[3]))
    assert [box["bbox"] for box in boxes] == [[0, 0, 32, 12.5]]


def test_the_reader_that_cvat_uses_reads_it(coco_path, tmp_path):
    datumaro = pytest.importorskip("datumaro", exc_type=ImportError)
    folder = tmp_path / "set"
    (folder / "annotations").mkdir(parents=True)
    target = folder / "annotations" / "instances_default.json"
    target.write_bytes(coco_path.read_bytes())
    (folder / "images" / "default").mkdir(parents=True)
    for film in FILMS:
        path = folder / "images" / "default" / f"{film.image}.png"
        cv2.imwrite(str(path), np.zeros(film.size[::-1], np.uint8))
    found = datumaro.Dataset.import_from(str(folder), "coco_instances")
    boxes = {item.id: [a.get_bbox() for a in item.annotations] for item in found}
    for film in FILMS:
        expected = [[b[0], b[1], b[2] - b[0], b[3] - b[1]] for b in film.boxes]
        np.testing.assert_allclose(sorted(boxes[film.image]), sorted(expected))
    (label,) = found.categories()[datumaro.AnnotationType.label].items
    assert label.name == FINDING


def test_label_studios_own_validator_accepts_tasks_and_predictions(tasks):
    sdk = pytest.importorskip("label_studio_sdk.label_interface", exc_type=ImportError)
    interface = sdk.LabelInterface(annotation_files.label_config(FINDING))
    interface.validate()
    for task in tasks:
        # its own check of a task with predictions calls itself without them
        assert interface.validate_task({"data": task["data"]})
        for prediction in task["predictions"]:
            assert interface.validate_prediction(prediction, return_errors=True) == []
    tasks[0]["predictions"][0]["result"][0]["value"]["rectanglelabels"] = ["other"]
    assert interface.validate_prediction(tasks[0]["predictions"][0], return_errors=True)
