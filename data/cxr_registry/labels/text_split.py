"""Cuts a report into sections and sentences, given as offsets."""

import functools
import re
from collections.abc import Iterator, Sequence

from data.cxr_registry.labels import text_rules

# The end of a sentence, a semicolon, a line's end; a sign after no word ends nothing.
# A Chinese sentence ends without a blank after it.
_BREAK = re.compile(
    r"(?<=[\w)\]%\"'][.!?])\s+|(?<=\w) [.!?]\s+|;\s*|[ \t]*\n\s*"
    r"|(?<=\u3002)\s*|(?<=[\u4e00-\u9fff][!?])\s*"
)
_NEW_ITEM = re.compile(r"[-*#+>\u2022\u2013]\s|\d{1,2}[.)]\s|[^\W\d_][\w /-]{0,30}:")
_HEADING = re.compile(r"[^\W\d_][\w /-]{0,30}:")
# A word that has a capital only where a sentence begins
_OPENER = re.compile(r"(?:The|There|No|Kein|Keine|Es)\s")
_QUERY = re.compile(r"\?[^\n.?]{,30}\Z")  # "?fracture", with which a line ends
_BLANK_LINE = re.compile(r"\n[ \t]*\n\s*(?=\S)")
_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"\S*")
# Sentences on the chest, below its first line, that end an exam's name or a request:
# a request may tell of an older film.
_ENDED_BY = {"exam": 1, "request": 2}
_LOOK_BACK = 20  # characters, more than an abbreviation has


def sections(report: str, rules: text_rules.Rules) -> Iterator[tuple[str, int, int]]:
    """(kind, start, end) of each section's text; before any heading it is "image".

    A request ends at a heading such as "LUNGS:" too, which stays in the text. Where no
    heading of the image follows, it ends at a blank line, or at a line's end before
    sentences on the chest; the name of an exam does so anywhere. After "WET READ:" all
    is "preliminary" until "FINAL:".
    """
    places = [match.start() for match in text_rules.HEADING_START.finditer(report)]
    marks = sorted(
        (*match.span(), kind)
        for kind, heading in rules.headings.items()
        for match in map(functools.partial(heading.match, report), places)
        if match
    )
    kind, start = "image", 0
    image = "image"  # what the headings of the image begin
    for begin, end, name in marks:
        is_organ = name == "organ"
        if begin < start or (is_organ and kind not in ("request", "exam")):
            continue
        yield from _with_end(report, kind, start, begin, image, rules)
        if name == "preliminary":
            image = name
        elif name in ("final", "addendum"):
            image = "image"
        of_image = name in ("image", "organ", "final")
        kind, start = image if of_image else name, begin if is_organ else end
    if kind == "request" and (blank := _BLANK_LINE.search(report, start)):
        yield kind, start, blank.start()
        kind, start = image, blank.end()
    kind = "exam" if kind == "request" else kind
    yield from _with_end(report, kind, start, len(report), image, rules)


def _with_end(
    report: str, kind: str, start: int, end: int, image: str, rules: text_rules.Rules
) -> Iterator[tuple[str, int, int]]:
    """A section; a request or an exam's name ends before sentences on the chest."""
    if kind not in _ENDED_BY:
        yield kind, start, end
        return
    width = _width(report)
    for match in _BREAK.finditer(report, start, end):
        if "\n" not in match[0] or _joins(report, match, rules, width=width):
            continue
        rest = [
            report[first:last]
            for first, last in sentences(report, match.end(), end, rules)
        ]
        of_chest = sum(_is_of_chest(text, rules) for text in rest)
        told = kind == "exam" and bool(rest) and _is_told(rest, rules)
        if told or (len(rest) > 1 and of_chest >= _ENDED_BY[kind]):
            yield "request", start, match.start()
            yield image, match.end(), end
            return
    yield "request", start, end


def _is_of_chest(sentence: str, rules: text_rules.Rules) -> bool:
    """Whether it states something of the chest and not of bones, which one asks for.

    A tube or line counts where its place is told: one may ask for it, too.
    """
    whole = rules.whole
    return bool(
        (whole["anatomy"].search(sentence) or whole["device"].match(sentence))
        and not whole["clue"].search(sentence)
        and "?" not in sentence
    )


def _is_told(sentences: Sequence[str], rules: text_rules.Rules) -> bool:
    """Whether they tell what is seen: "There is a fracture".

    The first one begins so, or one states that a fracture's line is still seen.
    """
    whole = rules.whole
    begins = whole["states"].match(sentences[0]) and "?" not in sentences[0]
    return bool(begins) or any(map(whole["visible"].search, sentences))


def _width(report: str) -> int:
    return max(map(len, report.split("\n")))


def sentences(
    report: str, start: int, end: int, rules: text_rules.Rules
) -> Iterator[tuple[int, int]]:
    """(start, end) of the sentences of report[start:end] that hold a letter."""
    width = _width(report)
    here = start
    for match in _BREAK.finditer(report, start, end):
        if _joins(report, match, rules, width=width):
            continue
        if _LETTER.search(report, here, match.start()):
            yield here, match.start()
        here = match.end()
    if _LETTER.search(report, here, end):
        yield here, end


def _joins(
    report: str, match: re.Match[str], rules: text_rules.Rules, *, width: int
) -> bool:
    """Whether a sentence continues after a break.

    After an abbreviation, in a wrapped line, with the answer to its question.
    """
    start, end = match.span()
    if report[start - 1 : start] == "?" and rules.whole["answer"].match(report, end):
        return True
    if report[start - 1 : start] in (".", "!", "?"):
        if _HEADING.match(report, end):  # "Ribs: no fx. Lungs: clear."
            return False
        return bool(rules.unsplit.search(report, max(0, start - _LOOK_BACK), start))
    if report[start - 1 : start] == "\u3002":
        return False
    if match[0].strip() or match[0].count("\n") != 1 or _NEW_ITEM.match(report, end):
        return False
    if not report[end : end + 1].isupper():
        return True
    if _OPENER.match(report, end) or _QUERY.search(report, max(0, start - 31), start):
        return False
    # an editor wraps a line only when the next word finds no room on it
    line = start - (report.rfind("\n", 0, start) + 1)
    word = _WORD.match(report, end)
    return line + 1 + len(word[0] if word else "") > width
