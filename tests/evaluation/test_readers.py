"""Tables of several readers: who read, who drew, and what they agree on."""

import json

import numpy as np
import pytest

from aals_jax.evaluation import readers, score, submissions
from aals_jax.metrics import readings
from aals_jax.metrics.draws import Bootstrap
from data.cxr_registry.tables.formats import Table
from tests.support.command_line import launch
from tests.support.record_schema import faults_of


def write(folder, *, n=40, seed=0, count=3):
    """Images, lesions drawn by three readers, and two modalities of detections."""
    rng = np.random.default_rng(seed)
    images, lesions = ["image,patient,label"], ["image,rad_id,x0,y0,x1,y1"]
    found = {name: ["image,Reader,x0,y0,x1,y1,score"] for name in "ab"}
    for i in range(n):
        label = int(i % 2 == 0)
        images.append(f"film{i}.png,p{i // 2},{label}")
        for r in range(3):
            if label:
                x, y = 10 + rng.integers(0, 3), 10 + rng.integers(0, 3)
                lesions.append(f"film{i}.png,Dr{r},{x},{y},{x + 20},{y + 20}")
            elif i == 1 and r == 0:  # one reader alone, on a negative
                lesions.append(f"film{i}.png,Dr{r},50,50,60,60")
        for name, skill in (("a", 0.9), ("b", 0.4)):
            for r in range(count):
                hit = skill * (0.5 + 0.1 * r) + rng.random()
                if label:
                    found[name].append(f"film{i}.png,Smith{r},11,11,31,31,{hit:.3f}")
                noise = rng.random()
                found[name].append(f"film{i}.png,Smith{r},70,0,90,20,{noise:.3f}")
    tables = {"images": images, "lesions": lesions}
    tables |= {f"detections_{name}": rows for name, rows in found.items()}
    for name, rows in tables.items():
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n")


AGREED = readers.Consensus(2, "rad_id")


def run(folder, *names, consensus=AGREED, reader="reader"):
    files = submissions.Files(
        images=folder / "images.csv",
        lesions=folder / "lesions.csv",
        detections=tuple(folder / f"detections_{name}.csv" for name in names),
        reader=reader,
        consensus=consensus,
    )
    options = score.ScoreOptions(readings.Hit(), Bootstrap(50, 0))
    return json.loads(score.score(files, folder / "out", options=options).read_text())


def test_three_drawings_are_one_lesion_and_one_alone_is_none(tmp_path):
    write(tmp_path)
    result = run(tmp_path, "a")
    assert result["data"]["n_lesions"] == 20
    assert any("61 boxes of 3 readers are 20 lesions" in n for n in result["notes"])
    everything = run(tmp_path, "a", consensus=readers.Consensus(3, "RAD_ID"))
    assert everything["data"]["n_lesions"] == 20


def test_lesions_of_several_readers_are_refused_without_a_consensus(tmp_path):
    write(tmp_path)
    with pytest.raises(submissions.SubmissionError, match="--drawn_by=rad_id"):
        run(tmp_path, "a", consensus=None)
    with pytest.raises(submissions.SubmissionError, match="label 0 have a lesion"):
        run(tmp_path, "a", consensus=readers.Consensus(1, "rad_id"))
    with pytest.raises(submissions.SubmissionError, match="no column annotator"):
        run(tmp_path, "a", consensus=readers.Consensus(2, "annotator"))


def test_all_readers_are_analysed_together_and_nobody_is_named(tmp_path):
    write(tmp_path)
    result = run(tmp_path, "a", "b")
    assert len(result["metrics"]) == 6 and result["differences"] == []
    assert faults_of(result) == []
    figure = result["further"]["all readers"]["readers_auroc"]
    values = [
        [
            result["metrics"][f"{system}, reader {r}"]["auroc"]["value"]
            for r in (1, 2, 3)
        ]
        for system in ("detections", "detections_b")
    ]
    assert figure["values"] == values
    difference = figure["rows"][-1]
    assert difference["name"] == "detections minus detections_b"
    entry = difference["measured"]["random_readers_random_cases"]
    assert entry["value"] == pytest.approx(np.mean(values[0]) - np.mean(values[1]))
    assert entry["low"] < entry["value"] < entry["high"]
    assert difference["p_random_readers_random_cases"] == pytest.approx(
        figure["tests"]["random_readers_random_cases"]["p_value"]
    )
    for name in ("metrics.json", "report.html"):
        text = (tmp_path / "out" / name).read_text()
        assert "Smith" not in text and "Dr0" not in text
        assert "random" in text.lower()


