"""Findings by diagnosis code: ICD-9-CM and ICD-10 (WHO, -CM, -TW), dots or none.

The sternum (807.2, 807.3, S22.2) is neither rib nor clavicle; the unspecified bony
thorax (S22.9) leaves the rib unknown.
"""

import re
from typing import NamedTuple

# Full-length patterns over codes in upper case without dots.
POSITIVE = {
    "rib": re.compile(r"807[014]\d?|S22[345]\w*"),
    "clavicle": re.compile(r"810\d{0,2}|S420\w*"),
}
UNKNOWN = {"rib": re.compile(r"S229\w*")}

# ICD-10-CM's seventh character: subsequent encounter (D, G, K, P) or sequela (S).
_NOT_ACUTE = re.compile(r"S\w{5}[DGKPS]")
_CODE = re.compile(r"[A-Z]?\d{2,3}[A-Z0-9]{0,5}")


class CodeLabel(NamedTuple):
    """What the codes of one image say about one finding."""

    label: int  # 1, 0 or -1 unknown
    evidence: str  # the codes that decided, dots removed, joined by a space
    non_acute: int  # codes of the finding that were left out as not acute


def split_codes(cell: str) -> tuple[list[str], list[str]]:
    """The codes of a cell, upper case without dots, and what is no code."""
    parts = re.split(r"[;,|\s]+", cell.strip().upper())
    codes = [part.replace(".", "") for part in parts if part]
    good = [code for code in codes if _CODE.fullmatch(code)]
    return good, [code for code in codes if not _CODE.fullmatch(code)]


def read_codes(codes: list[str], finding: str, *, keep_non_acute: bool) -> CodeLabel:
    """One finding's label: a record that names no such fracture is negative."""
    hits = [code for code in codes if POSITIVE[finding].fullmatch(code)]
    acute = [code for code in hits if keep_non_acute or not _NOT_ACUTE.fullmatch(code)]
    left_out = len(hits) - len(acute)
    if acute:
        return CodeLabel(1, " ".join(acute), left_out)
    pattern = UNKNOWN.get(finding)
    vague = [code for code in codes if pattern and pattern.fullmatch(code)]
    # an old fracture may still be seen: neither a positive nor a clean negative
    unclear = hits + vague
    if unclear:
        return CodeLabel(-1, " ".join(unclear), left_out)
    return CodeLabel(0, "no code of the finding", left_out)
