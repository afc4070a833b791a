"""Laws of the measurement: known maps have known metrics, on stated image sets."""

import json

import numpy as np
import pytest

from aals_jax.evaluation import model_maps
from aals_jax.input.dataset import ImageTable, object_array
from aals_jax.metrics import readings
from aals_jax.metrics.draws import Bootstrap
from tests.support.measuring import metric_entries

DETECTING = model_maps.Detecting(
    detections="peaks",
    min_distance=0.1,
    threshold=0.001,
    max_detections=10,
    pooling="max",
)
SIDE = 16
BOOTSTRAP = Bootstrap(200, 0)
IMAGE_LEVEL = {
    "auroc", "average_precision", "brier_score", "expected_calibration_error"
}  # fmt: skip
LESION_LEVEL = {"froc_area", "froc_count"}
NAMES = {"auroc", "average_precision", *LESION_LEVEL}  # 1 is best
BOXES = np.array([[2.0, 3.0, 7.0, 8.0], [10.0, 9.0, 14.0, 14.0]])


def make_set(negative=8, boxed=6, unboxed=4):
    """Negatives, then positives with two boxes, then positives without."""
    n = negative + boxed + unboxed
    return readings.Truth(
        label=np.arange(n) >= negative,
        judged=np.arange(n) < negative + boxed,
        lesions=[
            BOXES if negative <= i < negative + boxed else BOXES[:0] for i in range(n)
        ],
        patient=np.array([f"p{i // 2}" for i in range(n)]),
        groups={},
    )


def read(maps, truth, *, valid=None):
    valid = np.ones(maps.shape, np.float32) if valid is None else valid
    prediction = model_maps.Prediction(maps, valid, boxes=None)
    return model_maps.read_prediction(prediction, truth, detecting=DETECTING)


def metrics(maps, truth, *, valid=None, bootstrap=BOOTSTRAP):
    reading = read(maps, truth, valid=valid)
    return metric_entries(truth, reading, bootstrap=bootstrap, hit=model_maps.HIT)


def peaks(test, *, height=0.9):
    """Maps with one peak at the centre of each box; unboxed positives glow too."""
    maps = np.zeros((len(test.label), SIDE, SIDE), np.float32)
    for image, boxes, label in zip(maps, test.lesions, test.label, strict=True):
        for x0, y0, x1, y1 in boxes:
            image[int((y0 + y1) / 2), int((x0 + x1) / 2)] = height
        if label and not len(boxes):
            image[5, 5] = height
    return maps


def values(measured):
    return {name: measured[name]["value"] for name in NAMES}


def test_a_perfect_map_scores_one_everywhere():
    test = make_set()
    measured = metrics(peaks(test), test)
    assert values(measured) == pytest.approx(dict.fromkeys(NAMES, 1.0))
    for name in NAMES:  # of five patients with a fracture none is sure of anything
        low, high = measured[name]["low"], measured[name]["high"]
        assert (low is None and measured[name]["reason"]) or low < 0.9 < high == 1
    found = read(peaks(test), test).detections
    assert [len(each) for each in found] == [0] * 8 + [2] * 6 + [1] * 4


def test_a_constant_map_ranks_by_chance():
    test = make_set()
    maps = np.full((18, SIDE, SIDE), 0.3, np.float32)
    measured = metrics(maps, test)
    assert values(measured)["auroc"] == 0.5
    # all film is activated or none is: no point lies at a ratio of 10 % or less
    assert values(measured)["froc_area"] == 0.0


def test_a_reversed_ranking_scores_zero():
    test = make_set()
    maps = np.zeros((18, SIDE, SIDE), np.float32)
    maps[:8, 5, 5] = 0.9
    assert values(metrics(maps, test))["auroc"] == 0.0


def test_half_the_lesions_found_is_half_the_sensitivity():
    test = make_set()
    maps = peaks(test)
    maps[:, 9:, 9:] = 0.0  # the second box of each pair
    measured = values(metrics(maps, test))
    assert measured["froc_count"] == pytest.approx(0.5)
    assert measured["froc_area"] == pytest.approx(0.5)
    assert measured["auroc"] == 1.0


