"""Laws of the measurement: known maps have known metrics, on stated image sets."""

import json

import numpy as np
import pytest
from ml_collections import ConfigDict

from aals_jax import evaluate, pipeline

SETTINGS = ConfigDict(
    {
        "replicates": 200,
        "seed": 0,
        "min_distance": 0.1,
        "threshold": 0.001,
        "max_detections": 10,
    }
)
SIDE = 16
NAMES = {"auroc", "average_precision", "froc_area", "froc_count"}
BOXES = np.array([[2.0, 3.0, 7.0, 8.0], [10.0, 9.0, 14.0, 14.0]])


def make_set(negative=8, boxed=6, unboxed=4):
    """Negatives, then positives with two boxes, then positives without."""
    n = negative + boxed + unboxed
    return evaluate.TestSet(
        label=np.arange(n) >= negative,
        judged=np.arange(n) < negative + boxed,
        boxes=[
            BOXES if negative <= i < negative + boxed else BOXES[:0] for i in range(n)
        ],
        valid=np.ones((n, SIDE, SIDE), np.float32),
        patient=[f"p{i // 2}" for i in range(n)],
    )


def peaks(test, *, height=0.9):
    """Maps with one peak at the centre of each box; unboxed positives glow too."""
    maps = np.zeros((len(test.label), SIDE, SIDE), np.float32)
    for image, boxes, label in zip(maps, test.boxes, test.label, strict=True):
        for x0, y0, x1, y1 in boxes:
            image[int((y0 + y1) / 2), int((x0 + x1) / 2)] = height
        if label and not len(boxes):
            image[5, 5] = height
    return maps


def values(measured):
    return {name: m["value"] for name, m in measured.metrics.items()}


def test_a_perfect_map_scores_one_everywhere():
    test = make_set()
    measured = evaluate.measure(peaks(test), test, SETTINGS)
    assert values(measured) == pytest.approx(dict.fromkeys(NAMES, 1.0))
    for metric in measured.metrics.values():
        assert metric["low"] == metric["high"] == pytest.approx(1.0)
    assert [len(found) for found in measured.detections] == [0] * 8 + [2] * 6 + [1] * 4


def test_a_constant_map_ranks_by_chance():
    test = make_set()
    maps = np.full((18, SIDE, SIDE), 0.3, np.float32)
    measured = evaluate.measure(maps, test, SETTINGS)
    assert values(measured)["auroc"] == 0.5
    # all film is activated or none is: no point lies at a ratio of 10 % or less
    assert values(measured)["froc_area"] == 0.0


def test_a_reversed_ranking_scores_zero():
    test = make_set()
    maps = np.zeros((18, SIDE, SIDE), np.float32)
    maps[:8, 5, 5] = 0.9
    assert values(evaluate.measure(maps, test, SETTINGS))["auroc"] == 0.0


def test_half_the_lesions_found_is_half_the_sensitivity():
    test = make_set()
    maps = peaks(test)
    maps[:, 9:, 9:] = 0.0  # the second box of each pair
    measured = values(evaluate.measure(maps, test, SETTINGS))
    assert measured["froc_count"] == pytest.approx(0.5)
    assert measured["froc_area"] == pytest.approx(0.5)
    assert measured["auroc"] == 1.0


def test_false_alarms_count_for_the_images_that_are_judged():
    """One better-scored false alarm in each of 7 of 14 images: 0.5 an image."""
    test = make_set()
    maps = peaks(test, height=0.5)
    maps[:7, 5, 5] = 0.9
    measured = values(evaluate.measure(maps, test, SETTINGS))
    # sensitivity 0 at 0.1 and 0.2 false positives an image, 1 at 0.5, 1, 2 and 4
    assert measured["froc_count"] == pytest.approx(4 / 6)


