"""The sheet on which a person judges a sample of labels, out and back.

It shows neither the label nor what it rests on, so that the judgement is the person's
own; a second table says how each line was drawn. The sheet has names of images and
words of reports: it is the one file of an audit that holds what patients may be known
by, and stays in the hospital.
"""

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data.cxr_registry.guard import atomic, checks, formulas
from data.cxr_registry.labels import words
from data.cxr_registry.survey import label_sample
from data.cxr_registry.tables import formats, records

SHEET, DRAW = "sample_confidential.csv", "sample_draw.csv"
WARNING = "patient data: keep in the hospital"
NEEDED = ("code", "row", "finding", "answer", "sample")  # to be understood again
OWN = (*NEEDED, "image", "remark", "confidential")  # columns, without those shown
_ANSWERS = words.accepted(words.Reader.SHEET)
_WORDS = "1 (yes), 0 (no) or ? (can't be told)"
_NAME = re.compile(r"n(\d{1,9})s(-?\d{1,19})-[a-z]{8}")


class Sheet(NamedTuple):
    """A sheet that came back, before it is compared with the registry."""

    file: str  # its name
    sample: str  # name of the sample it was written for
    answers: Mapping[tuple[str, int], int]  # finding, row -> 1, 0, -1 can't be told
    empty: frozenset[tuple[str, int]]  # lines without an answer
    line_of: Mapping[tuple[str, int], int]  # in the sheet, as a spreadsheet numbers it


class SheetError(ValueError):
    """Everything wrong with a sheet that came back, in one message."""

    def __init__(self, problems: Sequence[checks.Problem]):
        unnamed = [problem._replace(check="") for problem in problems]
        head = f"{len(problems)} fault(s) in the sheet that came back"
        super().__init__("\n".join([head, *checks.list_first(unnamed, bullet="- ")]))


def write(
    folder: Path,
    sample: label_sample.Sample,
    registry: records.Registry,
    *,
    shown: Mapping[int, Mapping[str, str]],
) -> Path:
    """Writes the sheet, for its owner alone, and how it was drawn; returns the sheet.

    Args:
        folder: of both files; made where it is missing.
        sample: what is asked.
        registry: that it was drawn from.
        shown: row -> column -> cell that the person sees; the same columns in each row.

    Raises:
        FileExistsError: another sheet is there, and may have answers in it.
    """
    image_of = {study.row: study.image for study in registry.studies}
    columns = list(next(iter(shown.values()), ()))
    head = ["code", "row", "image", "finding", "answer", "remark", *columns]
    lines = [[*head, "sample", "confidential"]]
    for row, (finding, *_) in sample.rows:
        cells = [shown[row][name] for name in columns]
        start = [sample.code(row, finding), row, image_of[row], finding, "", ""]
        lines.append([*start, *cells, sample.name, WARNING])
    path = folder / SHEET
    text = _csv_text(lines)
    if path.exists() and path.read_bytes() != text:
        raise FileExistsError(
            f"--out has a {SHEET} already, which may be filled in: move it away, or "
            "name another --out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    _write_private(path, text)
    _write_private(folder / DRAW, _csv_text(_draws(sample)))
    return path


def _draws(sample: label_sample.Sample) -> Iterable[Sequence[Any]]:
    """How each line was drawn; the columns hold nothing of a patient."""
    yield (
        "code", "row", "finding", "label", "evidence", "images", "drawn", "weight",
    )  # fmt: skip
    for row, stratum in sample.rows:
        finding, label, basis = stratum
        sizes = sample.images[stratum], sample.drawn[stratum]
        weight = f"{sample.weight(stratum):.6g}"
        yield sample.code(row, finding), row, finding, label, basis, *sizes, weight


def read(path: Path, problems: checks.Problems) -> Sheet:
    """Reads a sheet that came back, in any format that a registry's tables have.

    Args:
        path: of the sheet.
        problems: takes every fault with its row in the sheet.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path.name}: no such file; see --sampled")
    table = formats.scan_table(path, problems)
    if missing := [name for name in NEEDED if name not in table.columns]:
        text = f"lacks {', '.join(missing)}; send back the sheet as it was written"
        problems.add(table.name, None, text)
        return Sheet(table.name, "", {}, frozenset(), {})
    lines = list(table.numbered())
    names = [cells["sample"] for _, cells in lines if _NAME.fullmatch(cells["sample"])]
    sample = max(names, key=names.count, default="")
    answers: dict[tuple[str, int], int] = {}
    line_of: dict[tuple[str, int], int] = {}
    for line, cells in lines:
        key, word = _key(cells), cells["answer"].lower()
        code = label_sample.code(sample, row=key[1], finding=key[0])
        if (cells["sample"], cells["code"]) != (sample, code):
            text = "its code, row, finding or sample is not as it was written; "
            problems.add(table.name, line, text + "copy these cells from the sheet")
        elif first := line_of.get(key):
            text = f"the same row and finding as line {first}; keep one of them"
            problems.add(table.name, line, text)
        else:
            line_of[key] = line
        if word in _ANSWERS:
            answers[key] = _ANSWERS[word]
        elif word:
            problems.add(table.name, line, f"its answer must be {_WORDS}, or empty")
    if not any(cells["answer"] for _, cells in lines):
        problems.add(table.name, None, f"has no answer; write {_WORDS} into its lines")
    empty = frozenset(line_of.keys() - answers.keys())
    return Sheet(table.name, sample, answers, empty, line_of)


def redraw(
    sheet: Sheet, registry: records.Registry, problems: checks.Problems
) -> label_sample.Sample | None:
    """The sample that a sheet was written for; None where the registry is another.

    Args:
        sheet: of `read`.
        registry: read with the same options as then.
        problems: takes what does not fit.
    """
    match = _NAME.fullmatch(sheet.sample)
    if match is None:
        return None
    try:
        sample = label_sample.draw(registry, number=int(match[1]), seed=int(match[2]))
    except ValueError:  # more kinds of evidence than then
        sample = None
    if sample is None or sample.name != sheet.sample:
        text = (
            "the registry's rows, its labels or what they rest on are not those that "
            "the sample was drawn from; give the same tables and flags as then, or "
            "draw another sample: one that rules were mended by no longer judges them"
        )
        problems.add(sheet.file, None, text)
        return None
    known = {one.key for one in sample.rows}
    for key, line in sheet.line_of.items():
        if key not in known:
            problems.add(sheet.file, line, "is not of the sample; take it out")
    return sample


def _key(cells: Mapping[str, str]) -> tuple[str, int]:
    """Finding and row of a line; row 0, which no sheet has, where it is no number."""
    match = re.fullmatch(r"([0-9]{1,9})(?:\.0+)?", cells["row"])
    finding = cells["finding"].removeprefix("'")  # what keeps a formula from running
    return finding, int(match[1]) if match else 0


def _csv_text(lines: Iterable[Sequence[Any]]) -> bytes:
    """As a spreadsheet opens it: UTF-8 with its mark."""
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows(formulas.neutralize_rows(lines))
    return stream.getvalue().encode("utf-8-sig")


def _write_private(path: Path, content: bytes) -> None:
    """A file that its owner alone can read; whole or absent."""
    with atomic.replacing(path) as draft:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
