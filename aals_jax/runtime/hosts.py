"""Hosts: how the processes of one run find each other, agree, and end together.

Small things (a step, a digest, a message) go through the key-value store of JAX's
coordination service, which works at any time and on any thread. Arrays go through
collectives of all devices. Host 0 decides and writes; the others hear of it.

Everything here also works for a process that is alone.
"""

import dataclasses
import itertools
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jax._src import clusters, distributed  # the store has no public name
from jax.experimental import multihost_utils

from aals_jax.runtime import log

_LAUNCHERS = {  # JAX's classes, in the words of their users
    "SlurmCluster": "Slurm",
    "OmpiCluster": "Open MPI",
    "GceTpuCluster": "Cloud TPU",
    "GkeTpuCluster": "Cloud TPU",
    "K8sCluster": "Kubernetes",
}
_VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
T = TypeVar("T")
JOIN_S = 600  # slow imports and a queue that starts its tasks one by one
LOST_S = 20  # a host that is silent for so long counts as gone
_POLL_MS = 10_000
_CHUNK = 1 << 24  # words of 4 bytes that one collective carries
_calls: dict[str, itertools.count] = {}


class Disagreement(ValueError):
    """The hosts of a run differ in what has to be the same."""


@dataclasses.dataclass(frozen=True)
class Joining:
    """Who takes part in a run, as one process sees it."""

    count: int  # processes of the run; 1: this one is alone
    index: int  # of this process, 0 .. count - 1
    coordinator: str  # HOST:PORT of process 0; "" for one that is alone
    local_device: int | None  # the one device of this process; None: all it can see
    found_by: str  # how this was found out, in words


ALONE = Joining(1, 0, "", None, "nothing names other hosts")


def choose(
    environ: Mapping[str, str],
    *,
    coordinator: str | None = None,
    num_hosts: int | None = None,
    host: int | None = None,
) -> Joining:
    """How this process joins a run: by flags, else JAX's variables, else a launcher.

    Args:
      environ: the environment of the process, which is that of JAX's detection too.
      coordinator, num_hosts, host: the flags of these names; None: not given.

    Raises:
      ValueError: a part is missing or impossible, or a launcher started several tasks
        in a way that none of them can join.
    """
    if num_hosts == 1 and coordinator is None and not host:
        return dataclasses.replace(ALONE, found_by="--num_hosts=1")
    given = {"--coordinator": coordinator, "--num_hosts": num_hosts, "--host": host}
    if any(value is not None for value in given.values()):
        return _complete(given, "the flags")
    variables = {name: environ.get(name) or None for name in _VARIABLES}
    if any(value is not None for value in variables.values()):
        return _complete(variables, "JAX's variables")
    launcher = _launcher(environ)
    if launcher is None:
        _refuse_tasks_without_launcher(environ)
        return ALONE
    name = _LAUNCHERS.get(f"{launcher.__name__}", f"{launcher.__name__}")
    count = launcher.get_process_count()
    if count == 1:
        return dataclasses.replace(ALONE, found_by=f"{name} started one task")
    return Joining(
        count=count,
        index=launcher.get_process_id(),
        coordinator=launcher.get_coordinator_address(
            timeout_secs=JOIN_S,
            override_coordinator_port=environ.get("JAX_COORDINATOR_PORT"),
        ),
        local_device=_own_device(environ, launcher.get_local_process_id()),
        found_by=name,
    )


def _complete(parts: Mapping[str, Any], source: str) -> Joining:
    """The joining that three values describe, once all are there and fit."""
    missing = [name for name, value in parts.items() if value is None]
    if missing:
        given = ", ".join(name for name in parts if name not in missing)
        raise ValueError(
            f"{given} without {' and '.join(missing)}: to join the other hosts give "
            f"all of {', '.join(parts)}; to train alone give none"
        )
    (address_name, address), (count_name, count), (index_name, index) = parts.items()
    try:
        numbers = int(count), int(index)
    except ValueError:
        raise ValueError(
            f"{count_name}={count}, {index_name}={index}: whole numbers are needed"
        ) from None
    if not 0 <= numbers[1] < numbers[0]:
        raise ValueError(
            f"{index_name}={index} with {count_name}={count}: hosts are counted from 0 "
            f"to {numbers[0] - 1}"
        )
    if not address.rpartition(":")[0] or not address.rpartition(":")[2].isdigit():
        raise ValueError(
            f"{address_name}={address}: give host 0's name and a free port, HOST:PORT"
        )
    if numbers[0] == 1:
        return dataclasses.replace(ALONE, found_by=source)
    return Joining(*numbers, address, None, source)


