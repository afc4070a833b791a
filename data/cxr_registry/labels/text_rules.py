"""The table of patterns that reads reports: a CSV file with one pattern per row.

Columns: language, kind, scope, pattern. A pattern is a regular expression for whole
words in upper or lower case. A blank in it stands for any white space, and {name} for
the row `word:name` above it. docs/labels.md lists the kinds with examples.
"""

import csv
import dataclasses
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from data.cxr_registry.guard import checks

TABLE = Path(__file__).with_name("text_rules.csv")
COLUMNS = ("language", "kind", "scope", "pattern")
# What a report may say about a mention, and what it may mention. ANY is a fracture of
# a bone that is not named.
MODIFIERS = (
    "negation",
    "uncertain",
    "historical",
    "hardware",
    "hypothetical",
    "family",
    "pathological",
    "hidden",
)
MENTIONS = ("target", "absent", "doubt", "harm", "site")
ANY, OTHER = "any", "other"
TUMOUR = "tumour"  # harm that is no injury
THING = "thing"  # that may break and is no bone: a catheter, a plate
ALL = "*"  # the language of rows that are read in every language
SCOPES = ("forward", "backward", "pseudo", "terminate")
# What a heading begins. The name of an exam is part of the request, an organ's heading
# ends one and stays part of the text, and what is final stands instead of what was
# preliminary.
SECTIONS = (
    "image",
    "request",
    "exam",
    "addendum",
    "organ",
    "preliminary",
    "final",
)
# Words that decide how far a phrase reaches, see text_scopes.
GRAMMAR = (
    "joint",
    "and",
    "or",
    "verb",
    "fresh",
    "unclear",
    "adjective",
    "light",
    "aside",
)
# Patterns of the report as a whole: a word that stands for a missing one, a statement
# that takes back all before it, a word in it that takes back the rest too, a sentence
# about what the one before it named, anything that an image of the chest shows, part of
# a word that every mention has (sentences without a clue are not searched), how a
# sentence begins that is a request without a heading, the answer to a question that the
# report itself asks, and a statement that a fracture's line is seen on this film, which
# healing and hardware do not weaken, what begins a list of fractures, each in a line or
# between semicolons, what may stand between a fracture and the bone behind it that it
# is in, how a sentence begins that states what is seen, and asks nothing, how one
# begins that tells where a tube or a line lies, a line that only names a bone, and what
# leads to a film: a fall, pain.
WHOLE = (
    "missing",
    "retract",
    "below",
    "anaphor",
    "anatomy",
    "clue",
    "asked",
    "answer",
    "visible",
    "listing",
    "within",
    "states",
    "device",
    "title",
    "reason",
)

_NEVER = r"(?!)"  # matches nowhere
# At the start of a line or sentence, or anywhere in capitals; before a colon, a dash or
# the line's end.
HEADING_START = re.compile(
    r"^|(?<=[.!?;\u3002])|(?<=\s)(?=[A-Z][A-Z /]+:)", re.MULTILINE
)
_HEADING = (
    r"[ \t]*(?:[#*=-]+[ \t]*)?(?:\d[.)][ \t]*)?(?:{})"
    r"(?:[ \t]*\([^()\n]{,40}\))?[ \t*=]*(?:[:\uff1a]|-(?=\s)|$)\s*"
)
_WHOLE_FRAMES = {
    "missing": r"\A[\W_]*(?:(?:{})[\W_]*)+\Z",  # all of a sentence, several maybe
    "anaphor": r"\A[\W\d_]*(?:{})",
    "asked": r"\A\W*(?:{})",
    "within": r"(?:{})",
    "states": r"\A\W*(?:{})",
    "device": r"\A\W*(?:{})",
    "title": r"\A[\W_]*(?:{})[\W_]*\Z",
}
_UNSPACED = ("zh", "ja", "th")  # languages written without blanks between words


class PatternRow(NamedTuple):
    """One row of a table of patterns, and where it stands."""

    file: str
    number: int  # as a spreadsheet numbers it
    language: str
    kind: str
    scope: str
    pattern: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """Compiled patterns of the chosen languages."""

    languages: tuple[str, ...]
    mentions: tuple[tuple[str, str, re.Pattern[str]], ...]  # kind, name, pattern
    modifiers: Mapping[str, Mapping[str, re.Pattern[str]]]  # kind -> scope -> pattern
    grammar: Mapping[str, re.Pattern[str]]  # of GRAMMAR
    whole: Mapping[str, re.Pattern[str]]  # of WHOLE
    headings: Mapping[str, re.Pattern[str]]  # of SECTIONS
    unsplit: re.Pattern[str]  # text up to a full stop that ends no sentence
    digest: str  # SHA-256 of all rows that were read

    @property
    def findings(self) -> frozenset[str]:
        """The findings that the table has a target for."""
        names = {name for kind, name, _ in self.mentions if kind == "target"}
        return frozenset(names - {ANY, OTHER, THING})


def load(languages: Sequence[str] = ("en",), extra: Path | None = None) -> Rules:
    """Compiles the project's table and the user's.

    Args:
        languages: codes of the languages that a report may be in.
        extra: a table of the same columns, whose rows are added to the project's.

    Raises:
        ValueError: every row that can't be used, by file and row.
    """
    rows = [*_read(TABLE), *(_read(extra) if extra else ())]
    problems = checks.Problems(error=_pattern_error)
    for row in rows:
        if text := _fault(row):
            problems.add(row.file, row.number, text)
    if not languages:
        problems.add("", None, "no language is given")
    chosen = [row for row in rows if row.language in (*languages, ALL)]
    for language in languages:
        if not any(row.language == language for row in chosen):
            have = ", ".join(sorted({row.language for row in rows} - {ALL}))
            text = f"no patterns of language {language!r}; there are {have}"
            problems.add("", None, text)
    problems.raise_if_any()
    return _compile(chosen, tuple(languages))


