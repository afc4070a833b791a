"""One film, read for a net as a dataset's films are, with what is odd about it.

For a pool of processes: a refusal is returned and not raised.
"""

import dataclasses
import functools
from collections.abc import Generator, Iterable, Mapping

import numpy as np

from data.cxr_registry.dicom import body_parts, grayscale, headers, reader
from data.cxr_registry.guard import pool
from data.cxr_registry.survey import polarity
from data.reading_room.inputs import Source

PICTURE = 1024  # px, longest side of what people are shown
_LEAST_CONTRAST = 1 / 64  # of the range, between the 1st and the 99th percentile
# Flag -> the sentence for whoever reads the result.
FLAGS: Mapping[str, str] = {
    "lateral": "a lateral film, and the model knows frontal ones",
    "inverted": "looks like a negative (air bright, bone dark), or is no upright chest",
    "other_body_part": "the header names another part of the body than the chest",
    "too_small": "has fewer pixels than the net's square, and was enlarged",
    "constant": "is of one grey, or nearly so",
    "brightness_corrected": "its window or table showed nothing, and its own range is "
    "used",
    "burned_in": "is flagged as having burned-in text, so that no picture is kept",
}
# Those beyond what a model was trained on.
OUT_OF_DISTRIBUTION = (
    "lateral", "inverted", "other_body_part", "too_small", "constant"
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Film:
    """A film ready for the net, without its patient."""

    number: int
    square: np.ndarray  # u8 or u16 [side, side], 0 = air
    content: np.ndarray  # f32[4] (x0, y0, x1, y1), the film, px of the square
    to_stored: np.ndarray  # f64[2, 3], px of the square -> px of the stored image
    to_picture: np.ndarray  # f64[2, 3], px of the square -> px of the picture
    stored_shape: tuple[int, int]  # rows, columns
    sides_known: bool  # the header says which half of the square is the patient's left
    picture: np.ndarray | None  # u8[h, w], upright; None: it may name the patient
    flags: Mapping[str, bool | None]  # of FLAGS; None: neither header nor pixels tell
    view: str
    is_dicom: bool


@dataclasses.dataclass(frozen=True)
class Refused:
    """A file without a result."""

    number: int
    reason: str  # with what to do
    is_other: bool = False  # a file of another kind, which nobody named


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """How films are read; as the dataset's were."""

    side: int  # of the square, px
    bits: int  # 8 or 16
    allow: tuple[str, ...]  # checks that may fail: `modality`
    timeout_s: float  # that one file may take


def read(task: tuple[int, Source], *, reading: Reading) -> Film | Refused:
    """The film of a number and a source."""
    number, source = task
    if source.problem:
        return Refused(number, source.problem)
    try:
        image = reader.read_radiograph(
            source.path, modalities=reader.modalities(reading.allow)
        )
        return prepare(number, image, reading=reading)
    except headers.NoImage as error:
        return Refused(number, str(error), is_other=not source.is_named)
    except reader.UnreadableRadiograph as error:
        return Refused(number, str(error))
    except Exception as error:  # its text may hold the path; the others go on
        return Refused(number, f"could not be read ({type(error).__name__})")


def prepare(number: int, image: reader.Radiograph, *, reading: Reading) -> Film:
    """A radiograph as the net gets it, and the ways back from there."""
    side = reading.side
    square = reader.to_square(image.pixels, side, bits=reading.bits)
    to_upright = reader.inverse(square.affine)
    picture = reader.shrunk(image.pixels, side=PICTURE)
    rows, columns = image.pixels.shape
    shrink = np.array(
        [[picture.shape[1] / columns, 0, 0], [0, picture.shape[0] / rows, 0]]
    )
    y0, x0, y1, x1 = (np.float32(share) * np.float32(side) for share in square.content)
    return Film(
        number=number,
        square=square.pixels,
        content=np.array([x0, y0, x1, y1], np.float32),
        to_stored=reader.composed(to_upright, reader.inverse(image.stored_to_upright)),
        to_picture=reader.composed(to_upright, shrink),
        stored_shape=image.stored_shape,
        sides_known=image.sides_known,
        picture=None if image.burned_in else picture,
        flags=flags(image, square, side=side),
        view=image.view,
        is_dicom=image.is_dicom,
    )


def flags(
    image: reader.Radiograph, square: reader.Square, *, side: int
) -> dict[str, bool | None]:
    """What is odd about a film; None where nothing tells."""
    return {
        # a PNG has no header; an empty field, or two that differ, say nothing
        "lateral": image.is_lateral
        or (None if image.views_differ or not image.view else False),
        # in a lateral view bone and air are elsewhere
        "inverted": None if image.is_lateral else polarity.is_negative(image.pixels),
        "other_body_part": {body_parts.OTHER: True, body_parts.CHEST: False}.get(
            image.body_part
        ),
        "too_small": max(image.stored_shape) < side,
        "constant": _is_constant(square),
        "brightness_corrected": grayscale.is_corrected(image.source),
        "burned_in": image.burned_in,
    }


def _is_constant(square: reader.Square) -> bool:
    """Whether the film in the square has nearly one grey."""
    side = len(square.pixels)
    y0, x0, y1, x1 = (round(share * side) for share in square.content)
    levels = square.pixels[y0:y1, x0:x1] / np.iinfo(square.pixels.dtype).max
    dark, bright = np.percentile(levels, [1, 99])
    return bool(bright - dark < _LEAST_CONTRAST)


def read_all(
    tasks: Iterable[tuple[int, Source]],
    *,
    reading: Reading,
    workers: int,
    ahead: int | None = None,
) -> Generator[Film | Refused, None, None]:
    """All films in order; one that hangs or kills its process is refused.

    Args:
        tasks: numbers and sources.
        reading: how they are read.
        workers: processes; 0 reads in this one, without a time limit.
        ahead: films read before they are asked for, as of `pool.map_in_order`.
    """
    return pool.map_in_order(
        functools.partial(read, reading=reading),
        tasks,
        workers=workers,
        ahead=ahead,
        timeout_s=reading.timeout_s,
        on_timeout=functools.partial(_late, reading=reading),
    )


def _late(task: tuple[int, Source], *, reading: Reading) -> Refused:
    return Refused(
        task[0],
        f"took longer than {reading.timeout_s:g} s or crashed its decoder; export it "
        "again",
    )


def map_boxes(
    affine: np.ndarray, boxes: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Boxes f64[k, 4] (x0, y0, x1, y1) through an affine map, clipped to an image.

    Args:
        affine: f64[2, 3], of quarter turns.
        boxes: in px of where they come from.
        shape: rows, columns of the image that they come to.
    """
    moved = reader.map_boxes(affine, boxes)
    rows, columns = shape
    return np.clip(moved, 0, np.array([columns, rows, columns, rows]))
