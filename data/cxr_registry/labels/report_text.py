"""Labels from the free text of a report: rules over sentences, no trained model.

A report is cut into sections and sentences (text_split), slips of the keyboard are
mended (text_spelling), the table of patterns finds mentions of a fracture (text_rules),
phrases around them say whether each is negated, doubtful or old (text_scopes), and
`decide` makes one label of all mentions. What is in a language without patterns stays
unread (text_language), and no label is negative then.

The kinds of statements are those of the literature on such rules:

References:
    C. Friedman et al., A general natural-language text processor for clinical
    radiology, JAMIA 1 (1994): MedLEE's certainty, status and body location.
    H. Harkema et al., ConText, J Biomed Inform 42 (2009).
    Y. Peng et al., NegBio, AMIA Jt Summits Transl Sci Proc (2018).
    J. Irvin et al., CheXpert, AAAI (2019): mention, classification, aggregation.
    J. Wu et al., Chest ImaGenome, NeurIPS Datasets and Benchmarks (2021).
"""

import dataclasses
import functools
import itertools
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data.cxr_registry.guard import pool
from data.cxr_registry.labels import (
    text_language,
    text_rules,
    text_scopes,
    text_spelling,
    text_split,
)

READ = ("auto", "always", "never")
SILENCE = {"negative": 0, "unknown": -1}
VISIBLE = "visible"  # the rule by which an old or fixed fracture is still one
AFFIRMED, NEGATED, DOUBTFUL, IGNORED = "affirmed", "negated", "doubtful", "ignored"
VERSION = 6  # of the code that reads; raise it when equal rules give other labels
# full-width signs, letters and digits, which East Asian keyboards write
_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_BULLET = re.compile(r"\A\s*(?:[-*+>\u2022\u2013]|\d{1,2}[.)])\s*")
_HEADING = re.compile(r"\A\W*[^\W\d_][\w /-]{0,30}:")
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_BATCH = 250  # reports per task of the pool: about a second
_TIMEOUT_S = 600.0  # for a batch: only a pattern that never ends takes so long


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Whether reports give labels, and how."""

    # auto: for findings that neither a column nor codes define; always, never
    read: str = "auto"
    languages: tuple[str, ...] = ("en",)
    rules: Path | None = None  # a table of the user's own patterns, see text_rules
    labels: Path | None = None  # the user's own labels, see tables/own_labels
    # label of a finding that a report on the image does not mention: negative, unknown
    silence: str = "negative"

    def __post_init__(self):
        if self.read not in READ:
            raise ValueError(f"read={self.read!r}: must be one of {', '.join(READ)}")
        if self.labels and self.read == "never":
            raise ValueError("read='never' leaves labels unused; give one of the two")
        if self.silence not in SILENCE:
            have = ", ".join(SILENCE)
            raise ValueError(f"silence={self.silence!r}: must be one of {have}")


class Mention(NamedTuple):
    """One place where a report speaks of a finding; holds no word of the report."""

    kind: str  # "target", "absent", "doubt", "harm", "site"
    name: str  # the finding, or "any", "other"
    start: int  # offsets in the report
    end: int
    verdict: str  # AFFIRMED, NEGATED, DOUBTFUL or IGNORED
    rules: tuple[str, ...]  # what decided the verdict
    section: str  # "image", "request", "addendum" or "preliminary"

    @property
    def image(self) -> bool:
        """Whether it is said of the image, not by the request."""
        return self.section != "request"

    @property
    def stage(self) -> int:
        """What is said later stands instead: preliminary 0, report 1, addendum 2."""
        return {"preliminary": 0, "addendum": 2}.get(self.section, 1)


class Mentions(NamedTuple):
    """All mentions of a report, and what else decides where there are none."""

    all: tuple[Mention, ...]
    about_image: bool  # it says anything about the image
    anatomy: bool  # something that an image of the chest shows is named
    unread: str  # the code of a language without patterns that part of it is in, or ""
    missing: bool  # a word stands for a missing report: NA, pending


class TextLabel(NamedTuple):
    """What a report says about one finding."""

    label: int  # 1, 0 or -1 unknown
    evidence: str  # offsets and rules, or one of SILENT; never words of the report
    silent: bool  # no mention decided the label
    reason: str  # the evidence without offsets, to count by
    unread: bool = False  # there is text on the image, and no pattern could read it


# Evidence of a label that no mention decided.
NO_MENTION = "no mention"
MISSING = "a word for a missing report"
NO_REPORT = "nothing about the image"
NO_ANATOMY = "nothing of the chest is named"
UNREAD = "text in a language that is not read, "  # and its code
Labels = dict[str, TextLabel]  # finding -> what a report says about it


def findings(options: ReportOptions) -> frozenset[str]:
    """The findings that the tables of patterns know; needs no package."""
    return text_rules.load(options.languages, options.rules).findings


class Reader:
    """Reads reports by the rules of `options`.

    Args:
        options: of the reading.
        remember: how many sentences are kept with their mentions: those of normal
            reports repeat.
    """

    def __init__(self, options: ReportOptions, *, remember: int = 10_000):
        self.rules = text_rules.load(options.languages, options.rules)
        self._options = options
        self._scopes = text_scopes.Scopes(self.rules)
        self._speller = text_spelling.Speller(self.rules.languages)
        self._cached_sentence = functools.lru_cache(remember)(self._sentence)

    @property
    def facts(self) -> dict[str, Any]:
        """Everything but the reports that the labels depend on."""
        return {
            "languages": list(self.rules.languages),
            "rules": self.rules.digest,
            "silence": self._options.silence,
            "reader": VERSION,
        }

    def labels(self, report: str, findings: Sequence[str]) -> Labels:
        """Finding -> its label by the report."""
        mentions = self.read(report)
        silence = SILENCE[self._options.silence]
        return {name: decide(mentions, name, silence=silence) for name in findings}

    def read(self, report: str) -> Mentions:
        """All mentions, in the order of the report."""
        report = re.sub(r"\r(?!\n)", "\n", report).replace("\r", " ")
        report = report.translate(_HALF_WIDTH)
        valid_from = self._valid_from(report)
        mentions: list[Mention] = []
        names_anatomy = self.rules.whole["anatomy"].search
        about_image = anatomy = missing = False
        opening = _Opening(self.rules)
        unread = ""
        before = 0  # where the mentions of the sentence before begin
        listing, title = _Listing(self.rules), _Title(self.rules)
        for section, start, end in text_split.sections(report, self.rules):
            for first, last in text_split.sentences(report, start, end, self.rules):
                if not any(map(str.isalpha, report[max(first, valid_from) : last])):
                    continue
                sentence = re.sub(r"\s", " ", report[first:last])
                read = self._cached_sentence(sentence, section)
                asked = opening.asks(sentence, read)
                asked = asked and any(map(str.isalpha, report[last:]))
                if asked or self.rules.whole["asked"].match(sentence):
                    part = "request"
                    read = self._cached_sentence(sentence, part)
                else:
                    part = section
                if item := listing.item(report, first, last, read, sentence):
                    told = self._cached_sentence(item, part).mentions
                    own = _of_item(told, len(item) - len(sentence))
                    read = dataclasses.replace(read, mentions=own)
                elif bone := title.bone(report, first, last, read, sentence, part):
                    told = self._cached_sentence(bone + sentence, part).mentions
                    if own := _of_item(told, len(bone)):
                        kept = [m for m in read.mentions if m.verdict == NEGATED]
                        read = dataclasses.replace(read, mentions=(*kept, *own))
                unread = unread or read.unread
                missing |= read.empty
                if part != "request" and not read.unread and not read.empty:
                    about_image = True
                    # of a report one place is enough, and most name it at once
                    anatomy = anatomy or bool(names_anatomy(sentence))
                if read.refers:
                    mentions[before:] = [
                        _recalled(mention, read.refers) for mention in mentions[before:]
                    ]
                else:
                    before = len(mentions)
                mentions += [
                    mention._replace(
                        start=mention.start + first, end=mention.end + first
                    )
                    for mention in read.mentions
                ]
        if not unread:  # no sentence alone may be long enough to tell
            text = report[valid_from:]
            unread = text_language.foreign_report(text, self.rules.languages)
        return Mentions(tuple(mentions), about_image, anatomy, unread, missing)

    def _valid_from(self, report: str) -> int:
        """Where what is not taken back begins; its length where nothing stands."""
        whole = self.rules.whole
        return max(
            (
                len(report) if whole["below"].search(match[0]) else match.end()
                for match in whole["retract"].finditer(report)
            ),
            default=0,
        )

    def _sentence(self, sentence: str, section: str) -> "_Sentence":
        """What one sentence says, with offsets in it."""
        whole = self.rules.whole
        if whole["missing"].match(sentence):
            return _Sentence(empty=True)
        if unread := text_language.foreign(sentence, self.rules.languages):
            return _Sentence(unread=unread)
        spelled = self._speller.mend(sentence)
        sentence = spelled.text
        places = _places(sentence, self.rules)
        # "These are old." says it of what the sentence before named
        anaphor = whole["anaphor"].match(sentence)
        about = [anaphor.span()] if anaphor else []
        named = any(name != text_rules.ANY for _, name, *_ in places)
        if not about and all(kind == "site" for kind, *_ in places):
            return _Sentence(bone=named)
        kinds = self._scopes.kinds(sentence, [*(place[2:] for place in places), *about])
        refers = kinds.pop() if about else ()
        mentions = _mentions(sentence, places, kinds, self.rules, section)
        if _is_line_visible(sentence, places, kinds, self.rules):
            mentions = tuple(_recalled(mention, (VISIBLE,)) for mention in mentions)
            refers = (VISIBLE,)
        mentions = tuple(
            mention._replace(
                start=spelled.original(mention.start), end=spelled.original(mention.end)
            )
            for mention in mentions
        )
        return _Sentence(
            mentions=mentions,
            bone=named,
            refers=() if named or "negation" in refers else refers,
        )


@dataclasses.dataclass(frozen=True)
class _Sentence:
    """What one sentence says."""

    mentions: tuple[Mention, ...] = ()
    unread: str = ""  # the code of its language, where there are no patterns for it
    empty: bool = False  # a word that stands for a missing report
    bone: bool = False  # it names one
    refers: tuple[str, ...] = ()  # kinds of phrases said of what was named before


class _Listing:
    """Follows a list of fractures: "Fractures seen: left clavicle; ribs 3 to 5"."""

    def __init__(self, rules: text_rules.Rules):
        self._begins = rules.whole["listing"]
        self._start, self._end = "", 0  # what it begins with; where it has come to

    def item(
        self, report: str, start: int, end: int, read: "_Sentence", sentence: str
    ) -> str:
        """A sentence that is an item, with what its list begins with; else ""."""
        gap = report[self._end : start]
        goes_on = gap.count("\n") < 2 and ("\n" in gap or ";" in gap)
        self._end = end
        if ":" in sentence and (match := self._begins.search(sentence)):
            rest = sentence[match.end() :].strip()
            is_empty = rest and not any(m.verdict == AFFIRMED for m in read.mentions)
            self._start = "" if is_empty else sentence[: match.end()].lstrip() + " "
            return ""
        if not goes_on or ":" in sentence:
            self._start = ""
        if not self._start or read.mentions or read.empty:
            return ""
        # a dash or number before an item is no part of it
        bare = _BULLET.sub(lambda mark: " " * len(mark[0]), sentence)
        return self._start + bare


class _Title:
    """Follows a line that names one bone: "RIGHT CLAVICLE", "Ribs:".

    What follows and names no bone is said of it, until another bone or heading comes;
    after the first line of a report headings end nothing.
    """

    def __init__(self, rules: text_rules.Rules):
        self._rules = rules
        self._bone, self._is_first = "", False
        self._end = -1  # where the sentence before ended; -1 before the first

    def bone(
        self,
        report: str,
        start: int,
        end: int,
        read: "_Sentence",
        sentence: str,
        section: str,
    ) -> str:
        """What stands before a sentence that is said of the title's bone; else ""."""
        is_first, gap = self._end < 0, report[max(self._end, 0) : start]
        self._end = end
        if bone := self._named_by(report, start, end, sentence):
            self._bone, self._is_first = f"{bone}: ", is_first
            return ""
        if not self._is_first and (
            any(map(str.isalpha, gap))  # a heading, which is no part of a sentence
            or _BLANK_LINE.search(gap)
        ):
            self._bone = ""
        if read.bone or _HEADING.match(sentence):
            self._bone = ""
        is_loose = any(
            m.kind == "target" and m.name == text_rules.ANY for m in read.mentions
        )
        return self._bone if is_loose and section != "request" else ""

    def _named_by(self, report: str, start: int, end: int, sentence: str) -> str:
        """The bone that a line names which says nothing else; else ""."""
        is_line = not report[:start].rpartition("\n")[2].strip()
        is_line = is_line and report[end:].lstrip(" \t.:")[:1] == "\n"
        if not is_line or not self._rules.whole["title"].match(sentence):
            return ""
        bones = {
            name: match[0]
            for kind, name, pattern in self._rules.mentions
            if kind == "site" and (match := pattern.search(sentence))
        }
        return bones.popitem()[1] if len(bones) == 1 else ""


