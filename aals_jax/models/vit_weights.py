"""A file's ViT: what it is, read off its shapes, and its weights in our places.

Names of two spellings: the one of DINO's and DINOv2's own code, which timm shares
(`blocks.0.attn.qkv.weight`), and that of DINOv2 in transformers
(`encoder.layer.0.attention.attention.query.weight`).
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from aals_jax.models import vit
from aals_jax.models.pretrained import Report, fault
from aals_jax.models.vit import Architecture

Shapes = Mapping[str, tuple[int, ...]]  # of the arrays of a file, by their names there

_NO_VIT = "the weights are of no ViT of the kind of DINO or DINOv2"
# of a classifier, beside the features
_HEADS = ("head", "classifier", "fc")


@dataclasses.dataclass(frozen=True)
class _Spelling:
    """Names of a file; where there are several, each is one that some files have."""

    block: str  # what stands before the names within a block
    patches: str
    class_token: str
    positions: str
    registers: tuple[str, ...]
    mask_token: str
    norm: str
    query_key_value: tuple[str, ...]  # one after the other, in one array or three
    projection: str
    mlp1: tuple[str, ...]
    mlp2: tuple[str, ...]
    scale: str  # with the branch's number


_SPELLINGS = (
    _Spelling(
        block="blocks.{}.",
        patches="patch_embed.proj",
        class_token="cls_token",
        positions="pos_embed",
        registers=("register_tokens", "reg_token"),
        mask_token="mask_token",
        norm="norm",
        query_key_value=("attn.qkv",),
        projection="attn.proj",
        mlp1=("mlp.fc1", "mlp.w12"),
        mlp2=("mlp.fc2", "mlp.w3"),
        scale="ls{}.gamma",
    ),
    _Spelling(
        block="encoder.layer.{}.",
        patches="embeddings.patch_embeddings.projection",
        class_token="embeddings.cls_token",
        positions="embeddings.position_embeddings",
        registers=("embeddings.register_tokens",),
        mask_token="embeddings.mask_token",
        norm="layernorm",
        query_key_value=tuple(
            f"attention.attention.{name}" for name in ("query", "key", "value")
        ),
        projection="attention.output.dense",
        mlp1=("mlp.fc1", "mlp.weights_in"),
        mlp2=("mlp.fc2", "mlp.weights_out"),
        scale="layer_scale{}.lambda1",
    ),
)


@dataclasses.dataclass(frozen=True)
class _Names:
    """How one file spells."""

    spelling: _Spelling
    prefix: str  # before every name, such as `backbone.`
    shapes: Shapes

    def one_of(self, names: tuple[str, ...], before: str = "", after: str = "") -> str:
        """The one that the file has, whole; where it has none, the first."""
        whole = [f"{self.prefix}{before}{name}{after}" for name in names]
        return next((name for name in whole if name in self.shapes), whole[0])

    def shape(self, name: str) -> tuple[int, ...] | None:
        return self.shapes.get(name)

    @property
    def depth(self) -> int:
        """Blocks, up to the last one of which there is an array."""
        pattern = re.compile(
            re.escape(self.prefix)
            + re.escape(self.spelling.block).replace(re.escape("{}"), r"(\d+)")
        )
        numbers = [int(found[1]) for found in map(pattern.match, self.shapes) if found]
        return max(numbers, default=-1) + 1


def architecture(
    shapes: Shapes,
    *,
    heads: int = 0,
    mean: tuple[float, ...] = vit.IMAGENET_MEAN,
    std: tuple[float, ...] = vit.IMAGENET_STD,
) -> Architecture:
    """What a file's ViT is.

    Args:
      shapes: of its arrays.
      heads: of attention, which no shape tells; 0: one for each 64 channels, as in DINO
        and DINOv2.
      mean: of the images that it was trained on, by colour; white is 1.
      std: likewise.

    Raises:
      ValueError: it is no such ViT, or not of square images, or the heads do not divide
        the channels; one error with all of it.
    """
    names = _names_of(shapes)
    spelt = names.spelling
    problems = []

    def shape(name: str, *wanted: int | None) -> tuple[int, ...]:
        found = names.shape(name)
        said = ", ".join("any" if side is None else str(side) for side in wanted)
        if found is None:
            problems.append(f"missing: {name}")
        elif len(found) != len(wanted) or any(
            side is not None and side != there
            for side, there in zip(wanted, found, strict=True)
        ):
            problems.append(f"{name}: has shape {found}, a ViT has ({said})")
        else:
            return found
        return (1,) * len(wanted)

    width, _, patch, other = shape(
        f"{names.prefix}{spelt.patches}.weight", None, vit.COLOURS, None, None
    )
    if patch != other:
        problems.append(f"a patch of {patch} x {other} px: only square ones are read")
    _, places, _ = shape(f"{names.prefix}{spelt.positions}", 1, None, width)
    first = spelt.block.format(0)
    inner, _ = shape(names.one_of(spelt.mlp1, first, ".weight"), None, width)
    _, hidden = shape(names.one_of(spelt.mlp2, first, ".weight"), width, None)
    if not problems and inner not in (hidden, 2 * hidden):
        problems.append(f"an MLP of {inner} channels in and {hidden} out")
    if not problems and _square(places - 1) is None and _square(places) is None:
        problems.append(f"{places} positions are no square, with or without a token's")
    registers = names.shape(names.one_of(spelt.registers)) or (1, 0, width)
    if len(registers) != 3:
        problems.append(f"registers of shape {registers}, a ViT has (1, any, {width})")
    heads = heads or (width // vit.HEAD_WIDTH if width % vit.HEAD_WIDTH == 0 else 0)
    if not problems and (heads < 1 or width % heads):
        problems.append(
            f"{width} channels are no multiple of {heads or vit.HEAD_WIDTH}: say how "
            "many heads of attention there are with vit.heads"
        )
    if problems:
        raise ValueError(_NO_VIT + ":\n- " + "\n- ".join(problems))
    return Architecture(
        width=width,
        depth=names.depth,
        heads=heads,
        patch=patch,
        grid=_square(places - 1) or math.isqrt(places),
        registers=registers[1],
        hidden=hidden,
        gated=inner == 2 * hidden,
        scaled=names.shape(f"{names.prefix}{first}{spelt.scale.format(1)}") is not None,
        mean=mean,
        std=std,
    )


def place(
    arrays: Mapping[str, np.ndarray], of: Architecture
) -> tuple[dict[str, Any], Report]:
    """A ViT's weights from a file, and which went where.

    A matrix O I becomes I O, and those of query, key and value one; patches lie by row,
    column and colour; the position of the class token is added to it.

    Args:
      arrays: by their names there; of floats, which become float32.
      of: as `architecture` read it off them.

    Raises:
      ValueError: an array without a place, a place without an array, or arrays of a
        wrong shape, type or value; one error with all of them.
    """
    names = _names_of({name: array.shape for name, array in arrays.items()})
    wanted = list(_wanted(names, of))
    known = {name for leaf in wanted for name in leaf.names}
    rest = [name for name in arrays if name not in known]
    left_out = sorted(name for name in rest if _is_beside(name, names))
    problems = [
        f"missing: {name}"
        for leaf in wanted
        for name in leaf.names
        if name not in arrays
    ]
    problems += [f"unmatched: {name}" for name in rest if name not in left_out]
    problems += [
        f"{name}: {wrong}"
        for leaf in wanted
        for name in leaf.names
        if name in arrays and (wrong := fault(arrays[name], leaf.shape))
    ]
    if problems:
        raise ValueError("the weights don't fit the ViT:\n- " + "\n- ".join(problems))
    placed: dict[tuple[str, ...], Any] = {}
    for leaf in wanted:
        parts = [np.asarray(arrays[name], np.float32) for name in leaf.names]
        value = _converted(leaf.ours, np.concatenate(parts), of)
        if leaf.block is None:
            placed[leaf.ours] = value
        else:
            placed.setdefault(leaf.ours, []).append(value)
    placed = {k: np.stack(v) if isinstance(v, list) else v for k, v in placed.items()}
    token, places = placed["class_token",], placed["positions",]
    if len(places) > of.grid**2:
        placed["class_token",], places = token + places[:1], places[1:]
    placed["positions",] = places.reshape(of.grid, of.grid, of.width)
    mapped = {name: "/".join(leaf.ours) for leaf in wanted for name in leaf.names}
    return traverse_util.unflatten_dict(placed), Report(
        mapped, tuple(left_out), counters=0, beside="classifier and mask token"
    )


@dataclasses.dataclass(frozen=True)
class _Leaf:
    """One of our weights, or a block's share of it, and where it is in a file."""

    ours: tuple[str, ...]
    names: tuple[str, ...]  # joined along their first axis
    shape: tuple[int, ...]  # of each of them
    block: int | None = None


