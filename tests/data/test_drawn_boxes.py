"""Laws of boxes that come back: they lie where they were drawn, and nothing is lost."""

import csv
import itertools
import json
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from data.cxr_registry import drawn_boxes
from data.cxr_registry.dicom import reader
from data.cxr_registry.guard import privacy
from tests.support import datasets, registry_files

# Rows to the patient's left or right, columns to foot or head, and the same turned.
ORIENTATIONS = [*itertools.product("LR", "FH"), *itertools.product("FH", "LR")] * 2
SHAPE = (60, 48)
BOX = (8.0, 12.0, 20.0, 24.0)  # the bright square of every film, stored pixels


class Case(NamedTuple):
    registry: Path
    worklist: Path
    key_file: Path
    names: list[str]  # pseudonyms, in the order of the rows

    def films(self) -> dict[str, drawn_boxes.Film]:
        key = privacy.load_key(self.key_file)
        return drawn_boxes.find_films(self.registry, self.worklist, key)

    def take_back(self, content: dict, **options) -> drawn_boxes.TakenBack:
        path = self.worklist / "drawn.json"
        path.write_text(json.dumps(content))
        return drawn_boxes.take_back(
            self.films(), self.registry, self.worklist, path, **options
        )

    def shape(self, index: int) -> tuple[int, int]:
        """Rows, columns of the film upright."""
        path = self.registry / f"images/{index:03d}.dcm"
        return reader.read_radiograph(path).pixels.shape

    def upright(self, index: int) -> np.ndarray:
        """The box of every film, px of the upright film."""
        path = self.registry / f"images/{index:03d}.dcm"
        return reader.read_radiograph(path).orient(np.array([BOX]))[0]

    def regions(self) -> list[dict[str, str]]:
        with (self.registry / "regions.csv").open(newline="") as stream:
            return list(csv.DictReader(stream))


def coco(case: Case, scale: float = 1.0, boxes=None, **image) -> dict:
    """A COCO file of pictures of this scale, with the box of every film."""
    images, annotations = [], []
    for index, name in enumerate(case.names):
        rows, columns = case.shape(index)
        size = {"width": round(columns * scale), "height": round(rows * scale)}
        images.append({"id": index + 1, "file_name": f"{name}.png", **size, **image})
        x0, y0, x1, y1 = (scale * case.upright(index)).tolist()
        annotations.append(
            {"id": index + 1, "image_id": index + 1, "category_id": 7, "iscrowd": 0}
            | {"bbox": [x0, y0, x1 - x0, y1 - y0]}
        )
    return {
        "images": images,
        "annotations": annotations if boxes is None else boxes,
        "categories": [{"id": 7, "name": "rib"}],
    }


@pytest.fixture
def case(tmp_path) -> Case:
    """A film of each orientation, and a worklist of all with a candidate each."""
    registry, worklist = tmp_path / "registry", tmp_path / "worklist"
    key_file = tmp_path / "key"
    privacy.create_key(key_file)
    key = privacy.load_key(key_file)
    studies, names = [(*registry_files.STUDIES_HEAD, "rib")], []
    for index, orientation in enumerate(ORIENTATIONS):
        image = f"images/{index:03d}.dcm"
        stored = registry_files.film(index, shape=SHAPE)
        fields = {**registry_files.WINDOW, "PatientOrientation": list(orientation)}
        registry_files.write(registry / image, stored, **fields)
        studies.append((image, f"{index:05d}", "2020-01-31", 1))
        names.append(privacy.pseudonym(key, "image", image))
    registry_files.table(registry / "studies.csv", studies)
    registry_files.table(
        worklist / "worklist.csv",
        [("row", "image", "record")]
        + [(row, name, "positive") for row, name in enumerate(names, start=2)],
    )
    made = Case(registry, worklist, key_file, names)
    shown = coco(made, 0.5)
    for item in shown["annotations"]:
        item["bbox"] = [2, 3, 5, 5]
    (worklist / "coco.json").write_text(json.dumps(shown))
    return made


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_a_box_comes_back_to_where_it_was_drawn(case, scale):
    """Over all orientations, on pictures of any size."""
    taken = case.take_back(coco(case, scale))
    assert taken.added == taken.films == len(ORIENTATIONS)
    for cells in case.regions():
        corners = [float(cells[name]) for name in drawn_boxes.CORNERS]
        np.testing.assert_allclose(corners, BOX, atol=0.011)
        assert cells["site"] == "rib"


