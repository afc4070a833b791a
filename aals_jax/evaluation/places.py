"""Lesions and detections: rows of a table to points and boxes of each image."""

import collections
import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from aals_jax.evaluation import coco, plausible
from aals_jax.evaluation.faults import Faults, place
from aals_jax.evaluation.image_rows import (
    NO_SCORE,
    NotThere,
    as_label,
    as_number,
    as_numbers,
    remedy,
    stand_for_none,
)
from aals_jax.evaluation.layouts import ROUND, Form, Kind, Layout, numbers_of
from aals_jax.metrics import matching
from data.cxr_registry.tables.formats import Table

_NONE = frozenset(
    {"no finding", "nofinding", "no findings", "none", "normal", "negative"}
    | {"background", "no lesion"}
)
_WIDTHS = {  # numbers of a place; 4 of the others
    **dict.fromkeys((Form.SPACE, Form.CIRCLE, Form.CIRCLE_ACROSS), 3),
    Form.POINT: 2,
}
_UNKNOWN = -2  # number of an image that the images table lacks
_FEW_AGAIN, _SHARE_AGAIN = 6, 0.1  # in one place, from which that is said
_LONGEST = 20  # characters of a column's name in a message
_AREA = (
    "a box without area: it needs x0 < x1 and y0 < y1, or a width and height above 0"
)
_NO_RADIUS = "the radius or diameter of a lesion must be above 0"
_OUTSIDE = "it lies outside the image: check the order and scale of coordinates"
_BEYOND = "it reaches beyond the image: check the order and scale of coordinates"
_UNSURE = (
    "a list of four numbers may be two corners or left, top, width, height, and the "
    "data don't tell; name the column bbox_xyxy or bbox_xywh"
)


@dataclasses.dataclass(frozen=True)
class Images:
    """The images that places lie on."""

    number_of: Mapping[str, int] | None  # name -> row of the arrays; None: not known
    size: np.ndarray  # f64[n, 2], width and height; infinite where unknown
    label: np.ndarray  # bool[n]


@dataclasses.dataclass(frozen=True)
class Found:
    """What lies on each image."""

    places: list[np.ndarray]  # n of f64[k, 4 or 2], detections f64[k, 5 or 3]
    ignored: list[np.ndarray]  # n of f64[k, 4], regions that judge nothing
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Read:
    """The places that could be read, k of them, by the order of their rows."""

    row: np.ndarray  # i64[k], number in the file
    image: np.ndarray  # i64[k], -1 where images are not known
    raw: np.ndarray  # f64[k, w], the numbers as they stand
    score: np.ndarray  # f64[k], 0 of a lesion
    name: list[str]  # of a lesion; "" without
    ignored: list[str]  # what a region to ignore is; "" of a lesion


def missing_columns(table: Table, layout: Layout, faults: Faults) -> bool:
    """Tells which columns a table of places lacks; whether it lacks any."""
    lacks = [] if "image" in layout.columns else ["image"]
    if layout.places is None:
        lacks += ["x, y"]
    packed = layout.places is not None and layout.places.form is Form.PACKED
    if layout.kind is Kind.DETECTIONS and "score" not in layout.columns and not packed:
        lacks += ["score"]
    if lacks and not faults.is_broken(table):
        known = {"image", "lesion", "score", "x0", "y0", "x1", "y1", "x", "y"}
        have = table.name_columns(known)
        text = f"no column {', '.join(lacks)} (a box x0, y0, x1, y1 or a point x, y)"
        faults.add(table, None, f"{text}; it has {have}")
    return bool(lacks)


