"""DICOM bytes to a whitelisted header and its stored pixels, bounded and refused.

Nothing outside the whitelist is parsed into the process, and no message quotes a
value of the header.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Collection, Iterator

import numpy as np
import pydicom
from pydicom import uid
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder

from data.cxr_registry import codestream

MAX_PIXELS = 64_000_000  # rows x columns; the largest detectors have 20 million

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
    "Modality",
    "ViewPosition",
    "PresentationIntentType",
    "BurnedInAnnotation",
    "PixelData",
)

# First choice a syntax, then whatever works. GDCM misreads JPEG-LS of 6 and 7 bits.
_PLUGINS = {
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.JPEG2000Lossless: "pylibjpeg",
    uid.JPEG2000: "pylibjpeg",
}
_GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
_COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})


class UnreadableRadiograph(ValueError):
    """A file that is no usable radiograph: the reason and the remedy, one line."""


def read_header(data: bytes) -> pydicom.Dataset:
    """Parses the whitelisted fields, pixels undecoded."""
    has_preamble = data[128:132] == b"DICM"
    # inflating has no bound in pydicom: a file of 1 MB may become 1 GB
    if uid.DeflatedExplicitVRLittleEndian.encode() in data[:2048]:
        raise UnreadableRadiograph(
            "has the deflated transfer syntax; convert it to Explicit VR Little Endian"
        )
    with _quiet_pydicom():
        try:
            header = pydicom.dcmread(
                io.BytesIO(data), force=True, specific_tags=list(WHITELIST)
            )
            has_pixels = "PixelData" in header
        except Exception as error:  # a hostile file raises anything: one border
            raise UnreadableRadiograph(
                f"is damaged ({type(error).__name__} in its header); export it again"
            ) from None
    if not has_pixels:
        raise UnreadableRadiograph(
            "is DICOM without pixels; export the image itself"
            if has_preamble
            else "is no DICOM, PNG or JPEG file; remove its row or export it again"
        )
    return header


def check_size(shape: tuple[int, int] | None) -> None:
    """Holds rows x columns against the bound, before anything is decoded."""
    if shape is None or min(shape) < 1:
        raise UnreadableRadiograph("states no image size; export it again")
    if shape[0] * shape[1] > MAX_PIXELS:
        raise UnreadableRadiograph(
            f"{shape[0]} x {shape[1]} pixels, over the bound of {MAX_PIXELS}; "
            "export a single radiograph a file"
        )


def only_grey(stored: np.ndarray) -> np.ndarray:
    """One channel of [H, W, 3] when all three say the same."""
    spread = stored.max(-1).astype(np.int64) - stored.min(-1)
    if spread.max() > 2:  # what chroma rounding leaves of a grey JPEG
        raise UnreadableRadiograph(
            "is in colour; a radiograph is grey: export the original"
        )
    return np.ascontiguousarray(stored[..., 1])


def decode(header: pydicom.Dataset, modalities: Collection[str] | None) -> np.ndarray:
    """Stored values, int[Rows, Columns], after every check that needs no pixels."""
    with _quiet_pydicom():
        try:
            _check_header(header, modalities)
            syntax = _transfer_syntax(header)
            _check_codestream(header, syntax)
            stored = _decode_first(header, syntax)
        except UnreadableRadiograph:
            raise
        except Exception as error:  # as above
            raise UnreadableRadiograph(
                f"is damaged ({type(error).__name__}); export it again"
            ) from None
    if stored.ndim == 3:
        stored = only_grey(stored)
        header.BitsStored, header.PixelRepresentation = 8 * stored.itemsize, 0
        header.PhotometricInterpretation = "MONOCHROME2"
    bits = int(header.BitsStored)
    lowest = -(1 << (bits - 1)) if header.get("PixelRepresentation") else 0
    if stored.min() < lowest or stored.max() >= lowest + (1 << bits):
        raise UnreadableRadiograph(
            f"holds values outside its {bits} bits stored; export it again"
        )
    return stored


@contextlib.contextmanager
def _quiet_pydicom() -> Iterator[None]:
    """pydicom's warnings and log lines quote header values: none of them leaves."""
    logger = logging.getLogger("pydicom")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"pydicom\.")
            yield
    finally:
        logger.disabled = was_disabled


