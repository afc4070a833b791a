"""Scoring anybody's tables: files in, numbers and a page out, or nothing at all."""

import json
import types
from pathlib import Path

import cv2
import numpy as np
import pytest

from aals_jax.evaluation import score, study_facts, submissions
from aals_jax.metrics import readings
from aals_jax.metrics.draws import Bootstrap
from aals_jax.runtime import log
from tests.support.command_line import launch

ROOT = Path(__file__).parents[2]


def write_tables(folder: Path, *, split: bool = False, n: int = 40, seed: int = 0):
    """n images of n / 2 patients, every fourth with a lesion; two systems."""
    rng = np.random.default_rng(seed)
    images, lesions = ["image,patient,label,sex" + ",split" * split], []
    found = {"a": ["image,x,y,score"], "b": ["image,x,y,score"]}
    for i in range(n):
        name, label = f"film{i}.png", int(i % 4 == 0)
        part = f",{'validation' if i < n / 2 else 'test'}" if split else ""
        images.append(f"{name},patient{i // 2},{label},{'FM'[i % 3 == 0]}{part}")
        if label:
            lesions.append(f"{name},1,10,10,30,30")
        for system, skill in (("a", 0.5), ("b", 0.1)):
            if label:
                found[system].append(f"{name},20,20,{skill + rng.random() / 2:.3f}")
            found[system].append(f"{name},50,50,{rng.random() / 2:.3f}")
    tables = {
        "images": images,
        "lesions": ["image,lesion,x0,y0,x1,y1", *lesions],
        "detections_a": found["a"],
        "detections_b": found["b"],
    }
    for name, rows in tables.items():
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n")


def files(folder: Path, *names: str) -> submissions.Files:
    return submissions.Files(
        images=folder / "images.csv",
        lesions=folder / "lesions.csv",
        detections=tuple(folder / f"detections_{name}.csv" for name in names),
    )


def options(**changes) -> score.ScoreOptions:
    defaults = {"hit": readings.Hit(), "bootstrap": Bootstrap(100, 0)}
    return score.ScoreOptions(**{**defaults, **changes})


def run(folder: Path, *names: str, **changes) -> dict:
    path = score.score(
        files(folder, *names), folder / "out", options=options(**changes)
    )
    return json.loads(path.read_text())


def test_a_metric_says_its_value_interval_definition_and_set(tmp_path):
    write_tables(tmp_path)
    result = run(tmp_path, "a")
    assert result["metrics"].keys() == {"detections"}
    for name, entry in result["metrics"]["detections"].items():
        if name not in ("expected_calibration_error", "average_precision"):
            assert entry["low"] < entry["value"] <= entry["high"], name
            assert entry["rejected"] >= 0 and "reason" not in entry
            assert entry["interval"].startswith("95 % ")
        assert entry["definition"]
        assert (entry["n_images"], entry["n_lesions"]) == (40, 10)
        assert entry["prevalence"] == 0.25
    assert result["metrics"]["detections"]["auroc"]["n_patients"] == 20
    perfect = result["metrics"]["detections"]["average_precision"]
    assert (perfect["value"], perfect["low"], perfect["interval"]) == (1, None, "none")
    assert "no certainty" in perfect["reason"]
    assert result["disclaimer"] == "Research only, not a medical device."
    assert result["differences"] == []
    page = (tmp_path / "out/report.html").read_text()
    assert "Research only, not a medical device" in page


