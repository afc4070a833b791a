"""Weights of torchvision's and timm's ResNets and DenseNets in our backbones' places.

Our modules bear their names, so that each of our leaves has one name there. Left out is
the classifier alone; everything else of a file has a place, or is an error.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from aals_jax.models import densenet, resnet
from aals_jax.models.intensity import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    INTENSITY_MEAN,
    INTENSITY_STD,
)
from aals_jax.types import Variables

_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
_HEADS = ("fc", "classifier")  # torchvision's and timm's, of both families
_COUNTER = "num_batches_tracked"  # of PyTorch's BatchNorm; nothing here reads it
_UNITS = {  # stage and number of a block or layer
    "resnet": re.compile(r"layer(\d)\.(\d+)\."),
    "densenet": re.compile(r"denseblock(\d)\.denselayer(\d+)\."),
}
_DENSE = re.compile(r"(denselayer\d+\.(?:norm|conv))(\d)\.")


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of each array of a file, by its name there."""

    mapped: Mapping[str, str]  # -> its place in the backbone, such as conv1/kernel
    left_out: tuple[str, ...]  # of what stands beside the features
    counters: int  # arrays named num_batches_tracked
    beside: str = "classifier"  # what that is

    def __str__(self) -> str:
        left = ", ".join(self.left_out) or "nothing"
        counters = f" and {self.counters} counters of batches" * bool(self.counters)
        return (
            f"{len(self.mapped)} arrays mapped, left out: {left} ({self.beside})"
            f"{counters}; none missing, none unmatched"
        )


def place(
    arrays: Mapping[str, np.ndarray], backbone: Variables
) -> tuple[dict[str, Any], Report]:
    """A backbone's variables with a file's weights, and which went where.

    Convolutions O I H W become H W I O. A stem of two channels, a grey image and ones,
    gets the weights summed over the colours (`_grey_stem`). What stands before the
    backbone's names in all of them is not looked at: `features.`, `module.`.

    Args:
      arrays: by their names in torchvision or timm; of floats, which become float32.
      backbone: params and batch_stats of a ResNet or DenseNet, float32 leaves or their
        shapes, which are all that is read.

    Raises:
      ValueError: an array without a place, a place without an array, or arrays of a
        wrong shape, type or value; one error with all of them.
    """
    tree = {kind: backbone[kind] for kind in ("params", "batch_stats")}
    leaves: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(tree)
    names = {key: _names(key[1:]) for key in leaves}
    prefix = _prefix(arrays, [name for spelt in names.values() for name in spelt])
    found: dict[tuple[str, ...], str] = {}
    for key, candidates in names.items():
        there = [prefix + name for name in candidates if prefix + name in arrays]
        if there:
            found[key] = there[0]
    rest = [name for name in arrays if name not in set(found.values())]
    counters = [name for name in rest if name.endswith(f".{_COUNTER}")]
    left_out = sorted(name for name in rest if _is_head(name, prefix))
    shapes = {key: tuple(leaf.shape) for key, leaf in leaves.items()}
    problems = [
        f"missing: {prefix}{candidates[0]}"
        for key, candidates in names.items()
        if key not in found
    ]
    known = {*counters, *left_out}
    problems += [f"unmatched: {name}" for name in rest if name not in known]
    problems += [
        f"{name}: {wrong}"
        for key, name in found.items()
        if (wrong := _wrong(arrays[name], key, shapes[key]))
    ]
    if problems:
        raise ValueError(
            f"the weights don't fit the backbone{_hint(arrays)}:\n- "
            + "\n- ".join(problems)
        )
    placed = {k: _converted(arrays[name], shapes[k]) for k, name in found.items()}
    mapped = {name: "/".join(key[1:]) for key, name in found.items()}
    return traverse_util.unflatten_dict(placed), Report(
        mapped, tuple(left_out), len(counters)
    )


def _names(path: tuple[str, ...]) -> list[str]:
    """What a leaf is called there; DenseNet's layers have an old spelling too.

    >>> _names(("layer2_0", "downsample_bn", "mean"))
    ['layer2.0.downsample.1.running_mean']
    >>> _names(("denseblock1_denselayer2", "conv1", "kernel"))
    ['denseblock1.denselayer2.conv1.weight', 'denseblock1.denselayer2.conv.1.weight']
    """
    *modules, leaf = path
    name = ".".join([*modules, _LEAVES[leaf]])
    name = re.sub(r"^(layer\d)_", r"\1.", name).replace("_denselayer", ".denselayer")
    name = name.replace("downsample_conv", "downsample.0")
    name = name.replace("downsample_bn", "downsample.1")
    old = _DENSE.sub(r"\1.\2.", name)
    return [name] if old == name else [name, old]


