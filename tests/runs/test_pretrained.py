"""A run from weights made elsewhere: what it starts from, keeps and says."""

import json
import logging

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from aals_jax.models import pretrained as places
from aals_jax.runs import check, checkpoints, run, stages
from aals_jax.runtime import log
from configs.sweeps import tiny
from tests.models.test_pretrained import resnet_file
from tests.support.small_runs import small_config

SAID = {"source": "https://example.org/weights", "license": "BSD-3-Clause"}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Of the tiny run's net, by torchvision's names."""
    path = tmp_path_factory.mktemp("weights") / "secret-name.safetensors"
    save_file(resnet_file((1, 1, 1, 1), "basic", 8), path, metadata=SAID)
    return path


def config_with(**changes):
    config = tiny.tiny()
    config.update_from_flattened_dict(changes)
    return config


def test_the_backbone_alone_is_replaced_in_both_networks(file, monkeypatch):
    lines = []
    monkeypatch.setattr(log, "info", lambda text, *rest: lines.append(text % rest))
    random = stages.initial_state(config_with(), 64)
    config = config_with(**{"model.pretrained": str(file)})
    state = stages.initial_state(config, 64)
    from_file, report = places.place(
        resnet_file((1, 1, 1, 1), "basic", 8),
        {kind: state.student[kind]["backbone"] for kind in ("params", "batch_stats")},
    )
    for network in (state.student, state.teacher):
        for kind, tree in network.items():
            jax.tree.map(
                np.testing.assert_array_equal, tree["backbone"], from_file[kind]
            )
        for name in ("fpn", "head"):
            jax.tree.map(
                np.testing.assert_array_equal,
                network["params"][name],
                random.student["params"][name],
            )
    assert f"{len(report.mapped)} arrays mapped" in lines[0]
    assert "left out: fc.bias, fc.weight" in lines[0]
    assert SAID["source"] in lines[1] and SAID["license"] in lines[1]


def test_what_can_t_work_is_refused_before_anything_starts(file, tmp_path):
    pickled = tmp_path / "resnet50.pth"
    pickled.write_bytes(b"")
    for changes, message in (
        ({"model.pretrained": str(pickled)}, r"docs/pretrained\.md"),
        ({"model.pretrained": "none.npz"}, "no such file"),
        ({"model.pretrained_license": "MIT"}, "names no file"),
        ({"model.frozen_stages": 5}, "0 to 4"),
        ({"model.stem_channels": 2}, "1 or 3"),
        ({"pretrain.head_steps": 12}, "below the stage's 12 steps"),
        ({"distill.backbone_rate": 0.0}, "> 0"),
        ({"distill.layer_decay": 1.5}, "at most 1"),
    ):
        with pytest.raises(ValueError, match=message):
            check.check_fields(config_with(**changes))
    data, changes = tmp_path / "data", {"model.pretrained": str(file)}
    wide = small_config(data, **changes, **{"model.width": 16})
    classifier = small_config(data, **changes, method="chexnet")
    for config, message in ((wide, "has shape"), (classifier, "missing: conv0")):
        with pytest.raises(ValueError, match=rf"model\.pretrained=.*(\n- .*{message})"):
            run.run(config, tmp_path / "run")
    assert not data.exists()  # before the data, whose building takes time


def test_a_run_keeps_what_is_frozen_and_says_what_it_started_from(
    file, compiled_once, caplog
):
    """To the last checkpoint of stage 2, in both networks; resumable; no path."""
    log.logger.propagate = True
    changes = {
        "model.pretrained": str(file),
        "model.frozen_stages": 1,
        "pretrain.head_steps": 2,
        "distill.backbone_rate": 0.1,
        "distill.layer_decay": 0.5,
    }
    config = small_config(compiled_once / "data", **changes)
    workdir = compiled_once / "pretrained"
    with caplog.at_level(logging.INFO, logger="aals_jax"):
        path = run.run(config, workdir)
    start = stages.initial_state(config, 64).student
    for stage in ("pretrain", "distill"):
        kept = checkpoints.Checkpoints(workdir / "checkpoints" / stage)
        state = kept.restore(kept.latest().step)
        kept.close()
        for network in ("student", "teacher"):
            for kind in ("params", "batch_stats"):
                for name, tree in state[network][kind]["backbone"].items():
                    same = [
                        np.array_equal(a, b)
                        for a, b in zip(
                            jax.tree.leaves(tree),
                            jax.tree.leaves(start[kind]["backbone"][name]),
                            strict=True,
                        )
                    ]
                    frozen = name in ("conv1", "bn1", "layer1_0")
                    assert all(same) if frozen else not any(same), (stage, name)
    result = json.loads(path.read_text())
    started = result["initial_weights"]
    assert {k: started[k] for k in SAID} == SAID and len(started["sha256"]) == 64
    assert result["config"]["model"]["pretrained_sha256"] == started["sha256"]
    for name in ("result.json", "report.html", "config.json"):
        text = (workdir / name).read_text()
        assert "secret-name" not in text
        assert started["sha256"] in text and SAID["license"] in text
    assert "left out: fc.bias, fc.weight" in caplog.text