def _check_header(header: pydicom.Dataset, modalities: Collection[str] | None) -> None:
    modality = str(header.get("Modality") or "")
    if modalities is not None and modality and modality not in modalities:
        accepted = ", ".join(sorted(modalities))
        raise UnreadableRadiograph(
            f"is no radiograph by its Modality; accepted are {accepted}"
        )
    if header.get("PresentationIntentType") == "FOR PROCESSING":
        raise UnreadableRadiograph(
            "is a FOR PROCESSING image, of unknown polarity; "
            "export the FOR PRESENTATION one"
        )
    if int(header.get("NumberOfFrames") or 1) > 1:
        raise UnreadableRadiograph("has several frames; export one frame a file")
    check_size((int(header.get("Rows") or 0), int(header.get("Columns") or 0)))
    kind = str(header.get("PhotometricInterpretation") or "")
    samples = int(header.get("SamplesPerPixel") or 1)
    if (kind in _GREY and samples == 1) or (kind in _COLOUR and samples == 3):
        if not 1 <= int(header.get("BitsStored") or 0) <= 16:
            raise UnreadableRadiograph("stores more than 16 bits a pixel or states 0")
        return
    raise UnreadableRadiograph(
        "is neither MONOCHROME1 nor MONOCHROME2; export the original grey image"
    )


def _transfer_syntax(header: pydicom.Dataset) -> uid.UID:
    """The stated syntax, or native little endian where the length proves it."""
    syntax = getattr(header.file_meta, "TransferSyntaxUID", None)
    if syntax:
        return uid.UID(syntax)
    expected = int(header.Rows) * int(header.Columns) * (int(header.BitsAllocated) // 8)
    expected *= int(header.get("SamplesPerPixel") or 1)
    if len(header.PixelData) not in (expected, expected + expected % 2):
        raise UnreadableRadiograph(
            "states no transfer syntax and its pixels are not uncompressed; "
            "export it as a DICOM file with meta information"
        )
    implicit = header.original_encoding[0]
    syntax = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
    header.file_meta.TransferSyntaxUID = syntax
    return syntax


def _check_codestream(header: pydicom.Dataset, syntax: uid.UID) -> None:
    if not syntax.is_encapsulated or syntax == uid.RLELossless:
        return
    frame = next(generate_frames(header.PixelData, number_of_frames=1))
    shape = codestream.image_shape(frame)
    if shape is not None and shape != (int(header.Rows), int(header.Columns)):
        raise UnreadableRadiograph(
            "has another size in its pixels than in its header; export it again"
        )


def _decode_first(header: pydicom.Dataset, syntax: uid.UID) -> np.ndarray:
    """The first decoder that works, the preferred one first."""
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise UnreadableRadiograph(
            "has a transfer syntax without a decoder; convert it to Explicit VR "
            "Little Endian"
        ) from None
    plugins = sorted(
        decoder.available_plugins, key=lambda name: name != _PLUGINS.get(syntax)
    )
    last = "no decoder installed"
    for plugin in plugins or ("",):
        try:
            return decoder.as_array(header, index=0, decoding_plugin=plugin)[0]
        except Exception as error:  # each decoder has its own; the next one may do
            last = type(error).__name__
    if syntax == uid.JPEGExtended12Bit and "pylibjpeg" not in plugins:
        raise UnreadableRadiograph(
            "is 12-bit JPEG Extended, which needs the optional decoder "
            "pylibjpeg-libjpeg (GPL-3.0); install it or convert the file"
        )
    raise UnreadableRadiograph(
        f"has pixels that no decoder reads ({last}); export it again"
    )
