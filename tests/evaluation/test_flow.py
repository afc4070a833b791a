"""The images' way: what goes in comes out, or is left out with a reason."""

import itertools
import re

import numpy as np
import pytest

from aals_jax.evaluation import flow
from aals_jax.evaluation.study_facts import Exclusion
from aals_jax.metrics.readings import Truth
from aals_jax.report import flow as flow_figure

BOX = np.array([[0.0, 0.0, 10.0, 10.0]])


def truth_of(n: int = 40, *, patients: int = 20, unmarked: tuple[int, ...] = ()):
    """Every fourth image is positive, with a lesion unless it is unmarked."""
    label = np.arange(n) % 4 == 0
    marked = label & ~np.isin(np.arange(n), unmarked)
    return Truth(
        label=label,
        judged=~label | marked,
        patient=np.array([f"p{i * patients // n}" for i in range(n)]),
        lesions=[BOX[: int(has)] for has in marked],
        groups={},
    )


NO_SPLIT = np.full(40, "")
HALVES = np.array(["validation"] * 20 + ["test"] * 20)
KEYS = ("n_images", "n_positive", "n_negative", "n_lesions")


def by_name(made: flow.Flow) -> dict[str, dict]:
    return {stage["stage"]: stage for stage in made["stages"]}


@pytest.mark.parametrize("split", [NO_SPLIT, HALVES], ids=["whole", "halves"])
@pytest.mark.parametrize("unmarked", [(), (0, 24)], ids=["marked", "unmarked"])
@pytest.mark.parametrize("excluded", [None, (Exclusion("lateral", 7),)])
def test_each_stage_is_the_one_before_less_what_is_left_out(split, unmarked, excluded):
    made = flow.of_tables(truth_of(unmarked=unmarked), split, exclusions=excluded)
    stages = made["stages"]
    for before, after in itertools.pairwise(stages):
        for key in KEYS:
            if key in before:
                left = sum(row[key] for row in before.get("left_out", ()))
                assert before[key] - left == after[key], (before["stage"], key)
    for stage in stages[1:]:
        assert stage["n_positive"] + stage["n_negative"] == stage["n_images"]


def test_known_tables_have_a_known_flow():
    made = flow.of_tables(truth_of(unmarked=(1, 4)), NO_SPLIT)
    stages = by_name(made)
    assert list(stages) == ["in the tables", flow.IMAGE_LEVEL, flow.LESION_LEVEL]
    assert stages["in the tables"]["n_patients"] == 20
    assert stages[flow.IMAGE_LEVEL]["n_images"] == 40
    (left,) = stages[flow.IMAGE_LEVEL]["left_out"]
    assert left == {
        "reason": flow.UNMARKED, "n_images": 1, "n_patients": 1, "n_positive": 1,
        "n_negative": 0, "n_lesions": 0,
    }  # fmt: skip
    assert stages[flow.LESION_LEVEL]["n_lesions"] == 9


def test_a_split_leaves_out_the_validation_rows_and_is_said_to_be_disjoint():
    made = flow.of_tables(truth_of(), HALVES)
    (left,) = by_name(made)["in the tables"]["left_out"]
    assert (left["split"], left["n_images"]) == ("validation", 20)
    assert made["partitions"].startswith("validation 20 images, test 20 images")
    assert "none is in both" in made["disjoint"]


def test_where_each_image_is_a_patient_none_are_counted():
    made = flow.of_tables(truth_of(patients=40), HALVES)
    assert not [stage for stage in made["stages"] if "n_patients" in stage]
    assert "disjoint" not in made


def test_tables_without_a_lesion_have_no_lesion_level():
    positives = tuple(range(0, 40, 4))
    made = flow.of_tables(truth_of(unmarked=positives), NO_SPLIT)
    assert list(by_name(made)) == ["in the tables", flow.IMAGE_LEVEL]
    assert "left_out" not in by_name(made)[flow.IMAGE_LEVEL]


def test_what_the_author_left_out_comes_first_and_is_summed_where_it_is_known():
    known = [Exclusion("lateral", 7, 3), Exclusion("cast", 2, 0)]
    first = flow.of_tables(truth_of(), NO_SPLIT, exclusions=known)["stages"][0]
    assert (first["n_images"], first["n_patients"]) == (49, 23)
    assert [row["reason"] for row in first["left_out"]] == ["lateral", "cast"]
    part = [*known, Exclusion("unreadable", patients=1)]
    first = flow.of_tables(truth_of(), NO_SPLIT, exclusions=part)["stages"][0]
    assert "n_images" not in first and first["n_patients"] == 24
    without = flow.of_tables(truth_of(), NO_SPLIT, exclusions=())["stages"]
    assert without[0]["stage"] == "in the tables"


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_run_leaves_out_the_splits_that_it_does_not_score(split):
    truth = truth_of(unmarked=(0,))
    counts = {
        name: {"region": 9, "image_level": 1, "negative": 30}
        for name in ("train", "validation", "test")
    }
    stages = flow.of_run(counts, truth, split=split)["stages"]
    assert (stages[0]["n_images"], stages[0]["n_positive"]) == (120, 30)
    left = stages[0]["left_out"]
    assert {row["split"] for row in left} == counts.keys() - {split}
    rest = stages[0]["n_images"] - sum(row["n_images"] for row in left)
    assert rest == stages[1]["n_images"] == 40
    assert stages[2]["n_images"] == 39


# --- its drawing


def test_the_boxes_of_the_diagram_do_not_overlap_and_are_joined():
    exclusions = [Exclusion("a long reason that needs several lines " * 4, 7)]
    made = flow.of_tables(truth_of(unmarked=(24,)), HALVES, exclusions=exclusions)
    drawing = flow_figure.diagram(made)
    assert drawing is not None
    for a in drawing.boxes:
        assert a.x + a.width <= drawing.width and a.y + a.height <= drawing.height
        assert max(map(len, (*a.title, *a.lines))) <= 42
        for b in drawing.boxes:
            apart = a.x + a.width <= b.x or b.x + b.width <= a.x
            apart |= a.y + a.height <= b.y or b.y + b.height <= a.y
            assert a is b or apart
    stages = [box for box in drawing.boxes if not box.is_left_out]
    left = [box for box in drawing.boxes if box.is_left_out]
    assert (len(stages), len(left)) == (4, 3)
    ends = {(x1, y1) for *_, x1, y1 in drawing.arrows}
    assert {box.y for box in stages[1:]} <= {y for _, y in ends}
    assert {(box.x, box.y + box.height / 2) for box in left} <= ends


def test_the_diagram_has_every_number_of_the_flow():
    made = flow.of_tables(truth_of(unmarked=(24,)), HALVES)
    drawing = flow_figure.diagram(made)
    assert drawing is not None
    words = " ".join(word for box in drawing.boxes for word in box.lines)
    shown = set(map(int, re.findall(r"\d+", words)))
    rows = [
        row for stage in made["stages"] for row in (stage, *stage.get("left_out", ()))
    ]
    assert shown == {row[key] for row in rows for key in (*KEYS, "n_patients")}
    assert "less" in drawing.alt and "validation" in drawing.alt


def test_a_flow_without_a_stage_has_no_drawing():
    assert flow_figure.diagram({}) is None
