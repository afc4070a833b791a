"""Labels from the free text of a report: rules over sentences, no trained model.

A report is cut into sections and sentences (text_split), the table of patterns finds
mentions of a fracture (text_rules), NegEx and ConText say whether each one is negated,
doubtful or old (text_scopes), and `decide` makes one label of all mentions.

References:
    W. Chapman et al., A simple algorithm for identifying negated findings and diseases
    in discharge summaries, J Biomed Inform 34 (2001).
    H. Harkema et al., ConText, J Biomed Inform 42 (2009).
"""

import dataclasses
import functools
import itertools
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data.cxr_registry.guard import pool
from data.cxr_registry.labels import text_rules, text_scopes, text_split

READ = ("auto", "always", "never")
SILENCE = {"negative": 0, "unknown": -1}
AFFIRMED, NEGATED, DOUBTFUL, IGNORED = "affirmed", "negated", "doubtful", "ignored"
_BATCH = 250  # reports per task of the pool: about a second
_TIMEOUT_S = 600.0  # for a batch: only a pattern that never ends takes so long


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Whether reports give labels, and how."""

    # auto: for findings that neither a column nor codes define; always, never
    read: str = "auto"
    languages: tuple[str, ...] = ("en",)
    rules: Path | None = None  # a table of the user's own patterns, see text_rules
    # label of a finding that a report on the image does not mention: negative, unknown
    silence: str = "negative"

    def __post_init__(self):
        if self.read not in READ:
            raise ValueError(f"read={self.read!r}: must be one of {', '.join(READ)}")
        if self.silence not in SILENCE:
            have = ", ".join(SILENCE)
            raise ValueError(f"silence={self.silence!r}: must be one of {have}")


class Mention(NamedTuple):
    """One place where a report speaks of a finding; holds no word of the report."""

    kind: str  # "target", "absent", "doubt", "site"
    name: str  # the finding, or "any", "other"
    start: int  # offsets in the report
    end: int
    verdict: str  # AFFIRMED, NEGATED, DOUBTFUL or IGNORED
    rules: tuple[str, ...]  # what decided the verdict
    image: bool  # in a section about the image, not the request


class Mentions(NamedTuple):
    """All mentions of a report, and whether it says anything about the image."""

    all: tuple[Mention, ...]
    about_image: bool


class TextLabel(NamedTuple):
    """What a report says about one finding."""

    label: int  # 1, 0 or -1 unknown
    evidence: str  # offsets and rules, never words of the report
    silent: bool  # no mention decided the label


Labels = dict[str, TextLabel]  # finding -> what a report says about it


def findings(options: ReportOptions) -> frozenset[str]:
    """The findings that the tables of patterns know; needs no package."""
    return text_rules.load(options.languages, options.rules).findings


class Reader:
    """Reads reports by the rules of `options`; needs negspaCy.

    Args:
        options: of the reading.
        remember: how many sentences are kept with their mentions: those of normal
            reports repeat.
    """

    def __init__(self, options: ReportOptions, *, remember: int = 10_000):
        self.rules = text_rules.load(options.languages, options.rules)
        self._options = options
        self._scopes = text_scopes.Scopes(self.rules)
        self._cached_sentence = functools.lru_cache(remember)(self._sentence)

    @property
    def facts(self) -> dict[str, Any]:
        """Everything but the reports that the labels depend on."""
        return {
            "languages": list(self.rules.languages),
            "rules": self.rules.digest,
            "silence": self._options.silence,
            **self._scopes.versions,
        }

    def labels(self, report: str, findings: Sequence[str]) -> Labels:
        """Finding -> its label by the report."""
        mentions = self.read(report)
        silence = SILENCE[self._options.silence]
        return {name: decide(mentions, name, silence=silence) for name in findings}

    def read(self, report: str) -> Mentions:
        """All mentions, in the order of the report."""
        report = re.sub(r"\r(?!\n)", "\n", report).replace("\r", " ")
        mentions: list[Mention] = []
        about_image = False
        for section, start, end in text_split.sections(report, self.rules):
            for first, last in text_split.sentences(report, start, end, self.rules):
                image = section == "image"
                about_image |= image
                sentence = re.sub(r"\s", " ", report[first:last])
                for mention in self._cached_sentence(sentence, image):
                    start, end = mention.start + first, mention.end + first
                    mentions.append(mention._replace(start=start, end=end))
        return Mentions(tuple(mentions), about_image)

    def _sentence(self, sentence: str, image: bool) -> tuple[Mention, ...]:
        """The mentions of a sentence, with offsets in it."""
        places = _places(sentence, self.rules)
        if all(kind == "site" for kind, *_ in places):
            return ()
        kinds = self._scopes.kinds(sentence, [place[2:] for place in places])
        mentions: list[Mention] = []
        last: Mention | None = None  # the last one that names a bone
        for (kind, name, start, end), rules in zip(places, kinds, strict=True):
            verdict = _verdict(kind, rules, image=image)
            # "right clavicle: no fracture"; "..., but a fracture is possible"
            takes_bone = last and (last.kind != "target" or verdict != NEGATED)
            if takes_bone and last and kind == "target" and name == text_rules.ANY:
                name = last.name
            mention = Mention(kind, name, start, end, verdict, rules, image)
            last = mention if name != text_rules.ANY else last
            mentions += [mention] if kind != "site" else []
        return tuple(mentions)


def decide(mentions: Mentions, finding: str, *, silence: int) -> TextLabel:
    """A report's label of one finding, by the first of these rules that applies.

    1 where the image section affirms the finding.
    -1 where it is in doubt there (uncertain, old, with hardware), or where a fracture
    is affirmed and no bone is named.
    0 where the image section denies the finding.
    -1 where only the request knows of it.
    0 where the image section denies any fracture.
    `silence` where the report says anything about the image, else -1.
    """
    own = [m for m in mentions.all if m.name == finding]
    loose = [m for m in mentions.all if m.name == text_rules.ANY and m.image]
    here = [m for m in own if m.image]
    placed = any(
        m.image and m.name != text_rules.ANY and m.verdict in (AFFIRMED, DOUBTFUL)
        for m in mentions.all
    )
    unplaced = [] if placed else [m for m in loose if m.verdict != NEGATED]
    for label, deciding in (
        (1, _with(here, AFFIRMED)),
        (-1, [*_with(here, DOUBTFUL), *_with(unplaced, AFFIRMED, DOUBTFUL)]),
        (0, _with(here, NEGATED)),
        (-1, [m for m in own if not m.image and m.verdict in (AFFIRMED, DOUBTFUL)]),
        (0, _with(loose, NEGATED)),
    ):
        if deciding:
            return TextLabel(label, _evidence(deciding), silent=False)
    if mentions.about_image:
        return TextLabel(silence, "no mention", silent=True)
    return TextLabel(-1, "nothing about the image", silent=True)


def _with(mentions: Sequence[Mention], *verdicts: str) -> list[Mention]:
    return [m for m in mentions if m.verdict in verdicts]


def _evidence(mentions: Sequence[Mention]) -> str:
    """Offsets and rules: "24-36 (negation), 60-71 (historical)"."""
    parts = []
    for m in mentions:
        names = [m.kind] if m.kind != "target" else []
        names += [text_rules.ANY] if m.name == text_rules.ANY else []
        names += [*m.rules, *([] if m.image else ["request"])]
        parts.append(f"{m.start}-{m.end}" + (f" ({' '.join(names)})" if names else ""))
    return ", ".join(parts)


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
    places = {
        (kind, name, *match.span())
        for kind, name, pattern in rules.mentions
        for match in pattern.finditer(sentence)
    }
    kept = [place for place in places if not any(_hides(b, place) for b in places)]
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


def read_all(
    reports: Collection[str],
    findings: Sequence[str],
    *,
    options: ReportOptions,
    workers: int,
) -> dict[str, Labels]:
    """Reads each distinct report once, in processes.

    Args:
        reports: any number of times each.
        findings: those to read for.
        options: of the reading.
        workers: processes.

    Returns:
        Report -> its labels, as `Reader.labels` gives them.

    Raises:
        ValueError: a batch of reports took too long.
    """
    ordered = sorted(reports)  # alike ones meet in one process, which remembers them
    batches = [ordered[at : at + _BATCH] for at in range(0, len(ordered), _BATCH)]
    labels = pool.map_in_order(
        functools.partial(_read_batch, findings=tuple(findings), options=options),
        batches,
        workers=workers if len(batches) > 1 else 0,  # a few are not worth a process
        timeout_s=_TIMEOUT_S,
        on_timeout=_late,
    )
    return dict(zip(ordered, itertools.chain.from_iterable(labels), strict=True))


@functools.lru_cache(1)
def _reader(options: ReportOptions) -> Reader:
    return Reader(options)  # once in each process


def _read_batch(
    batch: Sequence[str], *, findings: tuple[str, ...], options: ReportOptions
) -> list[Labels]:
    reader = _reader(options)
    return [reader.labels(report, findings) for report in batch]


def _late(_: Sequence[str]) -> list[Labels]:
    raise ValueError(
        f"reports took longer than {_TIMEOUT_S:g} s; a pattern of your own rules may "
        "repeat without end: see docs/labels.md, or read none (reports=never)"
    )
