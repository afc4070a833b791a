"""Cells that a spreadsheet would run as formulas, written so that it shows them.

Reference: OWASP, CSV Injection: cells that begin with = + - @, a tab or a carriage
return get an apostrophe before them.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBER = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")


def neutralize_rows(rows: Iterable[Sequence[Any]]) -> Iterator[list[Any]]:
    """The rows of a CSV file, each cell as by `neutralize`."""
    for row in rows:
        yield [neutralize(cell) for cell in row]


def neutralize(cell: Any) -> Any:
    """The cell with an apostrophe before it where a spreadsheet would run its text.

    Numbers are left as they are, also where they are written as text.

    >>> neutralize(" =1+1"), neutralize("-1.5"), neutralize(-1.5), neutralize("rib")
    ("' =1+1", '-1.5', -1.5, 'rib')
    """
    # a spreadsheet strips blanks before it looks
    if not isinstance(cell, str) or not cell.lstrip(" ").startswith(_STARTS):
        return cell
    return cell if _NUMBER.fullmatch(cell) else f"'{cell}"