def _is_stem(key: tuple[str, ...]) -> bool:
    return len(key) == 3 and key[1] in ("conv0", "conv1")


def _prefix(arrays: Mapping[str, np.ndarray], names: Sequence[str]) -> str:
    """What stands before the backbone's names: what most of them are there with."""
    candidates = {
        array.removesuffix(name)
        for name in names
        if name.count(".") <= 1  # of the stem: enough to find it
        for array in arrays
        if array.endswith(name)
    }
    found = {p: sum(p + name in arrays for name in names) for p in candidates}
    return max(sorted(found), key=lambda p: found[p], default="")


def _is_head(name: str, prefix: str) -> bool:
    """Whether an array is of the classifier, which stands beside `features.`."""
    outer = prefix.removesuffix("features.")
    return name.startswith(outer) and name[len(outer) :].split(".")[0] in _HEADS


def _wrong(array: np.ndarray, key: tuple[str, ...], shape: tuple[int, ...]) -> str:
    """What keeps an array from the place of that path and shape; nothing: ""."""
    if key[-1] == "kernel":
        height, width, into, out = shape
        into = len(IMAGENET_MEAN) if _is_stem(key) else into
        shape = (out, into, height, width)
    if wrong := fault(array, shape):
        return wrong
    if key[-1] == "var" and (array < 0).any():
        return "has variances below 0"
    return ""


def fault(array: np.ndarray, shape: tuple[int, ...]) -> str:
    """What keeps an array from being float32 of that shape; nothing: ""."""
    if array.shape != shape:
        return f"has shape {array.shape}, the backbone needs {shape}"
    if not jax.numpy.issubdtype(array.dtype, np.floating):  # knows bfloat16 too
        return f"is of {array.dtype}, not of floats"
    with np.errstate(over="ignore"):
        wide = array.astype(np.float32)
    return (
        "" if np.isfinite(wide).all() else "has values that are not finite in float32"
    )


def _converted(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array as float32 of a leaf's shape."""
    if len(shape) < 4:
        return array.astype(np.float32)
    kernel = array.astype(np.float64).transpose(2, 3, 1, 0)
    if kernel.shape != shape:
        kernel = _grey_stem(kernel)
    return kernel.astype(np.float32)


def _grey_stem(kernel: np.ndarray) -> np.ndarray:
    """f64[h, w, 3, out] of colours -> f64[h, w, 2, out] of a grey image and of ones.

    `intensity.normalised` gives (g - m) / s of a grey image g with one m and s, where
    torchvision's weights expect (g - m_c) / s_c of colour c. The first is the second by
    a factor and a shift for each colour: the factors go into the sum over colours, the
    shifts into the channel of ones. Padding is 0 in both channels, as there, so that
    borders agree too.
    """
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    factors = INTENSITY_STD / std
    shifts = (INTENSITY_MEAN - mean) / std
    return np.einsum("hwco,pc->hwpo", kernel, np.stack([factors, shifts]))


def _hint(arrays: Mapping[str, np.ndarray]) -> str:
    """Which net a file's names look like, for the error of one that doesn't fit."""
    found = sorted(set(_nets(list(arrays))))
    return f"; by its names the file is of {' or '.join(found)}" if found else ""


def _nets(names: list[str]) -> Iterator[str]:
    """Values of the config's fields whose nets have these layers."""
    depths = {
        kind: tuple(count for _, count in sorted(Counter(s for s, _ in units).items()))
        for kind, pattern in _UNITS.items()
        if (units := {m.groups() for n in names for m in [pattern.search(n)] if m})
    }
    block = "bottleneck" if any(".conv3." in name for name in names) else "basic"
    for name, known in resnet.DEPTHS.items():
        if known == (depths.get("resnet"), block):
            yield f"model.backbone={name}"
    for name, shape in densenet.SHAPES.items():
        if shape.blocks == depths.get("densenet"):
            yield f"model.densenet={name}"