@pytest.mark.parametrize(("names", "count"), [("a", 3), ("ab", 1), ("ab", 3)])
def test_every_null_of_an_analysis_has_its_reason_beside_it(tmp_path, names, count):
    write(tmp_path, count=count)
    result = run(tmp_path, *names)
    assert faults_of(result) == []
    for figure in result["further"]["all readers"].values():
        if "components" not in figure:
            assert figure["reason"]
            continue
        nulls = {
            f"components.{k}" for k, v in figure["components"].items() if v is None
        }
        nulls |= {
            f"tests.{name}.{field}"
            for name, test in figure["tests"].items()
            for field, value in test.items()
            if value is None
        }
        assert nulls and nulls == set(figure["null_reasons"])
        assert all(figure["null_reasons"].values())


def test_ratings_without_places_are_enough_for_auroc(tmp_path):
    write(tmp_path)
    rng = np.random.default_rng(1)
    label = np.arange(40) % 2 == 0
    for name, skill in (("a", 1.5), ("b", 1.0)):
        rows = ["Reader,image,score"]
        for r in range(3):
            rating = np.round(rng.normal(size=40) + skill * label, 2)
            rows += [f"Lee{r},film{i}.png,{rating[i]}" for i in range(40)]
        (tmp_path / f"detections_{name}.csv").write_text("\n".join(rows) + "\n")

    def ratings(lesions=None):
        files = submissions.Files(
            images=tmp_path / "images.csv",
            lesions=lesions,
            detections=tuple(tmp_path / f"detections_{name}.csv" for name in "ab"),
            reader="reader",
        )
        options = score.ScoreOptions(readings.Hit(), Bootstrap(50, 0))
        path = score.score(files, tmp_path / "out", options=options)
        return json.loads(path.read_text())

    result = ratings()
    assert faults_of(result) == []
    figures = result["further"]["all readers"]
    assert set(figures) == {"readers_auroc"}
    assert len(figures["readers_auroc"]["rows"]) == 3
    assert any("its reader's rating" in note for note in result["notes"])
    with pytest.raises(submissions.SubmissionError, match="leave --lesions out"):
        ratings(tmp_path / "lesions.csv")
    whole = (tmp_path / "detections_b.csv").read_text().splitlines()
    (tmp_path / "detections_b.csv").write_text("\n".join(whole[:-1]) + "\n")
    with pytest.raises(submissions.SubmissionError, match="no rating of 1 image"):
        ratings()


def test_one_modality_has_means_over_readers(tmp_path):
    write(tmp_path)
    figure = run(tmp_path, "a")["further"]["all readers"]["readers_wafroc"]
    assert len(figure["rows"]) == 1 and figure["tests"] == {}
    for entry in figure["rows"][0]["measured"].values():
        assert entry["low"] < entry["value"] < entry["high"]


def test_readers_that_differ_between_modalities_are_refused(tmp_path):
    write(tmp_path)
    path = tmp_path / "detections_b.csv"
    whole = path.read_text()
    path.write_text(whole.replace("Smith2", "Jones2"))
    with pytest.raises(submissions.SubmissionError, match="other readers"):
        run(tmp_path, "a", "b")
    rows = [row for row in whole.splitlines() if "Smith2" not in row]
    path.write_text("\n".join(rows) + "\n")
    with pytest.raises(submissions.SubmissionError, match="each must read"):
        run(tmp_path, "a", "b")
    path.write_text(whole.replace(",Smith2,", ",,", 1))
    with pytest.raises(submissions.SubmissionError, match="Reader is empty"):
        run(tmp_path, "a", "b")


def test_the_command_line_refuses_flags_that_nothing_reads(tmp_path):
    write(tmp_path)
    given = ["--mode=score", "--images=images.csv", "--lesions=lesions.csv"]
    given += ["--detections=detections_a.csv", "--out=out", "--replicates=20"]
    told = launch(*given, "--drawn_by=rad_id", cwd=tmp_path)
    assert told.returncode == 2 and "--drawn_by is for --consensus" in told.stderr
    done = launch(
        *given, "--consensus=2", "--drawn_by=rad_id", "--reader=Reader", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("one", "other"), [("Ann", "ann"), ("1", "1.0"), ("8", "08"), ("R8", "R-8")]
)
def test_a_reader_in_two_spellings_is_one_and_refused(one, other):
    rows = [{"image": "a", "reader": name} for name in (one, other, other, "Bob")]
    table = Table("read.csv", ("image", "reader"), rows)
    told = []
    readers.split(table, "reader", lambda _, row, text: told.append((row, text)))
    assert [row for row, _ in told] == [3] and "in another spelling" in told[0][1]
    rows[1]["reader"] = rows[2]["reader"] = "unknown"
    told.clear()
    readers.split(table, "reader", lambda _, row, text: told.append((row, text)))
    assert [row for row, _ in told] == [3, 4] and "is empty" in told[0][1]
