"""Scores of images alone: what has no lesions is measured without them."""

import json
import random

import numpy as np
import pytest

from aals_jax.evaluation import score
from aals_jax.metrics import readings, roc
from aals_jax.metrics.draws import Bootstrap
from tests.support.submission_files import (
    DETECTIONS,
    IMAGES,
    LESIONS,
    faults,
    write,
)

OPTIONS = score.ScoreOptions(hit=readings.Hit(), bootstrap=Bootstrap(50, 0))


def images(n=60, *, second=False, seed=0):
    """n images of n / 2 patients with scores of 0 to 1, of one system or of two."""
    rng = np.random.default_rng(seed)
    lines = ["image,patient,label,sex,score" + ",score_b" * second]
    for i in range(n):
        label = int(i % 3 == 0)
        values = np.clip(
            0.3 + 0.3 * label + 0.2 * rng.standard_normal(1 + second), 0, 1
        )
        cells = [f"film{i},person{i // 2},{label},{'FM'[i // 2 % 2]}"]
        lines.append(",".join([*cells, *(f"{value:.3f}" for value in values)]))
    return "\n".join(lines) + "\n"


def run(folder, **contents):
    path = score.score(write(folder, **contents), folder / "out", options=OPTIONS)
    return json.loads(path.read_text()), path.with_name("report.html").read_text()


def test_labels_and_scores_are_enough(tmp_path):
    text = images()
    result, page = run(tmp_path, images=text)
    metrics = result["metrics"]["score"]
    assert list(metrics) == [
        *("auroc", "average_precision", "brier_score", "expected_calibration_error")
    ]
    rows = [line.split(",") for line in text.splitlines()[1:]]
    label = np.array([int(row[2]) for row in rows])
    scores = np.array([float(row[4]) for row in rows])
    assert metrics["auroc"]["value"] == pytest.approx(float(roc.auroc(scores, label)))
    assert metrics["auroc"]["n_patients"] == 30 and "n_lesions" not in metrics["auroc"]
    points = result["operating_points"]["score"]
    assert {point["level"] for point in points} == {"image"}
    assert result["calibration"]["score"]["bins"]
    groups = result["subgroups"]["score"]
    assert {row["column"] for row in groups} == {"sex"}
    assert all(list(row["metrics"]) == ["auroc"] for row in groups)
    assert result["settings"].keys().isdisjoint(("rule", "iou_threshold"))
    assert "n_lesions" not in result["data"] and "n_judged" not in result["data"]
    written = page + json.dumps(result)
    for word in (
        "FROC",
        "false positives an image",
        "false positives per image",
        "film1",
        "person1",
        "? les",
    ):
        assert word not in written, word


def test_two_systems_are_paired_by_their_columns(tmp_path):
    result, _ = run(tmp_path, images=images(second=True))
    assert list(result["metrics"]) == ["score", "score_b"]
    compared = {row["metric"] for row in result["differences"]}
    assert compared == {"auroc", "average_precision", "brier_score"}


def test_detections_without_lesions_score_images(tmp_path):
    result, _ = run(tmp_path, images=IMAGES, detections=DETECTIONS)
    assert result["metrics"]["detections"]["auroc"]["value"] == 1.0
    assert "froc_count" not in result["metrics"]["detections"]
    assert any("nothing is measured at lesion level" in n for n in result["notes"])


def test_a_table_without_scores_needs_detections(tmp_path):
    (told,) = faults(tmp_path, images=IMAGES)
    assert told.startswith("images.csv: no column score: without --detections it must")


def shuffled(text, seed):
    header, *rows = text.splitlines()
    random.Random(seed).shuffle(rows)
    return "\n".join([header, *rows]) + "\n"


def test_the_order_of_rows_changes_no_digit(tmp_path):
    tables = {"images": images(), "detections": DETECTIONS.replace("a,", "film0,")}
    tables["detections"] = tables["detections"].replace("b,", "film1,")
    tables["detections"] = tables["detections"].replace("c,", "film3,")
    lesions = LESIONS.replace("a,", "film0,").replace("c,", "film3,")
    for given in ({"images": images(second=True)}, {**tables, "lesions": lesions}):
        found = []
        for seed in range(3):
            again = {name: shuffled(text, seed) for name, text in given.items()}
            found.append(run(tmp_path, **again))
        assert found[0] == found[1] == found[2]


def test_the_counts_of_the_calibration_table_are_counts(tmp_path):
    result, page = run(tmp_path, images=images())
    counts = [row["count"] for row in result["calibration"]["score"]["bins"]]
    assert all(type(count) is int for count in counts) and sum(counts) == 60
    assert f"<td>{max(counts)}.0</td>" not in page


def test_lesions_in_space_are_scored_by_distance(tmp_path):
    given = {
        "images": "image,label\na,1\nb,0\n",
        "lesions": "image,x,y,z\na,-1,2,3\n",
        "detections": "image,x,y,z,score\na,-1,2,9,.9\n",
    }
    with pytest.raises(ValueError, match="--hit_rule=distance"):
        run(tmp_path, **given)
    for reach, value in ((6.0, 1.0), (5.9, 0.0)):
        hit = readings.Hit("distance", max_distance=reach)
        options = score.ScoreOptions(hit=hit, bootstrap=Bootstrap(20, 0))
        path = score.score(write(tmp_path, **given), tmp_path / "out", options=options)
        entry = json.loads(path.read_text())["metrics"]["detections"]["froc_count"]
        assert entry["value"] == value
    flat = {**given, "detections": "image,x,y,score\na,-1,2,.9\n"}
    with pytest.raises(ValueError, match="both have x, y or both x, y, z"):
        run(tmp_path, **flat)