class _Opening:
    """Follows the first sentences while they ask: "Fall today, ?rib fracture"."""

    def __init__(self, rules: text_rules.Rules):
        self._rules = rules
        self._is_open = True

    def asks(self, sentence: str, read: "_Sentence") -> bool:
        """Whether a sentence is a request above what is seen, without a heading."""
        if not self._is_open:
            return False
        if sentence.lstrip().startswith("?"):
            self._is_open = False
            return True
        rest = list(sentence)
        for mention in read.mentions:
            rest[mention.start : mention.end] = " " * (mention.end - mention.start)
        text = "".join(rest)
        for kind, _, pattern in self._rules.mentions:
            text = pattern.sub(" ", text) if kind == "site" else text
        whole = self._rules.whole
        self._is_open = (
            bool(whole["reason"].search(sentence))
            and not whole["anatomy"].search(text)
            and all(m.verdict in (DOUBTFUL, IGNORED) for m in read.mentions)
        )
        return self._is_open and "?" in sentence


def _of_item(mentions: Sequence[Mention], offset: int) -> tuple[Mention, ...]:
    """The mentions of an item without those of what began its list."""
    return tuple(
        m._replace(start=max(m.start - offset, 0), end=m.end - offset)
        for m in mentions
        if m.end > offset and m.name != text_rules.ANY
    )


