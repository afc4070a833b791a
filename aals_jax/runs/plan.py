"""What a config takes of a machine, before one has it: its programs compiled for it.

For a TPU that is not there, nothing runs. On the devices at hand the programs run, too.
"""

import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aals_jax.report import plan as page
from aals_jax.runs import check, identity
from aals_jax.runs.lowering import Lowering, images_of, make_stages
from aals_jax.runs.stages import Stage
from aals_jax.runtime import compiled, devices, files, log, provenance
from aals_jax.runtime.devices import Topology

EVALUATION = "evaluation"  # the name of the third program, beside types.STAGES
COMPILERS = ("jax", "jaxlib", "libtpu")
MOST_UNITS = 2**12  # of a chip's batch: above, something is wrong with the memory


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What is asked for, and what a plan can't know without the data."""

    cache: Path  # folder of what was compiled for TPUs, a file a program
    largest: bool = False  # whether the largest batch is looked for
    timed: int = 5  # calls whose time is taken, on devices at hand
    images_of_p: int | None = None  # for methods that keep something of each
    most_boxes: int | None = None  # of an image, for heads of boxes


def plan(config: Any, names: list[str], options: Options) -> dict[str, Any]:
    """The plan of a config on each of these topologies, as JSON.

    A topology that can't have the config's batch, in number or in memory, says so in
    its place.

    Args:
      config: of a run; its data are not read.
      names: of `devices.topology_names`.
      options: see there.

    Raises:
      ValueError: the config can't be run, or on none of them; a topology is unknown;
        libtpu is missing; or something has to be said that is of the data.
    """
    check.check_fields(config)
    topologies = [devices.topology(name) for name in names]
    planned = []
    for topology in topologies:
        try:
            check.check_divisible(config, topology)
        except ValueError as error:
            if len(topologies) == 1:
                raise
            planned.append(_head(topology) | {"refused": str(error)})
        else:
            planned.append(_Planner(config, topology, options).result())
    return {
        "config": {
            "finding": config.finding,
            "scale": config.scale,
            "method": config.method,
            "side": config.data.side,
            "dtype": config.model.dtype,
            "digest": identity.digest(identity.of(config)),
        },
        "versions": provenance.versions_of(COMPILERS),
        "topologies": planned,
    }


def _head(topology: Topology) -> dict[str, Any]:
    return {
        "name": topology.name,
        "devices": topology.count,
        "hosts": topology.hosts,
        "kind": topology.kind,
        "ran": topology.is_here,
    }


def write(record: dict[str, Any], folder: Path) -> None:
    """Writes plan.json and plan.md."""
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / "plan.json", record)
    files.write_text(folder / "plan.md", page.render(record))


