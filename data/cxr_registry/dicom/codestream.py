"""The size that a compressed image claims, read from its first bytes, undecoded.

A decoder allocates what the codestream says, whatever the DICOM header says, so the
limit on pixels is checked against both.
"""

import struct
from typing import NamedTuple

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"  # baseline, extended, lossless and JPEG-LS alike
JPEG_2000 = b"\xff\x4f\xff\x51"
JP2_BOX = b"\x00\x00\x00\x0cjP  "

# Start-of-frame markers: SOF0-15 without DHT, JPG and DAC, and JPEG-LS's SOF55.
_FRAME_MARKERS = (frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | {0xF7}


class Frame(NamedTuple):
    """What a stream declares; samples is 0 for a PNG, where it isn't read."""

    rows: int
    columns: int
    samples: int


def declared(data: bytes) -> Frame | None:
    """The frame that a PNG, JPEG, JPEG-LS or JPEG 2000 stream declares.

    Args:
        data: the stream, or at least the part before its pixel data.

    Returns:
        The frame; None where the stream is of an unknown kind or cut off.
    """
    if data.startswith(PNG):
        return _unpack(data, 16, ">II", order=(1, 0))
    if data.startswith(JP2_BOX):
        return _jp2_frame(data)
    if data.startswith(JPEG_2000):
        return _jpeg_2000_frame(data)
    if data.startswith(JPEG):
        return _jpeg_frame(data)
    return None


def image_shape(data: bytes) -> tuple[int, int] | None:
    """Rows and columns that a stream declares; None as for `declared`."""
    frame = declared(data)
    return None if frame is None else (frame.rows, frame.columns)


def is_whole_jpeg(data: bytes) -> bool:
    """Whether an end marker follows the last scan of a JPEG; in a cut file none does.

    Inside a scan 0xFF is followed by 0 or a restart's number, so neither marker is
    found there by chance; the end marker of a thumbnail lies before the scan.
    """
    return data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda") > 0


def _unpack(
    data: bytes, offset: int, layout: str, *, order: tuple[int, ...]
) -> Frame | None:
    if len(data) < offset + struct.calcsize(layout):
        return None
    values = struct.unpack_from(layout, data, offset)
    rows, columns, *samples = (values[place] for place in order)
    return Frame(rows, columns, samples[0] if samples else 0)


def _jp2_frame(data: bytes) -> Frame | None:
    # Boxes: length, name, content. A stream quoted in another box is not the one read.
    at = 0
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        if name == b"jp2c":
            return _jpeg_2000_frame(data[at + (16 if size == 1 else 8) :])
        if size < 8:  # a 64-bit length, or a box up to the end: no picture follows
            return None
        at += size
    return None


def _jpeg_2000_frame(data: bytes) -> Frame | None:
    # SOC, SIZ marker, Lsiz, Rsiz; the grid's Xsiz, Ysiz, XOsiz, YOsiz; four of the
    # tiles; Csiz
    if len(data) < 42 or not data.startswith(JPEG_2000):
        return None
    right, bottom, left, top = struct.unpack_from(">IIII", data, 8)
    (samples,) = struct.unpack_from(">H", data, 40)
    return Frame(bottom - top, right - left, samples)


def _jpeg_frame(data: bytes) -> Frame | None:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _FRAME_MARKERS:
            return _unpack(data, at + 5, ">HHB", order=(0, 1, 2))
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None