def _is_line_visible(
    sentence: str,
    places: Sequence[tuple[str, str, int, int]],
    kinds: Sequence[tuple[str, ...]],
    rules: text_rules.Rules,
) -> bool:
    """Whether it states that the line of a fracture is seen: "still visible"."""
    match = rules.whole["visible"].search(sentence)
    if not match:
        return False
    inside = [
        phrases
        for (*_, start, end), phrases in zip(places, kinds, strict=True)
        if start < match.end() and match.start() < end
    ]
    return bool(inside) and not any(
        phrase.startswith(("negation", "uncertain", "hypothetical", "family"))
        for phrases in inside
        for phrase in phrases
    )


def _recalled(mention: Mention, kinds: tuple[str, ...]) -> Mention:
    """A mention about which the next sentence says more: "These are old."."""
    if VISIBLE in kinds:
        weak = mention.verdict == DOUBTFUL and mention.kind in ("target", "doubt")
        if weak and {*mention.rules} <= {"historical", "hardware"}:
            rules = (*mention.rules, VISIBLE)
            return mention._replace(verdict=AFFIRMED, rules=rules)
        return mention
    if mention.verdict != AFFIRMED:
        return mention
    rules = (*mention.rules, *kinds)
    verdict = _verdict(mention.kind, rules, image=mention.image)
    return mention._replace(verdict=verdict, rules=rules)


