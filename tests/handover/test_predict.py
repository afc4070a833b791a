"""Laws of films through a model: the run's scores, one film's fault is its own, nobody
is named, and a second call goes on."""

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import highdicom as hd
import numpy as np
import pydicom
import pytest
from ml_collections import ConfigDict

from aals_jax.handover import findings, folder, predict, station, written
from aals_jax.report import overlay
from data.reading_room import inputs
from tests.support import canaries, planted, registry_files
from tests.support.datasets import contents

FILMS = 6


def ask(exported, out: Path, *asked: Path, **changes) -> bool:
    out.mkdir(exist_ok=True)
    options = station.Options(out=out, **{"workers": 0} | changes)
    desk = station.Station(exported.model, options, load_config=ConfigDict)
    return predict.predict(desk, asked)


def records(out: Path) -> list[dict]:
    return [json.loads(p.read_text()) for p in sorted((out / "films").glob("*.json"))]


@pytest.fixture(scope="module")
def registry(exported) -> Path:
    """The phantom that the run was trained on."""
    (path,) = exported.data_dir.glob("phantom*")
    return path


@pytest.fixture(scope="module")
def films(registry, tmp_path_factory) -> Path:
    """Some of its films, one that is lateral, a broken one and a text."""
    root = tmp_path_factory.mktemp("films")
    for path in sorted((registry / "images").glob("*"))[:FILMS]:
        shutil.copy(path, root)
    lateral = {"ViewPosition": "LL", **registry_files.WINDOW}
    registry_files.write(root / "x-lateral.dcm", registry_files.film(0), **lateral)
    cv2.imwrite(str(root / "y.png"), (registry_files.film(3) // 16).astype(np.uint8))
    (root / "z-broken.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    (root / "z-notes.txt").write_text("no film " * 40)
    return root


@pytest.fixture(scope="module")
def asked(exported, films, tmp_path_factory) -> Path:
    """What one call leaves."""
    out = tmp_path_factory.mktemp("asked")
    assert ask(exported, out, films) is False  # one is broken
    return out


def test_the_phantoms_films_have_the_scores_of_the_run(exported, registry, tmp_path):
    """DICOM -> square -> net, as the build and the run did it: bit for bit."""
    (kept,) = (exported.workdir / "predictions").glob("test-teacher-*.npy")
    ask(exported, tmp_path, registry / "images")
    scores = [record["score"] for record in records(tmp_path)]
    assert len(scores) == 64
    model = folder.load(exported.model, load_config=ConfigDict)
    assert model.preprocessing.detecting.pooling == "max"
    from aals_jax.evaluation import model_maps
    from aals_jax.runs import evaluate

    _, evaluator, trained = evaluate.open_run(
        evaluate.ModelChoice(exported.workdir), ConfigDict, exported.data_dir
    )
    prediction = evaluator.predict(trained, "test")
    assert isinstance(prediction, model_maps.Prediction) and kept.exists()
    of_run = prediction.image_scores("max")
    assert len(of_run) > 5
    np.testing.assert_array_equal(np.isin(of_run, scores), True)


def test_each_film_has_findings_or_a_reason(asked):
    found = records(asked)
    assert [record["film"] for record in found] == list(range(1, FILMS + 5))
    refused = [record for record in found if "refused" in record]
    assert [r["film"] for r in refused] == [FILMS + 3, FILMS + 4]
    assert [r["is_other_kind"] for r in refused] == [False, True]
    summary = json.loads((asked / station.SUMMARY).read_text())
    assert summary["counts"] == {
        "films": FILMS + 2,
        "flagged": sum(not r.get("in_distribution", True) for r in found),
        "with_boxes": sum(
            any(box["reported"] for box in r.get("boxes", ())) for r in found
        ),
        "refused": 1,
        "other_files": 1,
    }


def test_a_lateral_film_is_flagged_in_record_picture_and_page(asked):
    lateral = records(asked)[FILMS]
    assert lateral["flags"]["lateral"] is True and not lateral["in_distribution"]
    assert lateral["warnings"][0].startswith("a lateral film")
    assert "a lateral film" in (asked / station.PAGE).read_text()


def test_a_model_that_knows_lateral_films_does_not_call_them_strange(exported, films):
    model = folder.load(exported.model, load_config=ConfigDict)
    knows = dataclasses.replace(model.preprocessing, allow=("lateral",))
    reading = station.films.Reading(side=64, bits=8, allow=(), timeout_s=60)
    path = inputs.Source(films / "x-lateral.dcm", is_named=True)
    film = station.films.read((1, path), reading=reading)
    for one, beyond in (
        (model, True),
        (dataclasses.replace(model, preprocessing=knows), False),
    ):
        point = findings.point_named(one, "")
        got = findings.record(film, one, score=0.5, boxes=np.zeros((0, 5)), point=point)
        assert ("lateral" in got["beyond_model"]) is beyond
        assert got["flags"]["lateral"] is True


def test_boxes_lie_on_the_stored_image_and_reach_their_points(exported, asked):
    points = json.loads((exported.model / folder.POINTS).read_text())
    thresholds = {p["name"]: p["threshold"] for p in points if p["level"] == "lesion"}
    seen = 0
    for record in records(asked):
        for box in record.get("boxes", ()):
            seen += 1
            rows, columns = record["stored_shape"]
            assert 0 <= box["x0"] < box["x1"] <= columns
            assert 0 <= box["y0"] < box["y1"] <= rows
            reached = [
                name for name, t in thresholds.items()
                if t is not None and box["score"] >= t
            ]  # fmt: skip
            assert box["points"] == reached
            assert box["reported"] == (record["reported_from"] in reached)
    assert seen > FILMS


def test_decisions_and_probabilities_are_those_of_the_model(exported, asked):
    model = folder.load(exported.model, load_config=ConfigDict)
    for record in records(asked):
        if "refused" in record:
            continue
        for decision in record["decisions"]:
            if decision["threshold"] is not None:
                positive = record["score"] >= decision["threshold"]
                assert decision["positive"] is positive
        if model.calibration is None:
            assert record["probability"] is None and record["probability_reason"]
        else:
            expected = model.calibration(np.array([record["score"]]))[0]
            assert record["probability"] == expected


def test_the_page_has_the_worst_film_first(asked):
    summary = json.loads((asked / station.SUMMARY).read_text())
    scores = [film["score"] for film in summary["films"]]
    assert scores == sorted(scores, reverse=True)
    page = (asked / station.PAGE).read_text()
    places = [
        page.index(f"<strong>Film {f['film']}</strong>") for f in summary["films"]
    ]
    assert places == sorted(places)
    assert "Research only, not a medical device." in page


def test_the_overlay_has_the_boxes_and_says_what_it_is(asked, monkeypatch):
    image = cv2.imread(str(written.path_of(asked, 1, "png")))
    assert image.shape[0] > overlay.LEAST_SIDE and image.shape[2] == 3
    said = []
    monkeypatch.setattr(overlay, "_write", lambda _, text, *rest: said.append(text))
    boxes = np.array([[100.0, 100, 300, 200, 0.5]])
    picture = np.full((1000, 800), 100, np.uint8)
    drawn = overlay.draw(picture, None, boxes, lines=["film 1"])
    assert said == ["0.50", overlay.BURNED_IN, "film 1"]
    changed = np.argwhere((drawn[:1000] != 100).any(axis=2))
    edges = np.array([changed.min(axis=0), changed.max(axis=0)])
    np.testing.assert_allclose(edges, [[100, 100], [199, 299]], atol=6)


def test_the_words_on_a_small_film_can_be_read():
    """They are as on the film enlarged, and its pixels are as they were."""
    small = np.random.default_rng(0).integers(0, 255, (60, 48)).astype(np.uint8)
    boxes, none = np.array([[8.0, 12, 20, 24, 0.9]]), np.zeros((0, 5))
    drawn = overlay.draw(small, None, boxes, lines=[])
    large = overlay.draw(
        np.kron(small, np.ones((9, 9), np.uint8)),
        None,
        boxes * [9, 9, 9, 9, 1],
        lines=[],
    )
    np.testing.assert_array_equal(drawn, large)
    strip = overlay.draw(small, None, none, lines=[])[540:].max(axis=(1, 2)) > 200
    assert strip.sum() >= 7  # rows that letters take


def test_more_processes_write_the_same_bytes(exported, films, asked, tmp_path):
    ask(exported, tmp_path, films, workers=2)
    assert contents(tmp_path) == contents(asked)


def test_a_batch_is_decoded_and_one_written_while_the_net_works(
    exported, films, tmp_path, monkeypatch
):
    """Else decoding waits for the net: with half a batch ahead, a third of the time."""
    asked_for = []
    inner = station.pool.map_in_order

    def map_in_order(function, tasks, **options):
        asked_for.append(options["ahead"])
        return inner(function, tasks, **options)

    monkeypatch.setattr(station.pool, "map_in_order", map_in_order)
    ask(exported, tmp_path, films / "y.png", batch_size=48)
    assert len(asked_for) == 2 and min(asked_for) >= 48  # of reading and writing


def test_a_second_call_reads_nothing_again(exported, films, asked, monkeypatch):
    before = contents(asked)
    read = []
    inner = station.films.read_all

    def read_all(tasks, **options):
        tasks = list(tasks)
        read.extend(number for number, _ in tasks)
        return inner(tasks, **options)

    monkeypatch.setattr(station.films, "read_all", read_all)
    assert ask(exported, asked, films) is False
    assert read == [FILMS + 3, FILMS + 4]  # what was refused may be mended
    assert contents(asked) == before


def test_a_call_that_was_killed_goes_on_to_the_same_bytes(
    exported, films, asked, tmp_path
):
    out = Path(shutil.copytree(asked, tmp_path / "out"))
    for name in (
        station.SUMMARY,
        station.PAGE,
        "films/000002.json",
        "films/000003.png",
    ):
        (out / name).unlink()
    (out / "films/000003.json").write_text('{"film": 3, "sco')
    ask(exported, out, films)
    assert contents(out) == contents(asked)


def test_a_file_that_changed_is_read_again(exported, tmp_path):
    path = registry_files.write(tmp_path / "a.dcm", registry_files.film(0))
    assert ask(exported, tmp_path / "out", path)
    (first,) = records(tmp_path / "out")
    registry_files.write(path, registry_files.film(1), ViewPosition="LL")
    assert ask(exported, tmp_path / "out", path)
    (second,) = records(tmp_path / "out")
    assert second["flags"]["lateral"] and not first["flags"]["lateral"]


def test_a_folder_belongs_to_one_model_and_one_question(exported, films, asked):
    names = [
        point["name"]
        for point in json.loads((exported.model / folder.POINTS).read_text())
        if point["level"] == findings.LESION
    ]
    with pytest.raises(ValueError, match="of another model or of other options"):
        ask(exported, asked, films, point=names[-1])
    with pytest.raises(ValueError, match=f"the model has {names[0]}"):
        ask(exported, asked, films, point="nowhere")


def test_films_that_are_dicom_get_a_report_and_a_capture(exported, films, tmp_path):
    same = {"same_uids": True, "same_dates": True}
    ask(exported, tmp_path / "a", films, sr=True, presentation=True, **same)
    ask(exported, tmp_path / "b", films, sr=True, presentation=True, workers=2, **same)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    found = [record for record in records(tmp_path / "a") if "refused" not in record]
    assert [set(record["files"]) for record in found] == [
        *[{"overlay", "sr", "sc", "pr"}] * FILMS,
        {"overlay"},  # without UIDs
        {"overlay"},  # a PNG
    ]
    assert found[FILMS]["no_dicom"].startswith("the file lacks StudyInstanceUID")
    for record in found[:FILMS]:
        groups = hd.sr.srread(
            tmp_path / "a" / record["files"]["sr"]
        ).content.get_planar_roi_measurement_groups()
        groups = [one for one in groups if one.finding_type.value != "SEARCHED"]
        reported = [box for box in record["boxes"] if box["reported"]]
        (shown,) = pydicom.dcmread(
            tmp_path / "a" / record["files"]["pr"]
        ).GraphicAnnotationSequence
        drawn = shown.get("GraphicObjectSequence", ())
        assert len(groups) == len(reported) == len(drawn)
        for group, graphic, box in zip(groups, drawn, reported, strict=True):
            points = np.reshape(graphic.GraphicData, (-1, 2))
            np.testing.assert_array_equal(points, group.roi.value)
            low, high = group.roi.value.min(axis=0), group.roi.value.max(axis=0)
            expected = [box["x0"], box["y0"], box["x1"], box["y1"]]
            np.testing.assert_allclose([*low, *high], expected, atol=1e-3)


def test_what_makes_reports_is_asked_for_before_films_are_read(
    exported, films, tmp_path, monkeypatch
):
    monkeypatch.setattr(station.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install -r requirements/sr\.txt"):
        ask(exported, tmp_path / "a", films, sr=True)
    with pytest.raises(ValueError, match="is no root of UIDs"):
        monkeypatch.undo()
        ask(exported, tmp_path / "a", films, sr=True, uid_root="x")
    assert not list((tmp_path / "a").iterdir())


def test_a_film_that_names_its_patient_has_findings_and_no_picture(exported, tmp_path):
    path = registry_files.write(
        tmp_path / "a.dcm", registry_files.film(0), BurnedInAnnotation="YES"
    )
    assert ask(exported, tmp_path / "out", path)
    (record,) = records(tmp_path / "out")
    assert record["files"] == {} and record["flags"]["burned_in"] and "score" in record
    assert not list((tmp_path / "out/films").glob("*.png"))
    assert "No picture" in (tmp_path / "out" / station.PAGE).read_text()


def test_a_modality_in_use_can_be_allowed(exported, tmp_path):
    path = registry_files.write(
        tmp_path / "a.dcm", registry_files.film(0), Modality="DR"
    )
    assert not ask(exported, tmp_path / "no", path)
    assert ask(exported, tmp_path / "yes", path, allow=("modality",))


def test_nobody_is_named_but_in_the_table_of_files(exported, tmp_path, caplog, capfd):
    """Names, ids, dates and paths in headers, folders and comments."""
    registry = planted.registry(tmp_path / "hospital", images=8)
    out = tmp_path / "out"
    caplog.set_level("DEBUG")
    assert ask(exported, out, registry, sr=True) is False
    assert sum("score" in record for record in records(out)) >= 8
    table = out / predict.TABLE
    search = canaries.Search(planted.WORDS)
    assert search.in_bytes(table.read_bytes())  # it says which file each film is
    assert table.stat().st_mode & 0o777 == 0o600
    table.unlink()
    objects = list(out.glob("films/*.dcm"))
    assert search.in_bytes(objects[0].read_bytes())  # a viewer files it by the patient
    for path in objects:
        path.unlink()
    assert search.below(out) == {}
    said = caplog.text + "".join(capfd.readouterr())
    assert not search.in_bytes(said.encode("utf-8", "backslashreplace"))
