"""How the config becomes the two stages: where stage 2 starts and what it is shown."""

import dataclasses

import jax
import numpy as np
import pytest

from aals_jax import types
from aals_jax.input import augment, prepare, views
from aals_jax.method.methods import METHODS
from aals_jax.models.densenet import Classifier
from aals_jax.runs import data_options, run, stages
from configs import base
from configs.sweeps import tiny
from tests.support import small
from tests.support.small_runs import small_config


def config_with(**changes):
    config = tiny.tiny()
    config.update_from_flattened_dict(changes)
    return config


def second_stage(pretrained=None, **changes):
    config = config_with(**changes)
    if pretrained is None:
        pretrained = stages.initial_state(config, 64)
    return stages.distill_stage(config, pretrained, images=4, side=64)


def test_stage_2_starts_from_the_network_that_is_named():
    state = stages.initial_state(tiny.tiny(), 64)
    average = jax.tree.map(lambda x: x + 1.0, state.student)
    state = dataclasses.replace(state, teacher=average)
    for name, expected in (("student", state.student), ("average", average)):
        changes = {"distill.start": name}
        initial = second_stage(state, **changes).initial
        for network in (initial.student, initial.teacher):
            jax.tree.map(np.testing.assert_array_equal, network, expected)
        # what is measured as the start is that network too
        stage, field = types.MODELS[stages.start_of(config_with(**changes))]
        assert stage == "pretrain" and getattr(state, field) is expected


@pytest.mark.parametrize("method", ["aals", "mean_teacher"])
def test_the_teachers_view_is_the_methods_or_as_it_is_set(method):
    state = stages.initial_state(tiny.tiny(), 64)
    for view, jittered in {
        "method": METHODS[method].jitter_teacher,
        "plain": False,
        "photometry": True,
    }.items():
        changes = {"method": method, "distill.teacher_view": view}
        extras = second_stage(state, **changes).extras
        assert extras == views.Extras(jitter_teacher=jittered)


def test_lambda_is_the_configs_and_compares_what_it_says(monkeypatch):
    """8 images of P beside 16 of R and N."""
    monkeypatch.setattr(stages, "make_model", lambda _, axis_name: small.Net(axis_name))
    for balance, share in {"term": 1.0, "image": 8 / 16}.items():
        config = config_with(**{"distill.balance": balance, "distill.weight": 0.7})
        step = jax.jit(stages.make_distill(config, axis_name=None))
        _, m = step(stages.initial_state(config, 32), small.make_batch())
        ratio = m["loss/distill_weighted"] / m["loss/distill"]
        np.testing.assert_allclose(ratio, 0.7 * share, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_only_the_oracle_asks_for_the_boxes_that_p_withholds(method):
    config = config_with(method=method)
    first = stages.pretrain_stage(config, 64)
    second = stages.distill_stage(config, first.initial, images=4, side=64)
    assert not first.extras.withheld
    assert second.extras.withheld == (method == "oracle")


def test_dropout_has_the_channels_of_the_method_s_net():
    for method, channels in (("aals", 8), ("chexnet", 32)):
        config = config_with(**{"method": method, "model.dropout": 0.25})
        extras = stages.pretrain_stage(config, 64).extras
        assert (extras.dropout, extras.channels) == (0.25, channels)


def test_chexnet_is_a_classifier_scored_by_its_mean_logit():
    config = config_with(method="chexnet")
    assert isinstance(stages.make_model(config, axis_name=None), Classifier)
    assert stages.pooling_of(config) == "mean_logit"
    assert stages.pooling_of(tiny.tiny()) == "max"


def test_a_regularised_config_differs_by_what_is_named():
    plain, regularised = (
        base.get_config("rib", f"laptop{extra}") for extra in ("", "+regularised")
    )
    assert regularised.scale == plain.scale == "laptop"
    plain.update_from_flattened_dict(base.REGULARISED)
    assert plain.to_json_best_effort() == regularised.to_json_best_effort()
    assert augment.Ranges(**regularised.augment).erase > 0
    for wrong in ("laptop+", "laptop+regular", "desk"):
        with pytest.raises(ValueError, match="is unknown"):
            base.get_config("rib", wrong)


def test_an_oracle_says_what_it_knows_and_is_refused_where_there_is_nothing(
    compiled_once,
):
    config = small_config(compiled_once / "data", method="oracle")
    data = prepare.open_data(data_options.of(config))
    images = len(data.streams.image_level)
    withheld = sum(len(data.train.boxes[row]) > 0 for row in data.streams.image_level)
    assert 0 < data.withheld == withheld < images
    (note,) = run.oracle_notes(config, data)
    assert f"{withheld} of {images} images" in note
    assert f"The other {images - withheld} " in note
    assert run.oracle_notes(tiny.tiny(), data) == []
    config.data.region_images = None  # all boxes are R's
    with pytest.raises(ValueError, match="lower data"):
        prepare.open_data(data_options.of(config))
    config.method = "aals"
    prepare.open_data(data_options.of(config))
