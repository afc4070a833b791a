"""What a run says of its teacher: which numbers apply to which method, and in words."""

import dataclasses
import types
from typing import Any

import numpy as np
import pytest

from aals_jax.evaluation import model_maps, monitors
from aals_jax.evaluation.evaluator import Evaluator, TrainedModel
from aals_jax.input.dataset import GROUPS, Data, ImageTable, Streams, object_array
from aals_jax.method.methods import METHODS
from aals_jax.metrics.draws import Bootstrap
from aals_jax.types import MODELS

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


SIDE = 32
BOX = np.array([[8.0, 8.0, 16.0, 16.0]], np.float32)  # px of the square


def table_of(label, boxed):
    n = len(label)
    return ImageTable(
        split=np.array(["part_0"] * n, str),
        position=np.arange(n),
        label=np.array(label, np.int8),
        count=np.full(n, -1),
        boxes=object_array([BOX[: int(b)] for b in boxed]),
        content=np.tile(np.float32([0, 0, SIDE, SIDE]), (n, 1)),
        patient=np.array([f"p{i}" for i in range(n)], str),
        image_id=np.array([f"i{i}" for i in range(n)], str),
        **{name: np.array([""] * n, str) for name in GROUPS},
    )


@dataclasses.dataclass(frozen=True)
class Placed(Evaluator):
    """An evaluator whose maps peak where they are told to; no net, no pixels."""

    hit: set = dataclasses.field(default_factory=set)  # image ids whose peak is right

    def predict_table(self, model, table, name):
        maps = np.zeros((len(table), SIDE // 4, SIDE // 4), np.float32)
        for values, image in zip(maps, table.image_id, strict=True):
            place = (3, 3) if image in self.hit else (6, 6)
            values[place] = 0.8 if model.name == "teacher" else 0.2
        return model_maps.Prediction(
            maps, model_maps.film(table.content, side=SIDE), None
        )


def measured(image_level, hit, start="pretrained"):
    """Six training images: R is 0, P is `image_level`, of which 3 has no box."""
    train = table_of([1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0])
    streams = Streams(np.array([0]), np.array(image_level, int), np.array([4, 5]))
    validation = table_of([1, 1, 0], [1, 0, 0])
    dataset: Any = types.SimpleNamespace(side=SIDE)
    data = Data(dataset, train, validation, validation, streams, "phantom", "")
    unused: Any = None
    evaluator = Placed(
        data=data,
        predictor=unused,
        detecting=unused,
        bootstrap=Bootstrap(20, 0),
        cache=unused,
        hit=hit,
    )
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
