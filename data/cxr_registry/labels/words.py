"""Words that stand for a label: the one table, and who accepts which of them.

A column of the studies table accepts numbers alone: by its cells it is told whether a
column is a finding, and one of "yes" and "no" may be anything. The table of a user's
own labels is made for its purpose and names what it means. A person who fills in a
sheet writes as people do.
"""

import enum


class Reader(enum.Enum):
    """Who reads a word."""

    COLUMN = "the column of a finding"
    OWN = "the table of own labels"
    SHEET = "the sheet that a person fills in"
    SCORED = "the label of an image or lesion in tables to be scored"


_ALL = frozenset(Reader)
_NAMED = frozenset({Reader.OWN, Reader.SHEET, Reader.SCORED})
_SPOKEN = frozenset({Reader.SHEET, Reader.SCORED})
_TYPED = frozenset({Reader.SCORED})  # as programs write what is true
_TABLE = (  # words in lower case, label, readers
    ("1 1.0", 1, _ALL),
    ("positive", 1, _NAMED),
    ("yes y", 1, _SPOKEN),
    ("true", 1, _TYPED),
    ("0 0.0", 0, _ALL),
    ("negative", 0, _NAMED),
    ("no n", 0, _SPOKEN),
    ("false", 0, _TYPED),
    ("-1 -1.0 unknown", -1, _NAMED),
    ("? unsure unclear", -1, _SPOKEN),
)


def accepted(reader: Reader) -> dict[str, int]:
    """Word in lower case -> label, 1, 0 or -1 unknown, of all that a reader accepts.

    >>> accepted(Reader.COLUMN)
    {'1': 1, '1.0': 1, '0': 0, '0.0': 0}
    """
    return {
        word: label
        for words, label, readers in _TABLE
        for word in words.split()
        if reader in readers
    }
