"""The distillation step of the paper's recipe on one device of this machine.

    python benchmarks/paper_step.py [--side 1024] [--labelled 2] [--image_level 1]

Builds ResNet-50-FPN by `configs/clavicle.py:paper`, shapes the step on the full batch
of 48 images by jax.eval_shape (nothing runs), then compiles it for a batch of random
pixels and runs it, and prints time and peak memory. The usual batch is what a CPU can
bear; an accelerator takes more:

    python benchmarks/paper_step.py --labelled 16 --image_level 8 --steps 20
"""

import argparse
import resource
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import jax
import jax.numpy as jnp
import numpy as np

from aals_jax.method import steps
from aals_jax.runs import stages
from aals_jax.runtime import devices
from aals_jax.types import Batch, Labelled, Weak
from configs import clavicle


def shapes(labelled: int, image_level: int, side: int) -> Any:
    def array(count, *shape, dtype=jnp.float32) -> Any:
        return jax.ShapeDtypeStruct((count, *shape), dtype)

    image, pixels = (side, side, 1), (side // 4, side // 4)
    return Batch(
        labelled=Labelled(
            array(labelled, *image),
            array(labelled, *pixels),
            array(labelled, *pixels),
            array(labelled),
            boxes=None,
            keep=None,
        ),
        weak=Weak(
            array(image_level, *image),
            array(image_level, *image),
            array(image_level, *pixels),
            row=array(image_level, dtype=jnp.int32),
            lesions=array(image_level, dtype=jnp.int32),
            to_view=array(image_level, 2, 3),
            keep=None,
            withheld=None,
        ),
    )


def random_batch(like: Any) -> Any:
    rng = np.random.default_rng(0)
    batch = jax.tree.map(lambda x: rng.random(x.shape).astype(x.dtype), like)
    ones = jax.tree.map(np.ones_like, batch)
    target = (batch.labelled.target > 0.99).astype(np.float32)
    return batch.replace(
        labelled=batch.labelled.replace(target=target, valid=ones.labelled.valid),
        weak=batch.weak.replace(valid=ones.weak.valid),
    )


def peak_gib(device: Any) -> float:
    """Of the device where it says so, else of the process."""
    there = (device.memory_stats() or {}).get("peak_bytes_in_use")
    if there is not None:
        return there / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--labelled", type=int, default=2, help="R and N")
    parser.add_argument("--image_level", type=int, default=1, help="P")
    parser.add_argument("--steps", type=int, default=1, help="timed, after the first")
    parser.add_argument(
        "--dtype", help="of the computation; else float32 on a CPU, as configured there"
    )
    return parser.parse_args()


def configured(dtype: str | None) -> Any:
    config = clavicle.get_config("paper")
    if jax.default_backend() == "cpu":
        config.model.dtype = "float32"  # a CPU emulates bfloat16
    config.model.dtype = dtype or config.model.dtype
    return config


def shape_whole(config: Any, state: Any, side: int) -> None:
    """The step on the recipe's whole batch, without running it."""
    counts = config.batch
    whole = shapes(counts.region + counts.negative, counts.image_level, side)
    _, metrics = jax.eval_shape(
        stages.make_distill(config, axis_name=None), state, whole
    )
    images = counts.region + counts.negative + counts.image_level
    print(f"shapes of all {images} images at {side} px: {len(metrics)} metrics")


def main() -> None:
    options, device = arguments(), jax.devices()[0]
    config = configured(options.dtype)
    state = stages.initial_state(config, options.side)
    state = steps.restart(state.student, stages.make_tx(config.distill))
    params = sum(x.size for x in jax.tree.leaves(state.student["params"]))
    print(f"{config.model.backbone} + FPN, {params:,} parameters, {config.model.dtype}")
    shape_whole(config, state, options.side)

    batch = random_batch(shapes(options.labelled, options.image_level, options.side))
    sharded = devices.shard(batch, devices=[device])
    placed = devices.replicate(state, devices=[device])
    make = stages.make_distill(config, axis_name=devices.AXIS)
    step = devices.data_parallel(make, devices=[device])
    started = time.perf_counter()
    placed, metrics = jax.block_until_ready(step(placed, sharded))
    first = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(options.steps):
        placed, metrics = step(placed, sharded)
    jax.block_until_ready(metrics)
    each = (time.perf_counter() - started) / options.steps
    values = {k: float(v) for k, v in devices.to_host(metrics).items()}
    assert all(np.isfinite(v) for v in values.values()), values
    images = options.labelled + options.image_level
    print(
        f"{device.device_kind}: {options.labelled} labelled + {options.image_level} "
        f"image-level images at {options.side} px: first step with compilation "
        f"{first:.1f} s, then {each:.3f} s a step ({images / each:.1f} images/s), "
        f"peak memory {peak_gib(device):.1f} GiB, jax {jax.__version__}"
    )
    print({k: round(v, 6) for k, v in values.items()})


if __name__ == "__main__":
    main()