def test_known_detections_have_known_metrics(tmp_path):
    (tmp_path / "images.csv").write_text("image,label\na,1\nb,0\nc,0\nd,1\n")
    (tmp_path / "lesions.csv").write_text(
        "image,lesion,x0,y0,x1,y1\na,1,0,0,10,10\nd,1,0,0,10,10\n"
    )
    (tmp_path / "detections_a.csv").write_text(
        "image,x,y,score\na,5,5,0.9\nb,5,5,0.6\nd,5,5,0.5\nd,6,6,0.4\n"
    )
    metrics = run(tmp_path, "a")["metrics"]["detections"]
    assert metrics["auroc"]["value"] == 0.75  # of (a, d) x (b, c), d loses to b
    # a alone below 0.25 false positives an image, both lesions from there on
    assert metrics["froc_count"]["value"] == pytest.approx((2 * 0.5 + 4 * 1.0) / 6)
    brier = (0.1**2 + 0.6**2 + 0 + 0.5**2) / 4
    assert metrics["brier_score"]["value"] == pytest.approx(brier)


def test_two_systems_are_paired_with_p_values(tmp_path):
    write_tables(tmp_path)
    result = run(tmp_path, "a", "b")
    assert result["metrics"].keys() == {"detections", "detections_b"}
    rows = {
        (r["metric"], "Obuchowski" in r["method"]): r for r in result["differences"]
    }
    better = rows["froc_count", False]
    values = [result["metrics"][m]["froc_count"]["value"] for m in result["metrics"]]
    assert better["value"] == pytest.approx(values[0] - values[1])
    assert (better["a"], better["b"]) == ("detections", "detections_b")
    assert better["low"] > 0 and better["p_value"] < 0.05
    assert rows["auroc", True]["value"] == pytest.approx(rows["auroc", False]["value"])


def test_few_patients_have_no_p_value_below_what_they_can_give(tmp_path):
    """One system hits all of k lesions and the other none: p is 2 / 2^k."""
    for k, expected in ((2, 0.5), (3, 0.25), (5, 2 / 2**5)):
        names = [f"{kind}{i}" for kind in "pn" for i in range(k)]
        labels = [f"{name},{int(name[0] == 'p')}" for name in names]
        (tmp_path / "images.csv").write_text("\n".join(["image,label", *labels]))
        boxes = [f"{name},1,10,10,30,30" for name in names if name[0] == "p"]
        (tmp_path / "lesions.csv").write_text(
            "\n".join(["image,lesion,x0,y0,x1,y1", *boxes])
        )
        for system, at in (("a", 20), ("b", 60)):
            rows = [f"{name},{at},{at},0.9" for name in names if name[0] == "p"]
            (tmp_path / f"detections_{system}.csv").write_text(
                "\n".join(["image,x,y,score", *rows])
            )
        result = run(tmp_path, "a", "b")
        row = {r["metric"]: r for r in result["differences"]}["froc_count"]
        assert (row["value"], row["low"], row["high"]) == (1.0, None, None)
        assert "an interval needs" in row["reason"]
        assert row["p_value"] == expected
        assert "exact permutation" in row["p_method"]
        for system, value in (("detections", 1.0), ("detections_b", 0.0)):
            entry = result["metrics"][system]["froc_count"]
            assert entry["value"] == value and entry["high"] - entry["low"] > 0.4


def test_delong_says_what_it_takes_for_granted_or_why_there_is_none(tmp_path):
    write_tables(tmp_path, n=200)
    found = run(tmp_path, "b")["metrics"]["detections"]["auroc"]["delong"]
    assert "Obuchowski" in found["interval"] and "patients" in found["note"]
    text = (tmp_path / "images.csv").read_text().replace("patient,", "tag,", 1)
    (tmp_path / "images.csv").write_text(text)
    found = run(tmp_path, "b")["metrics"]["detections"]["auroc"]["delong"]
    assert "DeLong" in found["interval"] and "independent" in found["note"]
    write_tables(tmp_path, n=20)
    found = run(tmp_path, "b")["metrics"]["detections"]["auroc"]["delong"]
    assert (found["low"], found["high"], found["interval"]) == (None, None, "none")
    assert "only 5 patients with a positive image" in found["reason"]


