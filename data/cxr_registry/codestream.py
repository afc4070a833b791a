"""The size that a compressed image claims, read from its first bytes, undecoded.

A decoder allocates what the codestream says, whatever the DICOM header said, so
the bound on pixels is held against both.
"""

import struct

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"  # baseline, extended, lossless and JPEG-LS alike
JPEG_2000 = b"\xff\x4f\xff\x51"
JP2_BOX = b"\x00\x00\x00\x0cjP  "

# Start-of-frame markers: SOF0-15 without DHT, JPG and DAC, and JPEG-LS's SOF55.
_FRAME_MARKERS = (frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | {0xF7}


def image_shape(data: bytes) -> tuple[int, int] | None:
    """Rows and columns that a PNG, JPEG, JPEG-LS or JPEG 2000 stream declares.

    Args:
        data: the stream, or at least the part before its pixel data.

    Returns:
        (rows, columns), or None when the stream is of no known kind or cut off.
    """
    if data.startswith(PNG):
        return _unpack(data, 16, ">II", flip=True)
    if data.startswith(JP2_BOX):
        start = data.find(JPEG_2000)
        return None if start < 0 else image_shape(data[start:])
    if data.startswith(JPEG_2000):
        return _jpeg_2000_shape(data)
    if data.startswith(JPEG):
        return _jpeg_shape(data)
    return None


def _unpack(
    data: bytes, offset: int, layout: str, *, flip: bool
) -> tuple[int, int] | None:
    if len(data) < offset + struct.calcsize(layout):
        return None
    first, second = struct.unpack_from(layout, data, offset)
    return (second, first) if flip else (first, second)


def _jpeg_2000_shape(data: bytes) -> tuple[int, int] | None:
    # SOC, SIZ marker, Lsiz, Rsiz, then the grid's Xsiz, Ysiz, XOsiz, YOsiz.
    if len(data) < 24:
        return None
    right, bottom, left, top = struct.unpack_from(">IIII", data, 8)
    return bottom - top, right - left


def _jpeg_shape(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _FRAME_MARKERS:
            return _unpack(data, at + 5, ">HH", flip=False)
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None
