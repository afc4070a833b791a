"""What an audit keeps of an image, without its patient, and a small picture of it.

Pure functions that a pool may map; a refusal is returned and not raised.
"""

import functools
from collections.abc import Collection, Generator, Iterable
from typing import NamedTuple

import numpy as np

from data.cxr_registry.build import encode
from data.cxr_registry.dicom import headers, makers, reader
from data.cxr_registry.guard import pool
from data.cxr_registry.survey import duplicates, polarity
from data.cxr_registry.tables import records

Refused = encode.Refused


class Look(NamedTuple):
    """What is kept of a readable image."""

    row: int  # of the studies table
    digest: bytes  # of the upright pixels
    hash: bytes  # perceptual
    stored_shape: tuple[int, int]  # rows, columns of the file
    spacing_mm: float | None
    view: str  # of the header
    is_lateral: bool  # by the header or the table
    views_differ: bool  # the header states a frontal view and names a lateral one
    modality: str
    maker: str  # of makers.py, "other", or "" unknown
    is_portable: bool  # by the words of the header
    burned_in: bool | None  # the header's flag
    source: str  # what set the brightness, see grayscale.BrightnessTable
    is_negative: bool  # by polarity.py, whatever the header says


class Picture(NamedTuple):
    """An upright image small enough for a page, with its boxes."""

    row: int
    pixels: np.ndarray  # u8[h, w], 0 = air
    boxes: np.ndarray  # f64[k, 4], (x0, y0, x1, y1) in pixels of the picture


def look(
    study: records.Study, *, modalities: Collection[str] = reader.RADIOGRAPHS
) -> Look | Refused:
    """Reads one image whole, of one of these DICOM modalities."""
    try:
        image = reader.read_radiograph(study.path, modalities=modalities)
        maker, description = "", ""
        if image.is_dicom:
            maker, description = headers.read_device(study.path)
        is_lateral = encode.is_lateral(study, image.is_lateral)
        return Look(
            row=study.row,
            digest=duplicates.digest(image.pixels),
            hash=duplicates.perceptual_hash(image.pixels),
            stored_shape=image.stored_shape,
            spacing_mm=image.spacing_mm,
            view=image.view,
            is_lateral=is_lateral,
            views_differ=image.views_differ,
            modality=image.modality,
            maker=makers.name_of(maker),
            is_portable=makers.is_portable(description),
            burned_in=image.burned_in,
            source=image.source,
            # in a lateral view bone and air are elsewhere
            is_negative=not is_lateral and polarity.is_negative(image.pixels),
        )
    except reader.UnreadableRadiograph as error:
        return Refused(study.row, str(error))
    except Exception as error:  # its text may hold the path; the audit goes on
        return Refused(study.row, f"could not be read ({type(error).__name__})")


def picture(study: records.Study, *, side: int) -> Picture | None:
    """The image, its longer side at most `side` pixels; None where it can't be shown.

    Images whose header says that they have burned-in text are never shown.
    """
    try:
        image = reader.read_radiograph(study.path, modalities=None)
    except (reader.UnreadableRadiograph, OSError):
        return None
    if image.burned_in:
        return None
    rows, columns = image.pixels.shape
    pixels = reader.shrunk(image.pixels, side=side)
    boxes = np.array([region[1:] for region in study.regions], np.float64)
    factors = np.tile([pixels.shape[1] / columns, pixels.shape[0] / rows], 2)
    return Picture(study.row, pixels, image.orient(boxes) * factors)


def look_at_all(
    studies: Iterable[records.Study],
    *,
    modalities: Collection[str] = reader.RADIOGRAPHS,
    workers: int,
    timeout_s: float,
) -> Generator[Look | Refused, None, None]:
    """A look at each image, in order; one that hangs or kills its process is refused.

    Args:
        studies: of the registry.
        modalities: DICOM modalities to accept.
        workers: processes; 0 works in this one, without a time limit.
        timeout_s: seconds that one file may take.
    """
    return pool.map_in_order(
        functools.partial(look, modalities=modalities),
        studies,
        workers=workers,
        timeout_s=timeout_s,
        on_timeout=functools.partial(_late, timeout_s=timeout_s),
    )


def _late(study: records.Study, *, timeout_s: float) -> Refused:
    reason = (
        f"took longer than {timeout_s:g} s or crashed its decoder; re-export the file, "
        "or leave its row out"
    )
    return Refused(study.row, reason, is_lost=True)
