"""What the nets see of one decoded radiograph: pure functions of (radiograph, rng).

R and N become an image with its target; P becomes two views of one geometry.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from aals_jax.input import augment
from aals_jax.types import Labelled, Weak

MAP_STRIDE = 4  # px of the square for each pixel of the map


@dataclasses.dataclass(frozen=True)
class Radiograph:
    """One decoded record, for one finding."""

    image: np.ndarray  # u8 or u16 [side, side]
    boxes: np.ndarray  # f32[k, 4] (x0, y0, x1, y1), px of the square
    content: np.ndarray  # f32[4] (x0, y0, x1, y1), the film, px of the square
    row: int = -1  # its number within the stream that reads it, from 0
    lesions: int = -1  # how many the record names; -1 where it doesn't say


def to_float(image: np.ndarray) -> np.ndarray:
    """Stored grey levels, u8 or u16 of any shape, -> f32 in [0, 1]."""
    return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)


def labelled_example(
    radiograph: Radiograph,
    rng: np.random.Generator,
    ranges: augment.Ranges,
    *,
    label: float,
    max_boxes: int | None,
) -> Labelled:
    """One augmented image of R or N with its target.

    Args:
      radiograph: the record.
      rng: of this example; geometry is drawn first, then photometry.
      ranges: of the augmentation.
      label: 1 in R, 0 in N, where no box is drawn: the record calls N negative.
      max_boxes: K, at least the number of the record's boxes; None: no row of boxes.

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
        "boxes": None,
    }
    if max_boxes is not None:
        moved = augment.move_boxes(boxes, radiograph.content, matrix, side=side)
        fields["boxes"] = np.zeros((max_boxes, 4), np.float32)
        fields["boxes"][: len(moved)] = moved
    return Labelled(**fields)


def weak_example(
    radiograph: Radiograph,
    rng: np.random.Generator,
    ranges: augment.Ranges,
    *,
    jitter_teacher: bool,
) -> Weak:
    """One image of P: the teacher sees it warped, the student also with photometry.

    Args:
      radiograph: the record.
      rng: of this example; geometry, the student's photometry, then the teacher's.
      ranges: of the augmentation.
      jitter_teacher: whether the teacher's view has photometry of its own too.

    Returns:
      The fields of `types.Weak` without their axis B, as NumPy arrays.
    """
    matrix, image, valid = _warped(radiograph, rng, ranges)
    student_image = augment.photometry(image, rng, ranges)
    if jitter_teacher:
        image = augment.photometry(image, rng, ranges)
    fields: dict[str, Any] = {
        "image": image[..., None],
        "student_image": student_image[..., None],
        "valid": valid,
        "row": np.int32(radiograph.row),
        "lesions": np.int32(radiograph.lesions),
        "to_view": augment.to_view(matrix, side=len(image)),
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


def makers(
    *, jitter_teacher: bool, max_boxes: int | None = None
) -> Mapping[str, Callable[..., Labelled | Weak]]:
    """Stream -> (radiograph, rng, ranges) -> one example of that stream."""
    labelled = partial(labelled_example, max_boxes=max_boxes)
    return {
        "region": partial(labelled, label=1.0),
        "negative": partial(labelled, label=0.0),
        "image_level": partial(weak_example, jitter_teacher=jitter_teacher),
    }
