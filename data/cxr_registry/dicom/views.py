"""Views of a radiograph: the terms that are kept, and what people write for them.

Only a term of VIEWS ever leaves: any other word might be a name.

Reference: DICOM PS3.3 C.8.7.1.1.1, View Position; words as departments of some twenty
languages write them.
"""

import re
import unicodedata

# Terms of View Position, defined and in use.
VIEWS = frozenset(
    {"AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO", "LAO", "LPO", "RAO", "RPO"}
    | {"LAT", "LATERAL", "OBLIQUE", "LORDOTIC"}
)
LATERALS = frozenset({"LL", "RL", "LAT", "LATERAL"})
FRONTALS = frozenset({"AP", "PA"})
# "Lateral decubitus" is a frontal film of a patient who lies on the side.
# And these name a side or a place, no view.
_OTHERWISE = re.compile(
    r"DECUB|SEITENLAGE|SIDE DOWN|側臥|侧卧"
    r"|LATERALITY|(?:LEFT|RIGHT|L|R) SIDE|LATERAL (?:END|THIRD)"
)


def _words(*patterns: str, signs: str = "") -> re.Pattern[str]:
    """Whole words, between any signs, digits and blanks; and signs without blanks."""
    text = rf"(?<![^\W\d_])(?:{'|'.join(patterns)})(?![^\W\d_])"
    return re.compile(f"{text}|{signs}" if signs else text)


# In capitals, without full stops and marks on letters.
_LATERAL = _words(
    "[LR]{0,2}LATS?",
    "L[RL]AT",
    r"LATER[AO]\w*",  # lateral, laterale, lateraal, latero-laterale
    "[LR]L|L-L",
    r"S(?:EI)?TL(?:ICH\w*)?",  # seitl., stl., seitlich
    r"SEIT(?:EN)?(?:BILD|AUFNAHME|ANSICHT)\w*",
    "(?:2|II|ZWEITE) EBENE",
    "PROFIL[EO]?",
    "PERFIL",
    "SIDE",
    r"SID(?:O|E)?(?:BILD|PROJEKTION|OPTAGELSE|BILDE)\w*",
    r"ZIJ(?:DELINGS\w*|OPNAME|AANZICHT)",
    r"BOCZN\w*",
    r"BOCN\w*",
    r"OLDAL(?:IRANYU)?",
    r"SIVU(?:KUVA)?",
    "YAN GRAFI",
    "NGHIENG",
    r"БОКОВ\w*",
    r"ΠΛΑΓΙ\w*",
    signs="側面|侧面|側位|侧位|측면",
)
_OBLIQUE = _words(
    r"OBLI(?:QUE|QUA|QUO|CUA|CUO|KV?)\w*",
    "OBL",
    r"SCHRAE?G\w*",
    r"SCHUIN\w*",
    r"SKOSN\w*",
    r"SIKM\w*",
    "[LR][AP]O",
    "OA[DG]",
    "OP[DG]",
    "OA[DI]",
    signs="斜位",
)
_TERMS = {"AP": _words("A[ /-]?P"), "PA": _words("P[ /-]?A")}
_FRONTAL = _words(
    r"FRONTAL\w*",
    "FACE",
    "BEIDE EBENEN",
    "(?:2|ZWEI|TWO|DEUX|DUE|DOS) (?:EBENEN|VIEWS?|INCIDENCES|PROIEZIONI|PROYECCIONES)",
    signs="正面|正位|正側|正侧",
)


def known(text: str) -> str:
    """The term for a view as it was written; "" where it is none, or two of them.

    Args:
        text: a cell of the table, View Position or a description of a header.

    >>> [known(text) for text in ("pa", "Thorax seitl.", "A.P. supine", "PA + LAT")]
    ['PA', 'LATERAL', 'AP', '']
    """
    plain = unicodedata.normalize("NFKD", text).upper().replace(".", "")
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    plain = " ".join(re.sub(r"[_^]", " ", unicodedata.normalize("NFC", plain)).split())
    if plain in VIEWS:
        return plain
    if _OTHERWISE.search(plain):
        return ""
    frontal = [term for term, words in _TERMS.items() if words.search(plain)]
    turned = [
        term
        for term, words in (("LATERAL", _LATERAL), ("OBLIQUE", _OBLIQUE))
        if words.search(plain)
    ]
    if turned:
        is_one = len(turned) == 1 and not frontal and not _FRONTAL.search(plain)
        return turned[0] if is_one else ""
    return frontal[0] if len(frontal) == 1 else ""
