"""Steps a second of the laptop recipe: one process on all cores, or one a core.

    python benchmarks/steps_on_cores.py [--rounds 5] [--steps 30] [--processes 2]

What a study gains by pinning each trial to one core. Real batches of the input pipeline
(a phantom of 200 films, in memory), stage 2 of `aals`, no checkpoint and no validation.
Each round times all its processes between two barriers.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from aals_jax.runs import loop
from configs import clavicle


def config(folder: str) -> Any:
    made = clavicle.get_config()
    made.data.update(dir=folder, threads=1, region_images=20)
    made.phantom.update(images=200, prevalence=0.4)
    return made


def work(folder: str, cores: list[int], steps: int, rounds: int, gate: Any) -> None:
    """A process: `steps` a round, between the gate's openings."""
    os.sched_setaffinity(0, cores)  # before JAX counts them
    import jax

    from aals_jax.input import prepare
    from aals_jax.runs import data_options, stages
    from aals_jax.runtime import devices

    made = config(folder)
    data = prepare.open_data(data_options.of(made))
    side, images = data.dataset.side, len(data.streams.image_level)
    fresh = stages.initial_state(made, side)
    stage = stages.distill_stage(made, fresh, images=images, side=side)
    step = devices.data_parallel(stage.step)
    state, batches = (
        devices.replicate(stage.initial),
        loop._batches(stage, data, made, 0),
    )
    for number in range(rounds + 1):  # the first compiles and fills the memory
        for _ in range(steps):
            state, _ = step(state, devices.shard(next(batches)))
        jax.block_until_ready(state)
        gate.wait()
        if number < rounds:
            gate.wait()


def measure(
    folder: str, layout: list[list[int]], steps: int, rounds: int
) -> list[float]:
    """Steps a second of all processes together, one value a round."""
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(len(layout) + 1)
    processes = [
        context.Process(target=work, args=(folder, cores, steps, rounds, gate))
        for cores in layout
    ]
    for process in processes:
        process.start()
    gate.wait()
    found = []
    for _ in range(rounds):
        gate.wait()
        started = time.perf_counter()
        gate.wait()
        found.append(steps * len(layout) / (time.perf_counter() - started))
    for process in processes:
        process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30, help="a round and process")
    parser.add_argument("--processes", type=int, default=2, help="one core each")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[: options.processes]
    layouts = {
        "one process, one core": [cores[:1]],
        f"one process, {len(cores)} cores": [cores],
        f"{len(cores)} processes, one core each": [[core] for core in cores],
    }
    from aals_jax.input import prepare
    from aals_jax.runs import data_options

    with tempfile.TemporaryDirectory() as folder:
        prepare.prepare_dataset(data_options.of(config(folder)))
        for name, layout in layouts.items():
            found = measure(folder, layout, options.steps, options.rounds)
            print(
                f"{name:28} {statistics.median(found):6.2f} steps/s in all; rounds "
                + " ".join(f"{value:.2f}" for value in found),
                flush=True,
            )


if __name__ == "__main__":
    main()
