"""Tags of a workbook's XML, which is scanned and not parsed, and names of columns."""

import re


def attribute(tag: str, name: str) -> str:
    """An attribute of a tag's text; "" where it has none.

    >>> attribute('r="B3" s="5"', "s"), attribute('r="B3"', "s")
    ('5', '')
    """
    match = re.search(rf"\b{name}\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", tag)
    return (match[1] or match[2] or "") if match else ""


def column_number(letters: str) -> int:
    """A -> 1, Z -> 26, AA -> 27."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number
