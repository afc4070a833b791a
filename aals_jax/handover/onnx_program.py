"""The net as ONNX, for those who run it without JAX; made by jax2onnx where it can.

Nothing is taken on trust: a program counts where onnxruntime computes with it what JAX
computes of the same images.
"""

# pyright: reportMissingImports=false

import importlib.util
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from aals_jax.handover import folder
from aals_jax.method import steps
from aals_jax.runs import stages
from aals_jax.runtime import provenance

NAME = "net.onnx"
TOLERANCE = 1e-4  # of probabilities; of boxes a share of the largest coordinate
_IMAGES = 2  # that both compute, one a call
_INSTALL = (
    "--onnx needs jax2onnx and onnxruntime: pip install -r requirements/onnx.txt, and "
    "then pip install --no-deps 'jax2onnx>=0.17.1,<0.18'"
)


class NotConverted(ValueError):
    """A net that ONNX does not get: why, in one line."""


def check_installed() -> None:
    """Raises ValueError, with what to install, where a package is missing."""
    for package in ("jax2onnx", "onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise ValueError(_INSTALL)


def convert(config: Any, arrays: Mapping[str, np.ndarray], *, side: int) -> bytes:
    """The file of a net: f32[1, side, side, 1] `image` -> `maps`, or `boxes`.

    The weights are in it; it takes one image a call.

    Args:
        config: of the run.
        arrays: by name, as `folder.flatten` has them.
        side: of the images, px.

    Raises:
        NotConverted: jax2onnx does not know an operation of the net, or onnxruntime
            computes something else.
    """
    import jax2onnx

    detect = stages.make_detect(config)
    step = steps.make_eval_step(stages.make_model(config, axis_name=None), detect)
    variables = folder.unflatten(arrays)
    shape = (1, side, side, 1)

    def program(image: jax.Array) -> jax.Array:
        return step(variables, image)

    try:
        made: Any = jax2onnx.to_onnx(
            program,
            [jax.ShapeDtypeStruct(shape, np.float32)],
            model_name="net",
            input_names=["image"],
            output_names=["maps" if detect is None else "boxes"],
        )
    except Exception as error:  # a converter's errors are of any kind
        raise NotConverted(f"jax2onnx could not ({type(error).__name__})") from None
    _strip(made)
    content = made.SerializeToString()
    difference = _difference(content, jax.jit(program), shape)
    if not difference <= TOLERANCE:
        raise NotConverted(f"onnxruntime computes something else, by {difference:.1e}")
    return content


def _strip(made: Any) -> None:
    """Takes away where the converter's lines lie, and says what the file is."""
    made.doc_string = ""
    for node in made.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for name, value in {
        "disclaimer": provenance.DISCLAIMER,
        "versions": json.dumps(provenance.versions()),
    }.items():
        made.metadata_props.add(key=name, value=value)


def _difference(content: bytes, expected: Any, shape: tuple[int, ...]) -> float:
    """Largest difference of an output on random images, as of TOLERANCE."""
    import onnxruntime

    rng = np.random.default_rng(0)
    worst = 0.0
    try:
        session = onnxruntime.InferenceSession(
            content, providers=["CPUExecutionProvider"]
        )
        for _ in range(_IMAGES):
            image = rng.random(shape, np.float32)
            (found,) = session.run(None, {"image": image})
            wanted = np.asarray(expected(image))
            if found.shape != wanted.shape:
                return np.inf
            largest = max(1.0, float(np.abs(wanted).max()))
            worst = max(worst, float(np.abs(found - wanted).max()) / largest)
    except Exception as error:  # of its own kinds, without a common one
        kind = type(error).__name__
        raise NotConverted(f"onnxruntime can't run it ({kind})") from None
    return worst
