"""Laws of a model that is handed over: it is the run's, whole, and without patients."""

import json
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from aals_jax.evaluation.evaluator import TrainedModel
from aals_jax.handover import export, folder, programs
from aals_jax.report import model_card
from aals_jax.runs import evaluate, identity
from aals_jax.runtime import weights
from tests.handover.conftest import hand_over
from tests.support.datasets import contents


@pytest.fixture(scope="module")
def opened(exported):
    """The config, evaluator and teacher of the run, as --mode=evaluate opens them."""
    choice = evaluate.ModelChoice(exported.workdir)
    return evaluate.open_run(choice, ConfigDict, exported.data_dir)


@pytest.fixture
def copy(exported, tmp_path) -> Path:
    return Path(shutil.copytree(exported.model, tmp_path / "copy"))


def load(path: Path) -> folder.Model:
    return folder.load(path, load_config=ConfigDict)


def result_of(exported) -> dict:
    return json.loads((exported.workdir / "result.json").read_text())


def test_the_maps_are_the_runs_bit_for_bit(exported, opened):
    _, evaluator, _ = opened
    (kept,) = (exported.workdir / "predictions").glob("test-teacher-*.npy")
    maps = evaluator.predictor.outputs(
        load(exported.model).variables, evaluator.data.dataset, evaluator.data.test
    )
    np.testing.assert_array_equal(maps, np.load(kept))


def test_measured_again_it_has_the_metrics_of_the_run(exported, opened, tmp_path):
    _, evaluator, model = opened
    handed = TrainedModel("teacher", model.step, load(exported.model).variables)
    object.__setattr__(evaluator, "cache", tmp_path)  # nothing is kept from the run
    measured = evaluator.evaluate(handed, "test")
    written = json.loads((exported.model / folder.METRICS).read_text())["metrics"]
    assert measured.metrics == result_of(exported)["metrics"]["teacher"] == written
    points = json.loads((exported.model / folder.POINTS).read_text())
    assert measured.operating_points == points


def test_another_network_of_the_run_can_be_handed_over(exported, tmp_path):
    hand_over(exported, tmp_path / "student", model="student", license="cc0-1.0")
    student = load(tmp_path / "student")
    assert student.name == "student"
    metrics = json.loads((tmp_path / "student" / folder.METRICS).read_text())
    assert metrics["metrics"] == result_of(exported)["metrics"]["student"]
    said = weights.origin(tmp_path / "student" / folder.WEIGHTS)
    assert (said.source, said.license) == ("aals_jax, aals", "cc0-1.0")


def test_the_same_run_gives_the_same_bytes(exported, tmp_path):
    hand_over(exported, tmp_path / "again")
    first, second = contents(exported.model), contents(tmp_path / "again")
    for files in (first, second):  # the commit may change while tests run
        manifest = json.loads(files.pop(folder.MANIFEST))
        files["manifest"] = {k: v for k, v in manifest.items() if k != "commit"}
    assert first == second


def test_a_program_says_what_the_net_says(exported):
    model = load(exported.model)
    side = model.preprocessing.side
    image = np.random.default_rng(0).random((3, side, side, 1), np.float32)
    arrays = weights.read(exported.model / folder.WEIGHTS)
    program = jax.export.deserialize(
        (exported.model / programs.name_of("cpu")).read_bytes()
    )
    from aals_jax.method import steps
    from aals_jax.runs import stages

    net = stages.make_model(model.config, axis_name=None)
    expected = jax.jit(steps.make_eval_step(net))(model.variables, image)
    np.testing.assert_allclose(program.call(arrays, image), expected, atol=1e-6)


@pytest.mark.parametrize("platform", programs.PLATFORMS)
def test_a_program_is_of_its_platform_and_names_no_folder(exported, platform):
    content = (exported.model / programs.name_of(platform)).read_bytes()
    program = jax.export.deserialize(content)
    assert program.platforms == (platform,)
    (maps,) = program.out_avals
    assert maps.shape[1:] == (16, 16)
    assert not re.findall(rb"[\w.-]*/[\w./-]+\.py", content)


# --- what is not whole


FILES = (
    folder.CARD, folder.WEIGHTS, folder.CONFIG, folder.PREPROCESSING, folder.POINTS,
    folder.CALIBRATION, folder.METRICS, folder.DATA,
    *map(programs.name_of, programs.PLATFORMS),
)  # fmt: skip