def of_category(
    table: Table, layout: Layout, category: str | None, faults: Faults
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The rows of the category that is scored, without those that say "none"."""
    column = layout.columns.get("category")
    if column is None and layout.kind is Kind.DETECTIONS:
        yield from table.numbered()
        return
    rows = [
        (number, cells)
        for number, cells in table.numbered()
        if not _says_none(layout, cells)
    ]
    if column is None:
        yield from rows
        return
    values = {cells[column] for _, cells in rows} - {""}
    asked = {v for v in values if v.casefold() == (category or "").strip().casefold()}
    if category is None and len(values) > 1:
        text = f"has places of {len(values)} categories; give --category, one of them"
        faults.add(table, None, text)
    elif category is not None and not asked and rows:
        text = f"no row is of --category={category}; it has {len(values)} other(s)"
        faults.add(table, None, text)
    for number, cells in rows:
        if category is None or cells[column] in asked:
            yield number, cells


def categories(table: Table, layout: Layout) -> set[str]:
    """The names in a table's column of categories, but for those that say "none"."""
    column = layout.columns.get("category")
    if column is None:
        return set()
    found = {cells[column] for _, cells in table.numbered()} - {""}
    return {name for name in found if name.casefold() not in _NONE}


def states_negatives(table: Table, layout: Layout) -> bool:
    """Whether a lesions table names images without a lesion, too."""
    return any(_says_none(layout, cells) for _, cells in table.numbered())


def _says_none(layout: Layout, cells: Mapping[str, str]) -> bool:
    """Whether a row says that there is nothing on its image."""
    if layout.kind is not Kind.LESIONS or layout.places is None:
        return layout.cell(cells, "category").casefold() in _NONE
    is_empty = not any(cells[column] for column in layout.places.columns)
    is_zero = as_label(layout.cell(cells, "label")) == 0
    named = layout.cell(cells, "category").casefold() in _NONE
    return named or (is_empty and is_zero and bool(layout.cell(cells, "label")))


def read(
    table: Table,
    layout: Layout,
    images: Images,
    *,
    category: str | None,
    lesions: Sequence[np.ndarray] = (),
    faults: Faults,
) -> Found:
    """Reads and checks one table of lesions or detections.

    Args:
        table, layout: of `layouts.read`.
        images: that they lie on.
        category: name of the finding; None: the only one.
        lesions: of each image, where these are detections.
        faults: takes all that is wrong, by row.
    """
    count = len(images.size)
    nothing = [np.empty((0, 4)) for _ in range(count)]
    if missing_columns(table, layout, faults) or layout.places is None:
        return Found(nothing, nothing)
    rows = list(of_category(table, layout, category, faults))
    _check_sources(table, layout, rows, faults)
    found = _numbers(table, layout, rows, images, faults)
    raw, known = found.raw, found.image
    form, size = layout.places.form, np.full((len(raw), 2), math.inf)
    if count:
        size = images.size[known]
    if form is Form.PACKED:
        form = Form.SIZES
    if form is Form.LIST and len(raw):
        decided = plausible.form_of_list(raw, size)
        if decided is None:
            faults.add(table, None, _UNSURE)
            return Found(nothing, nothing)
        form = decided
    elif form is Form.LIST:
        form = Form.SIZES
    if not len(raw):
        width = raw.shape[1] + (layout.kind is Kind.DETECTIONS)
        empty = [np.empty((0, width))] * count
        return Found(empty, nothing)
    doubt = plausible.doubt(form, raw, known, size, lesions)
    if doubt:
        text, index = doubt
        text = f"{text} (see {place(table, int(found.row[index]))})"
        faults.add(table, None, text)
    boxes = plausible.to_boxes(form, raw)
    if layout.kind is Kind.DETECTIONS:
        for i in np.flatnonzero(stand_for_none(found.score)).tolist():
            faults.add(table, int(found.row[i]), NO_SCORE)
    is_signed = any(np.min(each, initial=0) < 0 for each in lesions)
    values = boxes
    if layout.kind is Kind.DETECTIONS:
        values = np.concatenate([boxes, found.score[:, None]], axis=1)
    order = np.lexsort((*values.T[::-1], known))  # by image, then by place
    again = _may_be_again(found, values, order)
    _check_places(table, layout, found, boxes, size, images, is_signed, again, faults)
    notes = ()
    if layout.places.form is Form.LIST:
        notes = (f"{table.name}: lists of four numbers are read as {form.value}",)
    if layout.kind is Kind.DETECTIONS and (count_again := _in_one_place(found, boxes)):
        text = "detection(s) lie exactly where another one of their image does, with "
        text += "another score: see whether they are of several classes or systems"
        notes += (f"{table.name}: {count_again} {text}",)
    return _stack(found, values, boxes, order, count, notes)


def _check_sources(
    table: Table,
    layout: Layout,
    rows: Sequence[tuple[int, Mapping[str, str]]],
    faults: Faults,
) -> None:
    """Several readers or systems on one image would count as one with many boxes."""
    for meaning in ("reader", "system"):
        if meaning not in layout.columns:
            continue
        first: dict[str, str] = {}
        for number, cells in rows:
            name, who = layout.cell(cells, "image"), layout.cell(cells, meaning)
            if first.setdefault(name, who) != who:
                text = f"its image has rows of several {meaning}s: one table holds one"
                column = layout.columns[meaning]
                if layout.kind is Kind.LESIONS:
                    text = "its image was read by several readers, whose boxes of one "
                    text += "lesion would count as several: give --consensus=N, how "
                    text += f"many a lesion needs, with --drawn_by={column}"
                elif meaning == "reader":
                    text += f", unless --reader={column} is given"
                faults.add(table, number, text)
                break


def _numbers(
    table: Table,
    layout: Layout,
    rows: Sequence[tuple[int, Mapping[str, str]]],
    images: Images,
    faults: Faults,
) -> _Read:
    """The numbers of all rows on known images; others are faults.

    Whole columns are read at once; rows that this leaves are looked at one by one.
    """
    assert layout.places is not None
    is_lesion, number_of = layout.kind is Kind.LESIONS, images.number_of
    every = [cells for _, cells in rows]
    image = _images_of([cells[layout.columns["image"]] for cells in every], number_of)
    ignored, wrong = [""] * len(rows), [""] * len(rows)
    if is_lesion and rows and {"ignored", "label"} & set(layout.columns):
        judge = functools.cache(_standing)  # cells of few kinds
        judged = (
            judge(layout.cell(cells, "ignored"), layout.cell(cells, "label"))
            for cells in every
        )
        ignored, wrong = map(list, zip(*judged, strict=True))
    numbers = _columns_of_numbers(layout, every)  # the score comes last
    alone = image == _UNKNOWN
    alone |= ~np.isfinite(numbers).all(axis=1)
    alone |= np.array(list(map(bool, wrong)), bool)
    not_there = NotThere(number_of or ())
    at, raw, score = [], [], []  # of those that are looked at one by one
    for i in np.flatnonzero(alone).tolist():
        number, cells = rows[i]
        if image[i] == _UNKNOWN:
            name = cells[layout.columns["image"]]
            faults.add(table, number, not_there.text(name))
            continue
        places, unread = ([], "") if wrong[i] else _row(layout, cells)
        if wrong[i] or unread:
            faults.add(table, number, wrong[i] or unread)
        for one, value in places:
            at.append(i)
            raw.append(one)
            score.append(value)
    plain, width = np.flatnonzero(~alone), numbers.shape[1] - 1
    index = np.concatenate([plain, np.array(at, int)])
    order = np.argsort(index, kind="stable")
    index = index[order]
    raw = np.concatenate([numbers[plain, :-1], np.reshape(raw, (-1, width))])
    score = np.concatenate([numbers[plain, -1], np.array(score, np.float64)])
    number = np.array([number for number, _ in rows], int)
    name = layout.columns.get("lesion") if is_lesion else None
    return _Read(
        number[index],
        image[index],
        raw[order],
        score[order],
        [every[i][name] for i in index.tolist()] if name else [""] * len(index),
        [ignored[i] for i in index.tolist()] if any(ignored) else [""] * len(index),
    )


def _images_of(names: Sequence[str], number_of: Mapping[str, int] | None) -> np.ndarray:
    """i64[k], the number of each image; _UNKNOWN of one that is not in the table."""
    if number_of is None:
        return np.full(len(names), -1)
    return np.array([number_of.get(name, _UNKNOWN) for name in names], int)


def _columns_of_numbers(
    layout: Layout, rows: Sequence[Mapping[str, str]]
) -> np.ndarray:
    """f64[k, w + 1], the numbers and the score of each row, of a lesion 0.

    nan where a cell is no number, and of rows whose numbers stand in one cell.
    """
    assert layout.places is not None
    columns, form = layout.places.columns, layout.places.form
    width = _WIDTHS.get(form, 4)
    if len(columns) == 1:
        return np.full((len(rows), width + 1), math.nan)
    found = [as_numbers([cells[name] for cells in rows]) for name in columns]
    last = np.zeros(len(rows))
    if layout.kind is Kind.DETECTIONS:
        last = as_numbers([cells[layout.columns["score"]] for cells in rows])
    return np.stack([*found, last], axis=1)


def _standing(ignored: str, label: str) -> tuple[str, str]:
    """What a region to ignore is, "" for a lesion; and what is wrong with the cells."""
    kind = _ignored(ignored)
    if kind is None:
        return "", "ignored must be 1 (a region to ignore) or 0"
    is_none = bool(label) and as_label(label) == 0
    return kind, "label 0 and a place: is it a lesion or not?" * is_none


def _row(
    layout: Layout, cells: Mapping[str, str]
) -> tuple[list[tuple[list[float], float]], str]:
    """Numbers and score of the places of a row, of a lesion 0; and what is wrong."""
    assert layout.places is not None
    columns, form = layout.places.columns, layout.places.form
    texts = numbers_of(layout.places, cells)
    if form is Form.PACKED:
        return _unpacked(texts)
    is_detection = layout.kind is Kind.DETECTIONS
    score = cells[layout.columns["score"]] if is_detection else "0"
    wanted = _WIDTHS.get(form, 4)
    if len(texts) != wanted:
        return [], f"needs {wanted} numbers, and has {len(texts)}"
    raw, value = list(map(as_number, texts)), as_number(score)
    if math.isfinite(sum(raw, value)):  # so is each of them
        return [(raw, value)], ""
    bad = [
        name if len(name) < _LONGEST else "a coordinate"
        for name, number in zip(columns, raw, strict=False)
        if len(columns) > 1 and not math.isfinite(number)
    ]
    if len(columns) == 1 and not all(map(math.isfinite, raw)):
        bad = ["its numbers"]
    bad += [] if math.isfinite(value) else ["score"]
    if bad:
        text = f"{', '.join(bad)} must be finite numbers"
        return [], text + remedy([*texts, score])
    return [(raw, value)], ""


def _unpacked(texts: Sequence[str]) -> tuple[list[tuple[list[float], float]], str]:
    """Boxes of a string "score left top width height score left ...", often empty."""
    values = [as_number(text) for text in texts if text]
    if len(values) % 5 or not all(map(math.isfinite, values)):
        text = "needs groups of five numbers: score, left, top, width, height; write "
        return [], text + "one row per detection with image, score, x0, y0, x1, y1"
    groups = [values[i : i + 5] for i in range(0, len(values), 5)]
    return [(group[1:], group[0]) for group in groups], ""


def _ignored(cell: str) -> str | None:
    """What a region to ignore is, "" for a lesion; None: nobody can tell."""
    if not cell or cell in coco.FLAGS.values():
        return cell
    label = as_label(cell)
    return None if label is None else {1: "ignore", 0: ""}.get(label)


def _may_be_again(found: _Read, values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """bool[k], places that have the numbers, or the name, of another on their image."""
    sorted_values, image = values[order], found.image[order]
    same = np.all(sorted_values[1:] == sorted_values[:-1], axis=1)
    same &= image[1:] == image[:-1]
    again = np.zeros(len(order), bool)
    again[order[1:][same]] = again[order[:-1][same]] = True
    if any(found.name):
        named = list(zip(found.image.tolist(), found.name, strict=True))
        times = collections.Counter(named)
        again |= np.array([bool(key[1]) and times[key] > 1 for key in named], bool)
    return again


def _in_one_place(found: _Read, boxes: np.ndarray) -> int:
    """How many have the coordinates of another one, where those are many; else 0."""
    order = np.lexsort((*boxes.T, found.image))
    boxes, image = boxes[order], found.image[order]
    same = np.all(boxes[1:] == boxes[:-1], axis=1) & (image[1:] == image[:-1])
    again = int(np.sum(np.append(same, False) | np.insert(same, 0, False)))
    return again if again >= max(_FEW_AGAIN, _SHARE_AGAIN * len(boxes)) else 0


def _check_places(
    table: Table,
    layout: Layout,
    found: _Read,
    boxes: np.ndarray,
    size: np.ndarray,
    images: Images,
    is_signed: bool,
    again: np.ndarray,
    faults: Faults,
) -> None:
    """Faults of single places: twice, on a negative, without area, outside."""
    kind = "lesion" if layout.kind is Kind.LESIONS else "detection"
    sides = boxes.shape[1] // 2  # of a box; a point's 1 is not used
    is_box = boxes.shape[1] in (4, 6)
    room = np.maximum(plausible.EDGE, 0.01 * np.where(np.isfinite(size), size, 0))
    bad_area = np.zeros(len(boxes), bool)
    beyond = np.zeros(len(boxes), bool)
    if is_box:
        bad_area = ~np.all(boxes[:, :sides] < boxes[:, sides:], axis=1)
    if is_box and sides == 2:
        beyond = np.any((boxes[:, :2] < -room) | (boxes[:, 2:] > size + room), axis=1)
        beyond &= np.isfinite(size).all(axis=1) & (kind == "lesion")
    middle = matching.center(boxes)[:, :2]
    outside = np.any((middle < 0) | (middle >= size), axis=1)
    is_known = np.isfinite(size).all(axis=1)
    # coordinates of another kind than pixels may be negative, then of lesions as well
    outside &= is_known | (layout.kind is Kind.DETECTIONS and not is_signed)
    outside &= boxes.shape[1] in (2, 4)
    on_negative = np.zeros(len(boxes), bool)
    if kind == "lesion" and images.number_of is not None:
        lesion = np.array([not ignored for ignored in found.ignored], bool)
        on_negative = lesion & ~images.label[found.image]
    row_of: dict[tuple, int] = {}
    doubtful = again | bad_area | outside | beyond | on_negative
    for i in np.flatnonzero(doubtful).tolist():
        number, image, ignored = (
            int(found.row[i]),
            int(found.image[i]),
            found.ignored[i],
        )
        at = ("", ignored, image, *found.raw[i].tolist(), float(found.score[i]))
        named = ("name", image, found.name[i]) if found.name[i] else at
        earlier = row_of.get(named) or (not ignored and row_of.get(at))
        text = ""
        if earlier:
            text = f"the {kind} of {place(table, earlier)} again"
        elif on_negative[i]:
            text = "a lesion on an image with label 0"
        if not text:
            is_round = layout.places is not None and layout.places.form in ROUND
            nothing = _NO_RADIUS if is_round else _AREA
            text = nothing if bad_area[i] else _OUTSIDE if outside[i] else ""
            text = text or (_BEYOND if beyond[i] else "")
        if text:
            faults.add(table, number, text)
        row_of.setdefault(named, number)
        row_of.setdefault(at, number)


def _stack(
    found: _Read,
    values: np.ndarray,
    boxes: np.ndarray,
    order: np.ndarray,
    count: int,
    notes: tuple[str, ...],
) -> Found:
    """Places of each image in the order of their numbers, not of their rows."""
    is_ignored = np.array([bool(kind) for kind in found.ignored], bool)[order]

    def of_images(rows: np.ndarray, numbers: np.ndarray) -> list[np.ndarray]:
        if not count:
            return []
        ends = np.cumsum(np.bincount(found.image[rows], minlength=count)).tolist()
        numbers = numbers[rows]
        return [numbers[start:end] for start, end in itertools.pairwise([0, *ends])]

    places = of_images(order[~is_ignored], values)
    return Found(places, of_images(order[is_ignored], boxes), notes)
