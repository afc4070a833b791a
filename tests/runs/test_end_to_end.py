"""The whole way on a small phantom: what a run leaves, resumes, refuses."""

import csv
import json
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from aals_jax.evaluation import model_maps, replicates
from aals_jax.evaluation.study_facts import Exclusion, StudyFacts
from aals_jax.metrics import roc
from aals_jax.runs import checkpoints, evaluate, loop, run
from aals_jax.runs.workdir import check_data
from aals_jax.runtime import log
from tests.support import registry_files
from tests.support.command_line import launch
from tests.support.datasets import contents
from tests.support.record_schema import faults_of
from tests.support.small_runs import small_config

ROOT = Path(__file__).parents[2]
MODELS = {"pretrained", "pretrained_average", "student", "teacher"}
METRICS = {
    "auroc", "average_precision", "froc_area", "froc_count", "brier_score",
    "expected_calibration_error",
}  # fmt: skip


@pytest.fixture(scope="module")
def scratch(compiled_once):
    """A folder for all runs here, which also share what they compile."""
    return compiled_once


@pytest.fixture(scope="module")
def done(scratch):
    """The workdir of an undisturbed run."""
    run.run(small_config(scratch / "data"), scratch / "done")
    return scratch / "done"


def result_of(workdir: Path) -> dict:
    return json.loads((workdir / "result.json").read_text())


def without_commit(workdir: Path) -> dict:
    """The commit may change while tests run; nothing else may."""
    return {k: v for k, v in result_of(workdir).items() if k != "commit"}


def final_states(workdir: Path) -> list[np.ndarray]:
    """All arrays of each stage's newest checkpoint."""
    leaves = []
    for stage in ("pretrain", "distill"):
        kept = checkpoints.Checkpoints(workdir / "checkpoints" / stage)
        leaves += jax.tree.leaves(kept.restore(kept.latest().step))
        kept.close()
    return leaves


def test_a_run_leaves_a_result_with_values_and_intervals(done):
    result = result_of(done)
    assert result["metrics"].keys() == MODELS
    for metrics in result["metrics"].values():
        assert metrics.keys() == METRICS
        for metric in metrics.values():
            assert 0.0 <= metric["value"] <= 1.0
            if metric["low"] is None:  # of a few patients, or of a biased value
                assert metric["reason"] and metric["interval"] == "none"
            else:
                assert 0.0 <= metric["low"] < metric["high"] <= 1.0
    sets = {
        json.dumps([m[n]["n_images"] for n in METRICS])
        for m in result["metrics"].values()
    }
    assert len(sets) == 1  # all models on the same images


def test_a_result_says_on_what_and_by_what(done, scratch):
    result = result_of(done)
    assert not faults_of(result)
    stages = {row["stage"]: row["n_images"] for row in result["flow"]["stages"]}
    scored = stages.pop("scored, image level")
    assert scored == sum(result["data"]["splits"]["test"].values())
    assert next(iter(stages.values())) == sum(
        sum(split.values()) for split in result["data"]["splits"].values()
    )
    known = result["checklists"]["known"]
    assert {"model", "training", "selection", "partitions", "source"} <= known.keys()
    assert result["data"]["source"] == "phantom"
    assert len(result["data"]["data_hash"]) == 64
    assert result["data"]["splits"].keys() == {"train", "validation", "test"}
    assert result["data"]["splits"]["train"]["region"] == 6
    assert result["config"]["distill"]["steps"] == 6
    assert result["config"]["distill"]["max_strength"] == 8.0
    assert result["format"] == 3
    assert result["steps"].keys() == MODELS
    for model, step in result["steps"].items():  # the note says the same in words
        assert f"{model} at step {step}" in result["notes"][0]
    assert result["versions"]["jax"] == jax.__version__
    assert result["disclaimer"] == "Research only, not a medical device."
    assert str(scratch) not in (done / "result.json").read_text()