def _mentions(
    sentence: str,
    places: Sequence[tuple[str, str, int, int]],
    kinds: Sequence[tuple[str, ...]],
    rules: text_rules.Rules,
    section: str,
) -> tuple[Mention, ...]:
    """The mentions of a sentence; a fracture without a bone may take one of its bones.

    "Right clavicle: no fracture."; "Ribs and clavicles show no fracture."; "A fracture,
    2 mm wide, is now evident within the clavicle."
    """
    found = [
        Mention(
            kind,
            name,
            start,
            end,
            _verdict(kind, phrases, image=section != "request"),
            phrases,
            section,
        )
        for (kind, name, start, end), phrases in zip(places, kinds, strict=True)
    ]
    mentions: list[Mention] = []
    last: list[Mention] = []  # the last ones that name a bone, several in a list
    for at, mention in enumerate(found):
        if mention.kind == "harm":
            mentions.append(mention)
            continue
        if mention.name != text_rules.ANY:
            is_listed = bool(last) and mention.kind == last[-1].kind == "site"
            gap = sentence[last[-1].end : mention.start] if is_listed else ""
            together = is_listed and _is_list(gap, rules)
            last = [*last, mention] if together else [mention]
            mentions += [mention] if mention.kind != "site" else []
            continue
        bones = []
        if mention.kind == "target":
            bones = _bones_after(sentence, found[at:], rules)
            # "..., but a fracture is possible" is said of the bone before
            if not bones and last:
                takes = last[-1].kind != "target" or mention.verdict != NEGATED
                bones = last if takes else []
        names = dict.fromkeys(bone.name for bone in bones)
        mentions += [mention._replace(name=name) for name in names] or [mention]
    return tuple(mentions)


