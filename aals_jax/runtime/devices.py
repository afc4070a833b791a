"""Devices; the only module that asks JAX for them (for other hosts: `hosts`).

pmap is jit(shard_map) today: its inputs must already lie on the mesh, and a replicated
state has no leading device axis. The day pmap goes, this file alone changes.
"""

import dataclasses
import importlib.util
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "batch"
CACHE = Path("runs/.xla")  # compiled programs, below the folder one works in
LOCAL = "local"  # the topology of this process's own devices
# Type of TPU -> shapes of its slices, as Google Cloud rents them (cloud.google.com/tpu,
# pages v5e, v5p and v6e); larger ones of v5p exist. A device of these is a whole chip.
SLICES: Mapping[str, Sequence[str]] = {
    "v5e": ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16"),
    "v5p": ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8"),
    "v6e": ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16"),
}
# What libtpu reads of the machine that it believes to be on.
_NO_TPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-16",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


def start_to_compile(*, whole_tracebacks: bool = False) -> None:
    """Sets JAX up to compile everything anew, without other hosts: for plans."""
    jax.config.update("jax_compilation_cache_dir", None)
    if whole_tracebacks:
        jax.config.update("jax_traceback_filtering", "off")


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


@dataclasses.dataclass(frozen=True)
class Topology:
    """Devices to compile for: those of this process, or of a TPU that is not there."""

    name: str  # LOCAL, or a type and a shape of SLICES such as v5e:4x4
    chips: Sequence[Any]  # devices; of a TPU in SLICES a device is a chip

    @property
    def is_here(self) -> bool:
        """Whether a program can run on it, too."""
        return self.name == LOCAL

    @property
    def count(self) -> int:
        return len(self.chips)

    @property
    def hosts(self) -> int:
        return len({device.process_index for device in self.chips})

    @property
    def of_one_host(self) -> Sequence[Any]:
        """The devices of the first host."""
        first = self.chips[0].process_index
        return [device for device in self.chips if device.process_index == first]

    @property
    def kind(self) -> str:
        return self.chips[0].device_kind

    def memory(self) -> int | None:
        """Bytes of one device's memory that a program may take; None: not known.

        Of a TPU, its compiler is asked for a program that no chip can hold, and says
        how much there is.
        """
        if self.is_here:
            return (self.chips[0].memory_stats() or {}).get("bytes_limit")
        chips = self.of_one_host
        whole = jax.ShapeDtypeStruct((len(chips), 2**40), jnp.float32)  # 4 TiB a chip
        try:
            jax.pmap(jnp.cos, devices=chips).lower(whole).compile()
        except jax.errors.JaxRuntimeError as error:
            found = out_of_memory(str(error))
            return found[1] if found else None
        return None

    def peak(self) -> int | None:
        """Most bytes that one device here has held so far; None: it doesn't say."""
        return (self.chips[0].memory_stats() or {}).get("peak_bytes_in_use")


def topology_names() -> list[str]:
    """What `topology` knows."""
    tpus = [f"{kind}:{shape}" for kind, shapes in SLICES.items() for shape in shapes]
    return [LOCAL, *tpus]


def topology(name: str) -> Topology:
    """The devices of this process, or those of a TPU for which libtpu compiles.

    Call it before anything else that uses devices: for a TPU that is not there, the
    rest of JAX is left to the CPU, unless JAX_PLATFORMS says otherwise.

    Raises:
      ValueError: there is no such topology, or libtpu is not installed.
    """
    if name not in topology_names():
        kind = name.partition(":")[0]
        known = [k for k in topology_names() if k.startswith(kind)] or topology_names()
        raise ValueError(f"topology {name!r} is unknown: use one of {', '.join(known)}")
    if name == LOCAL:
        return Topology(name, jax.local_devices())
    if importlib.util.find_spec("libtpu") is None:
        raise ValueError(
            f"topology {name} is compiled by libtpu, which is not installed: pip "
            "install -r requirements/plan.txt"
        )
    from jax.experimental import topologies

    for variable, value in _NO_TPU.items():
        os.environ.setdefault(variable, value)
    if not os.environ.get("JAX_PLATFORMS"):
        jax.config.update("jax_platforms", "cpu")
    one_chip = {"chips_per_host_bounds": (1, 1, 1)} if name.endswith(":1x1") else {}
    described = topologies.get_topology_desc(name, "tpu", **one_chip)
    return Topology(name, described.devices)