class _Planner:
    """The programs of one config on one topology."""

    def __init__(self, config: Any, topology: Topology, options: Options):
        self._config, self._topology, self._options = config, topology, options
        self._memory = topology.memory()
        self._compiled: dict[str, Any] = {}  # of devices at hand, to be run
        self._lowering = Lowering(
            config,
            topology,
            images_of_p=options.images_of_p,
            most_boxes=options.most_boxes,
        )

    def result(self) -> dict[str, Any]:
        if self._options.largest and self._memory is None:
            raise ValueError(
                f"the largest batch on {self._topology.name}: {self._topology.kind} "
                "names no limit of its memory; leave --largest out"
            )
        programs = {s.name: self._step(s) for s in self._lowering.stages}
        images = {"images": self._config.evaluation.batch_size}
        forward, share = self._lowering.evaluation(), len(self._topology.of_one_host)
        programs[EVALUATION] = self._compile(EVALUATION, forward, images, share)
        record = _head(self._topology) | {
            "memory_bytes": self._memory,
            "programs": programs,
        }
        if self._topology.is_here and self._options.timed:
            self._measure(programs)
        if self._options.largest:
            record["largest"] = self._largest(programs)
        return record

    def _step(self, stage: Stage, units: int | None = None) -> dict[str, Any]:
        """A training step with the config's batch, or with `units` of it a device."""
        labelled, weak = images_of(stage.counts)
        if units is not None:
            times = units * self._topology.count
            labelled, weak = (times * n for n in self._unit(stage.counts))
        lowered = self._lowering.step(stage, labelled, weak)
        images = {"labelled": labelled} | ({"image_level": weak} if weak else {})
        return self._compile(stage.name, lowered, images, self._topology.count)

    def _compile(
        self, name: str, lowered: Any, images: Mapping[str, int], count: int
    ) -> dict[str, Any]:
        """What a program says of itself, from the cache where it was compiled before.

        Args:
          name: for the log.
          lowered: the program.
          images: of each kind, over `count` devices.
          count: of the devices that share them.
        """
        each = {kind: number // count for kind, number in images.items()}
        what = f"{self._topology.name}, {name}, {page.in_words(each)} a device"
        path = self._options.cache / f"{_digest(lowered, self._topology)}.json"
        if path.exists() and not self._topology.is_here:
            log.info("%s: compiled before, read from %s", what, path)
            return json.loads(path.read_text())
        log.info("%s: compiling (minutes at 1024 px)", what)
        started, cpu = time.perf_counter(), time.process_time()
        record: dict[str, Any] = {"images": each}
        try:
            program = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            found = devices.out_of_memory(str(error))
            if found is None:
                raise
            record |= {"fits": False, "needed_bytes": found[0]}
        else:
            said = compiled.read(program)
            record |= {"fits": self._fits(said), "needed_bytes": said.memory}
            record |= dataclasses.asdict(said)
            self._compiled[name] = program
        record["compile_s"] = round(time.perf_counter() - started, 1)
        record["compile_cpu_s"] = round(time.process_time() - cpu, 1)
        log.info("%s: %s", what, _outcome(record, self._memory))
        if not self._topology.is_here:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_json(path, record)
        return record

    def _fits(self, said: compiled.Program) -> bool | None:
        """Of a program that could be compiled; None: there is no bound."""
        if not self._topology.is_here:
            return True  # a TPU's compiler refuses what does not fit
        return None if self._memory is None else said.memory <= self._memory

    def _measure(self, programs: Mapping[str, dict[str, Any]]) -> None:
        """Runs what fits on these devices, and adds what that took."""
        config = self._config
        both = make_stages(config, self._options.images_of_p)
        for stage in both:
            batch = self._lowering.batch(stage, stage.counts)
            program = programs[stage.name]
            self._run(program, stage.name, stage.initial, batch, *stage.constants)
        side, count = config.data.side, config.evaluation.batch_size
        images = np.full((count, side, side, 1), 0.5, np.float32)
        student = both[0].whole(both[0].initial.student)
        self._run(programs[EVALUATION], EVALUATION, student, images)

    def _run(
        self,
        record: dict[str, Any],
        name: str,
        replicated: Any,
        batch: Any,
        *constants: Any,
    ) -> None:
        """Adds to a program's record the median of its seconds, after one call that is
        not counted, and the most memory held so far, where a device says that."""
        if record["fits"] is False:
            return
        here, program, taken = self._topology.chips, self._compiled[name], []
        try:
            state = devices.replicate(replicated, devices=here)
            rest = [devices.replicate(tree, devices=here) for tree in constants]
            placed = devices.shard(batch, devices=here)
            for _ in range(self._options.timed + 1):
                started = time.perf_counter()
                result = jax.block_until_ready(program(state, placed, *rest))
                taken.append(time.perf_counter() - started)
                # a step's state is donated, and the next one comes back
                state = state if name == EVALUATION else result[0]
        except jax.errors.JaxRuntimeError as error:
            if not devices.is_out_of_memory(error):
                raise
            record["fits"] = False
            log.warning("%s, %s: out of memory when run", self._topology.name, name)
            return
        seconds = float(np.median(taken[1:]))
        record |= {"seconds": seconds, "peak_bytes": self._topology.peak()}
        log.info("%s, %s: %.3f s a call", self._topology.name, name, seconds)

    def _largest(self, programs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """The largest batch of the hungrier step, in the config's mix of images."""
        assert self._memory is not None
        needed = {
            s.name: programs[s.name]["needed_bytes"] for s in self._lowering.stages
        }
        stage = max(self._lowering.stages, key=lambda stage: needed[stage.name])
        bound, unit = self._memory, self._unit(stage.counts)

        def needs(units: int) -> int:
            record = self._step(stage, units)
            # the compiler's verdict counts, should its sum say otherwise
            need = record["needed_bytes"]
            return min(need, bound) if record["fits"] else max(need, bound + 1)

        found = largest_that_fits(
            needs,
            bound=bound,
            start=sum(images_of(stage.counts)) // sum(unit) // self._topology.count,
        )
        labelled, weak = unit
        return {
            "stage": stage.name,
            "labelled": found.most * labelled,
            "image_level": found.most * weak,
            "needed_bytes": found.needed.get(found.most),
            "next_labelled": (found.most + 1) * labelled,
            "next_image_level": (found.most + 1) * weak,
            "next_needed_bytes": found.needed.get(found.most + 1),
            "compiles": len(found.needed),
        }

    def _unit(self, counts: Mapping[str, int]) -> tuple[int, int]:
        """The smallest batch of a device that has the mix of the config's, in each of
        its micro-batches."""
        labelled, weak = images_of(counts)
        times, unit = self._config.batch.accumulate, math.gcd(labelled, weak)
        return times * labelled // unit, times * weak // unit


def _digest(lowered: Any, topology: Topology) -> str:
    """Names a program by its text and by all that compiles it."""
    there = (topology.name, topology.kind, provenance.versions_of(COMPILERS))
    text = json.dumps([lowered.as_text(), *there])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _outcome(record: Mapping[str, Any], memory: int | None) -> str:
    need = page.in_gib(record["needed_bytes"], memory)
    verdict = " and does not fit" if record["fits"] is False else ""
    return f"needs {need} GiB{verdict}, compiled in {record['compile_s']:.0f} s"


@dataclasses.dataclass(frozen=True)
class Largest:
    """What `largest_that_fits` found."""

    most: int  # 0: not even one fits
    needed: Mapping[int, int]  # each number that was tried -> what it needs


def largest_that_fits(
    needs: Callable[[int], int], *, bound: int, start: int
) -> Largest:
    """The largest number that needs at most `bound`, where more needs more.

    A line through two values says where to look; from there strides that double find a
    number that fits and one that does not, and halving brings them together. So the
    result is never the line's word: it was tried, and so was the next number.

    Args:
      needs: number -> what it needs; slow.
      bound: what there is.
      start: >= 1, where to begin.

    Raises:
      ValueError: even MOST_UNITS would fit.

    >>> largest_that_fits(lambda n: 100 + 30 * n, bound=1000, start=1)
    Largest(most=30, needed={1: 130, 2: 160, 30: 1000, 31: 1030})
    """
    needed = {n: needs(n) for n in (start, 2 * start)}
    slope = (needed[2 * start] - needed[start]) / start
    room = bound - needed[start]
    guess = start + math.floor(room / slope) if slope > 0 else 4 * start
    stride = 1
    while True:
        most = max((n for n, need in needed.items() if need <= bound), default=0)
        least = min((n for n, need in needed.items() if need > bound), default=None)
        if most >= MOST_UNITS:
            raise ValueError(f"even {most} times the smallest batch would fit")
        if least == most + 1:
            return Largest(most, needed)
        if not most < guess < (least or math.inf):
            guess = (most + least) // 2 if least else most + stride
        guess = min(guess, MOST_UNITS)
        needed[guess] = needs(guess)
        guess += stride if needed[guess] <= bound else -stride
        stride *= 2