def test_a_run_leaves_the_replicates_of_its_intervals(done):
    metrics = result_of(done)["metrics"]["teacher"]
    kept = replicates.read(done / "replicates.npz")
    assert kept.values.keys() == METRICS - {"expected_calibration_error"}
    for name, values in kept.values.items():
        drawn = values[~np.isnan(values)]
        assert len(values) - len(drawn) == metrics[name]["rejected"]
    auroc = roc.auroc(kept.scores, kept.labels)
    np.testing.assert_allclose(auroc, metrics["auroc"]["value"], rtol=1e-6)


def test_a_run_says_whether_sharpening_can_work(done, scratch):
    """Its monitors agree with the maps, the history and the counts of the data."""
    config, result = small_config(scratch / "data"), result_of(done)
    data = run.prepare.open_data(run.data_options.of(config))
    image_level = data.train.select(data.streams.image_level)
    valid = model_maps.film(image_level.content, side=data.dataset.side)
    found, splits = result["monitors"], result["data"]["splits"]
    assert found["peaks"].keys() == {"pretrained", "teacher"}
    for model, entries in found["peaks"].items():
        assert entries["peak_in_box_p"]["n_images"] > 0
        for name in ("dead_share_p", "median_peak_p"):
            assert entries[name]["n_images"] == splits["train"]["image_level"]
        assert entries["peak_in_box"]["n_images"] == splits["validation"]["region"]
        (file,) = (done / "predictions").glob(f"image_level-{model}-*.npy")
        peaks = (np.load(file) * valid).max(axis=(1, 2))  # the file's go over padding
        assert entries["dead_share_p"]["value"] == np.mean(peaks < found["center"])
        assert entries["median_peak_p"]["value"] == pytest.approx(np.median(peaks))
        counts = found["histograms"][model]["P, training"]
        assert counts == np.histogram(peaks, found["bin_edges"])[0].tolist()
    rows = [json.loads(x) for x in (done / "metrics.jsonl").read_text().splitlines()]
    lifts = [row["pseudo/lift_largest"] for row in rows if row["stage"] == "distill"]
    assert found["targets"]["lift_largest"]["value"] == max(lifts)
    auroc = result["metrics"]["pretrained"]["auroc"]
    page = (done / "report.html").read_text()
    assert auroc["low"] is None  # too few patients for an interval
    assert "Whether stage 1 learnt is unknown" in result["warnings"][0]
    assert page.index("Whether stage 1 learnt is unknown") < page.index("<nav")


def test_a_run_leaves_a_page_with_the_disclaimer(done, scratch):
    page = (done / "report.html").read_text()
    assert "Research only, not a medical device" in page
    assert str(scratch) not in page


def test_a_run_leaves_a_history_with_the_monitors(done):
    rows = [json.loads(x) for x in (done / "metrics.jsonl").read_text().splitlines()]
    steps = [(row["stage"], row["step"]) for row in rows]
    assert steps == [(s, n) for s in ("pretrain", "distill") for n in (3, 6)]
    assert rows[-1].keys() >= {
        "loss/supervised",
        "loss/distill",
        "loss/distill_weighted",
        "loss/total",
        "images/labelled",
        "images/image_level",
        "pseudo/mean_peak",
        "pseudo/share_dead",
        "pseudo/share_raised_pixels",
        "pseudo/distill_grad_norm",
        "pseudo/lift_largest",
        "pseudo/lift_mean",
        "time/data_wait_share",
        "validation/auroc_student",
        "validation/auroc_teacher",
        "peak_in_box/student",
        "peak_in_box/teacher",
        "median_peak/positive_teacher",
        "median_peak/negative_teacher",
    }
    assert (rows[-1]["images/labelled"], rows[-1]["images/image_level"]) == (8, 4)


def test_a_second_call_says_done_and_changes_nothing(done, scratch, caplog):
    before = contents(done)
    log.logger.addHandler(caplog.handler)
    caplog.set_level("INFO", logger=log.logger.name)
    path = run.run(small_config(scratch / "data"), done)
    log.logger.removeHandler(caplog.handler)
    assert path == done / "result.json"
    assert any(f"done already: {path}" in r.getMessage() for r in caplog.records)
    assert contents(done) == before


