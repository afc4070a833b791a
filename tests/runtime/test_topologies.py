"""Laws of topologies: their names, and what libtpu says where it is installed."""

import importlib.util

import jax
import jax.numpy as jnp
import pytest

from aals_jax.runtime import compiled, devices

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="libtpu is not installed: requirements/plan.txt",
)


def test_the_devices_at_hand_are_a_topology():
    local = devices.topology(devices.LOCAL)
    assert (local.count, local.hosts, local.is_here) == (4, 1, True)
    assert list(local.of_one_host) == jax.local_devices()
    assert local.memory() is None  # a CPU names no limit


@pytest.mark.parametrize("name, hint", [
    ("v5e:3x5", "v5e:4x4, "),
    ("v5p:4x4", "v5p:4x4x4"),
    ("gpu", "local, v5e:1x1"),
    ("", "local, v5e:1x1"),
])  # fmt: skip
def test_an_unknown_topology_is_refused_with_those_there_are(name, hint):
    with pytest.raises(ValueError, match=f"topology '{name}' is unknown") as caught:
        devices.topology(name)
    assert hint in str(caught.value)


def test_the_names_of_other_types_are_left_out_of_the_hint():
    with pytest.raises(ValueError) as caught:
        devices.topology("v6e:5x5")
    assert "v6e:16x16" in str(caught.value) and "v5" not in str(caught.value)


def test_without_libtpu_the_file_that_brings_it_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"requirements/plan\.txt") as caught:
        devices.topology("v5e:4x4")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("message, expected", [
    ("Used 23.50G of 15.75G hbm. Exceeded", (23.5 * 2**30, 15.75 * 2**30)),
    ("temporaries (16.00T) exceeds available HBM (512.0M).", (2**44, 2**29)),
    ("Used 12 of 11 hbm", (12, 11)),
])  # fmt: skip
def test_a_compiler_out_of_memory_names_need_and_limit(message, expected):
    assert devices.out_of_memory(f"RESOURCE_EXHAUSTED: {message}") == expected


def test_another_error_is_not_one_of_memory():
    assert devices.out_of_memory("INVALID_ARGUMENT: 15.75G of HBM") is None


@needs_libtpu
@pytest.mark.parametrize("name, count, hosts, gib", [
    ("v5e:1x1", 1, 1, 15.75),
    ("v5e:4x4", 16, 4, 15.75),
    ("v5p:2x2x2", 8, 2, 95.74),
    ("v6e:2x2", 4, 1, 31.25),
])  # fmt: skip
def test_a_tpu_that_is_not_there_has_chips_hosts_and_memory(name, count, hosts, gib):
    there = devices.topology(name)
    assert (there.count, there.hosts, there.is_here) == (count, hosts, False)
    assert there.memory() == round(gib * 2**30)


@needs_libtpu
@pytest.mark.parametrize("name", [n for n in devices.topology_names() if ":" in n])
def test_libtpu_knows_every_name(name):
    sides = [int(side) for side in name.partition(":")[2].split("x")]
    expected = 1
    for side in sides:
        expected *= side
    assert devices.topology(name).count == expected


@needs_libtpu
def test_a_step_compiles_for_chips_that_are_not_there():
    chips = devices.topology("v5e:2x2").chips

    def step(state, batch):
        return state + jax.lax.pmean(jnp.mean(batch, 0), devices.AXIS), {}

    lowered = devices.lower(
        devices.data_parallel(step, devices=chips),
        jax.ShapeDtypeStruct((256,), jnp.float32),
        jax.ShapeDtypeStruct((8, 256), jnp.float32),
        devices=chips,
    )
    said = compiled.read(lowered.compile())
    assert said.collectives["all-reduce"].bytes == 1024
    assert said.reused == 1024
