"""What a run says of its teacher: which numbers apply to which method, and in words."""

import numpy as np
import pytest

from aals_jax.evaluation import monitors
from aals_jax.evaluation.evaluator import TrainedModel
from aals_jax.method.methods import METHODS
from aals_jax.types import MODELS
from tests.support.placed_maps import evaluator_of, table_of

LEARNT = {"value": 0.8, "low": 0.75, "high": 0.85}
HISTORY = [
    {"stage": "pretrain", "step": 5, "loss/total": 1.0},
    {"stage": "distill", "step": 5, "pseudo/lift_largest": 0.2, "pseudo/lift_mean": 0},
    {
        "stage": "distill",
        "step": 9,
        "pseudo/lift_largest": 0.1,
        "pseudo/lift_mean": 0.1,
    },
]


def measured(image_level, hit, start="pretrained"):
    """Six training images: R is 0, P is `image_level`, of which 3 has no box."""
    train = table_of([1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0])
    validation = table_of([1, 1, 0], [1, 0, 0])
    evaluator = evaluator_of(train, validation, image_level, hit=hit)
    models = [TrainedModel(name, 1, {}) for name in MODELS]
    return monitors.measure(
        evaluator, models, start=start, method="aals", center=0.4, history=HISTORY
    )


def test_withheld_boxes_are_those_of_p_alone():
    """R's own peak is right and counts nowhere; of P's three images two have a box."""
    found = measured([1, 2, 3], hit={"i0", "i2"})["peaks"]["teacher"]
    assert found["peak_in_box_p"]["value"] == 0.5
    assert found["peak_in_box_p"]["n_images"] == 2
    assert found["dead_share_p"]["n_images"] == 3
    assert found["peak_in_box"]["value"] == 1.0  # validation's own i0


def test_both_moments_are_looked_at_and_no_other_model():
    found = measured([1, 2, 3], hit=set())
    shares = {name: e["dead_share_p"]["value"] for name, e in found["peaks"].items()}
    assert shares == {"pretrained": 1.0, "teacher": 0.0}
    assert sum(found["histograms"]["teacher"]["P, training"]) == 3
    found = measured([1, 2, 3], hit=set(), start="pretrained_average")
    assert list(found["peaks"]) == list(found["moments"])
    assert list(found["moments"]) == ["pretrained_average", "teacher"]


def test_without_p_the_rest_is_measured_and_p_says_why_it_is_not():
    found = measured([], hit={"i0"})["peaks"]["teacher"]
    assert found["peak_in_box_p"]["reason"] == "P has no image"
    assert found["peak_in_box"]["value"] == 1.0


def share(value):
    return {"value": value, "low": value, "high": value, "n_images": 50}


def monitored(start, end, *, lift=0.3, dead=0.1, validation=0.9):
    """Monitors of a run whose teacher localises these shares of P."""
    missing = {"value": None, "low": None, "high": None, "reason": "none"}

    def of(value):
        return {
            "peak_in_box_p": missing if value is None else share(value),
            "peak_in_box": share(validation),
            "dead_share_p": share(dead),
        }

    return {
        "moments": monitors.moments("pretrained_average"),
        "peaks": {"pretrained_average": of(start), "teacher": of(end)},
        "targets": {"lift_largest": share(lift)},
    }


def said(method, *shares, **others):
    return monitors.sentences(LEARNT, monitored(*shares, **others), method=method)


def test_lifts_are_the_largest_and_the_mean_over_stage_2():
    found = monitors.targets("aals", HISTORY)
    assert found["lift_largest"]["value"] == 0.2
    assert found["lift_mean"]["value"] == 0.05


@pytest.mark.parametrize("method", METHODS)
def test_a_method_without_lifts_says_why(method):
    for entry in monitors.targets(method, HISTORY[:1]).values():
        assert entry["value"] is None
        assert "does not apply" in entry["reason"] and method in entry["reason"]


def test_the_better_moment_counts_but_for_a_guide_that_stays_as_it_was():
    assert said("aals", 0.3, 0.8) == []
    assert len(said("aals", 0.3, 0.4)) == 1
    (sentence,) = said("self_training", 0.3, 0.8)
    assert "30.0" in sentence


def test_without_a_withheld_box_the_boxed_positives_of_validation_are_judged():
    assert said("aals", None, None, validation=0.6) == []
    (sentence,) = said("aals", None, None, validation=0.4)
    assert "of 50 boxed positives of validation" in sentence
    (sentence,) = said("aals", 0.2, 0.2, validation=0.9)
    assert "of 50 images of P whose boxes are withheld" in sentence


@pytest.mark.parametrize("method", METHODS)
def test_only_a_method_with_a_guide_is_told_about_it(method):
    sentences = said(method, 0.1, 0.1, lift=0.0, dead=1.0)
    row = METHODS[method]
    assert len(sentences) == (row.guide is not None)
    for sentence in sentences:
        assert ("nothing to sharpen" in sentence) == ("lifted" in sentence)


@pytest.mark.parametrize("method", ["supervised", "aals"])
def test_stage_1_is_judged_for_every_method(method):
    chance = {"value": 0.53, "low": 0.46, "high": 0.6}
    sentences = monitors.sentences(chance, monitored(0.9, 0.9), method=method)
    assert sentences[0] == (
        "Stage 1 did not learn: test AUROC 0.53 [0.46, 0.60] includes chance."
    )


def test_a_large_p_is_looked_at_evenly_and_a_small_one_whole():
    rows = np.arange(10, 5010)
    some = monitors._some(rows)
    assert len(some) == monitors.MOST_OF_P == len(set(some))
    assert (some[0], some[-1]) == (10, 5009)
    assert set(np.diff(some)) <= {4, 5, 6}
    assert monitors._some(rows[:7]).tolist() == rows[:7].tolist()
