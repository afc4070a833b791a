"""The plain sentences, on both sides of every border."""

import pytest

from aals_jax.report import verdicts

GOOD = {"value": 0.8, "low": 0.75, "high": 0.85}
HIT = {"value": 0.9, "low": 0.8, "high": 0.95, "n_images": 40}
ALIVE = {"value": 0.2, "low": 0.1, "high": 0.3, "n_images": 40}
LIFT = {"value": 0.2, "low": None, "high": None}
NONE = {"value": None, "low": None, "high": None, "reason": "P has no image"}


def auroc(low, high, value=None):
    return {
        "value": (low + high) / 2 if value is None else value,
        "low": low,
        "high": high,
    }


def head_room(**changes):
    fields = {
        "auroc": GOOD,
        "in_box": [HIT],
        "images": "images of P",
        "dead_share": [ALIVE],
        "lift": LIFT,
        "sharpens": True,
    }
    return verdicts.head_room(**fields | changes)


def share(value):
    return {**HIT, "value": value}


def test_a_stage_1_that_did_not_learn_says_so_with_its_numbers():
    assert verdicts.stage_one(auroc(0.46, 0.60, 0.53)) == (
        "Stage 1 did not learn: test AUROC 0.53 [0.46, 0.60] includes chance."
    )


@pytest.mark.parametrize(
    "low, high, said",
    [
        (0.5001, 0.6, ""),
        (0.5, 0.6, "includes chance"),
        (0.4, 0.5, "includes chance"),
        (0.4, 0.4999, "lies below chance"),
    ],
)
def test_chance_is_included_up_to_the_ends_of_the_interval(low, high, said):
    assert said in verdicts.stage_one(auroc(low, high))
    assert bool(verdicts.stage_one(auroc(low, high))) == bool(said)


def test_an_auroc_without_an_interval_is_not_passed_over():
    said = verdicts.stage_one({**NONE, "reason": "one class only"})
    assert said.startswith("Whether stage 1 learnt is unknown")
    assert "one class only" in said


def test_a_run_that_can_sharpen_is_told_nothing():
    assert head_room() == ""


@pytest.mark.parametrize(
    "inside, outside, words",
    [
        ({"auroc": auroc(0.51, 0.6)}, {"auroc": auroc(0.5, 0.6)}, "stage 1 did not"),
        (
            {"auroc": auroc(0.9, 0.99, 0.979)},
            {"auroc": auroc(0.9, 0.99, 0.98)},
            "stage 1 is at its ceiling",
        ),
        (
            {"in_box": [share(0.5)]},
            {"in_box": [share(0.499)]},
            "peak lies in a box in 49.9",
        ),
        (
            {"in_box": [share(0.1), share(0.6)]},
            {"in_box": [share(0.1), share(0.4)]},
            "in a box in 40.0",
        ),
        (
            {"lift": {"value": 0.02}},
            {"lift": {"value": 0.0199}},
            "no target is lifted by more than 0.020",
        ),
        (
            {"dead_share": [share(0.9)]},
            {"dead_share": [share(0.901)]},
            "the peak lies below t in 90.1",
        ),
        (
            {"dead_share": [share(0.95), share(0.3)]},
            {"dead_share": [share(0.95), share(0.92)]},
            "the peak lies below t in 92.0",
        ),
    ],
)
def test_each_reason_is_told_from_its_border_on_and_not_before(inside, outside, words):
    assert head_room(**inside) == ""
    said = head_room(**outside)
    assert said.startswith("Sharpening has nothing to sharpen: ")
    assert words in said


def test_a_share_is_told_with_its_interval_and_count():
    said = head_room(in_box=[{**HIT, "value": 0.3, "low": 0.2, "high": 0.41}])
    assert "30.0\N{NO-BREAK SPACE}% [20.0\N{NO-BREAK SPACE}%, 41.0" in said
    assert "of 40 images of P at best" in said


def test_all_reasons_stand_in_one_sentence():
    said = head_room(
        auroc=auroc(0.4, 0.6),
        in_box=[share(0.1)],
        lift={"value": 0.0},
        dead_share=[share(1.0)],
    )
    assert said.count(";") == 3
    assert said.endswith(".") and said.count(". ") == 0


def test_what_has_no_value_is_no_reason():
    assert head_room(in_box=[NONE], dead_share=[NONE], lift=NONE) == ""
    assert head_room(in_box=[], dead_share=[], lift=None) == ""


def test_a_method_that_does_not_sharpen_is_judged_by_its_teacher_alone():
    assert head_room(sharpens=False, lift={"value": 0.0}, dead_share=[share(1.0)]) == ""
    said = head_room(sharpens=False, in_box=[share(0.3)])
    assert said.startswith("P has little to add: ")
