"""Laws of a run's identity: what makes it another run, and what does not."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from ml_collections import ConfigDict
from safetensors.numpy import save_file

from aals_jax.runs import identity as identities
from aals_jax.runs import workdir
from aals_jax.runtime import files
from configs import base


def config_with(**changes):
    config = base.get_config("clavicle")
    config.update_from_flattened_dict(changes)
    return config


def identity(**changes):
    return identities.of(config_with(**changes))


def test_a_run_is_itself_and_differs_by_the_fields_that_differ():
    assert identities.differences(identity(), identity()) == []
    changed = identity(**{"distill.center": 0.3, "seed": 4, "data.threads": 9})
    assert identities.differences(identity(), changed) == [
        "distill.center: 0.2 there, 0.3 now",
        "seed: 0 there, 4 now",
    ]


def test_a_config_made_from_an_identity_has_that_identity():
    fields = identity(**{"data.label_noise": 0.1})
    assert identities.of(ConfigDict(fields)) == fields
    assert not {name for name in identities.MACHINE_FIELDS if name in fields["data"]}


def test_a_run_of_another_age_differs_by_the_fields_that_it_lacks():
    """Also by one whose value is None: that it was not there is said."""
    old = identity()
    del old["distill"]["cell"], old["data"]["region_images"]
    new = identity(**{"data.region_images": None})
    assert identities.differences(old, new) == [
        "data.region_images: no such field there, None now",
        "distill.cell: no such field there, 4 now",
    ]


def test_equal_fields_have_one_digest_in_whatever_order():
    assert identities.digest({"a": 1, "b": [2]}) == identities.digest(
        {"b": [2], "a": 1}
    )
    assert identities.digest(identity()) != identities.digest(identity(seed=1))


def test_a_workdir_of_another_version_is_refused(tmp_path):
    config = config_with()
    workdir.claim(config, "0" * 64, tmp_path)
    workdir.check_claim(config, tmp_path)
    record = workdir.claimed(tmp_path)
    assert record is not None and record["version"] == identities.VERSION
    del record["version"]  # as the first version wrote it
    files.write_json(tmp_path / "config.json", record)
    with pytest.raises(ValueError, match=r"version of the run: 1 there, \d+ now"):
        workdir.check_claim(config, tmp_path)


def test_settings_of_boxes_belong_to_methods_that_have_boxes():
    """So a run of another method is named and continued as before there were any."""
    for method, decides in (("aals", False), ("fcos", True)):
        one = identity(method=method)
        other = identity(method=method, **{"boxes.nms_iou": 0.3})
        assert ("boxes" in one) == decides
        assert (one != other) == decides


def test_a_field_that_came_later_renames_no_run_that_does_not_use_it():
    """Nested or flat; at another value it counts."""
    fields = identity(**identities.LATER)
    older = {
        section: {
            name: value
            for name, value in inner.items()
            if f"{section}.{name}" not in identities.LATER
        }
        if isinstance(inner, dict)
        else inner
        for section, inner in fields.items()
    }
    assert identities.flat(older).keys() | identities.LATER.keys() == (
        identities.flat(fields).keys()
    )
    assert identities.digest(older) == identities.digest(fields)
    flat_older, flat = identities.flat(older), identities.flat(fields)
    assert identities.digest(flat_older) == identities.digest(flat)
    assert identities.digest(identity(**{"model.dropout": 0.1})) != (
        identities.digest(fields)
    )
    assert identities.completed(older) == fields
    assert identities.differences(older, fields) == []
    # the fields whose default is another one than it was before
    own = identities.flat(identity())
    changed = {name for name, v in identities.LATER.items() if own[name] != v}
    assert changed == {"evaluation.detections", "phantom.region_images"}


def test_a_run_that_was_begun_without_a_field_goes_on_as_it_was(tmp_path):
    config = config_with(**{"evaluation.detections": "peaks"})
    workdir.claim(config, "0" * 64, tmp_path)
    record = json.loads((tmp_path / "config.json").read_text())
    del record["config"]["evaluation"]["detections"]
    (tmp_path / "config.json").write_text(json.dumps(record))
    workdir.check_claim(config, tmp_path)
    found = workdir.claimed(tmp_path)
    assert found is not None
    assert found["config"]["evaluation"]["detections"] == "peaks"
    with pytest.raises(ValueError, match="'peaks' there, 'suppression' now"):
        workdir.check_claim(config_with(), tmp_path)


def test_initial_weights_count_by_their_hash_and_what_is_said_of_them(tmp_path):
    """Not by where they lie; the config's words go before the file's."""
    here, there = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_file({"w": np.ones(3)}, here, metadata={"source": "a", "license": "MIT"})
    shutil.copyfile(here, there)  # written again, its header may have another order
    fields = identity(**{"model.pretrained": str(here)})
    assert fields == identity(**{"model.pretrained": str(there)})
    assert identities.of(ConfigDict(fields)) == fields
    model, sha256 = fields["model"], hashlib.sha256(here.read_bytes()).hexdigest()
    assert "pretrained" not in model and str(tmp_path) not in str(fields)
    assert model["pretrained_sha256"] == sha256
    assert (model["pretrained_source"], model["pretrained_license"]) == ("a", "MIT")
    said = {"model.pretrained_license": "BSD-3-Clause"}
    other = identity(**{"model.pretrained": str(here)} | said)["model"]
    assert (other["pretrained_source"], other["pretrained_license"]) == (
        "a",
        "BSD-3-Clause",
    )
    save_file({"w": np.zeros(4)}, there)
    assert identities.differences(fields, identity(**{"model.pretrained": str(there)}))
    with pytest.raises(ValueError, match="it is another file"):
        identity(**{"model.pretrained": str(there), "model.pretrained_sha256": sha256})


def test_a_result_is_done_only_if_it_is_whole_and_says_of_what(tmp_path, caplog):
    path = tmp_path / "result.json"
    assert not workdir.is_done(path)
    path.write_text('{"metrics": {}}')
    with pytest.raises(ValueError, match="has a result and no config"):
        workdir.is_done(path)
    workdir.claim(config_with(), "hash", tmp_path)
    assert workdir.is_done(path)
    for damaged in ("", '{"metri', "7", "{}"):
        path.write_text(damaged)
        with caplog.at_level("WARNING"):
            assert not workdir.is_done(path)
        assert "is measured again" in caplog.text
