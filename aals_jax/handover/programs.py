"""The net as StableHLO, for those who run it without this code.

Each file is one program for one kind of machine: `(weights, image) -> maps`, where the
weights are the arrays of weights.safetensors by their names. Lowering needs no such
machine.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax import export

from aals_jax.handover import folder
from aals_jax.method import steps
from aals_jax.runs import stages

PLATFORMS = ("cpu", "cuda", "tpu")
ANY = "any"  # number of images


def name_of(platform: str) -> str:
    return f"net.{platform}.stablehlo"


def lower(
    config: Any, arrays: Mapping[str, np.ndarray], *, side: int
) -> tuple[dict[str, bytes], int | str]:
    """The programs of a net.

    Args:
        config: of the run.
        arrays: by name, as `folder.flatten` has them.
        side: of the images, px.

    Returns:
        Platform -> what `jax.export.deserialize` reads; and how many images a call
        takes: ANY, or 1 where the net's program needs to know.
    """
    step = steps.make_eval_step(
        stages.make_model(config, axis_name=None), stages.make_detect(config)
    )

    def program(weights: Mapping[str, jax.Array], image: jax.Array) -> jax.Array:
        return step(folder.unflatten(weights), image)

    shapes = {n: jax.ShapeDtypeStruct(a.shape, a.dtype) for n, a in arrays.items()}

    def lowered(batch: Any) -> dict[str, bytes]:
        image = jax.ShapeDtypeStruct((batch, side, side, 1), np.float32)
        return {
            platform: bytes(
                export.export(jax.jit(program), platforms=[platform])(
                    shapes, image
                ).serialize()
            )
            for platform in PLATFORMS
        }

    with _without_paths():
        try:
            return lowered(*export.symbolic_shape("batch")), ANY
        except TypeError:  # a shape is computed with, as in detectors of boxes
            return lowered(1), 1


@contextlib.contextmanager
def _without_paths() -> Iterator[None]:
    """A program names the lines it came from: by the file's name without a folder, and
    without the lines that called them."""
    options = {
        "jax_hlo_source_file_canonicalization_regex": ".*/",
        "jax_include_full_tracebacks_in_locations": False,
    }
    before = {name: getattr(jax.config, name) for name in options}
    try:
        for name, value in options.items():
            jax.config.update(name, value)
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
