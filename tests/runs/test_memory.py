"""Laws of a step's memory: what is refused, what is told, what is traced."""

import contextlib
import dataclasses

import jax
import jax.numpy as jnp
import pytest

from aals_jax.runs import check, identity, loop, stages
from aals_jax.runtime import devices, profiling
from configs.sweeps import tiny
from data.cxr_registry.guard import failures
from tests.support.small_runs import small_config

WORDS = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 99 bytes."


def config_with(**changes):
    config = tiny.tiny()
    config.update_from_flattened_dict(changes)
    return config


@pytest.mark.parametrize("method", ["fcos", "retinanet", "oracle"])
def test_losses_that_are_no_means_over_images_have_no_micro_batches(method):
    check.check_fields(config_with(method=method))
    with pytest.raises(ValueError, match=rf"accumulate=2: must be 1 .*'{method}'"):
        check.check_fields(config_with(**{"method": method, "batch.accumulate": 2}))


@pytest.mark.parametrize("changes, words", [
    ({"batch.accumulate": 0}, r"batch.accumulate=0: must be >= 1"),
    ({"profile.first": 3}, r"profile.first=3, profile.last=0: must be two steps"),
    ({"profile.last": 3}, r"profile.first=0, profile.last=3: must be two steps"),
])  # fmt: skip
def test_fields_that_can_t_work_are_told(changes, words):
    with pytest.raises(ValueError, match=words):
        check.check_fields(config_with(**changes))


@pytest.mark.parametrize("batch, words", [
    ((8, 8, 8), None),
    ((6, 10, 8), None),
    ((4, 4, 8), "batch.region \\+ batch.negative=8 is not a multiple of the 8 devices "
     "times batch.accumulate=2; use 16"),
    ((5, 11, 8), "batch.region=5 is not a multiple of the 1 hosts times "
     r"batch.accumulate=2; batch.negative=11 .*: every micro-batch has the same mix"),
])  # fmt: skip
def test_batches_split_over_devices_and_micro_batches(monkeypatch, batch, words):
    monkeypatch.setattr(devices, "device_count", lambda: 8)
    monkeypatch.setattr(devices, "local_device_count", lambda: 8)
    region, negative, image_level = batch
    image_level = 2 * image_level
    config = config_with(**{"batch.accumulate": 2, "evaluation.batch_size": 8})
    config.batch.update(region=region, negative=negative, image_level=image_level)
    expected = pytest.raises(ValueError, match=words) if words else None
    with expected or contextlib.nullcontext():
        check.check_divisible(config)


def test_traced_steps_are_no_part_of_a_run_s_identity_and_the_others_are():
    usual = identity.of(tiny.tiny())
    assert "profile" not in usual
    assert identity.of(config_with(**{"profile.first": 2, "profile.last": 3})) == usual
    for field in ({"model.remat": True}, {"batch.accumulate": 2}):
        assert identity.of(config_with(**field)) != usual


@pytest.fixture
def failing(monkeypatch, tmp_path):
    """Trains stage 2 with steps that raise JAX's error, up to that error."""
    config = small_config(tmp_path)
    first = stages.initial_state(config, 64)
    stage = stages.distill_stage(config, first, images=4, side=64)

    def train(words):
        def step(state, batch):
            raise jax.errors.JaxRuntimeError(words)

        monkeypatch.setattr(devices, "data_parallel", lambda *_, **__: step)
        monkeypatch.setattr(devices, "shard", lambda batch: batch)
        monkeypatch.setattr(loop, "_batches", lambda *arguments: iter([None]))
        loop._train(stage, None, config, tmp_path, None, None, {"step": 0})  # pyright: ignore[reportArgumentType]

    return train


def test_a_step_that_does_not_fit_is_told_in_one_line_with_what_helps(failing):
    with pytest.raises(MemoryError) as caught:
        failing(WORDS)
    told = failures.message(caught.value)
    assert "\n" not in told
    for part in (
        "distill: a step does not fit",
        devices.hardware(),
        "batch.region=4, batch.negative=4, batch.image_level=4",
        "batch.accumulate=1",
        "model.remat=False",
        "model.dtype=float32",
        "--mode=plan",
    ):
        assert part in told, part


def test_any_other_error_of_a_step_stays_what_it_is(failing):
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        failing("INTERNAL: no such thing")


def traced(folder, steps, *, first, last):
    """Steps that ran while a trace was open, and the number of its files."""
    state, seen = jnp.zeros(3), []
    with profiling.Profile(folder, first=first, last=last) as profile:
        for step in steps:
            profile.before(step, state)
            seen += [step] if profile.is_open else []
            state = state + 1.0
            profile.after(step, state)
    return seen, len(list(folder.glob("plugins/profile/*/*.xplane.pb")))


@pytest.mark.parametrize("steps, expected", [
    (range(1, 8), [3, 4]),
    (range(4, 8), [4]),  # of a run that goes on within them
    (range(1, 4), [3]),  # of a stage that ends within them
    (range(5, 8), []),
])  # fmt: skip
def test_the_named_steps_are_traced_for_tensorboard(tmp_path, steps, expected):
    assert traced(tmp_path, steps, first=3, last=4) == (expected, int(bool(expected)))


def test_host_0_alone_traces_and_by_default_nobody(tmp_path, monkeypatch):
    stage = dataclasses.make_dataclass("Stage", ["name"])("pretrain")
    assert traced(tmp_path, range(3), first=0, last=0) == ([], 0)
    for config, primary, expected in (
        (tiny.tiny(), True, (0, 0)),
        (config_with(**{"profile.first": 2, "profile.last": 3}), True, (2, 3)),
        (config_with(**{"profile.first": 2, "profile.last": 3}), False, (0, 0)),
    ):
        monkeypatch.setattr(loop.hosts, "is_primary", lambda primary=primary: primary)
        profile = loop._profile(config, tmp_path, stage)
        assert (profile.first, profile.last) == expected
        assert profile.folder == tmp_path / "profile" / "pretrain"
