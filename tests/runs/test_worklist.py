"""A run's worklist: written whole, back into the registry, and without a name."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from ml_collections import ConfigDict

from aals_jax.evaluation import annotation_files, looks, ranking, worklist_folder
from aals_jax.evaluation.looks import Look
from aals_jax.input.dataset import Dataset
from aals_jax.metrics import worklist as scores
from aals_jax.runs import evaluate, run, worklist
from data.cxr_registry import drawn_boxes
from data.cxr_registry.guard import privacy
from tests.support import canaries, datasets, planted
from tests.support.command_line import launch
from tests.support.small_runs import small_config


class Case(NamedTuple):
    workdir: Path
    data_dir: Path

    def write(self, out: Path, **changes) -> list[dict[str, str]]:
        """The lines of the table."""
        out.mkdir(exist_ok=True)
        options = {"workdir": self.workdir, "data_dir": self.data_dir, "count": 50}
        options = worklist.Options(out=out, **options | changes)
        path = worklist.write(options, load_config=ConfigDict)
        with path.open(newline="") as stream:
            return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def case(compiled_once) -> Case:
    """A run of some steps on the registry with made-up names in every corner."""
    registry = planted.registry(compiled_once / "hospital")
    data_dir, workdir = compiled_once / "data", compiled_once / "run"
    changes = {
        "registry": str(registry),
        "data.max_bad_share": 0.5,
        "data.allow": planted.ALLOW,
    }
    run.run(small_config(data_dir, **changes), workdir)
    return Case(workdir, data_dir)


@pytest.fixture(scope="module")
def written(case, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("worklist")
    case.write(out)
    return out


@pytest.fixture(scope="module")
def opened(case):
    choice = evaluate.ModelChoice(case.workdir)
    return evaluate.open_run(choice, ConfigDict, case.data_dir)


def lines_of(out: Path) -> list[dict[str, str]]:
    with (out / annotation_files.TABLE).open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_films_without_a_box_are_asked_about_by_row_and_pseudonym(written, opened):
    _, evaluator, _ = opened
    data, lines = evaluator.data, lines_of(written)
    assert lines and [line["place"] for line in lines] == [
        str(k + 1) for k in range(len(lines))
    ]
    row_of = {
        data.train.image_id[i]: (data.train.label[i], len(data.train.boxes[i]))
        for i in range(len(data.train))
    }
    for line in lines:
        label, boxes = row_of.get(line["image"], (-1, 0))
        assert boxes == 0 and line["record"] == ranking.RECORDS[label]
    unboxed = data.streams.image_level[~data.train.boxed[data.streams.image_level]]
    listed = {line["image"] for line in lines}
    assert listed >= {*data.train.image_id[unboxed].tolist()}  # all of P has a reason


def test_every_film_has_its_picture_and_page_and_files_agree(written):
    lines = lines_of(written)
    content = json.loads((written / annotation_files.COCO).read_text())
    tasks = json.loads((written / annotation_files.LABEL_STUDIO).read_text())
    page = (written / worklist_folder.PAGE).read_text()
    assert len(content["images"]) == len(tasks) == len(lines)
    assert "Research only, not a medical device." in page
    for line, image in zip(lines, content["images"], strict=True):
        path = written / "images" / image["file_name"]
        assert path.stem == line["image"]
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert picture.shape == (image["height"], image["width"])
        assert (written / f"films/{int(line['place']):04d}.png").exists()
        assert f"<strong>{line['place']}. Row {line['row']}</strong>" in page
    for box in content["annotations"]:
        x, y, width, height = box["bbox"]
        image = content["images"][box["image_id"] - 1]
        assert x >= 0 and y >= 0 and width > 0 and height > 0
        assert x + width <= image["width"] and y + height <= image["height"]


def test_a_smaller_count_is_the_beginning(case, written, tmp_path):
    few = case.write(tmp_path / "few", count=3, candidates=0)
    same = ("place", "row", "image", "reason", "value")
    assert [[line[n] for n in same] for line in few] == [
        [line[n] for n in same] for line in lines_of(written)[:3]
    ]
    content = json.loads((tmp_path / "few" / annotation_files.COCO).read_text())
    assert content["annotations"] == []


def test_nobody_is_named(written, case, tmp_path, caplog, capfd):
    caplog.set_level("DEBUG")
    case.write(tmp_path / "again", count=2)
    search = canaries.Search(planted.WORDS)
    assert search.below(written) == {}
    said = caplog.text + "".join(capfd.readouterr())
    assert not search.in_bytes(said.encode("utf-8", "backslashreplace"))
    _, evaluator, _ = evaluate.open_run(
        evaluate.ModelChoice(case.workdir), ConfigDict, case.data_dir
    )
    pseudonyms = {*evaluator.data.dataset.table.patient.tolist()}
    text = "".join(p.read_text() for p in written.iterdir() if p.is_file())
    assert not [name for name in pseudonyms if name in text]


def test_drawn_boxes_go_back_and_a_build_sees_them(written, case, tmp_path):
    """The whole round: worklist, edited COCO, regions.csv, build."""
    registry = tmp_path / "registry"
    shutil.copytree(case.workdir.parent / "hospital", registry, symlinks=True)
    key_file = case.data_dir / "pseudonym.key"
    content = json.loads((written / annotation_files.COCO).read_text())
    films = content["images"]
    lines = lines_of(written)
    asked = next(k for k, line in enumerate(lines) if line["record"] == "positive")
    image = films[asked]
    x, y, w, h = image["width"] * 0.25, image["height"] * 0.5, 8, 10
    content["annotations"] = [
        {"id": 1, "image_id": image["id"], "category_id": 1, "bbox": [x, y, w, h]}
    ]
    drawn = tmp_path / "drawn.json"
    drawn.write_text(json.dumps(content))
    key = privacy.load_key(key_file)
    taken = drawn_boxes.take_back(
        drawn_boxes.find_films(registry, written, key), registry, written, drawn
    )
    assert (taken.added, taken.empty) == (1, len(films) - 1)
    options = {
        "findings": ("clavicle",), "key_file": key_file, "max_bad_share": 0.5,
        "allow": planted.ALLOW,
    }  # fmt: skip
    path = datasets.build(registry, tmp_path / "built", **options)
    table = Dataset(path, "clavicle").table
    (place,) = np.flatnonzero(table.image_id == lines[asked]["image"])
    (box,) = table.boxes[place]
    left, top = table.content[place][:2]
    np.testing.assert_allclose(
        box, [left + x, top + y, left + x + w, top + y + h], atol=0.02
    )
    assert Dataset(path, "clavicle").registry_row(
        table.split[place], table.position[place]
    ) == int(lines[asked]["row"])


def test_a_mirrored_look_sees_the_same_of_a_net_that_is_symmetric(opened):
    """And a look that is the first one again never disagrees."""
    config, evaluator, model = opened
    table = evaluator.data.validation
    first = Look("first", evaluator.predictor, model.variables)
    others = [Look("again", evaluator.predictor, model.variables)]
    seen = looks.look(
        first, others, evaluator.data.dataset, table,
        batch_size=config.evaluation.batch_size, reach=1,
    )  # fmt: skip
    assert not seen.disagreement.any() and set(seen.other) == {"again"}
    maps = evaluator.predict(model, "validation").maps
    np.testing.assert_allclose(seen.peak, maps.max(axis=(1, 2)), atol=1e-6)
    boxes = np.array([[[2.0, 3, 10, 20, 0.5], [0, 0, 0, 0, 0]]], np.float32)
    once = looks.mirrored_boxes(boxes, side=64)
    np.testing.assert_array_equal(once[0], [[54, 3, 62, 20, 0.5], [0, 0, 0, 0, 0]])
    np.testing.assert_array_equal(looks.mirrored_boxes(once, side=64), boxes)


def test_other_runs_are_compared_with(case, tmp_path):
    lines = case.write(tmp_path / "two", count=2, workdirs=(case.workdir,))
    assert len(lines) == 2
    page = (tmp_path / "two" / worklist_folder.PAGE).read_text()
    assert "the student, stage 1, its mirrored view, run 2" in page


def test_other_runs_have_to_be_of_the_same_data_and_finding(case, opened, monkeypatch):
    config, evaluator, model = opened
    other_data = dataclasses.replace(evaluator.data, data_hash="of others")
    elsewhere = dataclasses.replace(evaluator, data=other_data)
    other = config.copy_and_resolve_references()
    other.finding = "rib"
    options = worklist.Options(
        workdir=case.workdir, data_dir=case.data_dir, out=case.workdir, count=1,
        workdirs=(case.workdir,),
    )  # fmt: skip
    for found, told in (
        ((config, elsewhere, model), "is of other data than"),
        ((other, evaluator, model), "looks for rib, .* for clavicle"),
    ):
        monkeypatch.setattr(worklist.evaluate, "open_run", lambda *_, f=found: f)
        with pytest.raises(ValueError, match=told):
            worklist._others(options, config, evaluator, ConfigDict)


def test_candidates_are_few_small_and_the_best(opened):
    _, evaluator, model = opened
    prediction = evaluator.predict(model, "validation")
    values = np.full((1, 16, 16), 0.01, np.float32)
    for place, height in (
        ((3, 3), 0.9),
        ((3, 12), 0.8),
        ((12, 3), 0.5),
        ((12, 12), 0.3),
    ):
        values[0][place] = height
    bumps = type(prediction)(values, np.ones_like(values), None)
    flat = type(prediction)(np.full_like(values, 0.01), np.ones_like(values), None)
    detecting = evaluator.detecting
    for most, expected in ((0, []), (2, [0.9, 0.8]), (9, [0.9, 0.8, 0.5])):
        (boxes,) = worklist_folder.candidate_boxes(bumps, detecting, most=most)
        np.testing.assert_allclose(boxes[:, 4], expected, atol=1e-6)
    (boxes,) = worklist_folder.candidate_boxes(flat, detecting, most=3)
    assert len(boxes) == 0


def test_bad_input_is_one_line_with_a_remedy(case, written, tmp_path):
    for changes, told in (
        ({"count": 0}, "--count=0: ask for at least one film"),
        ({"workdir": tmp_path}, "holds no run: it has no config.json"),
        ({"out": written}, "has a worklist already, .* choose another --out"),
        ({"model": "nobody"}, "model='nobody': use one of"),
    ):
        options = {"workdir": case.workdir, "data_dir": case.data_dir, "count": 5}
        options = worklist.Options(**{"out": tmp_path / "o", **options, **changes})
        with pytest.raises((ValueError, FileNotFoundError), match=told) as caught:
            worklist.write(options, load_config=ConfigDict)
        assert "\n" not in str(caught.value)


def test_without_a_film_of_p_there_is_nothing_to_box(opened):
    _, evaluator, _ = opened
    data = evaluator.data
    none = dataclasses.replace(data.streams, image_level=np.zeros(0, np.int64))
    with pytest.raises(ValueError, match=r"no film of P is without .* train on"):
        ranking.candidates(dataclasses.replace(data, streams=none), negatives=9, seed=0)
    boxed = np.flatnonzero(data.train.boxed & (data.train.label == 1))
    withheld = dataclasses.replace(data.streams, image_level=boxed)
    with pytest.raises(ValueError, match=r"data\.region_images withholds: raise it"):
        ranking.candidates(
            dataclasses.replace(data, streams=withheld), negatives=9, seed=0
        )


def test_of_many_negatives_so_many_are_looked_at(opened):
    _, evaluator, _ = opened
    table, record = ranking.candidates(evaluator.data, negatives=3, seed=0)
    again, _ = ranking.candidates(evaluator.data, negatives=3, seed=0)
    assert (record == 0).sum() == 3 and len(table) == len(record)
    np.testing.assert_array_equal(table.image_id, again.image_id)
    assert (table.label[record >= 0] == record[record >= 0]).all()


def test_the_reasons_are_told_in_words(opened):
    strength = {name: np.array([0.0]) for name in scores.WEIGHTS}
    _, evaluator, _ = opened
    for name in scores.WEIGHTS:
        ranked = ranking.Ranked(
            table=evaluator.data.train.select(np.arange(1)),
            strength=strength | {name: np.array([1.0])},
            value=np.array([1.0]),
            seen=looks.Looks(np.array([0.25]), np.array([0.5]), ["the student"]),
            record=np.array([1]),
        )
        (said,) = ranking.sentences(ranked, 0, center=0.4)
        assert len(said.split()) > 5 and "_" not in said


def test_the_command_line_answers_in_one_line(tmp_path):
    told = launch(
        "--mode=worklist", f"--workdir={tmp_path / 'none'}", f"--out={tmp_path / 'o'}"
    )
    assert told.returncode == 1
    assert "holds no run: it has no config.json" in told.stderr
    assert not (tmp_path / "o").exists()
