"""Mends one slip of the keyboard in the words that labels hang on.

A word of six letters or more that is one slip away from a word of the table (a letter
left out, put in, changed, or two exchanged) and begins with the same letter is taken
for it. Shorter words are not: too many of them are other words. Nor are words of other
languages, and those of _OTHERS.

Reference: F. Damerau, A technique for computer detection and correction of spelling
errors, Commun ACM 7 (1964).
"""

import csv
import functools
import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from data.cxr_registry.labels import text_language

TABLE = Path(__file__).with_name("spelled_words.csv")
_SHORTEST = 6  # letters of a word with a slip: one may be left out
_WORD = re.compile(r"[^\W\d_]{6,}")
# Real words one slip away from a word of the table.
_OTHERS = frozenset(
    (
        "strictures",
        "chromic",
        "sealed",
        "heated",
        "hailed",
        "heeled",
        "headed",
        "intent",
    )
)


class Spelled(NamedTuple):
    """A text with its words mended, and the way back to its places."""

    text: str
    # place in the mended text from which on, how far the original lies behind it
    shifts: tuple[tuple[int, int], ...]

    def original(self, place: int) -> int:
        """The place in the text as it was."""
        moved = 0
        for start, shift in self.shifts:
            if place < start:
                break
            moved = shift
        return place + moved


class Speller:
    """Mends the words of some languages.

    Args:
        languages: codes; those without a row of the table are left as they are.
    """

    def __init__(self, languages: Collection[str]):
        with TABLE.open(encoding="utf-8", newline="") as stream:
            self._known = frozenset(
                word
                for line in csv.DictReader(stream)
                if line["language"] in languages
                for word in line["words"].split()
            )
        self._others = _OTHERS | text_language.words_of_others(languages)
        self._near: dict[str, set[str]] = {}
        for word in sorted(self._known):
            for form in (word, *_shorter(word)):
                self._near.setdefault(form, set()).add(word)
        self._mended = functools.lru_cache(50_000)(self._mend)

    def mend(self, text: str) -> Spelled:
        """The text with its misspelled words mended.

        >>> Speller(["en"]).mend("Rib fratcure, intcat otherwise").text
        'Rib fracture, intact otherwise'
        """
        parts, shifts, here, moved = [], [], 0, 0
        for match in _WORD.finditer(text):
            word = match[0]
            if not (mended := self._mended(word)):
                continue
            parts += [text[here : match.start()], mended]
            here = match.end()
            if len(mended) != len(word):
                end = here - moved + len(mended) - len(word)
                moved += len(word) - len(mended)
                shifts.append((end, moved))
        if not parts:
            return Spelled(text, ())
        return Spelled("".join([*parts, text[here:]]), tuple(shifts))

    def _mend(self, word: str) -> str:
        """The word of the table that is meant; "" where it is right, or none is."""
        word = word.lower()
        if word in self._known or word in self._others or len(word) < _SHORTEST:
            return ""
        near = {
            known
            for form in (word, *_shorter(word))
            for known in self._near.get(form, ())
            if known[0] == word[0] and _is_one_slip(word, known)
        }
        return near.pop() if len(near) == 1 else ""


def _shorter(word: str) -> list[str]:
    """The word with each of its letters left out, the first one kept."""
    return [word[:at] + word[at + 1 :] for at in range(1, len(word))]


def _is_one_slip(one: str, other: str) -> bool:
    """Whether one letter is left out, put in or changed, or two are exchanged."""
    if len(one) > len(other):
        one, other = other, one
    at = next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        len(one),
    )
    if len(one) < len(other):
        return one[at:] == other[at + 1 :]
    exchanged = one[at : at + 2] == other[at : at + 2][::-1]
    return one[at + 1 :] == other[at + 1 :] or (
        exchanged and one[at + 2 :] == other[at + 2 :]
    )
