"""Laws of the one record: its keys, what is written last, and what a failure leaves."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from aals_jax.evaluation import result
from aals_jax.metrics import measurement, operating, readings
from aals_jax.metrics.draws import Bootstrap, TruthDraws
from aals_jax.metrics.measurement import Measurement
from aals_jax.runtime import log

HIT = readings.Hit()
PARTS = {"metrics", "calibration", "operating_points", "subgroups"}


BOOTSTRAP = Bootstrap(60, 0)


def measured(skill: float, bootstrap: Bootstrap = BOOTSTRAP) -> Measurement:
    """A system on 40 images of 20 patients; every fourth has a box of its own."""
    rng = np.random.default_rng(round(1000 * skill))
    label = np.arange(40) % 4 == 0
    box = np.array([[0.0, 0.0, 10.0, 10.0]])
    truth = readings.Truth(
        label=label,
        judged=np.arange(40) != 8,
        patient=np.array([f"p{i // 2}" for i in range(40)]),
        lesions=[box[: int(positive)] for positive in label],
        groups={},
    )
    score = rng.random(40) / 2 + skill * label
    detections = [np.array([[5.0, 5.0, s]]) for s in score]
    reading = readings.read(truth, score, detections, hit=HIT)
    return measurement.measure(
        truth,
        reading,
        points=operating.choose(truth, reading),
        chosen_on="validation",
        draws=TruthDraws(truth, bootstrap),
        hit=HIT,
    )


@pytest.fixture(scope="module")
def systems() -> dict[str, Measurement]:
    return {"good": measured(0.45), "poor": measured(0.05)}


def record(systems, **changes) -> result.Result:
    pair = list(systems.items())
    fields = {
        "kind": "score",
        "title": "two systems",
        "measurements": systems,
        "differences": measurement.differences(*pair),
        "data": {"source": "drawn"},
        "notes": ["A note."],
    }
    return result.Result(**{**fields, **changes})


def test_the_json_has_a_version_and_the_parts_of_every_system(systems):
    plain = json.loads(json.dumps(record(systems).as_json(), allow_nan=False))
    assert plain["format"] == 3
    assert plain["disclaimer"] == "Research only, not a medical device."
    for part in PARTS:
        assert plain[part].keys() == systems.keys(), part
    assert plain.keys() == PARTS | {
        "format", "disclaimer", "kind", "title", "differences", "data", "notes",
        "versions", "commit", "checklists",
    }  # fmt: skip


def test_steps_are_numbers_beside_the_note_and_what_is_none_is_no_key(systems):
    plain = record(systems, steps={"good": 40, "poor": 0}, seed=0).as_json()
    assert plain["steps"] == {"good": 40, "poor": 0}
    assert plain["seed"] == 0
    assert not plain.keys() & {"method", "config", "settings", "hardware"}


def test_the_page_is_there_before_the_json(systems, tmp_path, monkeypatch):
    written, replace = [], os.replace

    def watched(source, target):
        replace(source, target)
        written.append(Path(target).name)

    monkeypatch.setattr(os, "replace", watched)
    path = result.publish(record(systems), tmp_path / result.SCORE_FILE)
    assert path == tmp_path / "metrics.json"
    assert written == ["report.html", "metrics.json"]


@pytest.mark.parametrize("broken", ["write_bytes", "replace"])
def test_an_interrupted_call_leaves_the_old_page(
    systems, tmp_path, monkeypatch, broken
):
    path, whole = tmp_path / "report.html", Path.write_bytes
    path.write_text("old")

    def half(self, content):
        whole(self, content[:100])
        raise OSError("disk full")

    def stop(*_):
        raise OSError("disk full")

    if broken == "write_bytes":
        monkeypatch.setattr(Path, "write_bytes", half)
    else:
        monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(OSError, match="disk full"):
        result.publish(record(systems), tmp_path / result.RUN_FILE)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_the_log_has_a_line_a_system_and_a_difference(systems, tmp_path, caplog):
    log.logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO, logger=log.logger.name)
    result.publish(record(systems), tmp_path / result.SCORE_FILE)
    log.logger.removeHandler(caplog.handler)
    # each once, also where nothing has set up our own logging before
    lines = list(dict.fromkeys(entry.getMessage() for entry in caplog.records))
    assert lines[0].startswith("good") and "auroc 1.000 [0.692, 1.000]" in lines[0]
    assert "(no interval)" in lines[0]  # the calibration error
    assert any(line.startswith("good minus poor: auroc") for line in lines)
    assert lines[-2:] == [
        f"the metrics: {tmp_path / 'metrics.json'}",
        f"the page: {tmp_path / 'report.html'}",
    ]


def test_differences_are_those_of_the_kept_replicates(systems):
    good, poor = systems["good"], systems["poor"]
    rows = measurement.differences(("good", good), ("poor", poor))
    for row in rows:
        if "bootstrap" in row["method"] and row["low"] is not None:
            a, b = (m.drawn[row["metric"]].replicates for m in (good, poor))
            d = np.nanmean(a - b)
            assert abs((row["low"] + row["high"]) / 2 - d) < np.nanstd(a - b) / 2
            half, least = (row["high"] - row["low"]) / 2, np.nanstd(a - b, ddof=1)
            assert 1.95 * least < half < 2.5 * least  # Student's t of 6 patients and up


def test_a_system_drawn_otherwise_is_drawn_again_for_the_pair(systems):
    other = measured(0.05, Bootstrap(30, 7))
    again = measurement.differences(("a", systems["good"]), ("b", other))
    same = measurement.differences(("a", systems["good"]), ("b", systems["poor"]))
    assert again == same


def test_patients_are_drawn_once_for_each_set_of_images(monkeypatch):
    """All images, those with all lesions marked: two sets, whatever is measured."""
    generators, default_rng = [], np.random.default_rng
    system = measured(0.3)

    def counted(seed):
        generators.append(seed)
        return default_rng(seed)

    monkeypatch.setattr(np.random, "default_rng", counted)
    measurement.measure(
        system.truth,
        system.reading,
        points=operating.choose(system.truth, system.reading),
        chosen_on="validation",
        draws=TruthDraws(system.truth, BOOTSTRAP),
        hit=HIT,
        rates=(0.5, 1.0),
    )
    assert generators == [0, 0]
    draws = TruthDraws(system.truth, BOOTSTRAP)
    assert draws.judged_images is not draws.all_images
    assert draws.judged_images.num_images == 39
