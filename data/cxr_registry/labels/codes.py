"""Findings by diagnosis code: ICD-9-CM and ICD-10 (WHO, -CM, -TW), dots or none.

The sternum (807.2, 807.3, S22.2) is neither rib nor clavicle. Codes that may mean the
bone without naming it leave the finding unknown: the unspecified bony thorax, codes of
several regions, late effects. docs/labels.md has the table with titles.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

# Full-length patterns over codes in upper case without dots.
POSITIVE = {
    "rib": re.compile(r"807[014]\d?|S22[345]\w*|M96A[234]"),
    "clavicle": re.compile(r"810\d{0,2}|S420\w*|7672|P134"),
}
UNKNOWN = {
    "rib": re.compile(
        r"807|S22|S229\w*"  # the category alone, the thorax without a bone
        r"|809[01]?|819[01]?|828[01]?|829[01]?|T02[1789]\d?|T142\d?|M96A9"  # regions
        r"|9051|T912"  # late effects
    ),
    "clavicle": re.compile(
        r"S42|S42[79]\w*"
        r"|818[01]?|819[01]?|828[01]?|829[01]?|T02[246789]\d?|T142\d?"
        r"|9052|T921"
    ),
}
# ICD-10-CM's last character: subsequent encounter (D, G, K, P) or sequela (S). Codes
# whose placeholder X was forgotten are read the same way.
_NOT_ACUTE = re.compile(r"S\d\w*[DGKPS]")
# ICD-10 WHO has an optional fifth digit for open fractures and ICD-10-GM one for the
# rib. So S22.31 means "right" only with what -CM alone has: an X, or a sixth digit.
_RIB_SIDE = re.compile(r"S22[34]([1239])X\w?")
_CLAVICLE_SIDE = re.compile(r"S420[0-3](\d)\w?")
# The dot has a fixed place: 81.0 is 081.0 (typhus) cut by a spreadsheet, not 810.
_CODE = re.compile(
    r"[A-Z]\d[0-9A-Z](?:\.?[0-9A-Z]{1,4})?"
    r"|\d{3}(?:\.?\d{1,2})?|E\d{3}(?:\.?\d)?"
)


class CodeLabel(NamedTuple):
    """What the codes of one image say about one finding."""

    label: int  # 1, 0 or -1 unknown
    evidence: str  # the codes that decided, dots removed, joined by a space
    non_acute: int  # codes of the finding that were left out as not acute
    side: str  # "left", "right", "both", "unspecified"; "" where no code decided


def split_codes(cell: str) -> tuple[list[str], list[str]]:
    """The codes of a cell, in upper case without dots, and the parts that aren't."""
    parts = [part for part in re.split(r"[;,|/\s]+", cell.strip().upper()) if part]
    # dagger, asterisk and exclamation mark are ICD-10's marks beside a code
    parts = [part.rstrip("+*!†") for part in parts]
    valid = [part.replace(".", "") for part in parts if _CODE.fullmatch(part)]
    return valid, [part for part in parts if not _CODE.fullmatch(part)]


def read_codes(codes: list[str], finding: str, *, keep_non_acute: bool) -> CodeLabel:
    """The label of one finding; codes without any such fracture make it negative."""
    codes = list(dict.fromkeys(codes))
    hits = [code for code in codes if POSITIVE[finding].fullmatch(code)]
    acute = [code for code in hits if keep_non_acute or not _NOT_ACUTE.fullmatch(code)]
    left_out = len(hits) - len(acute)
    if acute:
        return CodeLabel(1, " ".join(acute), left_out, side_of(acute))
    vague = [code for code in codes if UNKNOWN[finding].fullmatch(code)]
    # an old fracture may still be seen: neither a positive nor a clean negative
    unclear = hits + vague
    if unclear:
        return CodeLabel(-1, " ".join(unclear), left_out, side_of(unclear))
    return CodeLabel(0, "no code of the finding", left_out, "")


def side_of(codes: Iterable[str]) -> str:
    """The side that codes of fractures name: left, right, both or unspecified.

    Only ICD-10-CM says it: S22.31X and S22.41X are right, .32X and .42X left, .43X
    both, .39X and .49X unspecified. The sixth character of S42.0xx runs through right,
    left and unspecified again and again.
    """
    sides = set()
    for code in codes:
        if match := _RIB_SIDE.fullmatch(code):
            sides |= {"1": {"right"}, "2": {"left"}, "3": {"right", "left"}}.get(
                match[1], set()
            )
        elif match := _CLAVICLE_SIDE.fullmatch(code):
            sides |= {1: {"right"}, 2: {"left"}}.get(int(match[1]) % 3, set())
    if len(sides) > 1:
        return "both"
    return sides.pop() if sides else "unspecified"