def _read(path: Path) -> list[PatternRow]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path.name}: is not UTF-8; save it as UTF-8") from None
    reader = csv.DictReader(text.splitlines())
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise ValueError(f"{path.name}: the columns must be {', '.join(COLUMNS)}")
    rows = []
    for number, line in enumerate(reader, start=2):
        if len(line) > len(COLUMNS):
            place = f"{path.name} row {number}"
            raise ValueError(f"{place}: quote a pattern that holds a comma")
        cells = (line[name] or "" for name in COLUMNS)
        rows.append(PatternRow(path.name, number, *cells))
    return rows


def _fault(row: PatternRow) -> str:
    """Why a row can't be used; empty when it can."""
    kind, _, name = row.kind.partition(":")
    if kind in MODIFIERS or row.kind == "all":
        scopes = SCOPES if kind in MODIFIERS else ("terminate",)
        if row.scope not in scopes:
            return f"scope {row.scope!r}: must be one of {', '.join(scopes)}"
    elif row.scope:
        return f"{row.kind} takes no scope"
    for group, names in (("section", SECTIONS), ("list", GRAMMAR)):
        if kind == group and name not in names:
            return f"{group} {name!r}: must be one of {', '.join(names)}"
    named = kind in ("word", "section", "list", *MENTIONS)
    plain = row.kind in ("all", "unsplit", *MODIFIERS, *WHOLE)
    if not (named and name) and not plain:
        return f"kind {row.kind!r} is unknown"
    return "" if row.pattern else "pattern is empty"


def _pattern_error(problems: Sequence[checks.Problem]) -> ValueError:
    head = f"{len(problems)} problem(s) in the table of text patterns"
    return ValueError("\n  ".join([head, *map(str, problems)]))


def _compile(rows: Sequence[PatternRow], languages: tuple[str, ...]) -> Rules:
    problems = checks.Problems(error=_pattern_error)
    words: dict[tuple[str, str], str] = {}
    # whole-word patterns by kind and scope, as in the table
    texts_of: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        try:
            text = _expand(row, words)
            pattern = re.compile(_whole_words(row.language, text), re.IGNORECASE)
        except (ValueError, re.error) as error:
            problems.add(row.file, row.number, str(error))
            continue
        if pattern.groups or pattern.fullmatch(""):
            why = "write (?:...) for groups" if pattern.groups else "it matches nothing"
            problems.add(row.file, row.number, why)
        kind, _, name = row.kind.partition(":")
        if kind == "word":
            words[row.language, name] = text
        else:
            # a clue may stand inside a word; a user's mention is a clue by itself
            full = text if kind == "clue" else pattern.pattern
            texts_of.setdefault((row.kind, row.scope), []).append(full)
            if kind in MENTIONS and row.file != TABLE.name:
                texts_of.setdefault(("clue", ""), []).append(full)
    problems.raise_if_any()

    def joined(kind: str, frame: str = "{}") -> re.Pattern[str]:
        return _any_of(texts_of.get((kind, ""), ()), frame)

    mentions = [
        (kind, name, re.compile(text, re.IGNORECASE))
        for (full, _), texts in texts_of.items()
        for kind, _, name in [full.partition(":")]
        for text in texts
        if kind in MENTIONS
    ]
    return Rules(
        languages=languages,
        mentions=tuple(mentions),
        modifiers={kind: dict(_scopes(texts_of, kind)) for kind in MODIFIERS},
        grammar={name: joined(f"list:{name}") for name in GRAMMAR},
        whole={name: joined(name, _WHOLE_FRAMES.get(name, "{}")) for name in WHOLE},
        headings={name: joined(f"section:{name}", _HEADING) for name in SECTIONS},
        unsplit=joined("unsplit", r"(?<!\w)(?:{})\.\Z"),
        digest=hashlib.sha256(repr([row[2:] for row in rows]).encode()).hexdigest(),
    )


def _expand(row: PatternRow, words: Mapping[tuple[str, str], str]) -> str:
    """The pattern with its {words} inserted and its blanks as any white space."""

    def word(match: re.Match[str]) -> str:
        if (row.language, match[1]) not in words:
            raise ValueError(f"no row word:{match[1]} above it")
        return f"(?:{words[row.language, match[1]]})"

    text = re.sub(r"\{([a-z_]+)\}", word, row.pattern)
    return text.replace(" ?", r"\s*").replace(" ", r"\s+")


def _scopes(
    texts_of: Mapping[tuple[str, str], list[str]], kind: str
) -> Iterator[tuple[str, re.Pattern[str]]]:
    for scope in SCOPES:
        texts = [*texts_of.get((kind, scope), ())]
        if scope == "terminate":
            texts += texts_of.get(("all", scope), ())
        yield scope, _any_of(texts)


def _any_of(texts: Sequence[str], frame: str = "{}") -> re.Pattern[str]:
    text = frame.replace("{}", "|".join(texts) or _NEVER)
    return re.compile(text, re.IGNORECASE | re.MULTILINE)


def _whole_words(language: str, pattern: str) -> str:
    """The pattern where it cuts no word; signs such as "?" may touch a word.

    In English, letters of other scripts end a word, as in "rib骨折".
    """
    if language in _UNSPACED:
        return f"(?:{pattern})"
    flag = "a" if language == "en" else ""
    edges = (r"(?:(?<!\w)|(?!\w))", r"(?:(?!\w)|(?<!\w))")
    return f"(?{flag}:{edges[0]}(?:{pattern}){edges[1]})"