def _wanted(names: _Names, of: Architecture) -> Iterator[_Leaf]:
    spelt, prefix, width = names.spelling, names.prefix, of.width

    def layer(ours: tuple[str, ...], theirs: tuple[str, ...], out: int, *into: int):
        """A layer's matrix and bias, or a LayerNorm's scale and bias."""
        leaf = "kernel" if into else "scale"
        whole = [tuple(f"{n}.{kind}" for n in theirs) for kind in ("weight", "bias")]
        yield (*ours, leaf), whole[0], (out, *into)
        yield (*ours, "bias"), whole[1], (out,)

    def outer():
        def at(name: str) -> tuple[str, ...]:
            return (prefix + name,)

        patch = (vit.COLOURS, of.patch, of.patch)
        yield from layer(("patches",), at(spelt.patches), width, *patch)
        yield ("class_token",), at(spelt.class_token), (1, 1, width)
        places = at(spelt.positions)
        there = names.shape(places[0]) == (1, of.grid**2, width)  # none of the token
        yield ("positions",), places, (1, of.grid**2 + (not there), width)
        if of.registers:
            tokens = (names.one_of(spelt.registers),)
            yield ("registers",), tokens, (1, of.registers, width)
        yield from layer(("norm",), at(spelt.norm), width)

    def inner(number: int):
        before = spelt.block.format(number)

        def at(name: str) -> tuple[str, ...]:
            return (f"{prefix}{before}{name}",)

        three = tuple(at(name)[0] for name in spelt.query_key_value)
        mlps = [
            (names.one_of(kinds, before, ".weight").removesuffix(".weight"),)
            for kinds in (spelt.mlp1, spelt.mlp2)
        ]
        yield from layer(("norm1",), at("norm1"), width)
        yield from layer(("qkv",), three, 3 * width // len(three), width)
        yield from layer(("projection",), at(spelt.projection), width, width)
        yield from layer(("norm2",), at("norm2"), width)
        inside = of.hidden * (2 if of.gated else 1)
        yield from layer(("mlp1",), mlps[0], inside, width)
        yield from layer(("mlp2",), mlps[1], width, of.hidden)
        if of.scaled:
            for branch in (1, 2):
                yield (f"scale{branch}",), at(spelt.scale.format(branch)), (width,)

    for leaf in outer():
        yield _Leaf(*leaf)
    for number in range(of.depth):
        for ours, theirs, shape in inner(number):
            yield _Leaf(("blocks", *ours), theirs, shape, number)


def _converted(
    ours: tuple[str, ...], array: np.ndarray, of: Architecture
) -> np.ndarray:
    if ours[-1] == "kernel":  # O I, or O C h w
        return (
            array.reshape(len(array), vit.COLOURS, -1)
            .transpose(2, 1, 0)
            .reshape(-1, len(array))
            if ours[0] == "patches"
            else array.T
        )
    return array[0] if array.ndim == 3 else array


def _square(number: int) -> int | None:
    """The root of a square above 0; None: of another number."""
    root = math.isqrt(max(number, 0))
    return root if root > 0 and root * root == number else None


def _names_of(shapes: Shapes) -> _Names:
    """The spelling of a file, by the one name that every ViT has."""
    found = [
        _Names(spelling, name[: -len(last)], shapes)
        for spelling in _SPELLINGS
        for name in shapes
        if name.endswith(last := f"{spelling.patches}.weight")
    ]
    if len(found) == 1:
        return found[0]
    wanted = " or ".join(f"{spelling.patches}.weight" for spelling in _SPELLINGS)
    there = f"{len(found)} arrays are" if found else "no array is"
    raise ValueError(f"{_NO_VIT}: {there} called {wanted}")


def _is_beside(name: str, names: _Names) -> bool:
    """Whether an array is of the mask token or a classifier, within the prefix or
    beside its last part."""
    if name == names.prefix + names.spelling.mask_token:
        return True
    outer = re.sub(r"[^.]+\.$", "", names.prefix)
    return any(
        name.startswith(start) and name[len(start) :].split(".")[0] in _HEADS
        for start in (names.prefix, outer)
    )
