"""Views of a radiograph: the terms that are kept, and what people write for them.

Only a term of VIEWS ever leaves: any other word might be a name.

Reference: DICOM PS3.3 C.8.7.1.1.1, View Position; words as German, French, Spanish,
Italian and Chinese departments write them.
"""

import re
import unicodedata

# Terms of View Position, defined and in use.
VIEWS = frozenset(
    {"AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO", "LAO", "LPO", "RAO", "RPO"}
    | {"LAT", "LATERAL", "OBLIQUE", "LORDOTIC"}
)
LATERALS = frozenset({"LL", "RL", "LAT", "LATERAL"})
# "Lateral decubitus" is a frontal film of a patient who lies on the side.
_LYING = re.compile(r"DECUB|SEITENLAGE|側臥|侧卧")
_LATERAL = re.compile(
    r"(?<![^\W\d_])(?:[LR]{0,2}LATS?|LATERAL\w*|SEITL\w*|PROFILE?|PERFIL|SIDE|[LR]L"
    r"|L[RL]AT|LATER[AO]\w*)(?![^\W\d_])|側面|侧面|側位|侧位"
)
_TERMS = {
    term: re.compile(rf"(?<![^\W\d_]){term}(?![^\W\d_])") for term in ("AP", "PA")
}
_FRONTAL = re.compile(r"(?<![^\W\d_])FRONTAL\w*(?![^\W\d_])|正面|正位")


def known(text: str) -> str:
    """The term for a view as it was written; "" where it is none, or two of them.

    Args:
        text: a cell of the table, or View Position of a header.

    >>> [known(text) for text in ("pa", "Thorax seitl.", "A.P. supine", "PA + LAT")]
    ['PA', 'LATERAL', 'AP', '']
    """
    plain = unicodedata.normalize("NFKC", text).upper().replace(".", "").strip()
    if plain in VIEWS:
        return plain
    if _LYING.search(plain):
        return ""
    frontal = [term for term, words in _TERMS.items() if words.search(plain)]
    if _LATERAL.search(plain):
        return "" if frontal or _FRONTAL.search(plain) else "LATERAL"
    return frontal[0] if len(frontal) == 1 else ""