def test_the_order_of_rows_changes_nothing(tmp_path):
    write_tables(tmp_path, n=120)
    first = run(tmp_path, "a", "b")
    rng = np.random.default_rng(0)
    for path in tmp_path.glob("*.csv"):
        head, *rows = path.read_text().splitlines()
        rows = [rows[i] for i in rng.permutation(len(rows))]
        path.write_text("\n".join([head, *rows]) + "\n")
    second = run(tmp_path, "a", "b")
    parts = ("metrics", "operating_points", "calibration", "subgroups", "differences")
    for part in (*parts, "data"):
        assert first[part] == second[part], part


def test_thresholds_come_from_the_validation_rows_and_numbers_from_the_test_rows(
    tmp_path,
):
    write_tables(tmp_path, split=True)
    split = run(tmp_path, "a")
    assert split["metrics"]["detections"]["auroc"]["n_images"] == 20
    chosen = split["operating_points"]["detections"]
    assert {point["chosen_on"] for point in chosen} == {"the validation rows"}
    write_tables(tmp_path)
    joined = run(tmp_path, "a")["operating_points"]["detections"]
    assert all("the same images" in point["chosen_on"] for point in joined)


def test_groups_are_reported_with_their_counts(tmp_path):
    write_tables(tmp_path)
    rows = run(tmp_path, "a")["subgroups"]["detections"]
    sexes = {row["group"]: row["n_images"] for row in rows if row["column"] == "sex"}
    assert sexes == {"F": 26, "M": 14}


def test_pictures_are_shown_where_the_images_are(tmp_path):
    write_tables(tmp_path)
    for i in range(0, 40, 2):
        film = np.full((80, 100), 40 + i, np.uint8)
        cv2.imwrite(str(tmp_path / f"film{i}.png"), film)
    run(tmp_path, "a", pictures=tmp_path)
    with_pictures = (tmp_path / "out/report.html").read_text()
    run(tmp_path, "a")
    without = (tmp_path / "out/report.html").read_text()
    assert "data:image/jpeg" in with_pictures
    assert "data:image/jpeg" not in without


def test_neither_the_numbers_nor_the_page_name_an_image_or_a_patient(tmp_path):
    write_tables(tmp_path)
    for i in range(40):
        cv2.imwrite(str(tmp_path / f"film{i}.png"), np.zeros((80, 100), np.uint8))
    run(tmp_path, "a", "b", pictures=tmp_path)
    for name in ("metrics.json", "report.html"):
        text = (tmp_path / "out" / name).read_text()
        assert not any(word in text for word in ("film0", "patient1", str(tmp_path)))


def test_points_need_the_rule_for_points(tmp_path):
    write_tables(tmp_path)
    (tmp_path / "lesions.csv").write_text("image,lesion,x,y\nfilm0.png,1,20,20\n")
    with pytest.raises(ValueError, match="--hit_rule=distance --distance"):
        run(tmp_path, "a")
    assert not (tmp_path / "out").exists()
    near = run(tmp_path, "a", hit=readings.Hit("distance", max_distance=5.0))
    assert near["settings"]["max_distance"] == 5.0
    assert "iou_threshold" not in near["settings"]
    with pytest.raises(ValueError, match="needs boxes"):
        write_tables(tmp_path)
        run(tmp_path, "a", hit=readings.Hit("iou"))


def test_the_calibration_error_has_no_interval_and_says_why(tmp_path):
    write_tables(tmp_path)
    result = run(tmp_path, "a", "b")
    entry = result["metrics"]["detections"]["expected_calibration_error"]
    assert entry["value"] > 0 and entry["low"] is None
    assert "upward bias" in entry["reason"]
    compared = {row["metric"] for row in result["differences"]}
    assert "expected_calibration_error" not in compared and "brier_score" in compared


def test_faults_leave_nothing_behind(tmp_path):
    write_tables(tmp_path)
    with (tmp_path / "detections_a.csv").open("a") as stream:
        stream.write("nowhere.png,1,1,0.5\n")
    with pytest.raises(submissions.SubmissionError, match="row 52"):
        run(tmp_path, "a")
    assert not (tmp_path / "out").exists()


