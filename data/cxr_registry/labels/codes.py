"""Findings by diagnosis code: ICD-9-CM, ICD-10 (WHO, -CM, -TW, -GM) and ICD-11.

The sternum (807.2, 807.3, S22.2) is neither rib nor clavicle. Codes that may mean the
bone without naming it leave the finding unknown: the unspecified bony thorax, codes of
several regions, late effects, pathological fractures. docs/labels.md has the table.

References: ICD-10-CM tabular list; ICD-10-GM, systematic index and BfArM's guide to the
letters behind a code; ICD-11 MMS.
"""

import enum
import functools
import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

# Full-length patterns over codes in upper case without dots.
POSITIVE = {
    "rib": re.compile(r"807[014]\d?|S22[345]\w*|M96A[234]\w{0,2}|NA82[345]\w?"),
    "clavicle": re.compile(r"810\d{0,2}|S420\w*|7672|P134|NC120\w?|KA455"),
}
# Pathological, stress and badly healed fractures, and those at an implant, where the
# code does not name the bone; also aftercare.
_ANY_BONE = (
    r"|733|7331|73310|73319|7338[12]|73395|V54[12]9?"
    r"|M80\d?|M84[0-6]?|M907|M96|M966(?:9\w*)?"
    r"|FB80[789AB]|FC016|ND32|ND562|KA45Y?|KA4Z"
)
UNKNOWN = {
    "rib": re.compile(
        r"807|S22|S229\w*|NA82[YZ]?"  # the category alone, the thorax without a bone
        r"|809[01]?|819[01]?|828[01]?|829[01]?|T02[1789]\d?|T142\d?"  # regions
        r"|M96A(?:9\w{0,2})?"
        r"|9051|T912"  # late effects
        r"|7673|P13[89]?|KA453"  # at birth
        # ICD-10's site 8 has the ribs, but M80.x8X is -CM's vertebra; 0 and 9 leave it
        r"|M84[0-6][089]\w*|M80\d[09A]\w*|M80\d8(?!X)\w*|M907[089]\w*" + _ANY_BONE
    ),
    "clavicle": re.compile(
        r"S42|S42[79]\w*|NC12[57Z]?"
        r"|818[01]?|819[01]?|828[01]?|829[01]?|T02[246789]\d?|T142\d?|ND52"
        r"|9052|T921"
        r"|P139?"
        # site 1 is the shoulder with its clavicle
        r"|M84[0-6][019]\w*|M80\d[019]\w*|M907[019]\w*" + _ANY_BONE
    ),
}
# ICD-10-CM's last character: subsequent encounter (D, G, K, P) or sequela (S). Codes
# whose placeholder X was forgotten are read the same way.
_NOT_ACUTE = re.compile(r"(?:S\d|M96A)\w*[DGKPS]")
# ICD-10-GM: certainty and side, in either order, behind a code of digits.
# A hyphen stands where the letters stood apart, which a seventh character never does.
_GM = re.compile(r"([A-Z]\d{2,4})-?(?:([AVZG])([RLB]?)|([RLB])([AVZG]?))")
# Codes that only one of the two can have: -CM's placeholder, sixth character and
# unspecified side; -GM's five characters of the clavicle and its numbers of ribs.
_ONLY_CM = re.compile(r"[A-Z]\d\w{1,4}X[A-Z]|[A-Z]\d\w{3}\d[A-Z]|S22[34]9[A-Z]")
_ONLY_GM = re.compile(r"S420\d[AVZGRLB]{1,2}|S224[04][AVZGRLB]{1,2}|\w+-[AVZGRLB]+")
_DOUBTS_ICD11 = frozenset({"XY7Z", "XY75"})  # provisional, differential diagnosis
# ICD-10 WHO has an optional fifth digit for open fractures and ICD-10-GM one for the
# rib. So S22.31 means "right" only with what -CM alone has: an X, or a sixth digit.
_RIB_SIDE = re.compile(r"S22[34]([1239])X\w?")
_CLAVICLE_SIDE = re.compile(r"S420[0-3](\d)[A-Z]?")
_SIDES = {"R": {"right"}, "L": {"left"}, "B": {"right", "left"}}
_SIDES |= {"XK9K": _SIDES["R"], "XK8G": _SIDES["L"], "XK9J": _SIDES["B"]}  # ICD-11
# The dot has a fixed place: 81.0 is 081.0 (typhus) cut by a spreadsheet, not 810. No
# ICD has the letters I and O behind its first character: they are mistyped digits.
# 710xx without a dot are procedures (CPT 71045, a chest film): ICD-9's 710 is shorter.
# 000 is no code, and 9999 without a dot stands for none more often than for 999.9.
_CODE = re.compile(
    r"[A-Z]\d[0-9A-HJ-NP-Z](?:\.?[0-9A-HJ-NP-Z]{1,4})?"
    r"|[A-Z]\d\d(?:\.?\d{1,2})?-[AVZGRLB]{1,2}"  # ICD-10-GM
    r"|(?!710\d\d|000|9999)\d{3}(?:\.?\d{1,2})?|E\d{3}(?:\.?\d)?"
    # ICD-11, whose chapter D ends at DE: DS224 is the Danish SKS code of ribs
    r"|(?!D[F-Z])[0-9A-HJ-NP-Z][A-HJ-NP-Z]\d[0-9A-HJ-NP-Z](?:\.?[0-9A-HJ-NP-Z]{1,2})?"
    r"|X[A-HJ-NP-Z]\d[0-9A-HJ-NP-Z]{1,3}"  # its extensions
)
# What other systems' codes look like, for the message.
_SYSTEMS = {
    "SNOMED CT": r"\d{6,18}",
    "AIS": r"\d{6}\.\d",
    "CPT": r"7\d{4}",
    "LOINC": r"\d{4,5}-\d",
    "OPS": r"\d-\d{2}\w(?:\.\w+)?",
    "AO/OTA": r"1[4-6]-?[A-F]\d?(?:\.\d)?",
    "ICD-10-PCS": r"(?=.*\d.*\d)[0-9A-HJ-NP-Z]{7}",
    "UMLS": r"C\d{7}",
    "SKS": r"D[F-Z]\d\d(?:\.?\w{1,3})?",
    "Read": r"[0-9A-Z]{2,4}\.{1,3}",
    "a range of codes": r"[A-Z0-9.]{3,}[-\u2013\u2014~][A-Z0-9.]{3,}",
}
_BRACKETS = frozenset({"Ps", "Pe", "Pi", "Pf"})  # and quotes, by Unicode's category
_BETWEEN = frozenset("<>\"'`^&+*!\u2020\u2021\u2022\u00b7\u3001")
_FULL_STOP = re.compile(r"(?<=[A-Z]\d[0-9A-Z])。(?=\d)")  # typed in a Chinese keyboard
_SYSTEM = re.compile(r"\bICD-?(?:9|10|11)(?:-?(?:CM|GM|TW|WHO|MMS))?\s*[:=]\s*")
_LETTERS = r"-?[\s:(-]\s?([AVZG]\s?[RLB]?|[RLB]\s?[AVZG]?)(?![0-9A-Z.])"
_APART = re.compile(r"(?<![0-9A-Z.])([A-Z]\d\d\.?\d{0,2})" + _LETTERS)
_SEVENTH_APART = re.compile(r"(?<=[0-9X])()\s([ABDGKPS])(?![0-9A-Z.])")