def _launcher(environ: Mapping[str, str]) -> Any:
    """JAX's description of what started this process; None: nothing that it knows."""
    for launcher in clusters.ClusterEnv._cluster_types:
        if launcher.opt_in_only_method:
            continue
        # JAX looks up the job of every pod, and a pod may have none
        if launcher.__name__ == "K8sCluster" and "JOB_COMPLETION_INDEX" not in environ:
            continue
        if launcher.is_env_present():
            return launcher
    return None


# Launchers whose variables don't say where process 0 is: their number of tasks, the
# variable of a task's own number, and what started it. Open MPI 5 is no ORTE any more,
# by which JAX knows it.
_UNKNOWN = {
    "OMPI_COMM_WORLD_SIZE": ("OMPI_COMM_WORLD_RANK", "Open MPI"),
    "PMI_SIZE": ("PMI_RANK", "MPI"),
    "MV2_COMM_WORLD_SIZE": ("MV2_COMM_WORLD_RANK", "MVAPICH"),
    "WORLD_SIZE": ("RANK", "torchrun"),
}


def _refuse_tasks_without_launcher(environ: Mapping[str, str]) -> None:
    def several(variable: str) -> bool:
        tasks = environ.get(variable, "1")
        return tasks.isdigit() and int(tasks) > 1

    if several("SLURM_NTASKS") and "SLURM_STEP_NODELIST" not in environ:
        raise ValueError(
            f"Slurm gives this job {environ['SLURM_NTASKS']} tasks, and this process "
            "was not started by srun: put srun before the command to train on all of "
            "them, or give --num_hosts=1 to train alone"
        )
    for variable, (rank, name) in _UNKNOWN.items():
        if several(variable):
            tasks = environ[variable]
            raise ValueError(
                f"{name} started {tasks} tasks ({variable}={tasks}), whose variables "
                "don't say where they meet: give each --coordinator=HOST:PORT of task "
                f"0, --num_hosts={tasks} and --host={environ.get(rank, 'I')} (its "
                f"{rank}), or --num_hosts=1 to train alone"
            )


def _own_device(environ: Mapping[str, str], local: int | None) -> int | None:
    """Which of a node's devices a task gets; None: all that it can see."""
    several = environ.get("SLURM_STEP_TASKS_PER_NODE") or environ.get(
        "OMPI_COMM_WORLD_LOCAL_SIZE", "1"
    )
    alone_on_node = several.partition("(")[0].strip() == "1"
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    bound = visible is not None and len(visible.split(",")) == 1
    return None if local is None or alone_on_node or bound else local


def join(joining: Joining) -> None:
    """Joins the other processes; one that is alone has nothing to do.

    Raises:
      RuntimeError: JAX sees another number of processes than the launcher named.
    """
    if joining.count == 1 or distributed.global_state.client:
        return  # devices stay unasked: a trial chooses its cores before they start
    # SIGTERM is ours: see runtime.stopping
    jax.config.update("jax_enable_preemption_service", False)
    own = joining.local_device
    jax.distributed.initialize(
        joining.coordinator,
        joining.count,
        joining.index,
        local_device_ids=None if own is None else [own],
        cluster_detection_method="deactivate",
        initialization_timeout=JOIN_S,
        heartbeat_timeout_seconds=LOST_S,
    )
    wait("joined", limit_s=JOIN_S)
    # once all are here, so that slow imports don't count as a lost collective
    multihost_utils.sync_global_devices("joined")
    if jax.process_count() != joining.count:
        raise RuntimeError(
            f"{joining.found_by} names {joining.count} processes and JAX sees "
            f"{jax.process_count()}"
        )


def index() -> int:
    """The number of this process."""
    return distributed.global_state.process_id  # asking JAX would start the devices


def count() -> int:
    """Processes of the run."""
    return distributed.global_state.num_processes


def is_primary() -> bool:
    """Whether this host writes what all hosts share."""
    return index() == 0


def wait(name: str, *, limit_s: float) -> None:
    """Waits until all hosts came here.

    Raises:
      TimeoutError: some did not within the limit.
    """
    if count() == 1:
        return
    try:
        _client().wait_at_barrier(_next(name), int(1000 * limit_s))
    except jax.errors.JaxRuntimeError:
        raise TimeoutError(
            f"host {index()} waited {limit_s:.0f} s for the others ({name})"
        ) from None


