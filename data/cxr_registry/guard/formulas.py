"""Cells that a spreadsheet would run as formulas, written so that it shows them.

Reference: OWASP, CSV Injection: cells that begin with = + - @, a tab or a carriage
return get an apostrophe before them.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def inert(rows: Iterable[Sequence[Any]]) -> Iterator[list[Any]]:
    """The rows of a CSV file with such texts neutralised; numbers are left alone.

    >>> list(inert([("=1+1", -1, "rib")]))
    [["'=1+1", -1, 'rib']]
    """
    for row in rows:
        yield [_inert(cell) for cell in row]


def _inert(cell: Any) -> Any:
    # a spreadsheet strips blanks before it looks
    risky = isinstance(cell, str) and cell.lstrip(" ").startswith(_STARTS)
    return f"'{cell}" if risky and not _is_number(cell) else cell


def _is_number(cell: str) -> bool:
    """-1.50, as the converters write coordinates: digits, a point, a sign."""
    return cell.removeprefix("-").replace(".", "", 1).isdecimal()