def test_positives_without_boxes_count_for_auroc_and_not_for_froc():
    test = make_set()
    found, missed = peaks(test), peaks(test)
    missed[14:] = 0.0
    first = values(evaluate.measure(found, test, SETTINGS))
    second = values(evaluate.measure(missed, test, SETTINGS))
    assert second["auroc"] < first["auroc"]
    for name in ("froc_area", "froc_count"):
        assert second[name] == first[name]


def test_each_metric_states_its_images():
    test = make_set()
    metrics = evaluate.measure(peaks(test), test, SETTINGS).metrics
    for name in ("auroc", "average_precision"):
        stated = [metrics[name][k] for k in ("n_images", "n_patients", "n_lesions")]
        assert stated == [18, 9, 12]
        assert metrics[name]["prevalence"] == pytest.approx(10 / 18)
    for name in ("froc_area", "froc_count"):
        stated = [metrics[name][k] for k in ("n_images", "n_patients", "n_lesions")]
        assert stated == [14, 7, 12]
        assert metrics[name]["prevalence"] == pytest.approx(6 / 14)


def test_padding_is_no_detection_and_no_false_alarm():
    plain, padded = make_set(), make_set()
    padded.valid[:, :, :2] = 0.0
    maps = peaks(padded)
    measured = evaluate.measure(maps, padded, SETTINGS)
    assert values(measured) == pytest.approx(dict.fromkeys(NAMES, 1.0))
    bright = maps.copy()
    bright[:, :, :2] = 0.95  # above the true peaks, and 12.5 % of the map
    there = evaluate.measure(bright, padded, SETTINGS)
    for name in ("froc_area", "froc_count"):
        assert values(there)[name] == values(measured)[name]
    assert all(np.all(found[:, 0] >= 2) for found in there.detections)
    seen = evaluate.measure(bright, plain, SETTINGS)
    assert any(np.any(found[:, 0] < 2) for found in seen.detections)


def test_the_test_set_has_boxes_in_pixels_of_the_map():
    table = pipeline.Table(
        split=np.array(["part_0"] * 3),
        position=np.arange(3),
        label=np.array([0, 1, 1], np.int8),
        boxes=pipeline.object_array([BOXES[:0], 4 * BOXES, BOXES[:0]]),
        content=np.zeros((3, 4), np.float32),
        patient=np.array(["a", "b", "c"]),
        image_id=np.array(["x", "y", "z"]),
    )
    test = evaluate.test_set(table, np.ones((3, SIDE, SIDE)))
    np.testing.assert_array_equal(test.boxes[1], BOXES)
    assert test.label.tolist() == [False, True, True]
    assert test.judged.tolist() == [True, True, False]


@pytest.mark.parametrize(
    "counts", [(0, 4, 0), (4, 0, 0), (4, 0, 4), (1, 1, 0)], ids=str
)
def test_what_is_undefined_is_null_with_a_reason_and_never_nan(counts):
    test = make_set(*counts)
    measured = evaluate.measure(peaks(test), test, SETTINGS)
    read = json.loads(json.dumps(measured.metrics, allow_nan=False))
    assert read.keys() == NAMES
    negative, boxed, unboxed = counts
    for name, metric in read.items():
        one_class = not negative or not boxed + unboxed
        empty = one_class if name in NAMES - {"froc_area", "froc_count"} else not boxed
        assert (metric["value"] is None) == empty, name
        if empty:
            assert metric["reason"]


def test_the_interval_holds_the_value_and_follows_the_seed():
    test = make_set(20, 10, 10)
    rng = np.random.default_rng(0)
    maps = np.zeros((40, SIDE, SIDE), np.float32)
    maps[:, 5, 5] = rng.random(40) + 0.4 * test.label
    first = evaluate.measure(maps, test, SETTINGS).metrics["auroc"]
    again = evaluate.measure(maps, test, SETTINGS).metrics["auroc"]
    other = ConfigDict({**SETTINGS, "seed": 1})
    second = evaluate.measure(maps, test, other).metrics["auroc"]
    assert first["low"] < first["value"] < first["high"]
    assert first == again
    assert second["value"] == first["value"]
    assert second["low"] != first["low"]
