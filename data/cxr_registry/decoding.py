"""A DICOM header to its stored pixels, checked first, decoded by decoders that last."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pydicom
from pydicom import uid
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import Decoder, get_decoder

from data.cxr_registry import codestream, dicom_header
from data.cxr_registry.dicom_header import UnreadableRadiograph

# The decoders of a syntax, in order. GDCM ends its process on damaged files (see
# docs/robustness.md) and misreads JPEG-LS of 6 and 7 bits: it decodes what nothing
# else does. pylibjpeg is openjpeg, rle and, where it is installed, the GPL libjpeg.
_PLUGINS = {
    uid.RLELossless: ("pylibjpeg", "pydicom"),  # the second is 100 times slower
    uid.JPEGBaseline8Bit: ("pillow",),
    uid.JPEGExtended12Bit: ("pillow", "pylibjpeg"),
    uid.JPEGLossless: ("gdcm",),
    uid.JPEGLosslessSV1: ("gdcm",),
    uid.JPEGLSLossless: ("pyjpegls",),
    uid.JPEGLSNearLossless: ("pyjpegls",),
}
_OTHERS = ("pylibjpeg",)  # JPEG 2000, high-throughput or not
_GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
_COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})


def only_grey(stored: np.ndarray) -> np.ndarray:
    """One channel of [H, W, 3] when all three say the same."""
    spread = stored.max(-1) - stored.min(-1)  # unsigned, and no less than 0
    if spread.max() > 2:  # what chroma rounding leaves of a grey JPEG
        raise UnreadableRadiograph(
            "is in colour; a radiograph is grey: export the original"
        )
    return np.ascontiguousarray(stored[..., 1])


def decode(header: pydicom.Dataset, modalities: Collection[str] | None) -> np.ndarray:
    """Stored values, int[Rows, Columns], after every check that needs no pixels."""
    with dicom_header.quiet_pydicom():
        try:
            _check_header(header, modalities)
            syntax = _transfer_syntax(header)
            _check_codestream(header, syntax)
            stored = _decode_first(header, syntax)
        except UnreadableRadiograph:
            raise
        except Exception as error:  # a hostile file raises anything: one border
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
    dicom_header.size(header)
    kind = str(header.get("PhotometricInterpretation") or "")
    samples = int(header.get("SamplesPerPixel") or 1)
    if (kind not in _GREY or samples != 1) and (kind not in _COLOUR or samples != 3):
        raise UnreadableRadiograph(
            "is neither MONOCHROME1 nor MONOCHROME2; export the original grey image"
        )
    bits = header.get("BitsStored") or 0
    if not 1 <= bits <= 16:
        raise UnreadableRadiograph("stores more than 16 bits a pixel or states 0")
    if header.get("HighBit", bits - 1) != bits - 1:
        raise UnreadableRadiograph(
            "has its highest bit elsewhere than on top of its bits stored; export it "
            "again"
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
    stream = next(generate_frames(header.PixelData, number_of_frames=1))
    frame = codestream.declared(stream)
    if frame is None:
        raise UnreadableRadiograph(
            "has pixels that don't begin as its transfer syntax says; export it again"
        )
    if frame != (*dicom_header.size(header), header.get("SamplesPerPixel") or 1):
        raise UnreadableRadiograph(
            "has another size in its pixels than in its header; export it again"
        )


def preferred(syntax: uid.UID) -> tuple[str, ...]:
    """pydicom's plugins for an encapsulated syntax, the first choice first."""
    return _PLUGINS.get(syntax, _OTHERS)


def _decode_first(header: pydicom.Dataset, syntax: uid.UID) -> np.ndarray:
    """The first decoder that works, the preferred one first."""
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise UnreadableRadiograph(
            "has a transfer syntax without a decoder; convert it to Explicit VR "
            "Little Endian"
        ) from None
    plugins = [name for name in preferred(syntax) if name in decoder.available_plugins]
    if not syntax.is_encapsulated:
        plugins = [""]
    last = "no decoder installed"
    for plugin in plugins:
        try:
            return _decode_by(plugin, decoder, header)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        # each decoder has its own, Rust's panics are no Exception; the next may do
        except BaseException as error:
            last = type(error).__name__
    needs_libjpeg = syntax == uid.JPEGExtended12Bit and header.BitsStored > 8
    if needs_libjpeg and "pylibjpeg" not in plugins:
        raise UnreadableRadiograph(
            "is 12-bit JPEG Extended, which needs the optional decoder "
            "pylibjpeg-libjpeg (GPL-3.0); install it or convert the file"
        )
    raise UnreadableRadiograph(
        f"has pixels that no decoder reads ({last}); export it again"
    )


def _decode_by(plugin: str, decoder: Decoder, header: pydicom.Dataset) -> np.ndarray:
    bits, allocated = header.BitsStored, header.BitsAllocated
    # GDCM ends the process where fewer than 8 bits are stored in 8
    widened = plugin == "gdcm" and allocated == 8 and bits < allocated
    options: Any = {"bits_stored": allocated} if widened else {}
    stored = decoder.as_array(header, index=0, decoding_plugin=plugin, **options)[0]
    if widened:
        unused = allocated - bits
        stored = stored << unused >> unused  # brings the sign along
    return stored
