"""Laws of pmap on devices and hosts: what goes out comes back, and hosts agree.

Called as a script, this file is one of two hosts: PORT INDEX OUTPUT.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aals_jax.method import steps
from aals_jax.runtime import devices, hosts
from tests.support.small import Net, distill_step, make_batch

TREE = {"a": np.arange(24.0, dtype=np.float32).reshape(8, 3), "b": np.arange(8)}
NUM_STEPS = 3


def assert_same(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_gather_undoes_shard(count):
    chosen = jax.devices()[:count]
    placed = devices.shard(TREE, devices=chosen)
    assert all(leaf.devices() == set(chosen) for leaf in jax.tree.leaves(placed))
    assert_same(devices.gather(placed), TREE)


def test_each_device_has_its_contiguous_share():
    placed = devices.shard(TREE)
    for number, piece in enumerate(placed["b"].addressable_shards):
        assert np.ravel(piece.data).tolist() == [2 * number, 2 * number + 1]


def test_to_host_undoes_replicate():
    placed = devices.replicate(TREE)
    assert all(len(x.addressable_shards) == 4 for x in jax.tree.leaves(placed))
    devices.assert_replicated(placed)
    assert_same(devices.to_host(placed), TREE)


def test_donating_a_replica_leaves_the_callers_tree_alone():
    tree = {"a": jnp.arange(6.0), "b": np.arange(6.0)}
    step = devices.data_parallel(
        lambda state, batch: (jax.tree.map(lambda x: x + 1, state), batch.sum())
    )
    batch = devices.shard(np.zeros((4, 1), np.float32))
    for _ in range(2):
        placed = devices.replicate(tree)
        step(placed, batch)
        assert placed["a"].is_deleted()
    assert_same(tree, {"a": np.arange(6.0), "b": np.arange(6.0)})


def test_a_map_gives_each_image_its_own_result_in_order():
    double = devices.data_parallel_map(lambda weight, x: weight * x)
    placed = devices.replicate(np.float32(2))
    result = devices.gather(double(placed, devices.shard(TREE["a"])))
    np.testing.assert_array_equal(result, 2 * TREE["a"])


def test_copies_that_differ_are_noticed():
    places = jax.devices()
    copies = [jax.device_put(np.float32(i == 3), d) for i, d in enumerate(places)]
    sharding = devices.replicate(np.float32(0)).sharding
    forged = jax.make_array_from_single_device_arrays((), sharding, copies)
    with pytest.raises(AssertionError):
        devices.assert_replicated({"weight": forged})


@pytest.mark.parametrize("count, remedies", [(6, "4 or 8"), (3, "4"), (9, "8 or 12")])
def test_an_uneven_batch_is_refused_with_value_devices_and_remedies(count, remedies):
    with pytest.raises(ValueError) as caught:
        devices.check_divisible({"batch.even": 8, "batch.region": count})
    expected = f"batch.region={count} is not a multiple of the 4 devices; use "
    assert str(caught.value) == expected + remedies


def test_an_even_batch_passes():
    devices.check_divisible({"batch.region": 8, "batch.negative": 4})
    devices.check_divisible({"batch.region": 6}, 3)


def train(batch):
    """A few distillation steps on all devices: losses and the checksums of params."""
    tx = optax.sgd(0.3)
    step = distill_step("aals", Net(devices.AXIS), tx, axis_name=devices.AXIS)
    state = steps.init_state(Net(), tx, jax.random.key(0), side=32)
    step, state = devices.data_parallel(step), devices.replicate(state)
    metrics = None
    for _ in range(NUM_STEPS):
        state, metrics = step(state, devices.shard(batch))
    devices.assert_replicated(state)
    student = jax.tree.leaves(devices.to_host(state).student)
    return {
        "metrics": {k: float(v) for k, v in devices.to_host(metrics).items()},
        "params": [[float(np.sum(x)), float(np.sum(np.abs(x)))] for x in student],
    }


def test_two_hosts_equal_one_host_with_as_many_devices(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    root = Path(__file__).parents[2]
    outputs = [tmp_path / "0.json", tmp_path / "1.json"]
    hosts = [
        subprocess.Popen(
            [sys.executable, __file__, port, str(index), str(output)],
            env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for index, output in enumerate(outputs)
    ]
    try:
        errors = [host.communicate(timeout=120)[1] for host in hosts]
    finally:
        for host in hosts:
            host.kill()
    assert [host.returncode for host in hosts] == [0, 0], "\n".join(errors)
    first, second = [json.loads(output.read_text()) for output in outputs]
    assert first == second
    assert first["metrics"]["pseudo/share_raised_pixels"] > 0.01
    one = train(make_batch())
    assert first["metrics"].keys() == one["metrics"].keys()
    for name, value in one["metrics"].items():
        np.testing.assert_allclose(
            first["metrics"][name], value, rtol=1e-5, err_msg=name
        )
    np.testing.assert_allclose(first["params"], one["params"], rtol=1e-5, atol=1e-5)


def be_a_host(port: str, index: int, output: Path) -> None:
    jax.config.update("jax_num_cpu_devices", 2)
    jax.distributed.initialize(f"localhost:{port}", 2, index)
    assert (hosts.index(), hosts.count()) == (index, 2)
    assert (devices.local_device_count(), devices.device_count()) == (2, 4)
    assert hosts.is_primary() == (index == 0)
    batch = make_batch()
    half = jax.tree.map(lambda x: np.split(x, 2)[index], batch)
    output.write_text(json.dumps(train(half)))


if __name__ == "__main__":
    be_a_host(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
