"""The images table of a submission: labels, patients, scores, splits, subgroups."""

import collections
import math
import re
from collections.abc import Mapping

import numpy as np

from aals_jax.evaluation.faults import Faults
from data.cxr_registry.tables.formats import Table

RESERVED = frozenset(
    {"image", "patient", "patient_id", "label", "score", "score_b", "split", "width"}
    | {"height", ""}
)
LABELS = {
    "1": True,
    "1.0": True,
    "true": True,
    "0": False,
    "0.0": False,
    "false": False,
}
MOST_GROUPS = 12  # values of a column that is reported by group
OTHER = "other"  # stands for a value that would name its patient
SPLITS = ("validation", "test")
_DATE = re.compile(
    r"(?:19|20)\d{2}([-/.]?)[01]\d\1[0-3]\d|\b\d{1,2}[-/.]\d{1,2}[-/.](?:\d{2}){1,2}\b"
)

Rows = Mapping[int, Mapping[str, str]]  # row number -> cells


def labels_of(rows: Rows) -> np.ndarray:
    """bool[n]; a bad label counts as positive, it is a fault already."""
    return np.array([LABELS.get(c["label"].lower(), True) for c in rows.values()], bool)


def usable_rows(table: Table, faults: Faults) -> dict[int, Mapping[str, str]]:
    """Row number -> cells, of the rows with a name and a label."""
    missing = [name for name in ("image", "label") if name not in table.columns]
    if missing:
        have = table.known_columns(RESERVED)
        faults.add(table, None, f"no column {', '.join(missing)}; it has {have}")
        faults.stop()
    rows: dict[int, Mapping[str, str]] = {}
    first: dict[str, int] = {}
    for number, cells in table.numbered():
        name = cells["image"]
        if not name:
            faults.add(table, number, "image is empty")
        elif name in first:
            faults.add(table, number, f"the image of row {first[name]} again")
        else:
            first[name] = number
            rows[number] = cells
        if cells["label"].lower() not in LABELS:
            faults.add(table, number, "label must be 0 or 1")
    if not rows:
        faults.add(table, None, "has no usable row")
    if {"patient", "patient_id"} <= set(table.columns):
        faults.add(table, None, "has both patient and patient_id: keep one")
    return rows


def patient_of(cells: Mapping[str, str]) -> str:
    """Without a patient each image is one of its own."""
    return cells.get("patient") or cells.get("patient_id") or cells["image"]


def groups_of(
    table: Table, rows: Rows
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The columns to report by group, and those that can't be.

    A column of identifiers or dates must never be printed value by value: dates and
    many values leave the column out, and a value of one patient alone is `other`.
    """
    patients = [patient_of(cells) for cells in rows.values()]
    groups, left_out = {}, []
    most = min(MOST_GROUPS, max(3, len(rows) / 2))
    for name in table.columns:
        if name in RESERVED:
            continue
        values = [cells[name] for cells in rows.values()]
        if len(set(values)) > most or any(map(_DATE.search, values)):
            left_out.append(name)
            continue
        pairs = set(zip(values, patients, strict=True))
        held = collections.Counter(value for value, _ in pairs)
        shown = [v if held[v] > 1 or not v else OTHER for v in values]
        groups[name] = np.array(shown)
    return groups, tuple(left_out)


def as_number(cell: str) -> float:
    """nan for what is no number."""
    try:
        return float(cell)
    except ValueError:
        return math.nan


def size_of(
    table: Table, number: int, cells: Mapping[str, str], faults: Faults
) -> tuple[float, float]:
    """(width, height) in pixels; infinite where it is not stated."""
    stated = [cells.get(name, "") for name in ("width", "height")]
    if not any(stated):
        return math.inf, math.inf
    width, height = map(as_number, stated)
    if not (width > 0 and height > 0):
        faults.add(table, number, "width and height must both be pixels, or empty")
    return width, height


def image_scores(
    table: Table,
    rows: Rows,
    faults: Faults,
    *,
    systems: int,
) -> list[np.ndarray]:
    """The image scores of each system; none where there are no such columns."""
    wanted = ("score", "score_b")[:systems]
    there = [name for name in wanted if name in table.columns]
    if there and len(there) < systems:
        text = f"has {there[0]} and not {' and '.join(set(wanted) - set(there))}"
        faults.add(table, None, f"{text}: give each system its image scores, or none")
    scores = []
    for name in there:
        values = {row: as_number(cells[name]) for row, cells in rows.items()}
        for row, value in values.items():
            if not math.isfinite(value):
                faults.add(table, row, f"{name} must be a finite number")
        scores.append(np.array(list(values.values())))
    return scores


def splits_of(table: Table, rows: Rows, faults: Faults) -> np.ndarray:
    splits = [cells.get("split", "") for cells in rows.values()]
    if any(splits):
        for number, split in zip(rows, splits, strict=True):
            if split not in SPLITS:
                faults.add(table, number, f"split must be one of {', '.join(SPLITS)}")
        if "test" not in splits:
            faults.add(table, None, "no row is of the split test: nothing to measure")
    split_of: dict[str, str] = {}
    for (number, cells), split in zip(rows.items(), splits, strict=True):
        if split_of.setdefault(patient_of(cells), split) != split:
            faults.add(table, number, "its patient is in the other split, too")
    return np.array(splits, str)
