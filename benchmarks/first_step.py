"""Stage 1 from its beginning to the end of its first step: compiled, then from cache.

    python benchmarks/first_step.py [--repeats 3]

Each call is a process. Before its clock starts it has imported the program and opened
the dataset (a phantom of 200 films); then it makes the initial weights, places them,
makes the first batch and takes the first step, as `aals_jax.runs.loop` does. The first
process compiles with an empty cache; the others find what it left, as a run does that
was started again. Seconds by the clock and of CPU.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]


def first_step(folder: str) -> None:
    """A child: prints the seconds from stage 1's beginning to its first step's end."""
    import jax
    import steps_on_cores

    from aals_jax.input import prepare
    from aals_jax.runs import data_options, loop, stages
    from aals_jax.runtime import devices

    devices.start()
    config = steps_on_cores.config(folder)
    data = prepare.open_data(data_options.of(config))
    jax.block_until_ready(jax.numpy.zeros(()))  # devices are there
    clock, cpu = time.perf_counter(), time.process_time()
    stage = stages.pretrain_stage(config, data.dataset.side)
    state = devices.replicate(stage.initial)
    step = devices.data_parallel(stage.step)
    batch = devices.shard(next(loop._batches(stage, data, config, 0)))
    jax.block_until_ready(step(state, batch))
    print(json.dumps([time.perf_counter() - clock, time.process_time() - cpu]))


def call(folder: str) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, __file__, f"--folder={folder}"],
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": f"{folder}/cache"},
        stdout=subprocess.PIPE,
        check=True,
    )
    clock, cpu = json.loads(done.stdout.splitlines()[-1])
    return clock, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="calls with a cache")
    parser.add_argument("--folder", help=argparse.SUPPRESS)  # of a child
    options = parser.parse_args()
    if options.folder:
        first_step(options.folder)
        return
    import steps_on_cores

    from aals_jax.input import prepare
    from aals_jax.runs import data_options

    with tempfile.TemporaryDirectory() as folder:
        prepare.prepare_dataset(data_options.of(steps_on_cores.config(folder)))
        print("compiled    {:5.1f} s, {:5.1f} s of CPU".format(*call(folder)))
        found = [call(folder) for _ in range(options.repeats)]
        middle = map(statistics.median, zip(*found, strict=True))
        print("from cache  {:5.1f} s, {:5.1f} s of CPU".format(*middle))


if __name__ == "__main__":
    main()
