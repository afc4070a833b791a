"""A run whose encoder is frozen: what it keeps, what it refuses, and that a model of it
needs the file no more."""

import json

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from safetensors.numpy import save_file

from aals_jax.handover import export, folder
from aals_jax.runs import (
    check,
    checkpoints,
    evaluate,
    frozen_encoder,
    identity,
    pretrained,
    run,
)
from aals_jax.runs.evaluate import ModelChoice
from configs.sweeps import tiny
from tests.support import vit_files
from tests.support.small_runs import run_until_killed, small_config

SAID = {"source": "https://example.org/vit", "license": "MIT"}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "secret-name.safetensors"
    save_file(vit_files.draw(depth=1), path, metadata=SAID)
    return path


def config_with(file, **changes):
    config = tiny.tiny()
    config.update_from_flattened_dict(
        {"model.backbone": "vit", "model.pretrained": str(file)} | changes
    )
    return config


def test_the_identity_has_the_net_and_no_path(file):
    fields = identity.of(config_with(file))
    assert fields["vit"]["width"] == 64 and fields["vit"]["heads"] == 1
    assert fields["vit"]["mean"] == [0.485, 0.456, 0.406]
    assert fields["model"]["pretrained_license"] == SAID["license"]
    assert "secret-name" not in json.dumps(fields)
    assert identity.of(ConfigDict(fields)) == fields
    assert "vit" not in identity.of(tiny.tiny())
    two = identity.of(config_with(file, **{"vit.heads": 2}))
    assert two["vit"]["heads"] == 2 and identity.differences(fields, two)


def test_mean_and_deviation_are_the_configs_or_the_files_or_told(file, tmp_path):
    told = list(pretrained.warnings(config_with(file, **{"vit.std": (0.2, 0.3, 0.4)})))
    assert len(told) == 1 and "ImageNet's mean (0.485, 0.456, 0.406)" in told[0]
    path = tmp_path / "vit.safetensors"
    said = {"image_mean": "[0.53, 0.53, 0.53]", "image_std": "[0.25, 0.25, 0.25]"}
    save_file(vit_files.draw(depth=1), path, metadata=said)
    found = identity.of(config_with(path, **{"vit.std": (0.2, 0.3, 0.4)}))["vit"]
    assert not [t for t in pretrained.warnings(config_with(path)) if "ImageNet" in t]
    assert (found["mean"], found["std"]) == ([0.53] * 3, [0.2, 0.3, 0.4])
    for text in ("[0.5, 0.5]", "0.5", "grey", "[0, 1, 1]"):
        save_file(vit_files.draw(depth=1), path, metadata={"image_std": text})
        with pytest.raises(ValueError, match=r"image_std are not .* vit\.std"):
            identity.of(config_with(path))


def test_what_can_t_work_is_refused_in_one_error(file, tmp_path):
    config = config_with(
        file,
        **{
            "model.frozen_stages": 2,
            "distill.backbone_rate": 0.1,
            "vit.heads": -1,
            "vit.mean": (0.5, 0.5),
            "vit.std": (0.5, 0.5, 0.0),
            "method": "chexnet",
        },
    )
    with pytest.raises(ValueError, match="can't be run") as raised:
        check.check_fields(config)
    for text in (
        "model.frozen_stages, distill.backbone_rate can do nothing",
        "vit.heads=-1",
        r"vit.mean=(0.5, 0.5): must be three numbers, or ()",
        "vit.std=(0.5, 0.5, 0.0): must be three numbers above 0",
        "method='chexnet' has a net of its own",
    ):
        assert text in str(raised.value)
    with pytest.raises(ValueError, match=r"name it with model\.pretrained"):
        check.check_fields(config_with(""))
    arrays = vit_files.draw(depth=1) | {"strange": np.zeros(1, np.float32)}
    path, data = tmp_path / "vit.safetensors", tmp_path / "data"
    save_file(arrays, path)
    changes = {"model.backbone": "vit", "model.pretrained": str(path)}
    with pytest.raises(ValueError, match=r"model\.pretrained=.*(\n- unmatched: stra)"):
        run.run(small_config(data, **changes), tmp_path / "run")
    assert not data.exists()  # before the data, whose building takes time


def test_a_run_goes_on_after_a_kill_and_its_model_needs_the_file_no_more(
    file, compiled_once, monkeypatch
):
    changes = {"model.backbone": "vit", "model.pretrained": str(file)}
    changes |= {"pretrain.steps": 3, "distill.steps": 3}
    config = small_config(compiled_once / "data", **changes)
    whole, killed = compiled_once / "whole", compiled_once / "killed"
    run.run(config, whole)
    run_until_killed(monkeypatch, config, killed, validation=2)
    run.run(config, killed)
    assert (whole / "result.json").read_bytes() == (killed / "result.json").read_bytes()
    for name in ("result.json", "report.html", "config.json"):
        assert "secret-name" not in (whole / name).read_text()
    assert (whole / "encoder.safetensors").read_bytes() == file.read_bytes()
    kept = checkpoints.Checkpoints(whole / "checkpoints" / "distill")
    state = kept.restore(kept.best_step())
    kept.close()
    assert set(state["teacher"]) == {"params"}
    assert set(state["teacher"]["params"]) == {"fpn", "head"}

    # without the path: config.json does not have it
    expected = frozen_encoder.variables(config)
    assert expected is not None
    model = evaluate.restore(ModelChoice(whole))
    jax.tree.map(
        np.testing.assert_array_equal, model.variables["frozen"], expected["frozen"]
    )
    out = compiled_once / "model"
    options = {"load_config": ConfigDict, "data_dir": compiled_once / "data"}
    export.export(whole, out, **options)
    loaded = folder.load(out, load_config=ConfigDict)
    jax.tree.map(
        np.testing.assert_array_equal, dict(loaded.variables), dict(model.variables)
    )
    assert "vit, width 64" in (out / "README.md").read_text()

    (whole / "encoder.safetensors").write_bytes(b"another")
    with pytest.raises(ValueError, match="encoder"):
        evaluate.restore(ModelChoice(whole))
    (whole / "encoder.safetensors").unlink()
    with pytest.raises(ValueError, match="no copy of its frozen encoder"):
        evaluate.restore(ModelChoice(whole))
