"""What several models, or views, say of films: a few numbers a film, and no map kept.

A worklist looks at every film of P, more than fit into memory as maps.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from flax import linen as nn

from aals_jax.evaluation.model_maps import Predictor
from aals_jax.input import pipeline
from aals_jax.input.dataset import Dataset, ImageTable
from aals_jax.method import steps
from aals_jax.metrics import worklist
from aals_jax.runtime import devices, log, stopping
from aals_jax.types import Variables


@dataclasses.dataclass(frozen=True)
class Look:
    """A model, and how it looks."""

    title: str  # in words, as of a reason: "the student"
    predictor: Predictor
    variables: Variables
    mirrored: bool = False  # at the film with left and right exchanged


class Looks(NamedTuple):
    """What was seen on n films."""

    peak: np.ndarray  # f64[n], of the first look's map, 0 .. 1
    disagreement: np.ndarray  # f64[n], the largest of the other looks with the first
    other: list[str]  # n titles of the look that disagrees most; "" without others


def look(
    first: Look,
    others: Sequence[Look],
    dataset: Dataset,
    table: ImageTable,
    *,
    batch_size: int,
    reach: int,
) -> Looks:
    """Looks at every film of a table.

    Args:
        first: whose peaks are meant.
        others: that are compared with it.
        dataset: which is read.
        table: its films; at least one.
        batch_size: that all predictors were made for.
        reach: pixels of the map by which two peaks of one place may differ.
    """
    placed: list[Any] = [one.predictor.place(one.variables) for one in (first, *others)]
    peaks, differing, other = [], [], []
    batches = pipeline.evaluation_batches(dataset, table, batch_size=batch_size)
    with log.progress("looking at films") as update:
        for number, images in enumerate(batches):
            stopping.check()
            rows = slice(number * batch_size, (number + 1) * batch_size)
            content = table.content[rows]
            maps = [
                _maps(one, there, images, content, side=dataset.side)
                for one, there in zip((first, *others), placed, strict=True)
            ]
            for film in range(len(content)):
                peaks.append(float(maps[0][film].max()))
                each = [
                    worklist.disagreement(maps[0][film], one[film], reach=reach)
                    for one in maps[1:]
                ]
                differing.append(max(each, default=0.0))
                most = int(np.argmax(each)) if each else -1
                other.append(others[most].title if each else "")
            update(len(peaks), len(table))
    return Looks(np.array(peaks), np.array(differing), other)


def _maps(
    one: Look, placed: Any, images: np.ndarray, content: np.ndarray, *, side: int
) -> np.ndarray:
    """f32[n, h, w] of the films themselves, 0 on padding, however they were shown."""
    shown = np.ascontiguousarray(images[:, :, ::-1]) if one.mirrored else images
    outputs = one.predictor.batch(placed, shown)[: len(content)]
    if one.mirrored:
        boxes = one.predictor.has_boxes
        outputs = mirrored_boxes(outputs, side=side) if boxes else outputs[:, :, ::-1]
    return one.predictor.prediction(outputs, content, side=side).maps


def mirrored_boxes(boxes: np.ndarray, *, side: int) -> np.ndarray:
    """Boxes f32[n, k, 5] in px of the square, left for right.

    Args:
        boxes: of a predictor; those without a score are padding and stay zero.
        side: of the square, px.
    """
    moved = boxes.copy()
    moved[..., [0, 2]] = side - boxes[..., [2, 0]]
    return np.where(boxes[..., 4:] > 0, moved, np.float32(0))


def features(
    model: nn.Module,
    variables: Variables,
    dataset: Dataset,
    table: ImageTable,
    *,
    batch_size: int,
) -> np.ndarray:
    """f32[n, C], what the backbone says of each film as a whole."""
    step = devices.data_parallel_map(steps.make_features_step(model))
    placed = devices.replicate(variables)
    found = []
    for images in pipeline.evaluation_batches(dataset, table, batch_size=batch_size):
        stopping.check()
        found.append(devices.gather(step(placed, devices.shard(images))))
    return np.concatenate(found)[: len(table)]
