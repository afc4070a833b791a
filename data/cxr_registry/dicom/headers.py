"""From the bytes of a DICOM file to a header of whitelisted fields, within limits.

No field outside the whitelist enters the process, and no message quotes a value of the
header.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

MAX_PIXELS = 64_000_000  # rows x columns; the largest detectors have 20 million

RADIOGRAPHS = frozenset({"CR", "DX", "RG"})
# Words that exports have for radiographs: two of no standard (PS3.3 C.7.3.1.1.1), and
# two that say nothing, "other" and "secondary capture".
USED_MODALITIES = frozenset({"DR", "XR", "OT", "SC"})

# Words of the examination, the image's own first: views and portable films are looked
# for in them, and nothing else is kept.
DESCRIPTIONS = (
    "SeriesDescription",
    "ProtocolName",
    "PerformedProcedureStepDescription",
    "AcquisitionDeviceProcessingDescription",
    "StudyDescription",
)
WHITELIST = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PlanarConfiguration",
    "PhotometricInterpretation",
    "PresentationLUTShape",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "PatientOrientation",
    "SOPClassUID",
    "Modality",
    "ViewPosition",
    "ViewCodeSequence",
    "PresentationIntentType",
    "BurnedInAnnotation",
    *DESCRIPTIONS,
    "PixelData",
    "BodyPartExamined",
)
# Overlay Bit Position, of the 16 groups of overlays; it has no keyword of its own.
_OVERLAY_BITS = tuple(Tag(0x60000102 + (group << 17)) for group in range(16))


_INTEGERS = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)
_LOGGERS = ("pydicom", "pydicom.pixels.decoders.base", "pydicom.pixels.utils")
_MAX_READS = 100_000  # of the parser: endless empty items would take endless memory
_MAX_FIELD = 64 << 10  # bytes of a field
_MAX_TABLES = 4 << 20  # bytes of a sequence of lookup tables, 128 KiB each
_PIXEL_VRS = frozenset({"OB", "OW", "UN", None})  # None: implicit, the dictionary's


class UnreadableRadiograph(ValueError):
    """A file that is not a usable radiograph: reason and remedy, in one line."""


class NoImage(UnreadableRadiograph):
    """A file of another kind: a report, a text, a table of a folder."""


class _LimitedReads(io.BytesIO):
    """A file that allows _MAX_READS reads, and none of "all the rest"."""

    reads = 0
    refusal = ""  # pydicom may turn the exception into one of its own

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        # pydicom asks for the rest to inflate it, without a limit: 1 MB may become 1 GB
        if size is None or size < 0:
            self.refusal = (
                "has the deflated transfer syntax; convert it to Explicit VR Little "
                "Endian"
            )
        elif self.reads > _MAX_READS:
            self.refusal = "has a header of too many elements; export it again"
        if self.refusal:
            raise UnreadableRadiograph(self.refusal)
        return super().read(size)


def read_header(data: bytes) -> pydicom.Dataset:
    """Parses the whitelisted fields, all values read, the pixels undecoded.

    Raises:
        UnreadableRadiograph: not DICOM, no pixels, or a field that can't be read.
    """
    with quiet_pydicom():
        tags: list[Any] = [*WHITELIST, *_OVERLAY_BITS]
        stream = _LimitedReads(data)
        try:
            header = pydicom.dcmread(stream, force=True, specific_tags=tags)
            _read_values(header)
            if "PixelData" not in header:
                raise _without_pixels(header, has_preamble=data[128:132] == b"DICM")
        except UnreadableRadiograph:
            raise
        except Exception as error:  # a hostile file raises anything: one border
            raise UnreadableRadiograph(
                stream.refusal
                or f"is damaged ({type(error).__name__} in its header); export it again"
            ) from None
    return header


def _without_pixels(
    header: pydicom.Dataset, *, has_preamble: bool
) -> UnreadableRadiograph:
    """Why there are none; an object that is no image is told by its kind."""
    kind = UID(str(header.get("SOPClassUID") or ""))
    if kind.type == "SOP Class" and "Image Storage" not in kind.name:
        text = f"is no image ({kind.name}); name the image itself, or remove its row"
        return NoImage(text)
    if has_preamble:
        text = "is DICOM without pixels, or cut off before them; export the image"
        return UnreadableRadiograph(text)
    return NoImage(
        "is not a DICOM, PNG or JPEG file; remove its row or export it again"
    )


def _read_values(header: pydicom.Dataset) -> None:
    """Reads every value now, where errors are caught; pydicom reads on first use."""
    for tag in list(header.keys()):
        raw = header.get_item(tag)
        keyword = keyword_for_tag(tag)
        if keyword == "PixelData":
            if raw.VR not in _PIXEL_VRS:
                raise UnreadableRadiograph(
                    "PixelData has an unexpected VR; export it again"
                )
            continue
        # a sequence of undefined length is read already, within _MAX_READS
        size = len(raw.value or b"") if isinstance(raw, RawDataElement) else 0
        if size > (_MAX_TABLES if keyword.endswith("Sequence") else _MAX_FIELD):
            raise UnreadableRadiograph(
                f"has a field {keyword} of {size >> 10} KiB; export it again"
            )
    for element in header.iterall():
        if element.keyword in _INTEGERS and not isinstance(element.value, int | None):
            raise UnreadableRadiograph(
                f"{element.keyword} must be one integer; export it again"
            )


def code(header: Any, keyword: str) -> str:
    """A code word of the header in capitals and without blanks around; "" for none."""
    return str(header.get(keyword) or "").strip(" \0").upper()


def is_big_endian(header: Any) -> bool:
    """Whether the file, as it was parsed, has the high byte first."""
    return getattr(header, "original_encoding", (None, True))[1] is False


def has_embedded_overlay(header: Any) -> bool:
    """Whether an overlay is stored in bits of the pixels' words."""
    positions = [header[tag].value for tag in _OVERLAY_BITS if tag in header]
    return any(isinstance(at, int) and at > 0 for at in positions)


