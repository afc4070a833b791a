"""Anybody's detections: tables or COCO files to the records that metrics are made of.

Every fault of every file is reported at once, with file and row; a row's number is the
one that a spreadsheet shows. A message never repeats a cell, which may name a patient.
"""

import collections
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from aals_jax.evaluation import coco, image_table
from aals_jax.evaluation.faults import Faults
from aals_jax.metrics import records
from data.cxr_registry.tables import formats
from data.cxr_registry.tables.formats import Table

_BOX, _POINT = ("x0", "y0", "x1", "y1"), ("x", "y")


@dataclasses.dataclass(frozen=True)
class Submission:
    """The truth of the images and what each system says of them."""

    image: np.ndarray  # str[n], names
    truth: records.Truth
    split: np.ndarray  # str[n], "validation" or "test"; "" without such a column
    detections: list[list[np.ndarray]]  # a system: n of f64[k, 3] or f64[k, 5]
    scores: list[np.ndarray]  # a system: f64[n], of the images
    score_source: str  # words for the page
    left_out: tuple[str, ...]  # columns with dates or too many values


@dataclasses.dataclass(frozen=True)
class Files:
    """Where a submission is read from."""

    images: Path | None  # None: the lesions file is COCO and names them
    lesions: Path
    detections: tuple[Path, ...]  # one a system
    category: str | None = None  # of COCO files with several


def read(files: Files) -> Submission:
    """Reads and checks all files.

    Raises:
        SubmissionError: every fault, with file and row.
        ValueError, FileNotFoundError: a file that is no table at all.
    """
    images, lesions, detections = _tables(files)
    faults = Faults()
    rows = image_table.usable_rows(images, faults)
    sizes = [image_table.size_of(images, n, rows[n], faults) for n in rows]
    size = np.reshape(sizes, (-1, 2))
    number_of = {cells["image"]: i for i, cells in enumerate(rows.values())}
    label = image_table.labels_of(rows)
    marked = _places(lesions, number_of, size, faults, kind="lesion", label=label)
    found = [
        _places(table, number_of, size, faults, kind="detection")
        for table in detections
    ]
    score = image_table.image_scores(images, rows, faults, systems=len(found))
    split = image_table.splits_of(images, rows, faults)
    groups, left_out = image_table.groups_of(images, rows)
    faults.stop()
    has_lesion = np.array([len(each) > 0 for each in marked], bool)
    truth = records.Truth(
        label=label,
        judged=~label | has_lesion,
        patient=np.array([image_table.patient_of(cells) for cells in rows.values()]),
        lesions=marked,
        groups=groups,
    )
    source = "the images table" if score else "its highest detection"
    return Submission(
        image=np.array(list(number_of)),
        truth=truth,
        split=split,
        detections=found,
        scores=score or [highest(each) for each in found],
        score_source=source,
        left_out=left_out,
    )


def highest(detections: Sequence[np.ndarray]) -> np.ndarray:
    """f64[n], the highest detection of each image.

    An image without detections is below all others: 0 where all scores are
    probabilities, else -inf.
    """
    scores = np.concatenate([np.empty(0), *(each[:, -1] for each in detections)])
    nothing = 0.0 if np.all((scores >= 0) & (scores <= 1)) else -np.inf
    return np.array([max(each[:, -1], default=nothing) for each in detections])


def _tables(files: Files) -> tuple[Table, Table, list[Table]]:
    """Images, lesions and a table of detections for each system."""
    given = [files.images, files.lesions, *files.detections]
    missing = [path.name for path in given if path is not None and not path.is_file()]
    if missing:
        raise FileNotFoundError(f"{', '.join(missing)}: no such file")
    is_coco = coco.is_coco(files.lesions)
    if not is_coco and files.images is None:
        raise ValueError("give --images; only COCO lesions name the images themselves")
    if is_coco:
        images, lesions = coco.read_truth(files.lesions, category=files.category)
    else:
        images, lesions = None, formats.read_table(files.lesions)
    if files.images is not None:
        images = formats.read_table(files.images)
    assert images is not None
    truth = files.lesions if is_coco else None
    detections = [
        coco.read_results(path, truth=truth, category=files.category)
        if coco.is_coco(path)
        else formats.read_table(path)
        for path in files.detections
    ]
    return images, lesions, detections


def _places(
    table: Table,
    number_of: Mapping[str, int],
    size: np.ndarray,
    faults: Faults,
    *,
    kind: str,
    label: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Lesions f64[k, 4 or 2] or detections f64[k, 5 or 3] of each image."""
    where = _BOX if set(_BOX) <= set(table.columns) else _POINT
    fields = (*where, *(("score",) if kind == "detection" else ()))
    kept: dict[int, list[list[float]]] = collections.defaultdict(list)
    seen: dict[tuple, int] = {}
    missing = [name for name in ("image", *fields) if name not in table.columns]
    if missing:
        have = table.known_columns({"image", "lesion", "score", *_BOX, *_POINT})
        text = f"no column {', '.join(missing)} (a box x0, y0, x1, y1 or a point x, y)"
        faults.add(table, None, f"{text}; it has {have}")
    for number, cells in table.numbered() if not missing else ():
        values = {name: image_table.as_number(cells[name]) for name in fields}
        named = cells.get("lesion") if kind == "lesion" else None
        key = (cells["image"], named or tuple(values.values()))
        image = number_of.get(cells["image"])
        if image is None:
            text = "its image is not in the images table"
        elif key in seen:
            text = f"the {kind} of row {seen[key]} again"
        elif label is not None and not label[image]:
            text = "a lesion on an image with label 0"
        else:
            text = _fault_of(values, size[image])
        if text:
            faults.add(table, number, text)
        else:
            seen[key] = number
            kept[image or 0].append(list(values.values()))
    return [np.reshape(kept[i], (-1, len(fields))) for i in range(len(number_of))]


def _fault_of(values: Mapping[str, float], size: np.ndarray) -> str:
    """What is wrong with a point or a box; empty when nothing is."""
    if bad := [name for name, value in values.items() if not math.isfinite(value)]:
        return f"{', '.join(bad)} must be finite numbers"
    if "x0" in values:
        if not (values["x0"] < values["x1"] and values["y0"] < values["y1"]):
            return "a box without area: it needs x0 < x1 and y0 < y1"
        x = (values["x0"] + values["x1"]) / 2
        y = (values["y0"] + values["y1"]) / 2
    else:
        x, y = values["x"], values["y"]
    if np.isfinite(size).all() and not (0 <= x < size[0] and 0 <= y < size[1]):
        return "it lies outside the image: check the order and scale of coordinates"
    return ""
