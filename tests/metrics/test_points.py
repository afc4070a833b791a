"""Curve points: areas are those of the metrics, corners lose nothing."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from aals_jax.metrics import froc, points, readings, roc

BOX, NONE = np.array([[0.0, 0.0, 9.0, 9.0]]), np.empty((0, 4))


def case(n=80, seed=0, digits=1):
    rng = np.random.default_rng(seed)
    label = rng.random(n) < 0.4
    score = np.round(rng.random(n) + 0.4 * label, digits)
    truth = readings.Truth(
        label, np.ones(n, bool), np.arange(n), [BOX if y else NONE for y in label], {}
    )
    spots = [
        np.array([[5.0, 5.0, s], [50.0, 5.0, np.round(s / 2, digits)]]) for s in score
    ]
    return truth, readings.read(truth, score, spots, hit=readings.Hit())


@pytest.mark.parametrize("seed", range(5))
def test_the_areas_under_the_points_are_the_metrics(seed):
    truth, reading = case(seed=seed)
    found = points.curve_points(truth, reading)
    curve = found["roc"]
    area = np.trapezoid(curve["sensitivity"], curve["false_positive_rate"])
    assert area == pytest.approx(roc.auroc(reading.score, truth.label))
    pr = found["precision_recall"]
    steps = np.sum(np.diff(pr["recall"]) * pr["precision"][1:])
    expected = roc.average_precision(reading.score, truth.label)
    assert steps == pytest.approx(expected)
    count = found["froc_count"]
    for limit in (0.1, 0.5, 1.0):
        last = np.searchsorted(count["false_rate"], limit, side="right") - 1
        value = froc.sensitivity_at(reading.count, (limit,))[0]
        assert count["sensitivity"][last] == value


def test_the_points_are_those_of_another_library():
    truth, reading = case()
    found = points.curve_points(truth, reading)
    fpr, tpr, threshold = sklearn_metrics.roc_curve(
        truth.label, reading.score, drop_intermediate=False
    )
    assert np.allclose(found["roc"]["false_positive_rate"], fpr)
    assert np.allclose(found["roc"]["sensitivity"], tpr)
    assert np.array_equal(found["roc"]["threshold"], threshold)
    precision, recall, _ = sklearn_metrics.precision_recall_curve(
        truth.label, reading.score
    )
    assert np.allclose(found["precision_recall"]["precision"][::-1], precision)
    assert np.allclose(found["precision_recall"]["recall"][::-1], recall)


@pytest.mark.parametrize("seed", range(5))
def test_corners_draw_the_same_curve_with_fewer_points(seed):
    truth, reading = case(n=300, seed=seed, digits=4)
    for curve in points.curve_points(truth, reading).values():
        corners = points.corners(curve)
        (x, y), (cx, cy) = (list(c.values())[:2] for c in (curve, corners))
        assert len(cx) <= len(x)
        assert np.trapezoid(cy, cx) == pytest.approx(np.trapezoid(y, x))
        assert (cx[0], cy[0], cx[-1], cy[-1]) == (x[0], y[0], x[-1], y[-1])
    roc_points = points.curve_points(truth, reading)["roc"]
    assert len(points.corners(roc_points)["threshold"]) < len(roc_points["threshold"])


def test_very_many_corners_are_thinned_and_the_area_hardly_moves():
    truth, reading = case(n=30_000, digits=7)
    curve = points.curve_points(truth, reading)["precision_recall"]
    corners = points.corners(curve)
    assert len(corners["recall"]) < len(curve["recall"]) / 4
    areas = [np.trapezoid(c["precision"], c["recall"]) for c in (curve, corners)]
    assert areas[0] == pytest.approx(areas[1], abs=2e-3)


def test_one_class_has_no_roc_points():
    truth, reading = case()
    rows = np.flatnonzero(~truth.label)
    part = reading.select(truth, rows, hit=readings.Hit())
    assert points.curve_points(truth.select(rows), part) == {}