def test_false_alarms_count_for_the_images_that_are_judged():
    """One better-scored false alarm in each of 7 of 14 images: 0.5 an image."""
    test = make_set()
    maps = peaks(test, height=0.5)
    maps[:7, 5, 5] = 0.9
    measured = values(metrics(maps, test))
    # sensitivity 0 at 0.1 and 0.2 false positives an image, 1 at 0.5, 1, 2 and 4
    assert measured["froc_count"] == pytest.approx(4 / 6)


def test_positives_without_boxes_count_for_auroc_and_not_for_froc():
    test = make_set()
    found, missed = peaks(test), peaks(test)
    missed[14:] = 0.0
    first = values(metrics(found, test))
    second = values(metrics(missed, test))
    assert second["auroc"] < first["auroc"]
    for name in ("froc_area", "froc_count"):
        assert second[name] == first[name]


def test_each_metric_states_its_images():
    test = make_set()
    made = metrics(peaks(test), test)
    assert made.keys() == IMAGE_LEVEL | LESION_LEVEL
    for name in IMAGE_LEVEL:
        stated = [made[name][k] for k in ("n_images", "n_patients", "n_lesions")]
        assert stated == [18, 9, 12]
        assert made[name]["prevalence"] == pytest.approx(10 / 18)
    for name in LESION_LEVEL:
        stated = [made[name][k] for k in ("n_images", "n_patients", "n_lesions")]
        assert stated == [14, 7, 12]
        assert made[name]["prevalence"] == pytest.approx(6 / 14)


def test_padding_is_no_detection_and_no_false_alarm():
    test = make_set()
    padded = np.ones((18, SIDE, SIDE), np.float32)
    padded[:, :, :2] = 0.0
    maps = peaks(test)
    measured = values(metrics(maps, test, valid=padded))
    assert measured == pytest.approx(dict.fromkeys(NAMES, 1.0))
    bright = maps.copy()
    bright[:, :, :2] = 0.95  # above the true peaks, and 12.5 % of the map
    there = values(metrics(bright, test, valid=padded))
    for name in LESION_LEVEL:
        assert there[name] == measured[name]
    found = read(bright, test, valid=padded).detections
    assert all(np.all(each[:, 0] >= 2) for each in found)
    seen = read(bright, test).detections
    assert any(np.any(each[:, 0] < 2) for each in seen)


def test_the_test_set_has_boxes_in_pixels_of_the_map():
    table = ImageTable(
        split=np.array(["part_0"] * 3),
        position=np.arange(3),
        label=np.array([0, 1, 1], np.int8),
        count=np.full(3, -1),
        boxes=object_array([BOXES[:0], 4 * BOXES, BOXES[:0]]),
        content=np.zeros((3, 4), np.float32),
        patient=np.array(["a", "b", "c"]),
        image_id=np.array(["x", "y", "z"]),
        view=np.array(["PA", "AP", ""]),
        sex=np.array(["F", "M", "F"]),
        age_band=np.array(["30-39", "90+", ""]),
    )
    test = model_maps.truth_of(table)
    np.testing.assert_array_equal(test.lesions[1], BOXES)
    assert test.groups["view"].tolist() == ["PA", "AP", ""]
    assert test.label.tolist() == [False, True, True]
    assert test.judged.tolist() == [True, True, False]


@pytest.mark.parametrize(
    "counts", [(0, 4, 0), (4, 0, 0), (4, 0, 4), (1, 1, 0)], ids=str
)
def test_what_is_undefined_is_null_with_a_reason_and_never_nan(counts):
    test = make_set(*counts)
    made = json.loads(json.dumps(metrics(peaks(test), test), allow_nan=False))
    negative, boxed, unboxed = counts
    for name in NAMES:
        one_class = not negative or not boxed + unboxed
        empty = not boxed if name in LESION_LEVEL else one_class
        assert (made[name]["value"] is None) == empty, name
        if empty:
            assert made[name]["reason"]


def test_the_interval_holds_the_value_and_follows_the_seed():
    test = make_set(20, 10, 10)
    rng = np.random.default_rng(0)
    maps = np.zeros((40, SIDE, SIDE), np.float32)
    maps[:, 5, 5] = rng.random(40) + 0.4 * test.label
    first = metrics(maps, test)["auroc"]
    again = metrics(maps, test)["auroc"]
    second = metrics(maps, test, bootstrap=Bootstrap(200, 1))["auroc"]
    assert first["low"] < first["value"] < first["high"]
    assert first == again
    assert second["value"] == first["value"]
    assert second["low"] != first["low"]