class System(enum.Enum):
    """What a letter behind a code means in a table."""

    CM = "encounter"  # ICD-10-CM's and -TW's seventh character
    GM = "certainty"  # ICD-10-GM's letters
    UNCLEAR = "unclear"


class CodeLabel(NamedTuple):
    """What the codes of one image say about one finding."""

    label: int  # 1, 0 or -1 unknown
    evidence: str  # the codes that decided, dots removed, joined by a space
    non_acute: int  # codes of the finding that were left out as not acute
    side: str  # "left", "right", "both", "unspecified"; "" where no code decided


class _Standing(enum.Enum):
    ACUTE = enum.auto()
    LATER = enum.auto()  # later encounter or sequela
    DOUBTED = enum.auto()  # suspected, status after, or a letter of two meanings
    EXCLUDED = enum.auto()


def split_codes(cell: str) -> tuple[list[str], list[str]]:
    """The codes of a cell, in upper case without dots, and the parts that aren't.

    Full-width signs, brackets, quotes, and ICD-10's marks (+ * !) are read over.
    Letters of ICD-10-GM that stand apart join their code.

    >>> split_codes("['S22.41XA', 'J93.9']; 33737001")
    (['S2241XA', 'J939'], ['33737001'])
    """
    text = unicodedata.normalize("NFKC", cell).upper()
    text = _FULL_STOP.sub(".", text).replace("。", " ").replace("\u200b", "")
    text = "".join(" " if _is_between(character) else character for character in text)
    text = _APART.sub(functools.partial(_join, "-"), _SYSTEM.sub("", text))
    text = _SEVENTH_APART.sub(functools.partial(_join, ""), text)
    parts = [part for part in re.split(r"[;,|/\s]+", text) if part]
    # S42.0- stands for any code below S42.0
    parts = [part.rstrip("-") or part for part in parts]
    valid = [part.replace(".", "") for part in parts if _CODE.fullmatch(part)]
    return valid, [part for part in parts if not _CODE.fullmatch(part)]


def _join(mark: str, match: re.Match[str]) -> str:
    """A code and the letters behind it, without blanks."""
    return match[1] + mark + re.sub(r"\s", "", match[2])


