"""Labels from the free text of a report: rules over sentences, no trained model.

A report is cut into sections and sentences (text_split), the table of patterns finds
mentions of a fracture (text_rules), NegEx and ConText say what holds over each of them
(text_scopes), and `decide` makes one label of all.

References:
    W. Chapman et al., A simple algorithm for identifying negated findings and diseases
    in discharge summaries, J Biomed Inform 34 (2001).
    H. Harkema et al., ConText, J Biomed Inform 42 (2009).
"""

import dataclasses
import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data.cxr_registry.labels import text_rules, text_scopes, text_split

READ = ("auto", "always", "never")
SILENCE = {"negative": 0, "unknown": -1}
AFFIRMED, NEGATED, DOUBTFUL, IGNORED = "affirmed", "negated", "doubtful", "ignored"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How reports become labels."""

    # auto: for a finding that neither a column nor codes define
    read: str = "auto"
    languages: tuple[str, ...] = ("en",)
    rules: Path | None = None  # a table of the user's, see text_rules.py
    silence: str = "negative"  # what a report on the image that names nothing means

    def __post_init__(self):
        if self.read not in READ:
            raise ValueError(f"read={self.read!r} is none of {', '.join(READ)}")
        if self.silence not in SILENCE:
            have = ", ".join(SILENCE)
            raise ValueError(f"silence={self.silence!r} is none of {have}")


AUTO = Options()


class Mention(NamedTuple):
    """One place where a report speaks of a finding; no word of the report."""

    kind: str  # "target", "absent", "doubt", "site"
    name: str  # the finding, or "any", "other"
    start: int  # offsets in the report
    end: int
    verdict: str  # AFFIRMED, NEGATED, DOUBTFUL or IGNORED
    rules: tuple[str, ...]  # what decided the verdict
    image: bool  # in a section about the image, not the request


class Reading(NamedTuple):
    """All mentions of a report, and whether it says anything about the image."""

    mentions: tuple[Mention, ...]
    about_image: bool


class TextLabel(NamedTuple):
    """What a report says about one finding."""

    label: int  # 1, 0 or -1 unknown
    evidence: str  # offsets and rules, never words of the report
    silent: bool  # no mention decided


def findings(options: Options) -> frozenset[str]:
    """What the table of patterns has targets for; needs no package."""
    return text_rules.load(options.languages, options.rules).findings


class Reader:
    """Reads reports by the rules of `options`; needs negspaCy.

    Args:
        options: of the reading.
        remember: sentences kept with their mentions: those of normal reports repeat.
    """

    def __init__(self, options: Options, *, remember: int = 10_000):
        self.rules = text_rules.load(options.languages, options.rules)
        self._options = options
        self._scopes = text_scopes.Scopes(self.rules)
        self._known = functools.lru_cache(remember)(self._sentence)

    @property
    def facts(self) -> dict[str, Any]:
        """All that the labels depend on beside the reports."""
        return {
            "languages": list(self.rules.languages),
            "rules": self.rules.digest,
            "silence": self._options.silence,
            **self._scopes.versions,
        }

    def labels(self, report: str, findings: Sequence[str]) -> dict[str, TextLabel]:
        """The label of each finding."""
        reading = self.read(report)
        silence = SILENCE[self._options.silence]
        return {name: decide(reading, name, silence=silence) for name in findings}

    def read(self, report: str) -> Reading:
        """All mentions, in the order of the report."""
        report = re.sub(r"\r(?!\n)", "\n", report).replace("\r", " ")
        mentions: list[Mention] = []
        about_image = False
        for section, start, end in text_split.sections(report, self.rules):
            for first, last in text_split.sentences(report, start, end, self.rules):
                image = section == "image"
                about_image |= image
                sentence = re.sub(r"\s", " ", report[first:last])
                for found in self._known(sentence, image):
                    place = {"start": found.start + first, "end": found.end + first}
                    mentions.append(found._replace(**place))
        return Reading(tuple(mentions), about_image)

    def _sentence(self, sentence: str, image: bool) -> tuple[Mention, ...]:
        """Its mentions, with offsets in the sentence."""
        places = _places(sentence, self.rules)
        if all(kind == "site" for kind, *_ in places):
            return ()
        kinds = self._scopes.kinds(sentence, [place[2:] for place in places])
        mentions: list[Mention] = []
        last: Mention | None = None  # that names a bone
        for (kind, name, start, end), rules in zip(places, kinds, strict=True):
            verdict = _verdict(kind, rules, image=image)
            # "right clavicle: no fracture"; "..., but a fracture is possible"
            near = last and (last.kind != "target" or verdict != NEGATED)
            if near and last and kind == "target" and name == text_rules.ANY:
                name = last.name
            found = Mention(kind, name, start, end, verdict, rules, image)
            last = found if name != text_rules.ANY else last
            mentions += [found] if kind != "site" else []
        return tuple(mentions)


def decide(reading: Reading, finding: str, *, silence: int) -> TextLabel:
    """A report's label of one finding; the first that applies.

    1 when the image section affirms it; -1 when that is doubtful (uncertain, old, with
    hardware), or a fracture is affirmed and no bone is named; 0 when it denies it; -1
    when only the request knows of it; 0 when it denies any fracture; else `silence`
    for a report that says something about the image, -1 for the rest.
    """
    own = [m for m in reading.mentions if m.name == finding]
    loose = [m for m in reading.mentions if m.name == text_rules.ANY and m.image]
    here = [m for m in own if m.image]
    placed = any(
        m.image and m.name != text_rules.ANY and m.verdict in (AFFIRMED, DOUBTFUL)
        for m in reading.mentions
    )
    unplaced = [] if placed else [m for m in loose if m.verdict != NEGATED]
    for label, found in (
        (1, _with(here, AFFIRMED)),
        (-1, [*_with(here, DOUBTFUL), *_with(unplaced, AFFIRMED, DOUBTFUL)]),
        (0, _with(here, NEGATED)),
        (-1, [m for m in own if not m.image and m.verdict in (AFFIRMED, DOUBTFUL)]),
        (0, _with(loose, NEGATED)),
    ):
        if found:
            return TextLabel(label, _evidence(found), silent=False)
    if reading.about_image:
        return TextLabel(silence, "no mention", silent=True)
    return TextLabel(-1, "nothing about the image", silent=True)


def _with(mentions: Sequence[Mention], *verdicts: str) -> list[Mention]:
    return [m for m in mentions if m.verdict in verdicts]


def _evidence(mentions: Sequence[Mention]) -> str:
    """Offsets and rules: "24-36 (negation), 60-71 (historical)"."""
    shown = []
    for m in mentions:
        names = [m.kind] if m.kind != "target" else []
        names += [text_rules.ANY] if m.name == text_rules.ANY else []
        names += [*m.rules, *([] if m.image else ["request"])]
        shown.append(f"{m.start}-{m.end}" + (f" ({' '.join(names)})" if names else ""))
    return ", ".join(shown)


def _verdict(kind: str, rules: Sequence[str], *, image: bool) -> str:
    if kind == "absent":
        return NEGATED
    if "hypothetical" in rules or "family" in rules:
        return IGNORED
    if "uncertain" in rules:
        return DOUBTFUL if image else IGNORED  # a request that doubts is a question
    if "negation" in rules:
        # "no old or new rib fracture" denies; "no plate" says nothing of a fracture
        return NEGATED if kind == "target" else IGNORED
    return DOUBTFUL if rules or kind == "doubt" else AFFIRMED


def _places(sentence: str, rules: text_rules.Rules) -> list[tuple[str, str, int, int]]:
    """(kind, name, start, end) of all mentions, without those inside longer ones."""
    found = {
        (kind, name, *match.span())
        for kind, name, pattern in rules.mentions
        for match in pattern.finditer(sentence)
    }
    kept = [place for place in found if not any(_hides(b, place) for b in found)]
    # a set has no order: the same report must give the same evidence in any process
    return sorted(kept, key=lambda place: (place[2:], place[:2]))


def _hides(outer: tuple[str, str, int, int], inner: tuple[str, str, int, int]) -> bool:
    """Whether a longer mention of the same thing, or of its bone, holds a shorter."""
    around = outer[2] <= inner[2] and inner[3] <= outer[3]
    longer = outer[3] - outer[2] > inner[3] - inner[2]
    weak = inner[0] == "site" or inner[1] == text_rules.ANY
    return (
        around
        and outer[0] != "site"
        and (
            (longer and (weak or outer[1] == inner[1]))
            or (not longer and inner[0] == "site")
        )
    )
