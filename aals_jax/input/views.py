"""What the nets see of one decoded radiograph: pure functions of (radiograph, rng).

R and N become an image with its target; P becomes two views of one geometry.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from aals_jax.input import augment
from aals_jax.types import Labelled, Weak, Withheld

MAP_STRIDE = 4  # px of the square for each pixel of the map


@dataclasses.dataclass(frozen=True)
class Radiograph:
    """One decoded record, for one finding."""

    image: np.ndarray  # u8 or u16 [side, side]
    boxes: np.ndarray  # f32[k, 4] (x0, y0, x1, y1), px of the square
    content: np.ndarray  # f32[4] (x0, y0, x1, y1), the film, px of the square
    row: int = -1  # its number within the stream that reads it, from 0
    lesions: int = -1  # how many the record names; -1 where it doesn't say


@dataclasses.dataclass(frozen=True)
class Extras:
    """What only some runs have in their examples; by default none of it is drawn."""

    jitter_teacher: bool = False  # the teacher's view has photometry of its own
    withheld: bool = False  # the boxes that P withholds are drawn: the oracle alone
    dropout: float = 0.0  # share of the net's last channels that are dropped
    channels: int = 0  # number of those channels; read where dropout > 0
    # K, at least the number of any record's boxes; None: the net predicts no boxes
    max_boxes: int | None = None


def to_float(image: np.ndarray) -> np.ndarray:
    """Stored grey levels, u8 or u16 of any shape, -> f32 in [0, 1]."""
    return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)


def labelled_example(
    radiograph: Radiograph,
    rng: np.random.Generator,
    ranges: augment.Ranges,
    *,
    label: float,
    extras: Extras,
) -> Labelled:
    """One augmented image of R or N with its target.

    Args:
      radiograph: the record.
      rng: of this example; geometry is drawn first, then photometry, then dropout.
      ranges: of the augmentation.
      label: 1 in R, 0 in N, where no box is drawn: the record calls N negative.
      extras: dropout and boxes are read.

    Returns:
      The fields of `types.Labelled` without their axis B, as NumPy arrays.
    """
    matrix, image, valid = _warped(radiograph, rng, ranges)
    side = len(radiograph.image)
    boxes = radiograph.boxes if label else radiograph.boxes[:0]
    fields: dict[str, Any] = {
        "image": augment.photometry(image, rng, ranges)[..., None],
        "target": augment.draw_boxes(
            boxes, matrix, side=side, map_side=side // MAP_STRIDE
        ),
        "valid": valid,
        "label": np.float32(label),
        "boxes": _boxes(radiograph, boxes, matrix, extras),
        "keep": _keep(rng, extras),
    }
    return Labelled(**fields)


def weak_example(
    radiograph: Radiograph,
    rng: np.random.Generator,
    ranges: augment.Ranges,
    *,
    extras: Extras,
) -> Weak:
    """One image of P: the teacher sees it warped, the student also with photometry.

    Args:
      radiograph: the record.
      rng: of this example; geometry, the student's photometry, the teacher's, then
        dropout.
      ranges: of the augmentation.
      extras: all are read.

    Returns:
      The fields of `types.Weak` without their axis B, as NumPy arrays.
    """
    matrix, image, valid = _warped(radiograph, rng, ranges)
    student_image = augment.photometry(image, rng, ranges)
    if extras.jitter_teacher:
        image = augment.photometry(image, rng, ranges)
    fields: dict[str, Any] = {
        "image": image[..., None],
        "student_image": student_image[..., None],
        "valid": valid,
        "row": np.int32(radiograph.row),
        "lesions": np.int32(radiograph.lesions),
        "to_view": augment.to_view(matrix, side=len(image)),
        "keep": _keep(rng, extras, 2),
        "withheld": _withheld(radiograph, matrix) if extras.withheld else None,
    }
    return Weak(**fields)


def _warped(
    radiograph: Radiograph, rng: np.random.Generator, ranges: augment.Ranges
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A random geometry f64[2, 3], the image under it f32[side, side], and where its
    map lies on film, f32[side/4, side/4]."""
    side = len(radiograph.image)
    matrix = augment.sample_geometry(rng, ranges, side=side)
    valid = augment.draw_content(
        radiograph.content, matrix, side=side, map_side=side // MAP_STRIDE
    )
    return matrix, augment.warp(to_float(radiograph.image), matrix), valid


def _boxes(
    radiograph: Radiograph, boxes: np.ndarray, matrix: np.ndarray, extras: Extras
) -> np.ndarray | None:
    """f32[K, 4], the boxes in the view, zeros behind them; None for no row of boxes."""
    if extras.max_boxes is None:
        return None
    side = len(radiograph.image)
    moved = augment.move_boxes(boxes, radiograph.content, matrix, side=side)
    padded = np.zeros((extras.max_boxes, 4), np.float32)
    padded[: len(moved)] = moved
    return padded


def _withheld(radiograph: Radiograph, matrix: np.ndarray) -> Withheld:
    side = len(radiograph.image)
    fields: dict[str, Any] = {
        "target": augment.draw_boxes(
            radiograph.boxes, matrix, side=side, map_side=side // MAP_STRIDE
        ),
        "boxed": np.float32(len(radiograph.boxes) > 0),
    }
    return Withheld(**fields)


def _keep(rng: np.random.Generator, extras: Extras, *views: int) -> np.ndarray | None:
    """f32[*views, C]: 0 for a channel that is dropped, else 1 / (1 - dropout), so that
    the expectation stays. None where there is no dropout."""
    if not extras.dropout:
        return None
    kept = rng.random((*views, extras.channels)) >= extras.dropout
    return kept.astype(np.float32) / np.float32(1.0 - extras.dropout)


def makers(extras: Extras) -> Mapping[str, Callable[..., Labelled | Weak]]:
    """Stream -> (radiograph, rng, ranges) -> one example of that stream."""
    return {
        "region": partial(labelled_example, label=1.0, extras=extras),
        "negative": partial(labelled_example, label=0.0, extras=extras),
        "image_level": partial(weak_example, extras=extras),
    }