def size(header: pydicom.Dataset) -> tuple[int, int]:
    """Rows and columns by the header; refuses what `check_size` refuses."""
    return check_size((header.get("Rows") or 0, header.get("Columns") or 0))


def check_size(shape: tuple[int, int] | None) -> tuple[int, int]:
    """Returns rows and columns; refuses missing and too large ones before decoding."""
    if shape is None or min(shape) < 1:
        raise UnreadableRadiograph("states no image size; export it again")
    if shape[0] * shape[1] > MAX_PIXELS:
        raise UnreadableRadiograph(
            f"has {shape[0]} x {shape[1]} pixels, over the limit of {MAX_PIXELS}; "
            "export one radiograph per file"
        )
    return shape


def read_device(path: Path) -> tuple[str, str]:
    """Manufacturer, and what the header says in words of the examination.

    They are for `makers` and nothing else: an audit counts makers and portable films,
    but no dataset has the words.

    Args:
        path: a DICOM file that `decode` accepted; read up to the last of the fields.

    Returns:
        Two texts, "" where there is none.
    """
    keywords = ("Manufacturer", *DESCRIPTIONS)
    tags: list[BaseTag | int] = [Tag(keyword) for keyword in keywords]
    with quiet_pydicom(), path.open("rb") as stream:
        try:
            header = read_partial(
                stream,
                stop_when=lambda at, *_: at > max(tags),
                force=True,
                specific_tags=tags,
            )
            maker, *words = (str(header.get(name) or "") for name in keywords)
        except Exception:  # a hostile file may raise anything; nothing is known
            return "", ""
    return maker, " | ".join(words)


@contextlib.contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Silences pydicom, whose warnings and log lines quote header values."""
    # a disabled logger does not silence those below it: pydicom.pixels, for one
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some name their caller as the source
            yield
    finally:
        for logger, was in zip(loggers, before, strict=True):
            logger.disabled = was
