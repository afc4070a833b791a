"""Patients' numbers: words that stand for none, and numbers that a spreadsheet changed.

One patient under two numbers may be trained and tested on; several patients under one
number can't be told apart any more. Both are told by row.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from data.cxr_registry.guard import checks

_CHECK = "patient_id"
_WORDS = (
    "null none nan na n/a n.a. #n/a <na> nil undefined unknown unk missing empty anon "
    "anonymous anonymized anonymised unbekannt keine k.a. \\n "
    "#nv #n/d true false wahr falsch noid nopatient s.o. dummy test none.0 nan.0 -1 "
    # (leer), (blank): an empty cell of a pivot table
    "-1.0 leer blank leeg vide vuoto n.b. anonym anonymisiert #n/v "
    "n.a na. nan. none. n\\a nana inconnu desconocido sindato sconosciuto onbekend "
    "unknownpatient nopatientid keineangabe nichtbekannt sans sanspatient "
    "pasdepatient sinpaciente "
    "notavailable notapplicable notknown notrecorded notgiven notspecified nodata "
    "tbd tba pending nat removed redacted withheld masked deidentified de-identified "
    "未知 不明 未填 無 无 空"
)
_NONE = frozenset(_WORDS.split())
# 1.23457E+11, or 1,23457E+11 of a German spreadsheet; 12E5 may be a real number
_ROUNDED = re.compile(r"\d[.,]\d+E\+?\d+|\dE\+\d+", re.IGNORECASE)
_BRACKETS = re.compile(r"^[\[(<{](.*)[\])>}]$")
# a spreadsheet's error in any language, #REF! and #BEZUG!; a name taken out, XXXX
# and -9, -99 of statistics' programs
_SIGNS = re.compile(r"-(?:\d|9+)(?:[.,]0+)?|#[\xa1\xbf]?[^\W_/]+(?:/0)?[!?]|x{3,}")
# what a spreadsheet or a typist puts around a number to keep it as text
_MARKS = re.compile("^=|['\"\u0301`\u2018\u2019\u201c\u201d\u200b\ufeff]")
# 2-Jan and Jan-45 were 1-2 and 1-45; and a day is no patient's number
_MONTH = r"(?:jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])[a-z]{0,6}\.?"
_DAY = re.compile(
    rf"(?:\d{{1,4}}[-. ]{{1,2}}{_MONTH}|{_MONTH}[-. ]\d{{2,4}}"
    r"|(?:19|20)\d\d-[01]\d-[0-3]\d|\d{1,2}([./])\d{1,2}\1\d{4})"
    r"(?:[ T]\d\d?:\d\d(?::\d\d)?)?",
    re.IGNORECASE,
)
_DASHES = re.compile("[\u2010-\u2015\u2212]")
_EXACT = 15  # digits that a spreadsheet keeps of a number
# numbers that programs and people fill in for none: 999, 9999, 0000, 11111111, 1234567
_FILLED = re.compile(
    r"9{3,}|0{3,}|7{4,}|8{4,}|(\d)\1{5,}|0?123456(?:7(?:8(?:90?)?)?)?|9876543\d*"
)
_NUMBER = re.compile(r"([^\d.,]*)(\d{1,19})(?:[.,]0+)?")  # with the letters before it
# 1.234.567 of a spreadsheet; 1.000 is 1
_GROUPS = re.compile(r"(?!\d+[.,]0+\Z)\d{1,3}(?:[.,'\u2019 ]\d{3})+")
_SPLIT = re.compile(r"(?=.*\d)\S+(?:\s+\S+)+")
_MOST_SPLIT = 0.1  # share of numbers with a blank within, from which it is no slip


def is_missing(cell: str) -> bool:
    """Whether a cell names nobody: it is empty, of signs alone, or a word for that.

    >>> is_missing("NULL"), is_missing("--"), is_missing("0012")
    (True, True, False)
    """
    if cell.isascii() and cell.isalnum():  # nearly all of them
        text = cell.lower()
        return text in _NONE or bool(_SIGNS.fullmatch(text))
    text = unicodedata.normalize("NFKC", cell).casefold()
    text = _BRACKETS.sub(r"\1", "".join(text.split()))
    is_sign = not any(map(str.isalnum, text)) or bool(_SIGNS.fullmatch(text))
    return text in _NONE or is_sign


def identify(
    file: str,
    rows: Sequence[tuple[int, Mapping[str, str]]],
    problems: checks.Problems,
) -> dict[int, str]:
    """Row -> patient, in the first spelling; "" where there is none.

    Args:
        file: name of the table.
        rows: number and cells of each row.
        problems: takes rounded numbers, and numbers that are written in two ways.
    """
    numbers = {row: cells["patient_id"] for row, cells in rows}
    rounded = _are_cut(numbers.values())
    filled, slips = stand_for_none(numbers.values()), _slips(numbers.values())
    first: dict[str, tuple[str, int]] = {}  # bare number -> first spelling and its row
    patient_of = {}
    for row, cell in numbers.items():
        if is_missing(cell):
            patient_of[row] = ""
            continue
        if _ROUNDED.fullmatch(cell) or (rounded and _is_long(cell)):
            text = (
                "patient_id is a rounded number: a spreadsheet has cut its digits, and "
                "patients can't be told apart; export it again as text"
            )
            problems.add(file, row, text, check=_CHECK)
        if _DAY.fullmatch(cell):
            text = (
                "patient_id is a day: a spreadsheet has made one of its digits, or the "
                "column is of dates; export the table again with its ids as text"
            )
            problems.add(file, row, text, check=_CHECK)
        elif cell in filled:
            text = (
                "patient_id looks like a number that stands for none (9999, 0000, "
                "123456), and no number next to it is in the table; take the row out "
                "unless it is a patient's"
            )
            problems.add(file, row, text, check=_CHECK)
        spelling, earlier = first.setdefault(bare(cell), (cell, row))
        if spelling != cell:
            text = (
                f"patient_id is that of row {earlier} in another spelling (zeros, .0, "
                "case, signs); write each patient's in one way"
            )
            problems.add(file, row, text, check=_CHECK)
        elif cell in slips:
            text = (
                "patient_id has a blank within its number, and the others have none: a "
                "slip, or two numbers in one cell; correct it"
            )
            problems.add(file, row, text, check=_CHECK)
        patient_of[row] = spelling
    return patient_of


def bare(cell: str) -> str:
    """What is left of a number without what programs and typists change in it.

    >>> {bare(cell) for cell in ("123", "123.0", "00123", "'123", '="123"', "１２３")}
    {'123'}
    """
    if cell.isascii() and cell.isalnum() and cell[0] != "0":  # nearly all of them
        return cell.lower()
    text = unicodedata.normalize("NFKC", cell).casefold()
    text = re.sub(r"\D", "", text) if _GROUPS.fullmatch(text) else text
    text = _DASHES.sub("-", "".join(_MARKS.sub("", text).split()))
    text = re.sub(r"(?<=\d)[.,]0+$", "", text)
    text = re.sub(r"(?<=[^\W\d_])[-_./#:](?=\d)", "", text)  # P-3 is P3
    return re.sub(r"^0+(?=\d+$)", "", text) or cell


def stand_for_none(cells: Iterable[str]) -> set[str]:
    """Numbers such as 9999 that no other number of the table is next to.

    Where patients are numbered one by one, 9998 or 10000 is there, and 9999 is one.

    >>> stand_for_none(["7", "12", "9999"]), stand_for_none(["9998", "9999"])
    ({'9999'}, set())
    """
    found = {cell: match for cell in set(cells) if (match := _NUMBER.fullmatch(cell))}
    have = {(match[1], int(match[2])) for match in found.values()}
    small = {start for start, number in have if 0 < number < 100}
    return {
        cell
        for cell, match in found.items()
        if len(found) > 1
        and not have & {(match[1], int(match[2]) + step) for step in (-1, 1)}
        and (
            any(_FILLED.fullmatch(match[2].lstrip(zeros)) for zeros in ("", "0"))
            or (match[2].strip("0") == "" and match[1] not in small)
        )
    }


def _slips(cells: Iterable[str]) -> set[str]:
    """Ids with digits and a blank within, where few of the table have one."""
    different = {cell for cell in cells if not is_missing(cell)}
    split = {
        cell
        for cell in different
        if _SPLIT.fullmatch(cell)
        and not _DAY.fullmatch(cell)
        and not _GROUPS.fullmatch(unicodedata.normalize("NFKC", cell))
    }
    return split if len(split) <= max(1, _MOST_SPLIT * len(different)) else set()


def _is_long(cell: str) -> bool:
    return bool(re.fullmatch(r"\d+", cell)) and len(cell) > _EXACT


def _are_cut(cells: Iterable[str]) -> bool:
    """Whether every long number has zeros where a spreadsheet keeps no digits."""
    tails = [cell[_EXACT:] for cell in set(cells) if _is_long(cell)]
    return sum(map(len, tails)) >= 3 and not any(tail.strip("0") for tail in tails)
