"""Lookup tables of a DICOM header: read whatever writers make of them, and applied.

Reference: DICOM PS3.3 C.11.1.1 (Modality LUT), C.11.2.1.1 (VOI LUT).
"""

from typing import Any, NamedTuple

import numpy as np

_WORD = 1 << 16


class Table(NamedTuple):
    """A table as its descriptor and data state it."""

    entries: np.ndarray  # f64[number of entries]
    first: int  # the first input value mapped, as an unsigned word
    bits: int  # of an entry, 1 to 16, as the descriptor says

    @property
    def stated_white(self) -> int:
        return (1 << self.bits) - 1

    @property
    def white(self) -> int:
        """The output that is white: the largest of the bits that the entries have.

        Some writers state 16 bits and fill 12 (Agfa CR): a table that uses less than
        half of its range has no more bits than its entries need.

        Raises:
            ValueError: entries of more bits than stated.
        """
        used = int(self.entries.max())
        if used > self.stated_white:
            raise ValueError("entries of more bits than the table states")
        if 2 * used >= self.stated_white:
            return self.stated_white
        return max(1, (1 << used.bit_length()) - 1)


def read(item: Any, *, big_endian: bool) -> Table:
    """Reads the item of a Modality or VOI LUT Sequence.

    Args:
        item: with LUT Descriptor and LUT Data, of the VR US, SS, OW or OB.
        big_endian: whether the words of OW, which arrive as bytes, have that order.

    Raises:
        ValueError: fewer entries than stated, or a number of bits that can't be.
    """
    # the VR may make a word signed that is not: the number of entries, for one
    count, first, bits = (int(value) % _WORD for value in item.LUTDescriptor)
    count = count or _WORD  # 0 stands for 65,536, which a word cannot hold
    data = item.LUTData
    if not isinstance(data, bytes):
        words = (np.atleast_1d(np.asarray(data, np.int64)) % _WORD).astype("<u2")
    elif item["LUTData"].VR == "OB" and len(data) < 2 * count:  # bytes have no order
        words = np.frombuffer(data, np.uint8)
    else:
        order = ">u2" if big_endian else "<u2"
        words = np.frombuffer(data + b"\0" * (len(data) % 2), order)
    if len(words) < count:  # entries of 8 bits, two to a word, the low one first
        words = words.astype(f"<u{words.itemsize}").view(np.uint8)
    if len(words) < count or not 1 <= bits <= 16:
        raise ValueError("lookup table does not match its descriptor")
    return Table(words[:count].astype(np.float64), first, bits)


def apply(table: Table, domain: np.ndarray) -> np.ndarray:
    """The entry of each input; what lies outside the table gets its nearest end.

    Args:
        table: to look up in.
        domain: f64[N], all values that the input can have.
    """
    first = _first_mapped(table, domain)
    index = np.clip(np.rint(domain) - first, 0, len(table.entries) - 1)
    return table.entries[index.astype(np.int64)]


def _first_mapped(table: Table, domain: np.ndarray) -> int:
    """The first value mapped, signed or not.

    The VR should say which, by what the table maps: signed where the input may be below
    0 (C.11.2.1.1). But an implicit file states no VR, and converters set it by the sign
    of the stored values alone. So the reading counts that maps more of the input.
    """

    def mapped(first: int) -> int:
        inside = (domain >= first) & (domain < first + len(table.entries))
        return int(np.count_nonzero(inside))

    signed = table.first - _WORD
    could_be = table.first >= _WORD // 2
    return signed if could_be and mapped(signed) > mapped(table.first) else table.first
