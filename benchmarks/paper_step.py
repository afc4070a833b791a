"""One real distillation step of the paper's recipe on this machine's CPU.

    python benchmarks/paper_step.py [--side 1024] [--labelled 2] [--image_level 1]

Builds ResNet-50-FPN by `configs/clavicle.py:paper`, shapes the step on the full batch
of 48 images by jax.eval_shape (nothing runs), then compiles and runs one step on a
small batch of random pixels, and prints time and peak memory. It measures that the step
runs at full size, not how fast a pod is.
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

from aals_jax import parallel, steps, train
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
        ),
        weak=Weak(
            array(image_level, *image),
            array(image_level, *image),
            array(image_level, *pixels),
            row=array(image_level, dtype=jnp.int32),
            lesions=array(image_level, dtype=jnp.int32),
            to_view=array(image_level, 2, 3),
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


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--labelled", type=int, default=2)
    parser.add_argument("--image_level", type=int, default=1)
    options = parser.parse_args()
    config = clavicle.get_config("paper")
    config.model.dtype = "float32"  # a CPU emulates bfloat16
    tx = train.make_tx(config.distill)
    state = train.initial_state(config, options.side)
    state = steps.restart(state.student, tx)
    params = sum(x.size for x in jax.tree.leaves(state.student["params"]))
    print(f"{config.model.backbone} + FPN, {params:,} parameters")

    def make(axis_name):
        return train.make_distill(config, axis_name=axis_name)

    batch = config.batch
    whole = shapes(batch.region + batch.negative, batch.image_level, options.side)
    _, metrics = jax.eval_shape(make(None), state, whole)
    print(f"shapes of all 48 images at {options.side} px: {len(metrics)} metrics")

    small = random_batch(shapes(options.labelled, options.image_level, options.side))
    step = parallel.data_parallel(make(parallel.AXIS), devices=jax.devices()[:1])
    placed = parallel.replicate(state, devices=jax.devices()[:1])
    started = time.perf_counter()
    sharded = parallel.shard(small, devices=jax.devices()[:1])
    placed, metrics = jax.block_until_ready(step(placed, sharded))
    first = time.perf_counter() - started
    started = time.perf_counter()
    placed, metrics = jax.block_until_ready(step(placed, sharded))
    second = time.perf_counter() - started
    values = {k: float(v) for k, v in parallel.to_host(metrics).items()}
    assert all(np.isfinite(v) for v in values.values()), values
    print(
        f"{options.labelled} labelled + {options.image_level} image-level images: "
        f"first step with compilation {first:.1f} s, next {second:.1f} s, "
        f"peak memory {peak_gib():.1f} GiB"
    )
    print({k: round(v, 6) for k, v in values.items()})


if __name__ == "__main__":
    main()
