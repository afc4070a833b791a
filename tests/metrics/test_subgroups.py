"""Subgroups: each is measured as if it stood alone, with its counts."""

import dataclasses

import numpy as np
import pytest

from aals_jax.metrics import intervals, readings, subgroups
from aals_jax.metrics.draws import Bootstrap, TruthDraws
from tests.support.measuring import metric_entries

HIT = readings.Hit()
BOOTSTRAP = Bootstrap(100, 0)
SIDES = (4.0, 4.0, 8.0, 8.0, 16.0, 16.0)


def simulated(sizes=SIDES, n=60):
    """Positives have one box each, found well when it is large."""
    rng = np.random.default_rng(0)
    label = np.arange(n) % 2 == 0
    lesions, detections = [], []
    for i in range(n):
        side = sizes[(i // 2) % len(sizes)]
        lesions.append(np.array([[0.0, 0.0, side, side]])[: int(label[i])])
        hits = [[side / 2, side / 2, rng.random() * 0.2 + side / 20]] * int(label[i])
        detections.append(np.array([*hits, [90, 90, rng.random() * 0.6]]))
    truth = readings.Truth(
        label=label,
        judged=np.ones(n, bool),
        patient=(np.arange(n) // 3).astype(str),
        lesions=lesions,
        groups={
            "sex": np.array(["F", "M", "M"] * (n // 3)),
            "view": np.array(["PA"] * n),
            "site": np.where(np.arange(n) < 10, "", "north"),
        },
    )
    score = np.array([each[:, 2].max() for each in detections])
    return truth, readings.read(truth, score, detections, hit=HIT)


def rows(truth, reading, column):
    groups = subgroups.measure_groups(
        truth, reading, draws=TruthDraws(truth, BOOTSTRAP), hit=HIT
    )
    return {row["group"]: row for row in groups if row["column"] == column}


def test_a_group_is_what_it_would_be_alone():
    truth, reading = simulated()
    women = np.flatnonzero(truth.groups["sex"] == "F")
    alone = truth.select(women)
    alone_reading = readings.read(
        alone, reading.score[women], [reading.detections[i] for i in women], hit=HIT
    )
    row = rows(truth, reading, "sex")["F"]
    alone_too = metric_entries(alone, alone_reading, bootstrap=BOOTSTRAP, hit=HIT)
    for name in subgroups.NAMES:
        assert row["metrics"][name] == alone_too[name]
    assert row["n_images"] == len(women)
    assert row["n_lesions"] == row["n_positive"] == int(alone.label.sum())


def test_the_groups_of_a_column_are_all_images_once():
    truth, reading = simulated()
    for column, names in {"sex": ["F", "M"], "site": ["north", "unknown"]}.items():
        found = rows(truth, reading, column)
        assert sorted(found) == names
        assert sum(row["n_images"] for row in found.values()) == len(truth)


def test_a_column_of_one_value_is_no_grouping():
    truth, reading = simulated()
    assert not rows(truth, reading, "view")


def test_a_group_of_one_class_has_no_auroc_but_a_reason():
    truth, reading = simulated()
    truth.groups["sex"][truth.label] = "F"
    metrics = rows(truth, reading, "sex")["M"]["metrics"]
    assert metrics["auroc"]["value"] is None
    assert metrics["auroc"]["reason"].startswith("one class only")
    assert metrics["froc_count"]["reason"].startswith("no lesion")


def test_a_group_of_few_patients_has_counts_and_a_reason_but_no_number():
    truth, reading = simulated(n=120)
    few = intervals.LEAST - 1
    truth.groups["site"] = np.where(np.arange(120) < 3 * few, "few", "many")
    found = rows(truth, reading, "site")
    for entry in found["few"]["metrics"].values():
        assert [entry[name] for name in ("value", "low", "high")] == [None] * 3
        assert f"only {few} patients" in entry["reason"]
        assert entry["n_patients"] == few
    assert found["few"]["n_positive"] > few
    for entry in found["many"]["metrics"].values():
        assert entry["low"] < entry["value"] < entry["high"]
    sizes = rows(*simulated(n=36), "lesion size")
    assert [row["n_lesions"] for row in sizes.values()] == [6, 6, 6]
    for row in sizes.values():
        assert row["metrics"]["froc_count"]["value"] is None
        assert "with a lesion" in row["metrics"]["froc_count"]["reason"]


def test_sizes_are_thirds_whose_mean_is_the_whole():
    truth, reading = simulated(n=180)
    found = rows(truth, reading, "lesion size")
    assert list(found) == [
        "small, 4 to 4 px", "middle, 8 to 8 px", "large, 16 to 16 px"
    ]  # fmt: skip
    assert [row["n_lesions"] for row in found.values()] == [30, 30, 30]
    values = [row["metrics"]["froc_count"]["value"] for row in found.values()]
    assert values == sorted(values) and values[0] < values[-1]
    # false positives are those of the whole set, so sensitivities average
    whole = metric_entries(truth, reading, bootstrap=BOOTSTRAP, hit=HIT)
    assert np.mean(values) == pytest.approx(whole["froc_count"]["value"])


def test_points_have_no_size():
    truth, _ = simulated()
    points = readings.Truth(
        label=truth.label,
        judged=truth.judged,
        patient=truth.patient,
        lesions=[each[:, :2] for each in truth.lesions],
        groups={},
    )
    hit = readings.Hit("distance", max_distance=3.0)
    reading = readings.read(points, np.zeros(60), [np.empty((0, 3))] * 60, hit=hit)
    draws = TruthDraws(points, BOOTSTRAP)
    assert subgroups.measure_groups(points, reading, draws=draws, hit=hit) == []


def test_lesions_of_one_size_make_no_groups():
    for size in (20.0, 0.1 + 0.2):  # equal but for rounding
        truth, reading = simulated(sizes=(size, 0.3 if size < 1 else size))
        assert not rows(truth, reading, "lesion size")


def test_sizes_are_told_in_their_unit():
    truth, reading = simulated(sizes=(0.04, 0.08, 0.16))
    truth = dataclasses.replace(truth, unit=(1.0, "units of the tables"))
    assert next(iter(rows(truth, reading, "lesion size"))) == (
        "small, 0.04 to 0.04 units of the tables"
    )
