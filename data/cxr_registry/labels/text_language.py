"""Which language a sentence is in: enough to leave unread what no pattern can read.

The script tells most of them apart. Languages in Latin letters are told by words that
are frequent in reports of the chest and that no other language of the list has; it
takes no dictionary and no model, and where nothing speaks against it, a sentence counts
as read.
"""

import csv
import functools
import re
from collections.abc import Collection, Mapping
from pathlib import Path

TABLE = Path(__file__).with_name("language_words.csv")

_SCRIPTS = {  # code -> letters of its script, two where one may be a sign
    "ja": re.compile(r"[\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f]"),
    "zh": re.compile(r"[\u3400-\u9fff\uf900-\ufaff]{2}"),
    "ko": re.compile(r"[\uac00-\ud7af\u1100-\u11ff]"),
    "ru": re.compile(r"[\u0400-\u04ff]{2}"),
    "el": re.compile(r"[\u0370-\u03ff]{3}"),
    "ar": re.compile(r"[\u0600-\u06ff]{2}"),
    "he": re.compile(r"[\u0590-\u05ff]{2}"),
    "th": re.compile(r"[\u0e00-\u0e7f]{2}"),
    "hi": re.compile(r"[\u0900-\u097f]{2}"),
}
_WORD = re.compile(r"[^\W\d_]+")
# Letters with marks that no other language of the list has.
_VIETNAMESE = re.compile(r"[\u01a1\u01b0\u0111\u1ea0-\u1ef9]", re.IGNORECASE)


@functools.cache
def _vocabulary() -> Mapping[str, frozenset[str]]:
    """Code of a language -> words of reports that no other language here has."""
    with TABLE.open(encoding="utf-8", newline="") as stream:
        return {
            line["language"]: frozenset(line["words"].split())
            for line in csv.DictReader(stream)
        }


@functools.cache
def _alone() -> Mapping[str, str]:
    """Word that one needs to read to know of a fracture -> the code of its language."""
    with TABLE.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    return {word: line["language"] for line in lines for word in line["alone"].split()}


def words_of_others(languages: Collection[str]) -> frozenset[str]:
    """Words of the table that belong to other languages than these."""
    words = {word for known in _vocabulary().values() for word in known}
    mine = {word for code in languages for word in _vocabulary().get(code, ())}
    alone = {word for word, code in _alone().items() if code not in languages}
    return frozenset((words | alone) - mine)


def foreign(sentence: str, languages: Collection[str]) -> str:
    """The code of the language of a sentence that is in none of `languages`, or "".

    Args:
        sentence: of a report.
        languages: codes of those that patterns are at hand for.

    >>> foreign("Fractura de clavícula izquierda.", ["en"]), foreign("Clear.", ["en"])
    ('es', '')
    """
    if not sentence.isascii():
        for code, letters in _SCRIPTS.items():
            if code not in languages and letters.search(sentence):
                return code
        if "vi" not in languages and len(_VIETNAMESE.findall(sentence)) > 1:
            return "vi"
    return foreign_by_words(sentence, languages)


def foreign_report(text: str, languages: Collection[str]) -> str:
    """As `foreign`, for a whole report: a single word for a fracture tells.

    >>> foreign_report("Fractura costal.", ["en"]), foreign_report("Rib fx.", ["en"])
    ('es', '')
    """
    if code := foreign_by_words(text, languages):
        return code
    known, alone = _vocabulary(), _alone()
    if not all(code in known or code in _SCRIPTS for code in languages):
        return ""
    words = frozenset(_WORD.findall(text.lower()))
    read = {word for code in languages for word in known.get(code, ())}
    telling = {alone[word] for word in (words & alone.keys()) - read}
    return min(telling - set(languages), default="")


def foreign_by_words(text: str, languages: Collection[str]) -> str:
    """As `foreign`, by frequent words alone.

    >>> foreign_by_words("Ribfractuur links. Geen pneumothorax.", ["en"])
    'nl'
    """
    vocabulary = _vocabulary()
    if not all(code in vocabulary or code in _SCRIPTS for code in languages):
        return ""  # a user's own language, whose words are not known here
    words = frozenset(_WORD.findall(text.lower()))
    score = {code: len(words & known) for code, known in vocabulary.items()}
    read = max((score.get(code, 0) for code in languages), default=0)
    other = max(vocabulary.keys() - set(languages), key=lambda c: (score[c], c))
    # one word may be a name; two of a language, and fewer of those that are read
    return other if score[other] > max(read, 1) else ""
