"""Operating points: chosen by their rule on one set, measured on another."""

import numpy as np
import pytest
from scipy import stats

from aals_jax.metrics import froc, operating, readings
from aals_jax.metrics.draws import Bootstrap, TruthDraws

HIT = readings.Hit()
BOX = np.array([[0.0, 0.0, 10.0, 10.0]])
NOTHING = np.empty((0, 4))
BOOTSTRAP = Bootstrap(200, 0)


def reading_of(positives, negatives, *, misses=0):
    """Positives with one box, hit at their score; negatives with a false alarm."""
    hits = [np.array([[5.0, 5.0, s]]) for s in positives]
    alarms = [np.array([[50.0, 50.0, s]]) for s in negatives]
    silent = [np.empty((0, 3))] * misses
    n = len(hits) + len(alarms) + misses
    truth = readings.Truth(
        label=np.arange(n) < len(hits),
        judged=np.ones(n, bool),
        patient=np.arange(n).astype(str),
        lesions=[BOX if i < len(hits) else NOTHING for i in range(n)],
        groups={},
    )
    score = np.array([*positives, *negatives, *[0.0] * misses])
    return truth, readings.read(truth, score, [*hits, *alarms, *silent], hit=HIT)


def apply(points, truth, reading, chosen_on="validation"):
    draws = TruthDraws(truth, BOOTSTRAP)
    applied = operating.apply(points, truth, reading, chosen_on=chosen_on, draws=draws)
    return {point["name"]: point for point in applied}


def test_a_point_keeps_its_rule_where_it_was_chosen():
    rng = np.random.default_rng(0)
    truth, reading = reading_of(rng.random(40) * 0.8 + 0.2, rng.random(60) * 0.8)
    found = apply(operating.choose(truth, reading), truth, reading)
    for wanted in operating.SPECIFICITIES:
        point = found[f"specificity {wanted:.2f}"]
        assert point["measured"]["specificity"]["value"] >= wanted
    for wanted in operating.FALSE_POSITIVES:
        point = found[f"{wanted:g} false positives an image"]
        assert point["measured"]["false_positives_per_image"]["value"] <= wanted
        sensitivity = froc.sensitivity_at(reading.count, (wanted,))[0]
        assert point["measured"]["sensitivity"]["value"] == pytest.approx(sensitivity)


def test_a_threshold_is_carried_over_and_not_chosen_again():
    chosen = operating.choose(*reading_of([0.9, 0.8, 0.7], [0.6, 0.5] + [0.1] * 8))
    test = reading_of([0.9, 0.55, 0.2, 0.65], [0.8] * 3 + [0.1] * 7)
    point = apply(chosen, *test)["specificity 0.90"]
    # ten negatives: one may be called, so every positive down to 0.7 and no lower
    assert point["threshold"] == 0.7
    measured = {name: m["value"] for name, m in point["measured"].items()}
    assert measured == {
        "sensitivity": pytest.approx(1 / 4),
        "specificity": pytest.approx(7 / 10),
        "ppv": pytest.approx(1 / 4),
        "npv": pytest.approx(7 / 10),
    }
    assert point["chosen_on"] == "validation"


def test_intervals_hold_the_value_and_name_their_method():
    truth, reading = reading_of([0.9, 0.8, 0.3] * 8, [0.6, 0.5, 0.1] * 8)
    point = apply(operating.choose(truth, reading), truth, reading)["specificity 0.90"]
    for measured in point["measured"].values():
        assert measured["low"] <= measured["value"] <= measured["high"]
        assert measured["low"] < measured["high"]
        assert measured["interval"] == "95 % Wilson"


def test_a_lesion_threshold_counts_false_alarms_on_all_images():
    truth, reading = reading_of([0.9, 0.4], [0.8, 0.7, 0.3], misses=5)
    points = operating.choose(truth, reading)
    half = next(p for p in points if p.name == "0.5 false positives an image")
    assert half.threshold == 0.3  # the lowest detection: 3 of 10 images are alarmed
    found = apply(points, truth, reading)["0.5 false positives an image"]
    assert found["measured"]["false_positives_per_image"]["value"] == 0.3
    assert found["measured"]["sensitivity"]["value"] == 1.0


def test_a_false_alarm_too_many_and_its_equals_are_below_the_threshold():
    _, reading = reading_of([0.7, 0.2], [0.8, 0.5, 0.5, 0.4])
    # six images, one in six may be alarmed: 0.8 is, and neither of the two at 0.5
    threshold = operating.false_positive_threshold(reading, 0.25)
    assert 0.5 < threshold < 0.5 + 1e-12
    assert (reading.match.false_score >= threshold).sum() == 1


def test_a_threshold_without_any_lesion_found_is_that_of_the_alarms():
    _, reading = reading_of([], [0.7] + [0.1] * 19)
    assert operating.false_positive_threshold(reading, 1.0) == 0.1
    assert 0.1 < operating.false_positive_threshold(reading, 0.5) < 0.1 + 1e-12
    silent = reading_of([], [], misses=3)[1]
    assert operating.false_positive_threshold(silent, 0.5) == np.inf


def test_one_class_has_no_image_level_threshold_but_a_reason():
    truth, reading = reading_of([], [0.5, 0.6])
    found = apply(operating.choose(truth, reading), truth, reading)
    assert len(found) == 4
    for point in found.values():
        if point["level"] == "image":
            assert point["threshold"] is None
            assert point["measured"] == {}
            assert "no threshold" in point["reason"]
        else:
            assert point["measured"]["sensitivity"]["value"] is None


def test_a_rule_that_nothing_keeps_calls_nothing():
    truth, reading = reading_of([0.1, 0.1], [0.9, 0.9])
    found = apply(operating.choose(truth, reading), truth, reading)
    point = found["specificity 0.95"]
    assert point["threshold"] is None
    assert point["measured"]["sensitivity"]["value"] == 0.0
    assert point["measured"]["ppv"]["value"] is None
    assert "no threshold of the rule finds anything" in point["reason"]


def test_all_right_on_few_images_is_no_certainty():
    truth, reading = reading_of([0.9, 0.8, 0.7], [0.1] * 7)
    for point in apply(operating.choose(truth, reading), truth, reading).values():
        for measured in point["measured"].values():
            assert measured["low"] < measured["high"]
    found = apply(operating.choose(truth, reading), truth, reading)
    sensitivity = found["specificity 0.90"]["measured"]["sensitivity"]
    expected = stats.binomtest(3, 3).proportion_ci(method="wilson")
    assert sensitivity["low"] == pytest.approx(expected.low)
    silent = found["0.5 false positives an image"]["measured"]
    assert silent["sensitivity"]["low"] == pytest.approx(expected.low)