def test_a_build_sees_the_boxes(case, tmp_path):
    case.take_back(coco(case))
    path = datasets.build(case.registry, tmp_path / "built", key_file=case.key_file)
    described = json.loads((path / "build.json").read_text())
    assert described["counts"]["rib"]["with_regions"] == len(ORIENTATIONS)


@pytest.mark.parametrize(
    "named",
    ["{}.png", "images/1a2b3c4d-{}.png", "C:\\films\\{}.jpg", "x/upload/{}.png"],
)
def test_a_tool_may_put_its_own_before_a_name(case, named):
    content = coco(case)
    for image in content["images"]:
        stem = image["file_name"].removesuffix(".png")
        image["file_name"] = named.format(stem)
    assert case.take_back(content).added == len(ORIENTATIONS)


def test_other_rows_and_columns_stay_and_a_second_call_adds_nothing(case):
    there = [
        ("image", "site", "x0", "y0", "x1", "y1", "drawn by"),
        ("images/000.dcm", "clavicle", "1", "2", "30", "40", "=a reader"),
    ]
    registry_files.table(case.registry / "regions.csv", there)
    assert case.take_back(coco(case)).added == len(ORIENTATIONS)
    first, second, *_ = case.regions()
    assert tuple(first.values()) == there[1] and second["drawn by"] == ""
    before = (case.registry / "regions.csv").read_bytes()
    again = case.take_back(coco(case))
    assert (again.added, again.repeated) == (0, len(ORIENTATIONS))
    assert (case.registry / "regions.csv").read_bytes() == before


def test_a_registry_that_has_grown_since_has_other_rows_and_the_same_films(case):
    path = case.registry / "studies.csv"
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([head, *reversed(lines)]) + "\n")
    case.take_back(coco(case))
    for cells in case.regions():
        corners = [float(cells[name]) for name in drawn_boxes.CORNERS]
        np.testing.assert_allclose(corners, BOX, atol=0.011)


def test_a_file_that_nobody_has_drawn_in_is_refused_until_it_is_meant(case):
    shown = json.loads((case.worklist / "coco.json").read_text())
    with pytest.raises(ValueError, match="nobody seems to have drawn") as caught:
        case.take_back(shown)
    assert "\n" not in str(caught.value) and "--accept_unchanged" in str(caught.value)
    assert not (case.registry / "regions.csv").exists()
    taken = case.take_back(shown, accept_unchanged=True)
    assert taken.added == taken.unchanged == len(ORIENTATIONS)


def test_films_without_a_box_and_negatives_with_one_are_told(case, capsys):
    listed = case.worklist / "worklist.csv"
    listed.write_text(listed.read_text().replace("positive", "negative", 1))
    content = coco(case)
    del content["annotations"][3:]
    taken = case.take_back(content)
    assert (taken.added, taken.empty, taken.on_negative) == (3, 13, (2,))
    said = drawn_boxes.report(taken)
    assert "rows 2; correct the record" in said and "13 films of the file" in said