def _is_between(character: str) -> bool:
    """Whether a character stands around or between codes, not in them."""
    return character in _BETWEEN or unicodedata.category(character) in _BRACKETS


def name_systems(parts: Iterable[str]) -> list[str]:
    """The systems that parts of a cell may be codes of, sorted; none for words.

    >>> name_systems(["33737001", "RIB"])
    ['SNOMED CT']
    """
    forms = _SYSTEMS.items()
    return sorted(
        {
            next((name for name, form in forms if re.fullmatch(form, part)), "")
            for part in parts
        }
        - {""}
    )


def system_of(codes: Iterable[str]) -> System:
    """What the letters behind a table's codes mean, by codes that only one can have."""
    systems = {system for code in codes if (system := _own_system(code))}
    return systems.pop() if len(systems) == 1 else System.UNCLEAR


def read_codes(
    codes: list[str],
    finding: str,
    *,
    keep_non_acute: bool,
    system: System = System.UNCLEAR,
) -> CodeLabel:
    """The label of one finding; codes without any such fracture make it negative.

    Args:
        codes: as `split_codes` gives them.
        finding: a key of POSITIVE.
        keep_non_acute: later encounters and sequelae are positive too.
        system: of the table, for letters that a code alone leaves open.
    """
    codes = list(dict.fromkeys(codes))
    hits = {
        code: _standing(code, system)
        for code in codes
        if any(POSITIVE[finding].fullmatch(c) for c in (code, _bare(code)))
    }
    later = [code for code, standing in hits.items() if standing is _Standing.LATER]
    acute = [code for code, standing in hits.items() if standing is _Standing.ACUTE]
    if keep_non_acute:
        acute, later = [code for code in hits if code in {*acute, *later}], []
    if acute and not _DOUBTS_ICD11 & set(codes):
        sides = [*acute, *(code for code in codes if code in _SIDES)]
        return CodeLabel(1, " ".join(acute), len(later), side_of(sides))
    # an old fracture may still be seen: neither a positive nor a clean negative
    vague = [code for code in codes if UNKNOWN[finding].fullmatch(_bare(code))]
    vague = [code for code in vague if _standing(code, system) != _Standing.EXCLUDED]
    excluded = [c for c, standing in hits.items() if standing is _Standing.EXCLUDED]
    if unclear := [*(code for code in hits if code not in excluded), *vague]:
        return CodeLabel(-1, " ".join(unclear), len(later), side_of(unclear))
    why = " ".join([*excluded, "excluded"]) if excluded else "no code of the finding"
    return CodeLabel(0, why, 0, "")


def side_of(codes: Iterable[str]) -> str:
    """The side that codes of fractures name: left, right, both or unspecified.

    Of ICD-10-CM, S22.31X and S22.41X are right, .32X and .42X left, .43X both, .39X and
    .49X unspecified. The sixth character of S42.0xx runs through right, left and
    unspecified again and again. ICD-10-GM has a letter, R, L or B, and ICD-11 a code.
    """
    sides = set()
    for code in codes:
        if match := _RIB_SIDE.fullmatch(code):
            sides |= {"1": {"right"}, "2": {"left"}, "3": {"right", "left"}}.get(
                match[1], set()
            )
        elif match := _CLAVICLE_SIDE.fullmatch(code):
            sides |= {1: {"right"}, 2: {"left"}}.get(int(match[1]) % 3, set())
        else:
            letters = _GM.fullmatch(code)
            side = (letters[3] or letters[4] or "") if letters else code
            sides |= _SIDES.get(side, set())
    if len(sides) > 1:
        return "both"
    return sides.pop() if sides else "unspecified"


def _own_system(code: str) -> System | None:
    """The system that a code shows by its form; None where it may be of any."""
    if _ONLY_GM.fullmatch(code):
        return System.GM
    if match := _GM.fullmatch(code):
        certainty, side = match[2] or match[5], match[3] or match[4]
        # -CM has no V and Z, and letters behind codes of injuries (S, T, M) only
        is_gm = certainty in ("V", "Z") or (certainty and side)
        if is_gm or (certainty == "G" and code[0] not in "STM"):
            return System.GM
    return System.CM if _ONLY_CM.fullmatch(code) else None


def _standing(code: str, system: System) -> _Standing:
    letters = _GM.fullmatch(code)
    certainty = (letters[2] or letters[5]) if letters else ""
    system = _own_system(code) or system
    if certainty in ("V", "Z"):
        return _Standing.DOUBTED
    if certainty and system is System.GM:
        return _Standing.EXCLUDED if certainty == "A" else _Standing.ACUTE
    if certainty == "A" and system is System.UNCLEAR:
        return _Standing.DOUBTED
    return _Standing.LATER if _NOT_ACUTE.fullmatch(code) else _Standing.ACUTE


def _bare(code: str) -> str:
    """The code without ICD-10-GM's letters."""
    match = _GM.fullmatch(code)
    return match[1] if match else code