def is_out_of_memory(error: Exception) -> bool:
    """Whether a JaxRuntimeError says that a device's memory is too small."""
    return "RESOURCE_EXHAUSTED" in str(error)


_SIZE = r"([\d.]+)([KMGT]?)"
_OUT_OF_MEMORY = (
    rf"Used {_SIZE} of {_SIZE} hbm",
    rf"\({_SIZE}\) exceeds available HBM \({_SIZE}\)",
)


def out_of_memory(message: str) -> tuple[int, int] | None:
    """(bytes needed, bytes there) that a TPU's compiler names; None: another error.

    >>> out_of_memory("Ran out of memory in memory space hbm. Used 20G of 15.75G hbm.")
    (21474836480, 16911433728)
    """
    for pattern in _OUT_OF_MEMORY:
        if found := re.search(pattern, message):
            scale = {unit: 1024**power for power, unit in enumerate(("", *"KMGT"))}
            needed, unit, there, unit_there = found.groups()
            return (
                round(float(needed) * scale[unit]),
                round(float(there) * scale[unit_there]),
            )
    return None


def _mesh(devices: Sequence[Any] | None) -> Mesh:
    return Mesh(np.array(devices or jax.local_devices()), (AXIS,))


def check_divisible(
    counts: dict[str, int],
    devices: int | None = None,
    *,
    accumulate: int = 1,
) -> None:
    """Raises ValueError for a global batch that does not split evenly.

    Args:
      counts: name -> images.
      devices: over which it is split; None: all there are.
      accumulate: micro-batches into which each device splits its share.
    """
    devices = devices or device_count()
    parts = devices * accumulate
    times = f" times batch.accumulate={accumulate}" if accumulate > 1 else ""
    for name, count in counts.items():
        if count % parts:
            lower = count - count % parts
            upper = lower + parts
            raise ValueError(
                f"{name}={count} is not a multiple of the {devices} devices{times}; "
                f"use {f'{lower} or {upper}' if lower else upper}"
            )


def data_parallel(
    step: Callable[..., Any],
    *,
    constants: int = 0,
    devices: Sequence[Any] | None = None,
) -> Callable[..., Any]:
    """pmaps `step(state, batch, *constants) -> state, metrics` over the devices of all
    hosts.

    The state is replicated, and donated: its buffers are gone after the call. A batch
    is split over this host's devices (`shard`). What comes after it, `constants` in
    number, is replicated and stays.
    """
    return jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0, *[None] * constants),
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
    6e-8 at most. On other devices it is `jax.jit`, and so it is where a caller asks for
    shapes alone.
    """
    options = {"xla_backend_optimization_level": 0}
    usual, quick = jax.jit(function), jax.jit(function, compiler_options=options)

    def call(*arguments: Any) -> Any:
        shapes = any(isinstance(x, Tracer) for x in jax.tree.leaves(arguments))
        on_cpu = jax.default_backend() == "cpu"
        return (quick if on_cpu and not shapes else usual)(*arguments)

    return call


def shard(batch: Any, *, devices: Sequence[Any] | None = None) -> Any:
    """Splits each leaf's leading axis over this host's devices and places it there."""
    mesh = _mesh(devices)
    split = jax.tree.map(
        lambda x: x.reshape(_split_shape(x.shape, mesh.devices.size)), batch
    )
    return jax.device_put(split, NamedSharding(mesh, PartitionSpec(AXIS)))


def _split_shape(shape: Sequence[int], count: int) -> tuple[int, ...]:
    return (count, shape[0] // count, *shape[1:])


def lower(
    parallel: Callable[..., Any],
    replicated: Any,
    batch: Any,
    *constants: Any,
    devices: Sequence[Any],
) -> Any:
    """Lowers what `data_parallel` or `data_parallel_map` made, for shapes alone.

    Args:
      parallel: made with these devices.
      replicated: the state, or variables: jax.ShapeDtypeStruct leaves.
      batch: likewise, as `shard` takes it.
      *constants: likewise, what a step gets beside them.
      devices: real ones, or of a Topology.

    Returns:
      jax.stages.Lowered.
    """
    split = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(_split_shape(x.shape, len(devices)), x.dtype),
        batch,
    )
    function: Any = parallel
    return function.lower(replicated, split, *constants)


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