def test_all_faults_are_told_at_once_with_their_rows_and_without_names(case):
    content = coco(case)
    content["categories"].append({"id": 8, "name": "Quorlington"})
    content["images"][1]["file_name"] = "Quorlington.png"
    del content["images"][2]["width"]
    content["images"][3]["height"] //= 2
    content["annotations"][4]["bbox"] = [40, 40, 50, 50]
    content["annotations"][5]["category_id"] = 8
    content["annotations"][6]["bbox"] = None
    with pytest.raises(drawn_boxes.DrawnError) as caught:
        case.take_back(content)
    text = str(caught.value)
    assert "drawn.json row 3: its image is none of the worklist's" in text
    assert "drawn.json row 4: its image has no width and height" in text
    assert "drawn.json row 7: its category is none of the worklist: name it rib" in text
    assert "drawn.json row 8: " in text
    assert "Quorlington" not in text and case.names[0] not in text
    content = coco(case)
    content["images"][3]["height"] //= 2
    content["annotations"][4]["bbox"] = [40, 40, 50, 50]
    with pytest.raises(drawn_boxes.DrawnError) as caught:
        case.take_back(content)
    assert "row 5: its picture has other proportions" in str(caught.value)
    assert "row 6: lies outside its picture" in str(caught.value)
    assert not (case.registry / "regions.csv").exists()


def test_another_key_finds_no_film(case):
    case.key_file.unlink()
    privacy.create_key(case.key_file)
    with pytest.raises(drawn_boxes.DrawnError, match="the key is another one"):
        case.films()


def test_boxes_are_not_added_to_a_table_of_another_kind(case):
    (case.registry / "regions.json").write_text(json.dumps(coco(case)))
    with pytest.raises(ValueError, match=r"save it as regions\.csv first"):
        case.take_back(coco(case))


def test_pictures_are_upright_of_full_size_and_candidates_scale(case, tmp_path):
    tasks = [
        {
            "data": {"image": f"/data/local-files/?d=images/{name}.png"},
            "predictions": [{"result": [{"original_width": 1, "original_height": 1}]}],
        }
        for name in case.names
    ]
    (case.worklist / "label_studio.json").write_text(json.dumps(tasks))
    out = tmp_path / "full"
    assert drawn_boxes.pictures(case.films(), case.worklist, out) == 0
    content = json.loads((out / "coco.json").read_text())
    tasks = json.loads((out / "label_studio.json").read_text())
    for index, name in enumerate(case.names):
        picture = cv2.imread(str(out / f"images/{name}.png"), cv2.IMREAD_UNCHANGED)
        assert picture.shape == case.shape(index)
        x0, y0, x1, y1 = case.upright(index).astype(int)
        bright = np.argwhere(picture > 200)
        assert bright.min(0).tolist() == [y0, x0]
        assert (bright.max(0) + 1).tolist() == [y1, x1]
        image = content["images"][index]
        assert (image["height"], image["width"]) == picture.shape
        box = tasks[index]["predictions"][0]["result"][0]
        assert (box["original_height"], box["original_width"]) == picture.shape
    assert content["annotations"][0]["bbox"] == [4, 6, 10, 10]


def test_burned_in_text_is_left_out_of_the_pictures(case, tmp_path):
    path = case.registry / "images/000.dcm"
    flagged = {**registry_files.WINDOW, "BurnedInAnnotation": "YES"}
    registry_files.write(path, registry_files.film(0), **flagged)
    (case.worklist / "label_studio.json").write_text("[]")
    out = tmp_path / "full"
    assert drawn_boxes.pictures(case.films(), case.worklist, out) == 1
    assert not (out / f"images/{case.names[0]}.png").exists()
    assert len(json.loads((out / "coco.json").read_text())["images"]) == 15


def test_the_command_line_says_a_fault_in_a_line(case, tmp_path):
    flags = [
        "take_back",
        *("--registry", str(case.registry), "--worklist", str(case.worklist)),
        *("--key_file", str(case.key_file), "--coco", str(tmp_path / "none.json")),
    ]
    with pytest.raises(SystemExit, match="error: --coco: there is no such file"):
        drawn_boxes.main(flags)
    flags[4] = str(tmp_path)
    with pytest.raises(SystemExit, match=r"error: --worklist has no worklist\.csv"):
        drawn_boxes.main(flags)
    flags[2] = str(tmp_path / "nowhere")
    with pytest.raises(SystemExit, match="error: --registry: there is no such folder"):
        drawn_boxes.main(flags)
