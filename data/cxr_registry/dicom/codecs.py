"""Decodes a compressed frame: one function for each transfer syntax.

All of them call imagecodecs. Its `ljpeg_decode` is not used: it ends the process on
damaged JPEG lossless, while libjpeg-turbo raises an exception, and is faster.

Reference: DICOM PS3.5 annexes A.4 (encapsulation) and G (RLE).
"""

import itertools
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import cv2
import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.pixels.processing import convert_color_space

from data.cxr_registry.dicom import codestream

_RLE_HEADER = struct.Struct("<16I")  # number of segments, their offsets
_RLE_EXCESS = 1024  # bytes that a segment may hold beyond its pixels, as padding
# Markers that state a JPEG's colour space; without one, the DICOM header states it.
_COLOUR_MARKER = re.compile(rb"\xff\xe0..JFIF\0|\xff\xee..Adobe", re.DOTALL)


class Layout(NamedTuple):
    """What the DICOM header says of a frame."""

    rows: int
    columns: int
    samples: int  # per pixel: 1, or 3 in colour
    sample_bytes: int  # bytes of BitsAllocated
    kind: str  # Photometric Interpretation


Decode = Callable[[bytes, Layout], np.ndarray]


def decode(syntax: uid.UID, frame: bytes, layout: Layout) -> np.ndarray:
    """Decodes the bytes of a frame, whose declared size was checked before.

    Args:
        syntax: a key of `DECODERS`.
        frame: the fragments of one frame, joined.
        layout: of the frame, by the DICOM header.

    Returns:
        uint or int [rows, columns] or, in RGB, [rows, columns, 3]. The dtype holds at
        least the codestream's bits; it may be signed where the header says unsigned,
        and the reverse.

    Raises:
        Exception: of any kind, where the frame is damaged.
    """
    stored = DECODERS[syntax](frame, layout)
    expected = (layout.rows, layout.columns) + (3,) * (layout.samples == 3)
    if stored.shape == (3, *expected[:2]):  # JPEG-LS with one plane for each colour
        stored = np.moveaxis(stored, 0, -1)
    if stored.shape != expected:
        raise ValueError("decoded to another shape")
    if layout.kind.startswith("YBR_FULL") and DECODERS[syntax] not in (_jpeg, _jpeg_xl):
        stored = convert_color_space(stored, "YBR_FULL", "RGB")
    return stored


def _rle(frame: bytes, layout: Layout) -> np.ndarray:
    """RLE: a segment of PackBits for each byte of each sample, highest byte first."""
    number, *offsets = _RLE_HEADER.unpack_from(frame)
    size = layout.sample_bytes
    if number != layout.samples * size or number > len(offsets):
        raise ValueError("has other segments than its samples have bytes")
    bounds = [*offsets[:number], len(frame)]
    if min(bounds) < _RLE_HEADER.size:
        raise ValueError("has a segment in its header")
    # wrong offsets give an empty segment, which `_plane` refuses
    planes = [
        _plane(memoryview(frame)[start:end], layout.rows * layout.columns)
        for start, end in itertools.pairwise(bounds)
    ]
    samples = [
        cv2.merge(planes[at : at + size][::-1]).view(f"<u{size}")
        for at in range(0, number, size)
    ]
    shape = (layout.rows, layout.columns)
    if layout.samples == 1:
        return samples[0].reshape(shape)
    return np.dstack([sample.reshape(shape) for sample in samples])


def _plane(segment: memoryview, pixels: int) -> np.ndarray:
    """u8[pixels] of a segment; the given output limits how much it can unpack to."""
    out = np.empty(pixels + _RLE_EXCESS, np.uint8)
    untyped: Any = (segment, out)  # imagecodecs' stubs know no buffers
    if len(imagecodecs.packbits_decode(untyped[0], out=untyped[1])) < pixels:
        raise ValueError("has a segment of fewer bytes than pixels")
    return out[:pixels]


def _jpeg(frame: bytes, layout: Layout) -> np.ndarray:
    """Lossy JPEG of 8 or 12 bits; colours are converted to RGB."""
    _check_end(frame)
    if layout.samples == 1:
        return imagecodecs.jpeg8_decode(frame, outcolorspace="GRAYSCALE")
    if layout.kind == "RGB" and not _COLOUR_MARKER.search(frame):
        return imagecodecs.jpeg8_decode(frame, colorspace="RGB")
    return imagecodecs.jpeg8_decode(frame, outcolorspace="RGB")


def _jpeg_lossless(frame: bytes, layout: Layout) -> np.ndarray:
    _check_end(frame)
    # unconverted: libjpeg-turbo can't convert colours of a lossless JPEG
    colours = "RGB" if layout.samples == 3 else None
    return imagecodecs.jpeg8_decode(frame, colorspace=colours)


def _check_end(frame: bytes) -> None:
    """Refuses a cut file, which libjpeg-turbo would fill up without an error."""
    if not codestream.is_whole_jpeg(frame):
        raise ValueError("is cut off")


def _jpeg_ls(frame: bytes, layout: Layout) -> np.ndarray:
    del layout
    return imagecodecs.jpegls_decode(frame)


def _jpeg_2000(frame: bytes, layout: Layout) -> np.ndarray:
    """JPEG 2000, also of high throughput; the component transform is undone."""
    del layout
    return imagecodecs.jpeg2k_decode(frame, numthreads=1)


def _jpeg_xl(frame: bytes, layout: Layout) -> np.ndarray:
    del layout
    return imagecodecs.jpegxl_decode(frame, numthreads=1)


DECODERS: Mapping[str, Decode] = {
    uid.RLELossless: _rle,
    uid.JPEGBaseline8Bit: _jpeg,
    uid.JPEGExtended12Bit: _jpeg,
    uid.JPEGLossless: _jpeg_lossless,
    uid.JPEGLosslessSV1: _jpeg_lossless,
    uid.JPEGLSLossless: _jpeg_ls,
    uid.JPEGLSNearLossless: _jpeg_ls,
    uid.JPEG2000Lossless: _jpeg_2000,
    uid.JPEG2000: _jpeg_2000,
    uid.HTJ2KLossless: _jpeg_2000,
    uid.HTJ2KLosslessRPCL: _jpeg_2000,
    uid.HTJ2K: _jpeg_2000,
    "1.2.840.10008.1.2.4.110": _jpeg_xl,  # lossless
    "1.2.840.10008.1.2.4.111": _jpeg_xl,  # made of a JPEG
    "1.2.840.10008.1.2.4.112": _jpeg_xl,
}
# Of syntaxes that pydicom's dictionary does not have.
_NAMES = {
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression",
    "1.2.840.113619.5.2": "GE Private Implicit VR Big Endian",
}


def name(syntax: str) -> str:
    """A transfer syntax in words; a number of no standard is not quoted.

    >>> name("1.2.840.10008.1.2.4.100"), name("1.2.3")
    ('MPEG2 Main Profile / Main Level', 'private')
    """
    known = uid.UID(syntax)
    is_known = known.type == "Transfer Syntax"
    return _NAMES.get(syntax, known.name if is_known else "private")
