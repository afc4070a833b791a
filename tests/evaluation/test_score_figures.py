"""What a scoring reports beside its metrics, from tables to JSON, CSV and page."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from aals_jax.evaluation import score, submissions
from aals_jax.metrics import further, readings
from aals_jax.metrics.draws import Bootstrap
from tests.support.record_schema import faults_of


def write(folder, *, n=60, seed=0, patients=20):
    """Images of few patients, with and without lesions; two systems of boxes."""
    rng = np.random.default_rng(seed)
    images, lesions = ["image,patient,label"], ["image,lesion,x0,y0,x1,y1"]
    found = {name: ["image,x0,y0,x1,y1,score"] for name in "ab"}
    for i in range(n):
        label = int(rng.random() < 0.5)
        images.append(f"film{i}.png,p{rng.integers(patients)},{label}")
        if label:
            lesions += [f"film{i}.png,{k},{50 * k},0,{50 * k + 20},20" for k in (0, 1)]
        for name, skill in (("a", 0.5), ("b", 0.2)):
            hit = 0.1 + skill * rng.random()
            if label:
                found[name].append(f"film{i}.png,1,1,21,21,{hit:.3f}")
                found[name].append(f"film{i}.png,2,2,22,22,{hit / 2:.3f}")
            noise = 0.1 + rng.random() / 3
            found[name].append(f"film{i}.png,200,0,220,20,{noise:.3f}")
    tables = {"images": images, "lesions": lesions}
    tables |= {f"detections_{name}": rows for name, rows in found.items()}
    for name, rows in tables.items():
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n")


def run(folder, *names, **changes):
    defaults = {"hit": readings.Hit(), "bootstrap": Bootstrap(100, 0)}
    files = submissions.Files(
        images=folder / "images.csv",
        lesions=folder / "lesions.csv",
        detections=tuple(folder / f"detections_{name}.csv" for name in names),
    )
    options = score.ScoreOptions(**{**defaults, **changes})
    return json.loads(score.score(files, folder / "out", options=options).read_text())


def test_every_figure_that_is_asked_for_is_there_or_has_a_reason(tmp_path):
    write(tmp_path)
    wanted = further.Wanted((0.5, 1.0), (0.1, 1.0), 0.02, True, (0.0, 0.9))
    result = run(tmp_path, "a", "b", wanted=wanted)
    assert faults_of(result) == []
    for system in ("detections", "detections_b"):
        figures = result["further"][system]
        for figure in figures.values():
            assert bool(figure["rows"]) != bool(figure.get("reason"))
        whole = figures["partial_auroc"]["rows"][1]["measured"]["partial_auroc"]
        auroc = result["metrics"][system]["auroc"]
        assert whole["value"] == pytest.approx(auroc["value"])
        rates = [row["name"] for row in figures["sensitivity_at_rates"]["rows"]]
        assert rates == ["0.5", "1", "mean"]
    page = (tmp_path / "out/report.html").read_text()
    for figure in result["further"]["detections"].values():
        assert figure["title"] in page
    assert "PPV at the prevalence asked for" in page and "TP\xa0" in page


def test_the_mean_over_the_own_rates_is_froc_count(tmp_path):
    write(tmp_path)
    result = run(tmp_path, "a")
    rows = result["further"]["detections"]["sensitivity_at_rates"]["rows"]
    froc_count = result["metrics"]["detections"]["froc_count"]
    assert rows[-1]["measured"]["sensitivity"]["value"] == froc_count["value"]
    points = result["operating_points"]["detections"]
    at_one = next(p for p in points if p["name"].startswith("1 false"))
    row = next(row for row in rows if row["name"] == "1")
    assert row["threshold"] == at_one["threshold"]
    share = at_one["measured"]["sensitivity"]["value"]
    assert row["measured"]["sensitivity"]["value"] == pytest.approx(share)


def test_patients_stand_beside_images_where_they_are_fewer(tmp_path):
    write(tmp_path)
    rows = run(tmp_path, "a")["further"]["detections"]["patient_level"]["rows"]
    assert rows[0]["n_patients"] <= 20 and len(rows) == 3
    for name in ("sensitivity", "specificity"):
        entry = rows[1]["measured"][name]
        assert entry["low"] < entry["high"]
    write(tmp_path, patients=10**9)
    alone = run(tmp_path, "a")["further"]["detections"]["patient_level"]
    assert alone["rows"] == [] and "patient of its own" in alone["reason"]


def test_curve_points_are_in_the_json_and_in_a_table(tmp_path):
    write(tmp_path)
    result = run(tmp_path, "a", "b")
    with (tmp_path / "out/curve_points.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for system, curves in result["curve_points"].items():
        assert set(curves) == {"roc", "precision_recall", "froc_count"}
        own = [r for r in rows if (r["system"], r["curve"]) == (system, "roc")]
        x, y = (np.array([float(r[axis]) for r in own]) for axis in "xy")
        auroc = result["metrics"][system]["auroc"]["value"]
        assert np.trapezoid(y, x) == pytest.approx(auroc)
        roc = curves["roc"]
        area = np.trapezoid(roc["sensitivity"], roc["false_positive_rate"])
        assert area == pytest.approx(auroc)
        assert roc["threshold"][0] is None and own[0]["threshold"] == "inf"
    text = (tmp_path / "out/curve_points.csv").read_text()
    assert "film" not in text and "np." not in text


def test_a_comparison_is_about_its_primary_metric(tmp_path):
    write(tmp_path)
    plain = run(tmp_path, "a", "b")["differences"]
    assert {row["role"] for row in plain[:-1]} == {"one of all"}
    result = run(tmp_path, "a", "b", primary="auroc", margin=0.05)
    assert faults_of(result) == []
    roles = {row["metric"]: row for row in reversed(result["differences"])}
    assert roles["auroc"]["role"] == "primary"
    assert roles["auroc"]["p_holm"] == roles["auroc"]["p_value"]
    assert roles["auroc"]["non_inferiority"]["verdict"]
    assert roles["froc_count"]["p_holm"] >= roles["froc_count"]["p_value"]
    page = (tmp_path / "out/report.html").read_text()
    assert "p by Holm" in page and "margin 0.05" in page
    for changes, words in (
        ({"primary": "dice"}, "use one of auroc"),
        ({"margin": 0.05}, "give --primary"),
    ):
        with pytest.raises(ValueError, match=words):
            run(tmp_path, "a", "b", **changes)
    with pytest.raises(ValueError, match="detections_b"):
        run(tmp_path, "a", primary="auroc")


def test_a_perfect_system_has_no_interval_of_width_zero(tmp_path):
    rows = [f"f{i}.png,{int(i < 12)}" for i in range(24)]
    (tmp_path / "images.csv").write_text("\n".join(["image,label", *rows]) + "\n")
    lesions = [f"f{i}.png,1,0,0,9,9" for i in range(12)]
    header = "image,lesion,x0,y0,x1,y1"
    (tmp_path / "lesions.csv").write_text("\n".join([header, *lesions]) + "\n")
    hits = [f"f{i}.png,4,4,0.9" for i in range(12)]
    hits += [f"f{i}.png,4,4,0.2" for i in range(12, 24)]
    (tmp_path / "detections_a.csv").write_text(
        "\n".join(["image,x,y,score", *hits]) + "\n"
    )
    wanted = further.Wanted(partial_fpr=(0.1,))
    result = run(tmp_path, "a", wanted=wanted)
    assert faults_of(result) == []
    figures = result["further"]["detections"]
    for name, figure in figures.items():
        for row in figure["rows"]:
            for entry in row["measured"].values():
                assert entry["low"] is None or entry["low"] < entry["high"], name
                assert entry["low"] is not None or entry["reason"], name


def test_repeats_that_count_as_false_lower_the_score_and_say_so(tmp_path):
    write(tmp_path)
    results = {
        repeats: run(tmp_path, "a", hit=readings.Hit(repeats=repeats))
        for repeats in ("ignored", "false")
    }
    entries = {
        repeats: result["metrics"]["detections"]["froc_count"]
        for repeats, result in results.items()
    }
    assert entries["false"]["value"] < entries["ignored"]["value"]
    assert "counts as a false positive" in entries["false"]["definition"]
    assert "counts for nothing" in entries["ignored"]["definition"]
    assert results["false"]["settings"]["repeats"] == "false"
    assert "repeats" not in results["ignored"]["settings"]


def test_points_have_no_coco_ap_but_a_reason(tmp_path):
    write(tmp_path)
    (tmp_path / "detections_a.csv").write_text("image,x,y,score\nfilm0.png,5,5,0.5\n")
    figures = run(tmp_path, "a", wanted=further.Wanted(coco_ap=True))["further"]
    assert "points" in figures["detections"]["coco_ap"]["reason"]


def test_image_scores_alone_have_the_figures_of_image_level(tmp_path):
    write(tmp_path)
    rng = np.random.default_rng(0)
    rows = (tmp_path / "images.csv").read_text().splitlines()
    scored = [f"{row},{0.01 + 0.98 * rng.random():.3f}" for row in rows[1:]]
    (tmp_path / "images.csv").write_text(
        "\n".join([f"{rows[0]},score", *scored]) + "\n"
    )
    files = submissions.Files(
        images=tmp_path / "images.csv", lesions=None, detections=()
    )
    options = score.ScoreOptions(
        readings.Hit(), Bootstrap(50, 0), wanted=further.Wanted(partial_fpr=(0.2,))
    )
    path = score.score(files, tmp_path / "out", options=options)
    result = json.loads(path.read_text())
    assert faults_of(result) == []
    figures = result["further"]["score"]
    named = dataclasses.replace(options, primary="froc_count")
    with pytest.raises(ValueError, match="score_b"):
        score.score(files, tmp_path / "out", options=named)
    both = [f"{row},{0.01 + 0.98 * rng.random():.3f}" for row in scored]
    head = f"{rows[0]},score,score_b"
    (tmp_path / "images.csv").write_text("\n".join([head, *both]) + "\n")
    with pytest.raises(ValueError, match="use one of auroc"):
        score.score(files, tmp_path / "out", options=named)
    named = dataclasses.replace(options, primary="auroc", margin=0.1)
    path = score.score(files, tmp_path / "out", options=named)
    assert json.loads(path.read_text())["differences"][0]["role"] == "primary"
    assert {figure["level"] for figure in figures.values()} == {"image", "patient"}
    assert set(result["curve_points"]["score"]) == {"roc", "precision_recall"}