def test_the_command_line_scores_and_tells_what_is_missing(tmp_path):
    write_tables(tmp_path)
    given = [
        "--mode=score",
        "--images=images.csv",
        "--lesions=lesions.csv",
        "--detections=detections_a.csv",
    ]
    told = launch(*given, cwd=tmp_path)
    assert told.returncode
    assert "--mode=score needs --out" in told.stdout + told.stderr
    done = launch(*given, "--out=out", "--replicates=50", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    entry = json.loads((tmp_path / "out/metrics.json").read_text())["metrics"]
    assert entry["detections"]["auroc"]["replicates"] == 50


def test_tables_are_written_beside_the_page_and_old_ones_are_told(
    tmp_path, monkeypatch
):
    write_tables(tmp_path)
    told = []
    monkeypatch.setattr(log, "warning", lambda text, *args: told.append(text % args))
    run(tmp_path, "a", "b", tables=("csv", "latex", "markdown"))
    out = tmp_path / "out"
    assert {path.suffix for path in out.glob("results.*")} == {".csv", ".tex", ".md"}
    assert not told
    for path in out.glob("results.*"):
        assert not any(word in path.read_text() for word in ("film0", "patient1"))
    run(tmp_path, "a", tables=("csv",))
    assert len(told) == 2 and "results.tex is of an earlier call" in told[0]


def test_the_author_s_facts_and_exclusions_reach_the_numbers_and_the_page(tmp_path):
    write_tables(tmp_path, split=True)
    (tmp_path / "study.toml").write_text(
        '[[exclusions]]\nreason = "lateral view"\nimages = 12\n'
        '[study]\nintended_use = "second reader"\n'
    )
    facts = study_facts.read(tmp_path / "study.toml")
    result = run(tmp_path, "a", study=facts)
    assert result["study"] == facts.as_json()
    names = [stage["stage"] for stage in result["flow"]["stages"]]
    assert names == [
        "before exclusions",
        "in the tables",
        "scored, image level",
        "scored, lesion level",
    ]
    assert result["flow"]["stages"][0]["n_images"] == 52
    page = (tmp_path / "out/report.html").read_text()
    assert "Lateral view" in page and "second reader" in page
    without = run(tmp_path, "a")
    assert "study" not in without
    items = without["checklists"]["standards"]["STARD 2015"]["items"]
    (flow,) = [item for item in items if item["item"] == "19"]
    assert flow["to_state"] == ["exclusions"]


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        (np.r_[np.full(20, 0.5), np.full(9, 87.0)], True),
        (np.r_[np.full(20, 0.5), np.full(4, 87.0)], False),  # a few
        (np.linspace(0, 1, 30), False),
        (np.linspace(-4, 30, 30), False),  # logits
        (np.r_[np.full(20, 0.5), np.full(9, 870.0)], False),
        (np.r_[np.zeros(20), np.full(9, 87.0)], False),  # without detections
        (np.empty(0), False),
    ],
)
def test_shares_beside_percents_are_seen(scores, told):
    assert score._are_two_scales(scores) == told


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ((1, 1, 0, 0), "are the labels"),
        ((1, 0, 1, 0), "2 score(s)"),
        ((0, 0, 1, 1), "2 score(s)"),
        ((3, 3, 3, 3), "1 score(s)"),
        ((0.1, 0.2, 0.3, 0.1), ""),
    ],
)
def test_decisions_in_place_of_scores_are_told(scores, told):
    truth = types.SimpleNamespace(label=np.array([1, 1, 0, 0], bool))
    reading = types.SimpleNamespace(score=np.array(scores, float))
    note = score._of_decisions("x", types.SimpleNamespace(truth=truth, reading=reading))
    assert told in note and bool(told) == bool(note)
