"""Which phrases hold over which places of a sentence: NegEx by negspaCy.

One component of negspaCy for each kind of phrase (negation, uncertainty, history, ...)
makes ConText of NegEx. A phrase holds forward or backward until a terminating phrase;
a pseudo phrase ("no change") takes away what it covers.
"""

import importlib.metadata
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from data.cxr_registry.labels import text_rules

_NEGSPACY = {  # its names of our scopes
    "forward": "Preceding",
    "backward": "Following",
    "pseudo": "pseudo",
    "terminate": "Termination",
}
_SPANS = "places"


class Scopes:
    """The components of all kinds of phrases; needs negspaCy."""

    def __init__(self, rules: text_rules.Rules):
        self._rules = rules
        self._nlp = _blank()
        self._components = {
            kind: _component(self._nlp, kind, scopes)
            for kind, scopes in rules.modifiers.items()
        }

    @property
    def versions(self) -> dict[str, str]:
        """Of the packages that find the scopes."""
        names = ("negspacy", "spacy")
        return {name: importlib.metadata.version(name) for name in names}

    def kinds(
        self, sentence: str, places: Sequence[tuple[int, int]]
    ) -> list[tuple[str, ...]]:
        """For each place, (start, end), the kinds of phrases that hold over it."""
        active = [
            kind
            for kind, scopes in self._rules.modifiers.items()
            if any(scopes[scope].search(sentence) for scope in ("forward", "backward"))
        ]
        if not active:
            return [()] * len(places)
        doc = self._nlp.make_doc(sentence)
        if len(doc) > 1:
            doc[1].is_sent_start = False  # the whole is one sentence
        spans = [doc.char_span(*place, alignment_mode="expand") for place in places]
        doc.spans[_SPANS] = spans
        for kind in active:
            self._components[kind](doc)
        return [
            tuple(kind for kind in active if span._.get(_flag(kind))) for span in spans
        ]


class _Phrases:
    """Stands in for negspaCy's phrase matcher: patterns, so that words may inflect."""

    def __init__(self, vocab: Any, scopes: Mapping[str, re.Pattern[str]]):
        self._patterns = [
            (vocab.strings.add(_NEGSPACY[scope]), scope, pattern)
            for scope, pattern in scopes.items()
        ]

    def __call__(self, doc: Any) -> list[tuple[int, int, int]]:
        return list(self._matches(doc))

    def _matches(self, doc: Any) -> Iterator[tuple[int, int, int]]:
        places = doc.spans[_SPANS]
        for key, scope, pattern in self._patterns:
            for match in pattern.finditer(doc.text):
                span = doc.char_span(*match.span(), alignment_mode="expand")
                # a place that a termination cut in two would be in no scope at all
                inside = any(place.start < span.start < place.end for place in places)
                if not (scope == "terminate" and inside):
                    yield key, span.start, span.end


def _flag(kind: str) -> str:
    return f"cxr_{kind}"


def _blank() -> Any:
    """The pipeline that cuts any language that is written with blanks into words."""
    try:
        import negspacy.negation  # pyright: ignore[reportMissingImports] # noqa: F401
        import spacy  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError(
            "labels from reports need the package negspacy: "
            "pip install -r requirements/text.txt, or leave the reports unread"
        ) from None
    return spacy.blank("xx")


def _component(nlp: Any, kind: str, scopes: Mapping[str, re.Pattern[str]]) -> Any:
    names = ("pseudo_negations", "preceding_negations", "following_negations")
    config = {
        "neg_termset": {name: [] for name in (*names, "termination")},
        "extension_name": _flag(kind),
        "span_keys": [_SPANS],
    }
    component = nlp.create_pipe("negex", name=kind, config=config)
    component.matcher = _Phrases(nlp.vocab, scopes)
    return component
