"""The size that a compressed image claims, read from its first bytes, undecoded.

A decoder allocates what the codestream says, whatever the DICOM header says, so the
limit on pixels is checked against both.
"""

import struct
from collections.abc import Collection
from typing import NamedTuple

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"  # baseline, extended, lossless and JPEG-LS alike
JPEG_2000 = b"\xff\x4f\xff\x51"
JP2_BOX = b"\x00\x00\x00\x0cjP  "
JPEG_XL = b"\xff\x0a"
JXL_BOX = b"\x00\x00\x00\x0cJXL \r\n\x87\n"

# Start-of-frame markers: SOF0-15 without DHT, JPG and DAC, and JPEG-LS's SOF55.
_FRAME_MARKERS = (frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | {0xF7}


class Frame(NamedTuple):
    """What a stream declares; samples is 0 for a PNG, where it isn't read."""

    rows: int
    columns: int
    samples: int


def declared(data: bytes) -> Frame | None:
    """The frame that a PNG, JPEG, JPEG-LS, JPEG 2000 or JPEG XL stream declares.

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
    if data.startswith(JXL_BOX):
        return _jpeg_xl_frame(_content(data, (b"jxlc", b"jxlp")))
    if data.startswith(JPEG_XL):
        return _jpeg_xl_frame(data)
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
    return _jpeg_2000_frame(_content(data, (b"jp2c",)))


def _content(data: bytes, names: Collection[bytes]) -> bytes:
    """What the first box of such a name holds, up to the end; b"" for none.

    Boxes: length, name, content. A stream quoted in another box is not the one read.
    """
    at = 0
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        if name in names:
            number = 4 if name == b"jxlp" else 0  # parts are numbered
            return data[at + (16 if size == 1 else 8) + number :]
        if size < 8:  # a 64-bit length, or a box up to the end: no picture follows
            break
        at += size
    return b""


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


class _Bits:
    """Bits of a stream, the lowest of each byte first; zeros follow the end."""

    def __init__(self, data: bytes):
        self._value, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def read(self, number: int) -> int:
        self._left -= number
        value = self._value & ((1 << number) - 1)
        self._value >>= number
        return value

    def choose(self, *choices: tuple[int, int]) -> int:
        """U32: two bits choose (offset, bits that are added to it)."""
        offset, number = choices[self.read(2)]
        return offset + self.read(number)

    @property
    def is_at_end(self) -> bool:
        return self._left < 0


_JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_JXL_HEADER = 64  # bytes that hold all that is read


def _jpeg_xl_frame(data: bytes) -> Frame | None:
    """Size and samples by ISO/IEC 18181-1, annexes D.2 (size) and D.3 (metadata).

    None also for an animation, a preview, a turned picture, or further channels: no
    radiograph has them, and each is memory that the size does not show.
    """
    if not data.startswith(JPEG_XL):
        return None
    bits = _Bits(data[2:_JXL_HEADER])
    is_small = bits.read(1)

    def side() -> int:
        if is_small:
            return 8 * (1 + bits.read(5))
        return bits.choose((1, 9), (1, 13), (1, 18), (1, 30))

    rows = side()
    ratio = bits.read(3)
    if ratio:
        above, below = _JXL_RATIOS[ratio - 1]
        columns = rows * above // below
    else:
        columns = side()
    samples = 3
    if not bits.read(1):  # else all is the default: RGB of 8 bits
        if bits.read(1) and any(bits.read(width) for width in (3, 1, 1, 1)):
            return None
        if bits.read(1):  # floating-point numbers
            return None
        bits.choose((8, 0), (10, 0), (12, 0), (1, 6))
        bits.read(1)  # whether 16 bits suffice to compute
        if bits.choose((0, 0), (1, 0), (2, 4), (1, 12)):
            return None
        bits.read(1)  # whether the colours are XYB
        if not bits.read(1):  # else sRGB
            bits.read(1)  # whether a profile follows
            is_grey = bits.choose((0, 0), (1, 0), (2, 4), (18, 6)) == 1
            samples = 1 if is_grey else 3
    return None if bits.is_at_end else Frame(rows, columns, samples)