def from_primary(make: Callable[[], T]) -> T:
    """What `make` gives on host 0, on every host; the others don't call it.

    Args:
      make: gives a value that JSON can hold.
    """
    if count() == 1:
        return make()
    key = _next("value")
    if is_primary():
        value = make()
        put(key, json.dumps(value))
        return value
    return json.loads(get(key))


def from_all(value: str) -> list[str]:
    """The value of each host, on every host."""
    if count() == 1:
        return [value]
    key = _next("values")
    put(f"{key}/{index()}", value)
    return [get(f"{key}/{number}") for number in range(count())]


def agree(facts: Mapping[str, str], remedies: Mapping[str, str]) -> None:
    """Raises Disagreement, on every host alike, where a fact differs between hosts.

    Args:
      facts: name -> short text, of this host.
      remedies: name -> what to do where it differs.
    """
    everyone = [json.loads(text) for text in from_all(json.dumps(dict(facts)))]
    lines = []
    for name, remedy in remedies.items():
        values = [other[name] for other in everyone]
        if len(set(values)) > 1:
            shown = ", ".join(f"host {i}: {value}" for i, value in enumerate(values))
            lines.append(f"\n- {name} ({shown}): {remedy}")
    if lines:
        raise Disagreement(
            f"the {count()} hosts differ, so none starts:" + "".join(lines)
        )


def tree_from_primary(make: Callable[[], T], like: T) -> T:
    """A tree of arrays that host 0 makes, on every host, bit for bit.

    Args:
      make: called on host 0 alone; its tree has the structure, shapes and dtypes of
        `like`.
      like: the same on all hosts.
    """
    if count() == 1:
        return make()
    leaves, structure = jax.tree.flatten(make() if is_primary() else like)
    arrays = [np.asarray(leaf) for leaf in leaves]
    content = b"".join(array.tobytes() for array in arrays)
    words = np.frombuffer(content + bytes(-len(content) % 4), np.uint32)
    # whole words: a sum of floats would lose the sign of -0
    received = [
        multihost_utils.broadcast_one_to_all(words[start : start + _CHUNK])
        for start in range(0, len(words), _CHUNK)
    ]
    content, place, made = np.concatenate(received).tobytes(), 0, []
    for array in arrays:
        part = content[place : place + array.nbytes]
        made.append(np.frombuffer(part, array.dtype).reshape(array.shape).copy())
        place += array.nbytes
    return jax.tree.unflatten(structure, made)


def gather(array: np.ndarray) -> np.ndarray:
    """[n, ...] of this host -> [hosts, n, ...], the same on every host."""
    if count() == 1:
        return array[None]
    return np.asarray(multihost_utils.process_allgather(array))


def put(key: str, value: str) -> None:
    """Writes into the store that all hosts read; the first one to do so wins."""
    try:
        _client().key_value_set(key, value)
    except jax.errors.JaxRuntimeError as error:
        if "ALREADY_EXISTS" not in str(error):
            raise


def seen(key: str) -> str | None:
    """What the store holds now; None: nothing, or the store is closed."""
    client = distributed.global_state.client
    try:
        return client.key_value_try_get(key) if client else None
    except jax.errors.JaxRuntimeError:
        return None


def get(key: str, *, limit_s: float = float("inf")) -> str:
    """Waits for a key of the store.

    Raises:
      TimeoutError: it did not come within the limit.
    """
    ends = time.monotonic() + limit_s
    while True:
        left = min(_POLL_MS, int(1000 * min(ends - time.monotonic(), 3600)))
        try:
            return _client().blocking_key_value_get(key, max(left, 1))
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
            if time.monotonic() >= ends:
                raise TimeoutError(f"host {index()} waited for {key}") from None


def _client() -> Any:
    client = distributed.global_state.client
    assert client is not None, "this process is alone"
    return client


def _next(name: str) -> str:
    """A key that all hosts form alike, since they make these calls in one order."""
    return f"{name}/{next(_calls.setdefault(name, itertools.count()))}"


def announce(joining: Joining) -> None:
    """One line of host 0 on who takes part; the others fall silent but for warnings."""
    if not is_primary():
        log.only_warnings(prefix=f"host {index()}: ")
    hosts = "1 host" if joining.count == 1 else f"{joining.count} hosts"
    log.info("%s: %s", hosts, joining.found_by)
