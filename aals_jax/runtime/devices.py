"""Devices; the only module that asks JAX for them (for other hosts: `hosts`).

pmap is jit(shard_map) today: its inputs must already lie on the mesh, and a replicated
state has no leading device axis. The day pmap goes, this file alone changes.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "batch"
CACHE = Path("runs/.xla")  # compiled programs, below the folder one works in


def start(*, whole_tracebacks: bool = False) -> None:
    """Sets JAX up for this process: where it keeps what it compiled.

    A user's JAX_COMPILATION_CACHE_DIR wins over ours; empty, it turns the cache off.

    Args:
      whole_tracebacks: keeps JAX's own frames in tracebacks, so that one sees which of
        them raised an error.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(CACHE.absolute()))
    if whole_tracebacks:
        jax.config.update("jax_traceback_filtering", "off")


def device_count() -> int:
    """Devices of all hosts together."""
    return jax.device_count()


def local_device_count() -> int:
    return jax.local_device_count()


def hardware() -> str:
    """The devices of all hosts in words, for results."""
    return f"{device_count()} x {jax.local_devices()[0].device_kind}"


def describe() -> str:
    return f"{hardware()}, jax {jax.__version__}"


def _mesh(devices: Sequence[Any] | None) -> Mesh:
    return Mesh(np.array(devices or jax.local_devices()), (AXIS,))


def check_divisible(counts: dict[str, int], devices: int | None = None) -> None:
    """Raises ValueError for a global batch that does not split evenly over devices."""
    devices = devices or device_count()
    for name, count in counts.items():
        if count % devices:
            lower = count - count % devices
            upper = lower + devices
            raise ValueError(
                f"{name}={count} is not a multiple of the {devices} devices; "
                f"use {f'{lower} or {upper}' if lower else upper}"
            )


def data_parallel(
    step: Callable[..., Any], *, devices: Sequence[Any] | None = None
) -> Callable[..., Any]:
    """pmaps `step(state, batch) -> state, metrics` over the devices of all hosts.

    The state is replicated, and donated: its buffers are gone after the call. A batch
    is split over this host's devices (`shard`).
    """
    return jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=None,  # pyright: ignore[reportArgumentType]
        donate_argnums=0,
        devices=devices,
    )


def data_parallel_map(
    function: Callable[..., Any], *, devices: Sequence[Any] | None = None
) -> Callable[..., Any]:
    """pmaps `function(replicated, sharded) -> sharded` on this host's devices."""
    devices = list(devices or jax.local_devices())
    return jax.pmap(function, axis_name=AXIS, in_axes=(None, 0), devices=devices)


def jit_for_one_call(function: Callable[..., Any]) -> Callable[..., Any]:
    """jit for a function that is called once, where compiling is all the time it takes.

    On a CPU, XLA then optimises next to nothing: random weights of the laptop's net
    are compiled in a quarter of the CPU time (2.5 s for 9.0 s, and 4 s for 19 s on a
    busy machine). Results differ from those of `jax.jit` in the last bits, weights by
    6e-8 at most. On other devices it is `jax.jit`.
    """
    options = {"xla_backend_optimization_level": 0}
    on_cpu = jax.default_backend() == "cpu"
    return jax.jit(function, compiler_options=options if on_cpu else None)


def shard(batch: Any, *, devices: Sequence[Any] | None = None) -> Any:
    """Splits each leaf's leading axis over this host's devices and places it there."""
    mesh = _mesh(devices)
    count = mesh.devices.size
    split = jax.tree.map(
        lambda x: x.reshape(count, x.shape[0] // count, *x.shape[1:]), batch
    )
    return jax.device_put(split, NamedSharding(mesh, PartitionSpec(AXIS)))


def gather(tree: Any) -> Any:
    """The inverse of `shard`: the devices' parts joined again, as NumPy arrays."""
    return jax.tree.map(
        lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), jax.device_get(tree)
    )


def replicate(tree: Any, *, devices: Sequence[Any] | None = None) -> Any:
    """Places a copy of the tree on each of this host's devices."""
    # copied: the state is donated, and device_put would alias the caller's own buffers
    tree = jax.tree.map(np.array, tree)
    return jax.device_put(tree, NamedSharding(_mesh(devices), PartitionSpec()))


def to_host(tree: Any) -> Any:
    """One device's copy of a replicated tree, as NumPy; waits for it."""
    return jax.tree.map(lambda x: np.asarray(x.addressable_shards[0].data), tree)


def assert_replicated(tree: Any) -> None:
    """Raises AssertionError unless all of this host's copies agree bit for bit."""
    for leaf in jax.tree.leaves(tree):
        first, *others = [np.asarray(s.data) for s in leaf.addressable_shards]
        for other in others:
            np.testing.assert_array_equal(first, other)
