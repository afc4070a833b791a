"""Which cells of a sheet are struck through: somebody took their value back, by hand.

A line goes through a whole cell by the font of its style, or through some of its
letters by a font of its own in the text. Fonts of conditional formatting are not read.

Reference: ECMA-376 Part 1, 18.4.10 (strike), 18.8.10 (cellXfs), 18.3.1.4 (cells).
"""

import re
from typing import NamedTuple

from data.cxr_registry.tables.sheet_xml import attribute, column_number

# Tags alone, so that a damaged file takes no longer than a good one of its size.
_STYLE = re.compile(r"<(/?)(?:\w+:)?(fonts|font|strike|cellXfs|xf)\b([^<>]*)>")
_STRING = re.compile(rb"<(?:\w+:)?(si|strike)\b([^<>]*)>")
_CELL = re.compile(rb"<(?:\w+:)?(c|v|t|strike)\b([^<>]*)>([^<>]*)")
_PLACE = re.compile(r"([A-Z]{1,3})(\d{1,7})")


class Struck(NamedTuple):
    """What a workbook strikes through; empty for nearly all of them."""

    styles: frozenset[int]  # of cells
    strings: frozenset[int]  # shared ones with struck letters

    def cells(self, part: bytes) -> dict[int, set[int]]:
        """Row -> columns of the struck cells with a value, both from 1.

        Args:
            part: a sheet's XML that cuts no cell in two.
        """
        if not self.styles and not self.strings and b"strike" not in part:
            return {}
        rows: dict[int, set[int]] = {}
        place: re.Match[str] | None = None
        is_struck = is_shared = False
        for match in _CELL.finditer(part):
            name, tag = match[1], match[2].decode("latin-1")
            if name == b"c":
                place = _PLACE.fullmatch(attribute(tag, "r"))
                is_struck = _number(attribute(tag, "s")) in self.styles
                is_shared = attribute(tag, "t") == "s"
                continue
            value = match[3].strip()
            if name == b"strike":
                is_struck = is_struck or _is_on(tag)
            elif name == b"v" and is_shared:
                is_struck = is_struck or _number(value.decode("latin-1")) in (
                    self.strings
                )
            if is_struck and place and value and name != b"strike":
                column = column_number(place[1])
                rows.setdefault(int(place[2]), set()).add(column)
        return rows


def read(styles: bytes, strings: bytes) -> Struck:
    """What is struck through.

    Args:
        styles: XML of the workbook's styles.
        strings: XML of its shared strings; both may be empty.
    """
    return Struck(
        _struck_styles(styles.decode("utf-8", errors="replace"))
        if b"strike" in styles
        else frozenset(),
        _struck_strings(strings) if b"strike" in strings else frozenset(),
    )


def _struck_styles(styles: str) -> frozenset[int]:
    inside, font, style = "", -1, -1
    fonts, found = set(), set()
    for match in _STYLE.finditer(styles):
        is_end, name, tag = match.groups()
        if name in ("fonts", "cellXfs"):
            inside = "" if is_end else name
        elif is_end:
            continue
        elif inside == "fonts" and name == "font":
            font += 1
        elif inside == "fonts" and name == "strike" and _is_on(tag):
            fonts.add(font)
        elif inside == "cellXfs" and name == "xf":
            style += 1
            if _number(attribute(tag, "fontId")) in fonts:
                found.add(style)
    return frozenset(found)


def _struck_strings(strings: bytes) -> frozenset[int]:
    number, found = -1, set()
    for match in _STRING.finditer(strings):
        if match[1] == b"si":
            number += 1
        elif _is_on(match[2].decode("latin-1")):
            found.add(number)
    return frozenset(found)


def _is_on(tag: str) -> bool:
    return attribute(tag, "val").lower() not in ("0", "false")


def _number(text: str) -> int:
    """A whole number of the XML; 0, the style without a name, where there is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