def _is_list(gap: str, rules: text_rules.Rules) -> bool:
    """Whether two bones with this text between are named together."""
    joins = (rules.grammar[word] for word in ("and", "or"))
    return not gap.strip(" ,/") or "/" in gap or any(join.search(gap) for join in joins)


def _bones_after(
    sentence: str, found: Sequence[Mention], rules: text_rules.Rules
) -> list[Mention]:
    """The bones that a fracture, the first one found, is said to be in, or not in.

    They are named next, in the same clause and behind a word of place.
    """
    fracture, *rest = found
    if fracture.verdict == IGNORED:
        return []
    kinds = ("site", "target") if fracture.verdict == NEGATED else ("site",)
    bones: list[Mention] = []
    for mention in rest:
        gap = sentence[(bones or [fracture])[-1].end : mention.start]
        is_next = (
            _is_list(gap, rules) if bones else rules.whole["within"].fullmatch(gap)
        )
        if mention.kind not in kinds or mention.rules != fracture.rules or not is_next:
            break
        bones.append(mention)
    return bones


def decide(mentions: Mentions, finding: str, *, silence: int) -> TextLabel:
    """A report's label of one finding, by the first of these rules that applies.

    1 where the image section affirms the finding.
    -1 where it is in doubt there (uncertain, old, with hardware), or where a fracture
    is affirmed and no bone is named.
    0 where the image section denies the finding.
    -1 where only the request knows of it.
    0 where the image section denies any fracture.
    `silence` where the report says anything about the image, else -1.

    What an addendum says of the finding stands instead of what was said before, and
    what the final report says instead of the preliminary one; where such a part denies
    any fracture, an affirmed one is in doubt. No label is negative where part
    of the report is in a language that is not read, and silence is unknown where
    nothing of the chest is named.
    """
    label = _decide(mentions, finding)
    if mentions.unread and (label is None or label.label == 0):
        return _silent(-1, UNREAD + mentions.unread, unread=True)
    if label:
        return label
    if not mentions.about_image:
        return _silent(-1, MISSING if mentions.missing else NO_REPORT)
    if not mentions.anatomy:
        return _silent(-1, NO_ANATOMY, unread=True)
    return _silent(silence, NO_MENTION)


def _silent(label: int, why: str, *, unread: bool = False) -> TextLabel:
    return TextLabel(label, why, silent=True, reason=why, unread=unread)


