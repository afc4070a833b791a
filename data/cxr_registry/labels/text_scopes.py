"""Which places of a sentence a phrase such as "no" holds over.

ConText's four kinds of phrases: one that holds over what follows it (forward) or over
what precedes it (backward), one that only looks like it (pseudo), one that ends its
reach (terminate). Where ConText lets a phrase reach to the end of the sentence, the
grammar of lists decides here what a comma or "and" does:

    No acute, displaced rib fracture           two adjectives: "no" reaches on
    No effusion, rib fracture, or nodule       a list with "or": reaches on
    No effusion is seen, left rib fracture     its verb is said: ends
    No effusion, multiple rib fractures        a statement of its own: ends
    No effusion, left rib fracture             could be either: unclear

References:
    W. Chapman et al., A simple algorithm for identifying negated findings and diseases
    in discharge summaries, J Biomed Inform 34 (2001).
    H. Harkema et al., ConText, J Biomed Inform 42 (2009).
"""

import enum
import re
from collections.abc import Iterable, Mapping, Sequence

from data.cxr_registry.labels import text_rules

UNCLEAR_MARK = "?"  # ends the name of a kind that may or may not hold
_LETTER = re.compile(r"[^\W\d_]")
_WORD_BEFORE = re.compile(r"\S+\s*\Z")


class _Reach(enum.IntEnum):
    """Whether a phrase reaches a place."""

    NO = 0
    UNCLEAR = 1
    YES = 2


class Scopes:
    """Finds the scopes of all kinds of phrases."""

    def __init__(self, rules: text_rules.Rules):
        self._modifiers = rules.modifiers
        self._grammar = rules.grammar

    def kinds(
        self, sentence: str, places: Sequence[tuple[int, int]]
    ) -> list[tuple[str, ...]]:
        """For each place, (start, end), the kinds of phrases that hold over it.

        A kind ends with UNCLEAR_MARK where a comma leaves open whether it holds.
        """
        found: list[list[str]] = [[] for _ in places]
        for kind, scopes in self._modifiers.items():
            phrases = _Phrases(sentence, scopes)
            if not phrases:
                continue
            for (start, end), names in zip(places, found, strict=True):
                reach = max(
                    self._forward(sentence, phrases, start),
                    self._backward(sentence, phrases, end),
                )
                if reach:
                    names.append(kind + UNCLEAR_MARK * (reach is _Reach.UNCLEAR))
        return [tuple(names) for names in found]

    def _forward(self, sentence: str, phrases: "_Phrases", place: int) -> _Reach:
        """How the nearest phrase before a place reaches it."""
        phrase = max((end for _, end in phrases.forward if end <= place), default=-1)
        if phrase < 0 or _any_within(phrases.ends, phrase, place):
            return _Reach.NO
        reach = _Reach.YES
        # "Although no effusion is seen, ...": the comma ends what is said aside
        aside = self._grammar["aside"].match(sentence)
        listed = self._list_end(sentence, phrases, place)
        for joint in self._grammar["joint"].finditer(sentence, phrase, place):
            said = sentence[phrase : joint.start()]
            after = _skip_blanks(sentence, joint.end())
            if aside or self._has_verb(said):
                return _Reach.NO
            if not said.strip() or self._describes(said):
                continue
            if self._grammar["or"].search(sentence, after, listed):
                continue
            if self._grammar["fresh"].match(sentence, after):
                return _Reach.NO
            if self._grammar["unclear"].match(sentence, after):
                reach = _Reach.UNCLEAR
        return reach

    def _backward(self, sentence: str, phrases: "_Phrases", place: int) -> _Reach:
        """How the nearest phrase after a place reaches back to it."""
        later = [start for start, _ in phrases.backward if start >= place]
        phrase = min(later, default=-1)
        if phrase < 0 or _any_within(phrases.ends, place, phrase):
            return _Reach.NO
        grammar = self._grammar
        for joint in grammar["joint"].finditer(sentence, place, phrase):
            said, rest = sentence[place : joint.start()], joint.end()
            if not sentence[rest:phrase].strip() or _covers(
                grammar["light"], sentence, rest, phrase
            ):
                continue
            listed = grammar["or"].search(sentence, rest, phrase)
            listed = listed or grammar["and"].search(sentence, joint.start(), phrase)
            if grammar["verb"].search(said) or not listed:
                return _Reach.NO
        return _Reach.YES

    def _has_verb(self, said: str) -> bool:
        """Whether something is said of a noun: not "evident displaced rib"."""
        verb, adjective = self._grammar["verb"], self._grammar["adjective"]
        start = _skip_blanks(said, 0)
        while word := verb.match(said, start) or adjective.match(said, start):
            start = _skip_blanks(said, word.end())
        if _LETTER.search(said, start):
            return bool(verb.search(said, start))
        return bool(verb.search(said)) and not self._describes(said)

    def _describes(self, said: str) -> bool:
        """Whether the text ends with an adjective of fractures."""
        word = _WORD_BEFORE.search(said)
        adjective = self._grammar["adjective"]
        return bool(word and adjective.search(said, word.start()))

    def _list_end(self, sentence: str, phrases: "_Phrases", place: int) -> int:
        """Where a list that holds a place must have ended."""
        ends = [at for at, _ in (*phrases.ends, *phrases.forward) if at > place]
        return min(ends, default=len(sentence))


class _Phrases:
    """The phrases of one kind in a sentence, as (start, end)."""

    def __init__(self, sentence: str, scopes: Mapping[str, re.Pattern[str]]):
        found = {
            scope: [match.span() for match in scopes[scope].finditer(sentence)]
            for scope in ("forward", "backward")
        }
        self.forward: list[tuple[int, int]] = []
        self.backward: list[tuple[int, int]] = []
        self.ends: list[tuple[int, int]] = []
        if not any(found.values()):
            return
        false = [match.span() for match in scopes["pseudo"].finditer(sentence)]
        self.forward, self.backward = (
            [span for span in spans if not any(_overlap(span, f) for f in false)]
            for spans in found.values()
        )
        self.ends = [match.span() for match in scopes["terminate"].finditer(sentence)]

    def __bool__(self) -> bool:
        return bool(self.forward or self.backward)


def _skip_blanks(text: str, start: int) -> int:
    """The offset of the first sign from `start` on that is no blank."""
    return len(text) - len(text[start:].lstrip())


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _any_within(spans: Iterable[tuple[int, int]], start: int, end: int) -> bool:
    return any(start <= begin and stop <= end for begin, stop in spans)


def _covers(pattern: re.Pattern[str], text: str, start: int, end: int) -> bool:
    """Whether matches of the pattern, with signs and blanks between, fill the text."""
    while start < end:
        match = pattern.match(text, start, end)
        if match and match.end() > start:
            start = match.end()
        elif text[start].isalnum():
            return False
        else:
            start += 1
    return True
