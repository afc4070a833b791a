"""From a DICOM header to its stored pixels: checked, decoded, within their bits."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pydicom
from pydicom import uid
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder

from data.cxr_registry.dicom import codecs, codestream, headers
from data.cxr_registry.dicom.headers import UnreadableRadiograph

_NATIVE = frozenset(
    {uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian}
)
# Syntaxes that keep whole words, where old files have overlays above the bits stored.
_WORDS = frozenset({uid.RLELossless, uid.JPEGLossless, uid.JPEGLosslessSV1})
_JUDGED = 1 << 22  # pixels in which bits above the image are judged
_ALLOCATED = frozenset({1, 8, 16, 32, 64})  # bits per sample that PS3.5 allows
_GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
_COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})


def only_grey(stored: np.ndarray) -> np.ndarray:
    """One channel of [H, W, 3] where all three are equal; refuses real colour."""
    spread = stored.max(-1) - stored.min(-1)  # of unsigned values: never below 0
    # 2 is what chroma rounding leaves of a grey JPEG
    if stored.dtype.kind != "u" or spread.max() > 2:
        raise UnreadableRadiograph(
            "is in colour; a radiograph is grey: export the original"
        )
    return np.ascontiguousarray(stored[..., 1])


def decode(header: pydicom.Dataset, modalities: Collection[str] | None) -> np.ndarray:
    """Checks the header, then decodes; returns stored values, int[Rows, Columns]."""
    with headers.quiet_pydicom():
        try:
            _check_header(header, modalities)
            syntax = _transfer_syntax(header)
            encapsulated = syntax in codecs.DECODERS
            read = _decode_encapsulated if encapsulated else _decode_native
            stored = read(header, syntax)
        except UnreadableRadiograph:
            raise
        except Exception as error:  # a hostile file may raise anything
            raise UnreadableRadiograph(
                f"is damaged ({type(error).__name__}); export it again"
            ) from None
        if stored.ndim == 3:
            stored = only_grey(stored)
            header.BitsStored, header.PixelRepresentation = 8 * stored.itemsize, 0
            header.PhotometricInterpretation = "MONOCHROME2"  # of any VR in the file
    return within_bits(
        stored,
        int(header.BitsStored),
        signed=header.PixelRepresentation == 1,
        drops=not encapsulated or syntax in _WORDS,
        has_overlay=headers.has_embedded_overlay(header),
    )


def _check_header(header: pydicom.Dataset, modalities: Collection[str] | None) -> None:
    modality = headers.code(header, "Modality")
    if modalities is not None and modality and modality not in modalities:
        if modality in headers.USED_MODALITIES:
            raise UnreadableRadiograph(
                f"is of Modality {modality}, which may be a radiograph or not; look at "
                "it, then allow modality"
            )
        accepted = ", ".join(sorted(headers.RADIOGRAPHS))
        raise UnreadableRadiograph(
            f"is not a radiograph: Modality must be one of {accepted}, or empty"
        )
    if headers.code(header, "PresentationIntentType") == "FOR PROCESSING":
        raise UnreadableRadiograph(
            "is a FOR PROCESSING image, of unknown polarity; "
            "export the FOR PRESENTATION one"
        )
    if int(header.get("NumberOfFrames") or 1) > 1:
        raise UnreadableRadiograph("has several frames; export one frame per file")
    headers.size(header)
    kind = headers.code(header, "PhotometricInterpretation")
    samples = int(header.get("SamplesPerPixel") or 1)
    if (kind not in _GREY or samples != 1) and (kind not in _COLOUR or samples != 3):
        raise UnreadableRadiograph(
            "is neither MONOCHROME1 nor MONOCHROME2; export the original grey image"
        )
    header.PhotometricInterpretation = kind
    bits = header.get("BitsStored") or 0
    if not 1 <= bits <= 16:
        raise UnreadableRadiograph("BitsStored must be 1 to 16; export it again")
    if header.get("BitsAllocated") not in _ALLOCATED or bits > header.BitsAllocated:
        raise UnreadableRadiograph(
            "BitsAllocated must be 1, 8, 16, 32 or 64 and at least BitsStored; export "
            "it again"
        )
    if header.get("PixelRepresentation") not in (0, 1):
        raise UnreadableRadiograph(
            "PixelRepresentation must be 0 or 1; export it again"
        )
    if header.get("HighBit", bits - 1) != bits - 1:
        raise UnreadableRadiograph("HighBit must be BitsStored - 1; export it again")


def _transfer_syntax(header: pydicom.Dataset) -> uid.UID:
    """The stated syntax, or the one parsed where the length proves raw pixels."""
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
    if headers.is_big_endian(header):
        syntax = uid.ExplicitVRBigEndian
    elif header.original_encoding[0]:
        syntax = uid.ImplicitVRLittleEndian
    else:
        syntax = uid.ExplicitVRLittleEndian
    header.file_meta.TransferSyntaxUID = syntax
    return syntax


def _decode_native(header: pydicom.Dataset, syntax: uid.UID) -> np.ndarray:
    if syntax not in _NATIVE:
        raise UnreadableRadiograph(
            f"has a transfer syntax without a decoder here ({codecs.name(syntax)}); "
            "convert it to Explicit VR Little Endian"
        )
    decoder = get_decoder(syntax)
    options: Any = {"view_only": True, "correct_unused_bits": False}
    if header.get("SamplesPerPixel", 1) == 3:  # a view has no room for RGB
        options = {}
    try:
        stored = decoder.as_array(header, index=0, **options)[0]
    except Exception as error:
        raise _unread(error, syntax) from None
    return stored.astype(stored.dtype.newbyteorder("="), copy=False)


def _decode_encapsulated(header: pydicom.Dataset, syntax: uid.UID) -> np.ndarray:
    layout = codecs.Layout(
        *headers.size(header),
        samples=header.get("SamplesPerPixel") or 1,
        sample_bytes=int(header.BitsAllocated) // 8,
        kind=header.PhotometricInterpretation,
    )
    frame = next(generate_frames(header.PixelData, number_of_frames=1))
    if syntax != uid.RLELossless:  # which states no size
        _check_codestream(codestream.declared(frame), layout, syntax)
    try:
        return codecs.decode(syntax, frame, layout)
    except Exception as error:  # each codec has its own
        raise _unread(error, syntax) from None


def _check_codestream(
    declared: codestream.Frame | None, layout: codecs.Layout, syntax: uid.UID
) -> None:
    name = codecs.name(syntax)
    if declared is None:
        raise UnreadableRadiograph(
            f"has pixels that don't begin as its transfer syntax says ({name}); export "
            "it again"
        )
    if declared != layout[: len(declared)]:
        raise UnreadableRadiograph(
            f"has another size in its pixels ({name}) than in its header; export it "
            "again"
        )


def _unread(error: Exception, syntax: uid.UID) -> UnreadableRadiograph:
    return UnreadableRadiograph(
        f"has pixels that no decoder reads ({codecs.name(syntax)}: "
        f"{type(error).__name__}); export it again"
    )


def within_bits(
    stored: np.ndarray,
    bits: int,
    *,
    signed: bool,
    drops: bool,
    has_overlay: bool = False,
) -> np.ndarray:
    """The values with the number of bits and the sign that the header states.

    A codestream has no sign (JPEG, JPEG-LS) or its own (JPEG 2000).

    Args:
        stored: int or uint [H, W].
        bits: that are stored, 1 to 16.
        signed: whether the highest of these bits is a sign.
        drops: whether there may be bits above them, which are dropped; else they are an
            error. Bits that belong to the values are an error in any case.
        has_overlay: whether the header says that an overlay is stored in such bits.

    Raises:
        UnreadableRadiograph: values of more bits, or a container of fewer.
    """
    container = 8 * stored.itemsize
    if container < bits:
        raise UnreadableRadiograph(
            f"has {container} bits in its pixels and states {bits}; export it again"
        )
    has_sign = stored.dtype.kind == "i"
    lowest = -(1 << (bits - 1)) if has_sign else 0
    fits = stored.max() < lowest + (1 << bits)
    fits = fits and not (has_sign and stored.min() < lowest)
    if fits and has_sign == signed:
        return stored
    words = stored.view(f"{'i' if signed else 'u'}{stored.itemsize}")
    # brings the sign along
    kept = words << (container - bits) >> (container - bits)
    if not fits and not (drops and (has_overlay or _runs_on(words, kept))):
        raise UnreadableRadiograph(
            f"holds values outside its {bits} bits stored; export it again"
        )
    return kept


def _runs_on(words: np.ndarray, kept: np.ndarray) -> bool:
    """Whether the image goes on where the bits above it change.

    So it does under an overlay that the header does not mention, as old files have
    them. Where the bits belong to the values, the image without them jumps.
    """
    step = max(1, words.size // _JUDGED)
    kept = kept[::step].astype(np.int64)
    above = words[::step].astype(np.int64) - kept
    jumps, edges = np.abs(np.diff(kept)), np.diff(above) != 0
    if not edges.any() or edges.all():
        return not edges.any()
    return np.median(jumps[edges]) <= 4 * np.median(jumps[~edges]) + 4