def test_the_manifest_names_every_file(exported):
    manifest = folder.check(exported.model)
    assert set(manifest["files"]) == set(FILES)
    there = {path.name for path in exported.model.iterdir()}
    assert there == {*FILES, folder.MANIFEST}


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_refused_by_name(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(folder.NotWhole, match=re.escape(f"- {name}: is not what was")):
        load(copy)


def test_all_that_is_wrong_is_told_at_once_with_what_to_do(copy):
    (copy / folder.WEIGHTS).unlink()
    (copy / folder.CONFIG).write_text("{}")
    with pytest.raises(folder.NotWhole) as caught:
        load(copy)
    text = str(caught.value)
    assert "weights.safetensors: is missing" in text
    assert "config.json: is not what was exported" in text
    assert "fetch the folder again" in text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": 2}, "is of format 2, and this version reads 1"),
        ({"run_version": 1}, f"version 1 of the run, and this is {identity.VERSION}"),
        ({"files": {}}, "weights.safetensors: is not in the manifest"),
        ({"files": {"../x": {"sha256": "0"}}}, "leads out of the folder"),
        ({"files": None}, "manifest.json is damaged"),
        ({"model": ...}, "manifest.json is damaged"),
    ],
)
def test_another_manifest_is_refused(copy, change, told):
    manifest = json.loads((copy / folder.MANIFEST).read_text()) | change
    manifest = {name: value for name, value in manifest.items() if value is not ...}
    (copy / folder.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(folder.NotWhole, match=re.escape(told)):
        load(copy)


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(folder.NotWhole, match="make one with --mode=export"):
        load(tmp_path)


def test_other_versions_are_told_and_no_hindrance(copy, caplog, monkeypatch):
    monkeypatch.setattr(folder.log.logger, "propagate", True)
    manifest = json.loads((copy / folder.MANIFEST).read_text())
    manifest["versions"]["jax"] = "0.0.1"
    (copy / folder.MANIFEST).write_text(json.dumps(manifest))
    load(copy)
    assert "jax 0.0.1 there" in caplog.text


def test_files_beside_it_are_no_hindrance(copy):
    (copy / ".gitattributes").write_text("x")
    load(copy)


def test_a_model_is_never_overwritten(exported):
    with pytest.raises(ValueError, match="holds a model already: choose another --out"):
        hand_over(exported, exported.model)


def test_an_export_that_did_not_end_is_done_again(exported, copy):
    (copy / folder.MANIFEST).unlink()
    (copy / folder.WEIGHTS).write_bytes(b"cut")
    hand_over(exported, copy)
    load(copy)


def test_an_unfinished_run_is_refused(exported, tmp_path):
    unfinished = exported._replace(workdir=tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no finished run"):
        hand_over(unfinished, tmp_path / "out")
    other = result_of(exported) | {"run_version": 1}
    (tmp_path / "result.json").write_text(json.dumps(other))
    with pytest.raises(ValueError, match="is of another version"):
        hand_over(unfinished, tmp_path / "out")


def test_a_result_of_another_checkpoint_is_refused(exported, tmp_path):
    for name in ("config.json", "checkpoints"):
        (tmp_path / name).symlink_to(exported.workdir / name)
    other = result_of(exported)
    other["steps"]["teacher"] += 1
    (tmp_path / "result.json").write_text(json.dumps(other))
    with pytest.raises(ValueError, match=r"result\.json measured teacher at step"):
        hand_over(exported._replace(workdir=tmp_path), tmp_path / "out")


# --- what it says


def test_nothing_of_the_data_but_numbers_is_in_the_folder(exported, opened):
    _, evaluator, _ = opened
    secret = {*evaluator.data.test.patient, *evaluator.data.train.image_id}
    secret |= {str(exported.workdir.parent), str(Path(__file__).parents[2])}
    for name, content in contents(exported.model).items():
        assert not [word for word in secret if word.encode() in content], name


def test_calibration_is_fitted_on_validation_and_measured_on_test(exported, opened):
    _, evaluator, model = opened
    there = export.calibrate(evaluator, model)
    assert there == json.loads((exported.model / folder.CALIBRATION).read_text())
    if there["fitted"] is None:
        assert there["reason"]
    else:
        table = evaluator.data.validation
        assert there["fitted"]["images"] == len(table)
        assert there["fitted"]["prevalence"] == np.mean(table.label == 1)
        raw = there["test"]["brier_score"]["score"]["value"]
        metrics = result_of(exported)["metrics"]["teacher"]
        assert raw == metrics["brier_score"]["value"]


def test_the_card_has_the_numbers_of_the_run(exported):
    text = (exported.model / folder.CARD).read_text()
    assert text.startswith('---\nlicense: "unknown"\n')
    assert "Research only, not a medical device." in text
    assert "**The films are drawn.**" in text
    head = text.split("---\n")[1]
    for name, entry in result_of(exported)["metrics"]["teacher"].items():
        said = f"type: {json.dumps(name)}\n"
        assert (said in head) == (entry["value"] is not None)
        if entry["value"] is not None:
            assert f"value: {json.dumps(entry['value'])}\n" in head
            assert f"| {model_card.wording.title(name)} |" in text
    assert result_of(exported)["data"]["data_hash"] in head


def test_the_head_of_the_card_is_yaml(exported):
    yaml = pytest.importorskip("yaml")
    head = yaml.safe_load((exported.model / folder.CARD).read_text().split("---\n")[1])
    (model,) = head["model-index"]
    (measured,) = model["results"]
    values = {metric["type"]: metric["value"] for metric in measured["metrics"]}
    auroc = result_of(exported)["metrics"]["teacher"]["auroc"]["value"]
    assert values["auroc"] == auroc