def _decide(mentions: Mentions, finding: str) -> TextLabel | None:
    """The label that mentions decide; None where the report is silent."""
    own = [m for m in mentions.all if m.name == finding]
    here = [m for m in own if m.image]
    loose = [m for m in mentions.all if m.name == text_rules.ANY and m.image]
    last = max((m.stage for m in here if m.verdict != IGNORED), default=0)
    here = [m for m in here if m.stage == last]
    taken_back = [m for m in _with(loose, NEGATED) if m.stage > last]
    if taken_back and _with(here, AFFIRMED):
        return _told(-1, [*_with(here, AFFIRMED), *taken_back])
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
            return _told(label, deciding)
    return None


def _with(mentions: Sequence[Mention], *verdicts: str) -> list[Mention]:
    return [m for m in mentions if m.verdict in verdicts]


def _told(label: int, mentions: Sequence[Mention]) -> TextLabel:
    """A label by mentions; its evidence is "24-36 (negation), 60-71 (historical)"."""
    parts, reasons = [], set()
    for m in mentions:
        names = [m.kind] if m.kind != "target" else []
        names += [text_rules.ANY] if m.name == text_rules.ANY else []
        names += [*m.rules, *([] if m.section == "image" else [m.section])]
        parts.append(f"{m.start}-{m.end}" + (f" ({' '.join(names)})" if names else ""))
        reasons |= set(names)
    reason = ", ".join(sorted(reasons))
    return TextLabel(label, ", ".join(parts), silent=False, reason=reason)


def _verdict(kind: str, rules: Sequence[str], *, image: bool) -> str:
    if kind == "absent":
        return NEGATED
    if "hypothetical" in rules or "family" in rules:
        return IGNORED
    if kind == "harm":  # "bony injury" is no fracture, and "no bony injury" denies one
        is_denied = "negation" in rules and "uncertain" not in rules
        return NEGATED if is_denied else IGNORED
    if "uncertain" in rules:
        return DOUBTFUL if image else IGNORED  # a request that doubts is a question
    if "negation" in rules:
        # "no old or new rib fracture" denies; "no plate" says nothing of a fracture
        return NEGATED if kind == "target" else IGNORED
    return DOUBTFUL if rules or kind == "doubt" else AFFIRMED


def _places(sentence: str, rules: text_rules.Rules) -> list[tuple[str, str, int, int]]:
    """(kind, name, start, end) of all mentions, without those inside longer ones."""
    if not rules.whole["clue"].search(sentence):
        return []
    places = {
        (kind, name, *match.span())
        for kind, name, pattern in rules.mentions
        for match in pattern.finditer(sentence)
    }
    kept = [
        place
        for place in places
        if not any(_hides(b, place) or _claims(b, place, sentence) for b in places)
    ]
    # a set has no order: the same report must give the same evidence in any process
    return sorted(kept, key=lambda place: (place[2:], place[:2]))


def _hides(outer: tuple[str, str, int, int], inner: tuple[str, str, int, int]) -> bool:
    """Whether a longer mention of the same thing, or of its bone, holds a shorter."""
    around = outer[2] <= inner[2] and inner[3] <= outer[3]
    longer = outer[3] - outer[2] > inner[3] - inner[2]
    weak = inner[0] == "site" or inner[1] == text_rules.ANY
    if outer[0] == "harm":  # what may say nothing hides nothing that does
        weak = weak or outer[1] in (inner[1], text_rules.TUMOUR)
        return around and longer and weak and inner[0] == "harm"
    return (
        around
        and outer[0] != "site"
        and (
            (longer and (weak or outer[1] == inner[1]))
            or (not longer and inner[0] == "site")
        )
    )


def _claims(
    first: tuple[str, str, int, int], place: tuple[str, str, int, int], sentence: str
) -> bool:
    """Whether what stands before "fracture" has it.

    "Scapula fracture, clavicle clear"; "Lead fracture at the level of the clavicle"
    """
    is_own = first[1] == text_rules.THING or sentence[first[3] :].lstrip()[:1] == ","
    return (
        is_own
        and first[0] == place[0] == "target"
        and first[1] != text_rules.ANY
        and first[2] < place[2] < first[3] < place[3]
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