@pytest.mark.parametrize("call", [2, 4], ids=["in stage 1", "in stage 2"])
def test_an_interrupted_run_ends_where_an_undisturbed_one_does(
    done, scratch, monkeypatch, call
):
    """Killed before the save at that validation, of two in each stage."""
    config, workdir = small_config(scratch / "data"), scratch / f"killed-{call}"
    validate, calls = loop.validate, []

    def killed(*arguments):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return validate(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "validate", killed)
        run.run(config, workdir)
    assert not (workdir / "result.json").exists()
    run.run(config, workdir)
    assert without_commit(workdir) == without_commit(done)
    for a, b in zip(final_states(workdir), final_states(done), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_a_run_killed_in_the_evaluation_ends_the_same(done, scratch):
    """Without maps, page and result a call goes on from the checkpoints."""
    workdir = scratch / "unmeasured"
    shutil.copytree(done, workdir)
    (workdir / "result.json").unlink()
    (workdir / "report.html").unlink()
    next((workdir / "predictions").glob("test-teacher-*.npy")).unlink()
    run.run(small_config(scratch / "data"), workdir)
    assert without_commit(workdir) == without_commit(done)
    maps = contents(workdir / "predictions")
    assert maps == contents(done / "predictions")


def scored_again(workdir: Path, scratch: Path, bootstrap=None, **choice) -> dict:
    path = evaluate.evaluate(
        evaluate.ModelChoice(workdir, **choice),
        load_config=ConfigDict,
        data_dir=scratch / "data",
        study=StudyFacts({"study.design": "x"}, (Exclusion("lateral view", 12),)),
        tables=("csv",),
        bootstrap=bootstrap,
    )
    assert (path.parent / "results.csv").stat().st_size
    record = json.loads(path.read_text())
    assert not faults_of(record)
    assert record["study"]["facts"] == {"study.design": "x"}
    before, dataset, *_ = record["flow"]["stages"]
    assert before["n_images"] == dataset["n_images"] + 12
    return record


@pytest.fixture
def again(done, tmp_path):
    """A copy of the finished run, to be scored."""
    return Path(shutil.copytree(done, tmp_path / "done"))


@pytest.mark.parametrize("model", sorted(MODELS))
def test_scoring_a_run_again_gives_its_result(again, scratch, model):
    result = result_of(again)
    scored = scored_again(again, scratch, model=model)
    assert scored["metrics"] == {model: result["metrics"][model]}
    for part in ("operating_points", "calibration", "subgroups"):
        assert scored[part][model] == result[part][model]
    assert "the checkpoint that validation chose" in scored["notes"][0]


def test_intervals_are_drawn_as_asked(again, scratch):
    asked = scored_again(again, scratch, bootstrap={"replicates": 33, "seed": 5})
    entry = asked["metrics"]["teacher"]["auroc"]
    assert (entry["replicates"], entry["value"]) == (
        33,
        result_of(again)["metrics"]["teacher"]["auroc"]["value"],
    )
    assert asked["notes"][-1] == (
        "Intervals were drawn as asked for, not as the run's config says: "
        "replicates=33, seed=5."
    )


def test_scoring_without_cached_maps_runs_the_checkpoint(again, scratch):
    shutil.rmtree(again / "predictions")
    scored = scored_again(again, scratch)
    assert scored["metrics"]["teacher"] == result_of(again)["metrics"]["teacher"]


def test_the_last_checkpoint_and_another_split_are_what_they_say(again, scratch):
    scored = scored_again(again, scratch, checkpoint="last", split="validation")
    (note,) = scored["notes"]
    assert "the validation split was scored with the last checkpoint" in note
    rows = [json.loads(x) for x in (again / "metrics.jsonl").read_text().splitlines()]
    auroc = scored["metrics"]["teacher"]["auroc"]["value"]
    assert auroc == pytest.approx(rows[-1]["validation/auroc_teacher"])


@pytest.mark.parametrize(
    ("request_fields", "told"),
    [
        ({"model": "pupil"}, "model='pupil': use one of"),
        ({"split": "dev"}, "split='dev': use one of"),
        ({"checkpoint": "999"}, "checkpoint='999': use best, last, or one of"),
    ],
)
def test_what_cannot_be_scored_is_told(done, scratch, request_fields, told):
    with pytest.raises(ValueError, match=told):
        scored_again(done, scratch, **request_fields)


def test_no_run_and_no_dataset_are_told(done, scratch, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        scored_again(tmp_path, scratch)
    with pytest.raises(FileNotFoundError, match="no dataset of data_hash"):
        scored_again(done, tmp_path)


def test_models_are_paired_on_the_same_images(again, scratch):
    path = evaluate.compare(
        evaluate.ModelChoice(again, "teacher"),
        evaluate.ModelChoice(again, "pretrained"),
        load_config=ConfigDict,
        data_dir=scratch / "data",
    )
    assert not faults_of(json.loads(path.read_text()))
    found = json.loads(path.read_text())["differences"]
    expected = [r for r in result_of(again)["differences"] if r["b"] == "pretrained"]
    for row, same in zip(found, expected, strict=True):
        assert row["a"].startswith("done: teacher at step")
        for name in ("metric", "value", "low", "high", "p_value"):
            assert row[name] == same[name]


def test_runs_on_other_images_are_not_paired(again, scratch, tmp_path):
    """The same data, another fold: other images are in the test split."""
    config = small_config(scratch / "data", **{"data.fold": 1})
    other = tmp_path / "other"
    run.run(config, other)
    with pytest.raises(ValueError, match="test images differ"):
        evaluate.compare(
            evaluate.ModelChoice(again),
            evaluate.ModelChoice(other),
            load_config=ConfigDict,
            data_dir=scratch / "data",
        )


def test_another_config_on_a_workdir_is_refused_with_its_fields(done, scratch):
    before = contents(done)
    changes = {"seed": 1, "distill.max_strength": 2.0}
    with pytest.raises(ValueError, match="belongs to another config") as caught:
        run.run(small_config(scratch / "data", **changes), done)
    text = str(caught.value)
    assert "distill.max_strength: 8.0 there, 2.0 now" in text
    assert "seed: 0 there, 1 now" in text
    assert text.count("there,") == 2
    assert contents(done) == before


def test_other_data_on_a_workdir_are_refused(done):
    check_data(result_of(done)["data"]["data_hash"], done)
    with pytest.raises(ValueError, match="belongs to other data"):
        check_data("0" * 64, done)


def test_where_and_how_fast_may_change(done, scratch):
    changes = {"data.threads": 4, "data.workers": 3}
    assert run.run(small_config(scratch / "data", **changes), done).exists()


def refusal(config, workdir: Path) -> str:
    """The error of a run, which leaves nothing that looks finished or claimed."""
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        run.run(config, workdir)
    assert not workdir.exists() or not any(workdir.iterdir())
    text = str(caught.value)
    assert str(workdir.parent) not in text
    return text


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"method": "guess"}, "method='guess': use one of ['aals', 'asymmetric', "),
        ({"distill.dead_zone": "up"}, "distill.dead_zone='up': use one of"),
        ({"distill.dead_share": 1.0}, "distill.dead_share=1.0: must be at least 0"),
        ({"distill.dead_share": 0.2}, "at least 20 of them, and validation has 1 for"),
        ({"method": "mil", "distill.cell": 3}, "distill.cell=3: must divide 16"),
        ({"phantom.difficulty": "mean"}, "phantom.difficulty='mean': use one of"),
        ({"batch.image_level": 6}, "batch.image_level=6 is not a multiple of the 4"),
        ({"batch.region": 5}, "batch.region + batch.negative=9 is not a multiple"),
        ({"evaluation.batch_size": 6}, "evaluation.batch_size=6 is not a multiple"),
        ({"scale": "paper"}, "the paper's recipe needs a registry"),
        ({"finding": "skull"}, "finding='skull' is not in the phantom"),
        ({"data.side": 100}, "data.side=100: must be a multiple of 32"),
        (
            {"method": "fcos", "evaluation.pooling": "top_k_mean"},
            "an image's score is its best box's with method='fcos'; use 'max'",
        ),
        (
            {"boxes.finest_stride": 6},
            "boxes.finest_stride=6: use one of [4, 8, 16, 32]",
        ),
        (
            {"distill.eval_every": 4},
            "distill.eval_every=4: must be a multiple of log_every=3",
        ),
        (
            {"pretrain.warmup_steps": 6},
            "pretrain.warmup_steps=6: must be at least 0 and below the stage's 6 steps",
        ),
        ({"data.fold": 5}, "data.fold=5: must be 0 to 4"),
        ({"data.region_images": 0}, "data.region_images=0: must be >= 1"),
        ({"phantom.prevalence": 0.0}, "phantom.prevalence=0.0: must be above 0"),
        ({"distill.max_strength": 0.5}, "distill.max_strength=0.5: must be >= 1"),
        ({"log_every": 0}, "log_every=0: must be >= 1"),
        ({"distill.eval_every": 0}, "distill.eval_every=0: must be a multiple of"),
        ({"ema_decay": 1.5}, "ema_decay=1.5: must be at least 0, below 1"),
        ({"model.dtype": "foo"}, "model.dtype='foo': must be float32 or bfloat16"),
        (
            {"augment.scale": (0.0, 1.2)},
            "augment.scale=[0.0, 1.2]: must be two factors",
        ),
        ({"batch.image_level": 0}, "batch.image_level=0: must be >= 1"),
        ({"evaluation.replicates": 0}, "evaluation.replicates=0: must be >= 1"),
        ({"evaluation.pooling": "mean"}, "evaluation.pooling='mean': use one of"),
        ({"pretrain.learning_rate": 0.0}, "pretrain.learning_rate=0.0: must be > 0"),
        ({"pretrain.optimizer": "lion"}, "pretrain.optimizer='lion': use one of"),
        ({"distill.schedule": "linear"}, "distill.schedule='linear': use"),
        ({"model.backbone": "vgg"}, "model.backbone='vgg': use one of"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_setting_that_cannot_work_is_refused_by_name(
    scratch, tmp_path, changes, expected
):
    config = small_config(scratch / "data", **changes)
    assert expected in refusal(config, tmp_path / "run")


def studies_of(root: Path) -> list[list[str]]:
    with (root / "studies.csv").open(newline="") as stream:
        return list(csv.reader(stream))


@pytest.fixture(scope="module")
def films(scratch):
    """A registry of 24 films; each test spoils its own copy."""
    return registry_files.registry(scratch / "films")


@pytest.fixture
def registry(films, tmp_path):
    return shutil.copytree(films, tmp_path / "registry")


def with_splits(root: Path, *, label_of=lambda index, label: label) -> None:
    """Films 0..11 train, 12..17 validate, 18..23 test, patients apart."""
    header, *rows = studies_of(root)
    names = ["train"] * 12 + ["validation"] * 6 + ["test"] * 6
    position = header.index("rib")
    for index, row in enumerate(rows):
        row[position] = label_of(index, row[position])
    rows = [[*row, name] for row, name in zip(rows, names, strict=True)]
    registry_files.table(root / "studies.csv", [[*header, "split"], *rows])


def registry_refusal(root: Path, tmp_path: Path, **changes) -> str:
    fields = {"registry": str(root), "finding": "rib", "data.side": 32, **changes}
    return refusal(small_config(tmp_path / "data", **fields), tmp_path / "run")


def test_a_finding_of_another_name_is_the_same_data(registry, tmp_path):
    """Nothing knows `rib` and `clavicle` beyond codes, the phantom and DICOM."""
    with_splits(registry)
    opened = {}
    for name in ("rib", "hamate"):
        root = shutil.copytree(registry, tmp_path / name)
        for table in ("studies.csv", "regions.csv"):
            text = (root / table).read_text()
            (root / table).write_text(re.sub(r"\brib\b", name, text))
        fields = {"registry": str(root), "finding": name, "data.side": 32}
        fields["data.key_file"] = str(tmp_path / "key")
        config = small_config(tmp_path / "data" / name, **fields)
        opened[name] = run.open_data(config)
    rib, hamate = opened["rib"], opened["hamate"]
    for stream in ("region", "image_level", "negative"):
        rows = getattr(rib.streams, stream)
        np.testing.assert_array_equal(rows, getattr(hamate.streams, stream))
        assert len(rows)
    for column in ("image_id", "label", "boxes", "content"):
        ours, other = (getattr(data.train, column) for data in (rib, hamate))
        assert [*map(str, ours)] == [*map(str, other)]


def test_a_missing_registry_is_refused(tmp_path):
    text = registry_refusal(tmp_path / "nowhere", tmp_path)
    assert "the registry folder does not exist" in text


def test_a_missing_column_is_refused(registry, tmp_path):
    rows = [row[:1] + row[2:] for row in studies_of(registry)]
    registry_files.table(registry / "studies.csv", rows)
    assert "no column patient_id" in registry_refusal(registry, tmp_path)


def test_a_finding_without_a_column_is_refused(registry, tmp_path):
    text = registry_refusal(registry, tmp_path, finding="skull")
    assert "nothing defines the finding skull" in text


def test_a_finding_that_nobody_has_is_refused(registry, tmp_path):
    with_splits(registry, label_of=lambda index, label: "0")
    (registry / "regions.csv").unlink()
    assert "no image has the finding 'rib'" in registry_refusal(registry, tmp_path)


def test_a_validation_set_of_one_class_is_refused(registry, tmp_path):
    with_splits(registry, label_of=lambda i, label: label if i < 12 or i > 17 else "1")
    text = registry_refusal(registry, tmp_path)
    assert "validation has no negative image, so AUROC is undefined" in text
    assert text.count("\n") == 1


def test_a_registry_without_regions_is_refused(registry, tmp_path):
    with_splits(registry)
    (registry / "regions.csv").unlink()
    text = registry_refusal(registry, tmp_path)
    assert "no training image has a 'rib' box: stage 1 needs regions.csv" in text


def test_no_image_level_positives_are_refused_but_for_the_baseline(registry, tmp_path):
    def only_boxed(index, label):
        return "1" if index % 4 == 0 else "0"

    with_splits(registry, label_of=only_boxed)
    text = registry_refusal(registry, tmp_path, **{"data.region_images": None})
    assert "P is empty" in text
    assert "--config.method=supervised" in text
    fields = {"registry": str(registry), "finding": "rib", "data.side": 32}
    fields |= {"method": "supervised", "data.region_images": None}
    config = small_config(tmp_path / "data", **fields)
    assert not len(
        run.prepare.open_data(run.data_options.of(config)).streams.image_level
    )


def test_too_many_unreadable_files_are_refused_without_naming_anybody(
    registry, tmp_path
):
    header, *rows = studies_of(registry)
    for row in rows:
        row[1] = f"PATIENT{row[1]}"
    registry_files.table(registry / "studies.csv", [header, *rows])
    for index in (3, 7, 11):
        (registry / f"images/{index:03d}.dcm").write_bytes(b"no DICOM " * 40)
    text = registry_refusal(registry, tmp_path, **{"data.max_bad_share": 0.1})
    assert "3 of 24 images are unusable" in text
    assert "studies.csv row 5" in text
    assert not any(word in text for word in ("PATIENT", ".dcm", "images/", "registry/"))


def test_help_mentions_the_config_and_the_workdir(tmp_path):
    shown = launch("--help", cwd=tmp_path)
    assert "Traceback" not in shown.stderr + shown.stdout
    assert "--config" in shown.stdout
    assert "--workdir" in shown.stdout


def test_launch_tells_a_bad_setting_in_one_line_and_fails(tmp_path):
    path = f"{ROOT / 'configs' / 'clavicle.py'}:paper"
    told = launch("--config", path, "--workdir", "run", cwd=tmp_path)
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    assert "the paper's recipe needs a registry" in " ".join(told.stderr.split())
    assert not (tmp_path / "run").exists()
