"""Findings as a Softcopy Presentation State: rectangles that a viewer lays over a film.

The film is shown as its own header says, by its first table or window, and inverted
where it was when it was read. The rectangles are those of the SR, point by point.

Reference: DICOM PS3.3 A.33.1 (grayscale), A.33.2 (color), C.10.5 (graphic annotation),
whose origin is the upper left corner of the upper left pixel, as here.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from PIL import ImageCms
from pydicom.valuerep import DSfloat

from data.cxr_registry.dicom import grayscale
from data.reading_room import report
from data.reading_room.source import MAKER, Making, date

SERIES = 9103  # number of the series
LAYER = "FINDINGS"
_YELLOW = hd.color.CIELabColor(97.0, -22.0, 94.0)
_STRIP = (0.02, 0.9, 0.98, 0.99)  # of the words, shares of what is displayed
# of an ICC profile's header
_PROFILE_CLASS = slice(12, 16)
_PROFILE_DATE = slice(24, 36)


def make(
    source: pydicom.Dataset,
    display: pydicom.Dataset,
    record: Mapping[str, Any],
    *,
    lines: Sequence[str],
    making: Making,
    version: str,
) -> pydicom.Dataset:
    """The presentation of a film; it names the patient in its header.

    Args:
        source: of `source.read`.
        display: of `source.read_display`, the same film.
        record: the film's JSON; its reported boxes become rectangles.
        lines: words to show, ASCII; at most 1,024 letters.
        making: how UIDs and dates are made.
        version: of the software.
    """
    instance = str(source.SOPInstanceUID)
    now = making.now(source)
    layer = hd.pr.GraphicLayer(
        LAYER, order=1, description="Research only", display_color=_YELLOW
    )
    reported = [box for box in record["boxes"] if box["reported"]]
    shown = hd.pr.GraphicAnnotation(
        referenced_images=[source],
        graphic_layer=layer,
        graphic_objects=[
            hd.pr.GraphicObject(
                graphic_type=hd.pr.GraphicTypeValues.POLYLINE,
                graphic_data=report.rectangle(box),
                units=hd.pr.AnnotationUnitsValues.PIXEL,
            )
            for box in reported
        ],
        text_objects=[_words(lines), *map(_score, reported)],
    )
    fields: dict[str, Any] = {
        "referenced_images": [_with_samples(source, display)],
        "series_instance_uid": making.uid("PR series", instance),
        "series_number": SERIES,
        "sop_instance_uid": making.uid("PR", instance),
        "instance_number": 1,
        "manufacturer": MAKER,
        "manufacturer_model_name": record["model"]["title"][:64],
        "software_versions": version,
        "device_serial_number": record["model"]["manifest_sha256"][:16],
        "content_label": "RESEARCH ONLY",
        "content_description": "Boxes of a neural network. Not a medical device.",
        "graphic_annotations": [shown],
        "graphic_layers": [layer],
        "series_description": "RESEARCH ONLY: findings as a presentation of the film",
        "specific_character_set": "ISO_IR 192",
    }
    made: Any
    if int(display.get("SamplesPerPixel") or 1) == 1:
        made = hd.pr.GrayscaleSoftcopyPresentationState(**fields)
        _show_as_read(made, display)
    else:
        made = hd.pr.ColorSoftcopyPresentationState(**fields, icc_profile=_srgb())
    made.Laterality = ""
    date(made, now, of="PresentationCreation")
    return made


def _with_samples(source: pydicom.Dataset, display: pydicom.Dataset) -> pydicom.Dataset:
    """The film with what highdicom looks at."""
    film = pydicom.Dataset()
    film.update(source)
    film.SamplesPerPixel = int(display.get("SamplesPerPixel") or 1)
    return film


def _show_as_read(made: pydicom.Dataset, display: pydicom.Dataset) -> None:
    """Grey levels as the header has them; without, a viewer shows the stored values.

    Tables become one of stored values: of those here, entries have 8 or 16 bits alone.
    """
    voi = pydicom.Dataset()
    if "ModalityLUTSequence" in display or "VOILUTSequence" in display:
        brightness = grayscale.stated_brightness(display)
        if brightness is not None:
            first = int(grayscale.stored_domain(display)[0])
            voi.VOILUTSequence = [_table(brightness, first)]
    else:
        if stated := grayscale.rescale(display):
            made.RescaleSlope, made.RescaleIntercept = map(_decimal, stated)
            made.RescaleType = "US"
        if window := grayscale.window(display):
            voi.WindowCenter = _decimal(window.center)
            voi.WindowWidth = _decimal(window.width)
            voi.VOILUTFunction = window.function
    if voi:
        made.SoftcopyVOILUTSequence = [voi]
    shape = "INVERSE" if grayscale.is_inverted(display) else "IDENTITY"
    made.PresentationLUTShape = shape


def _table(brightness: np.ndarray, first: int) -> pydicom.Dataset:
    """An item of a VOI LUT Sequence.

    Args:
        brightness: f64[n] in [0, 1].
        first: the first value mapped.
    """
    words = [len(brightness), first, 16]
    least = -(1 << 15) if first < 0 else 0  # SS where the input has a sign
    words = [(word - least) % (1 << 16) + least for word in words]
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "SS" if least else "US", words)
    entries = np.rint(brightness * ((1 << 16) - 1)).astype("<u2")
    item.add_new("LUTData", "OW", entries.tobytes())
    return item


def _decimal(value: float) -> Any:
    return DSfloat(value, auto_format=True)


def _words(lines: Sequence[str]) -> hd.pr.TextObject:
    return hd.pr.TextObject(
        "\r\n".join(lines),
        units=hd.pr.AnnotationUnitsValues.DISPLAY,
        bounding_box=_STRIP,
        text_justification=hd.pr.TextJustificationValues.LEFT,
    )


def _score(box: Mapping[str, Any]) -> hd.pr.TextObject:
    """The score of a box, at its upper left corner."""
    return hd.pr.TextObject(
        f"{box['score']:.2f}",
        units=hd.pr.AnnotationUnitsValues.PIXEL,
        anchor_point=(box["x0"], box["y0"]),
        anchor_point_visible=False,
    )


def _srgb() -> bytes:
    """sRGB for a film in colour, whose channels are equal; always the same bytes."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    profile = bytearray(made.tobytes())
    profile[_PROFILE_CLASS] = b"scnr"  # of an input, as the standard has it
    profile[_PROFILE_DATE] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    return bytes(profile)
