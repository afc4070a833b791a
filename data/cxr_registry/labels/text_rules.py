"""The table of patterns that reads reports: one CSV row a pattern, any language.

Columns: language, kind, scope, pattern. A pattern is a regular expression for whole
words, in any case; a blank in it stands for any white space, {name} for a `word:name`
row above it. docs/labels.md lists the kinds with examples.
"""

import csv
import dataclasses
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).with_name("text_rules.csv")
COLUMNS = ("language", "kind", "scope", "pattern")
# What a report may say about a mention; ANY is a fracture without a bone.
MODIFIERS = (
    "negation",
    "uncertain",
    "historical",
    "hardware",
    "hypothetical",
    "family",
)
MENTIONS = ("target", "absent", "doubt", "site")
ANY, OTHER = "any", "other"
SCOPES = ("forward", "backward", "pseudo", "terminate")
SECTIONS = ("image", "request")

_NEVER = r"(?!)"  # matches nowhere


class Row(NamedTuple):
    """One row of a table, and where it stands."""

    place: str
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
    headings: Mapping[str, re.Pattern[str]]  # "image", "request" -> heading
    unsplit: re.Pattern[str]  # a full stop that ends no sentence, at the end
    digest: str  # of all that was read

    @property
    def findings(self) -> frozenset[str]:
        """What the table has a target for."""
        names = {name for kind, name, _ in self.mentions if kind == "target"}
        return frozenset(names - {ANY, OTHER})


def load(languages: Sequence[str] = ("en",), extra: Path | None = None) -> Rules:
    """The project's table and the user's, compiled.

    Args:
        languages: codes of the languages that a report may be in.
        extra: a table of the same columns; its rows join the project's.

    Raises:
        ValueError: every row that can't be used, by file and row.
    """
    rows = [*_read(TABLE), *(_read(extra) if extra else ())]
    problems = [f"{row.place}: {text}" for row in rows if (text := _fault(row))]
    problems += [] if languages else ["no language is given"]
    chosen = [row for row in rows if row.language in languages]
    for language in languages:
        if not any(row.language == language for row in chosen):
            have = ", ".join(sorted({row.language for row in rows}))
            problems.append(f"no patterns of language {language!r}; there are {have}")
    _stop(problems)
    return _compile(chosen, tuple(languages))


def _read(path: Path) -> list[Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path.name}: is not UTF-8; save it as UTF-8") from None
    reader = csv.DictReader(text.splitlines())
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise ValueError(f"{path.name}: the columns must be {', '.join(COLUMNS)}")
    rows = []
    for number, line in enumerate(reader, start=2):
        place = f"{path.name} row {number}"
        if len(line) > len(COLUMNS):
            raise ValueError(f"{place}: quote a pattern that holds a comma")
        rows.append(Row(place, *(line[name] or "" for name in COLUMNS)))
    return rows


def _fault(row: Row) -> str:
    """Why a row can't be used; empty when it can."""
    kind, _, name = row.kind.partition(":")
    if kind in MODIFIERS or row.kind == "all":
        scopes = SCOPES if kind in MODIFIERS else ("terminate",)
        if row.scope not in scopes:
            return f"scope {row.scope!r} is none of {', '.join(scopes)}"
    elif row.scope:
        return f"{row.kind} takes no scope"
    if kind == "section" and name not in SECTIONS:
        return f"section {name!r} is none of {', '.join(SECTIONS)}"
    named = kind in ("word", "section", *MENTIONS)
    plain = row.kind in ("all", "unsplit", *MODIFIERS)
    if not (named and name) and not plain:
        return f"kind {row.kind!r} is unknown"
    return "" if row.pattern else "pattern is empty"


def _stop(problems: Sequence[str]) -> None:
    if problems:
        head = f"{len(problems)} problem(s) in the table of text patterns"
        raise ValueError("\n  ".join([head, *problems]))


def _compile(rows: Sequence[Row], languages: tuple[str, ...]) -> Rules:
    problems: list[str] = []
    words: dict[tuple[str, str], str] = {}
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        try:
            text = _expand(row, words)
            pattern = _whole_words(text)
        except (ValueError, re.error) as error:
            problems.append(f"{row.place}: {error}")
            continue
        if pattern.groups or pattern.fullmatch(""):
            why = "write (?:...) for groups" if pattern.groups else "it matches nothing"
            problems.append(f"{row.place}: {why}")
        kind, _, name = row.kind.partition(":")
        if kind == "word":
            words[row.language, name] = text
        else:
            found.setdefault((row.kind, row.scope), []).append(text)
    _stop(problems)
    mentions = [
        (kind, name, _whole_words(text))
        for (full, _), texts in found.items()
        for kind, _, name in [full.partition(":")]
        for text in texts
        if kind in MENTIONS
    ]
    return Rules(
        languages=languages,
        mentions=tuple(mentions),
        modifiers={kind: dict(_scopes(found, kind)) for kind in MODIFIERS},
        # at the start of a line or sentence, before a colon or the line's end
        headings={
            name: _joined(
                r"(?:^|(?<=[.!?;])[ \t])[ \t]*(?:{})[ \t]*(?::|$)\s*",
                found.get((f"section:{name}", "")),
            )
            for name in SECTIONS
        },
        unsplit=_joined(r"(?<!\w)(?:{})\.\Z", found.get(("unsplit", ""))),
        digest=hashlib.sha256(repr([row[1:] for row in rows]).encode()).hexdigest(),
    )


def _expand(row: Row, words: Mapping[tuple[str, str], str]) -> str:
    """The pattern with its {words} put in and blanks for any white space."""

    def word(match: re.Match[str]) -> str:
        if (row.language, match[1]) not in words:
            raise ValueError(f"no row word:{match[1]} above it")
        return f"(?:{words[row.language, match[1]]})"

    text = re.sub(r"\{([a-z_]+)\}", word, row.pattern)
    return text.replace(" ?", r"\s*").replace(" ", r"\s+")


def _scopes(
    found: Mapping[tuple[str, str], list[str]], kind: str
) -> Iterator[tuple[str, re.Pattern[str]]]:
    for scope in SCOPES:
        texts = [*found.get((kind, scope), ())]
        if scope == "terminate":
            texts += found.get(("all", scope), ())
        yield scope, _whole_words("|".join(texts) or _NEVER)


def _joined(frame: str, texts: Sequence[str] | None) -> re.Pattern[str]:
    text = "|".join(texts) if texts else _NEVER
    return re.compile(frame.format(text), re.IGNORECASE | re.MULTILINE)


def _whole_words(pattern: str) -> re.Pattern[str]:
    """No word is cut; signs such as "?" may stand against a word."""
    edges = (r"(?:(?<!\w)|(?!\w))", r"(?:(?!\w)|(?<!\w))")
    return re.compile(f"{edges[0]}(?:{pattern}){edges[1]}", re.IGNORECASE)
