"""The rows of an images table: names, labels, patients, sizes, scores and splits."""

import collections
import itertools
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from aals_jax.evaluation import groups
from aals_jax.evaluation.faults import Faults, Numbered, place
from aals_jax.evaluation.layouts import Layout, is_same_patient
from data.cxr_registry.labels import words
from data.cxr_registry.tables import patients
from data.cxr_registry.tables.formats import Table

LABELS = words.accepted(words.Reader.SCORED)
SPLITS = ("validation", "test")
NAMED = "patient "  # before the name of a patient that a table names

Rows = Mapping[int, Mapping[str, str]]  # row number -> cells


def as_number(cell: str) -> float:
    """nan for what is no number as a program writes it: 1_000, 0,5 and 50% are none."""
    try:
        return math.nan if "_" in cell else float(cell)
    except ValueError:
        return math.nan


def as_numbers(cells: Sequence[str]) -> np.ndarray:
    """f64[k], `as_number` of each cell.

    >>> as_numbers(["1", "2e1", "0,5"]).tolist()
    [1.0, 20.0, nan]
    """
    try:
        if "_" not in "".join(cells):
            return np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        pass
    return np.fromiter(map(as_number, cells), np.float64, len(cells))


_NO_SCORES = (-1.0, -9.0, -99.0, -999.0, 99.0, 999.0, 9999.0)
NO_SCORE = (
    "the score seems to stand for none (-1, 99, 999): all others lie between 0 and 1; "
    "write its score, or take its row out"
)


def stand_for_none(scores: np.ndarray) -> np.ndarray:
    """bool[k], scores such as -1 and 999 where all others are probabilities.

    >>> stand_for_none(np.array([0.5, 999, 1])).tolist()
    [False, True, False]
    >>> stand_for_none(np.array([-1, 2.5])).tolist()
    [False, False]
    """
    found = np.isin(scores, _NO_SCORES)
    others = scores[~found]
    is_rest = len(others) > 0 and np.all((others >= 0) & (others <= 1))
    return found & is_rest


def remedy(cells: Sequence[str]) -> str:
    """What to do about cells that are no numbers, as the end of a sentence."""
    if any("," in cell for cell in cells):
        return "; write a decimal point, not a comma"
    if any("%" in cell for cell in cells):
        return "; write 0.5, not 50%"
    return ""


_PARTS = re.compile(r"(.*/)?(.*?)((?:\.nii)?\.[a-z][a-z0-9]{1,4})?", re.DOTALL)
_DIFFERENCES = ("folder", "case", "ending")
_SPELLING = "zeros, .0, blanks or signs"


class NotThere:
    """Whether the images table has an image that it lacks by another name."""

    def __init__(self, names: Iterable[str]):
        self._names = names
        self._like: dict[str, str] | None = None  # stem, or its spelling -> name

    def text(self, name: str) -> str:
        """What is wrong, and what to do; no name is repeated."""
        if self._like is None:
            stems = {each: _parts(each)[-1] for each in self._names}
            self._like = {_spelling(stem): each for each, stem in stems.items()}
            self._like |= {stem: each for each, stem in stems.items()}
        text, own = "its image is not in the images table", _parts(name)
        near = self._like.get(own[-1]) or self._like.get(_spelling(own[-1]))
        if near is None:
            return text
        folder, stem, ending, bare = zip(own, _parts(near), strict=True)
        differ = [one != other for one, other in (folder, stem, ending)]
        words: list[str] = [*_DIFFERENCES]
        if bare[0] != bare[1]:
            words[1] = _SPELLING
        how = " and ".join(itertools.compress(words, differ))
        text += f", but one that differs by its {how} is: write the names of images "
        return text + "in one way in all tables"


def _parts(name: str) -> tuple[str, str, str, str]:
    """Folder, name and ending of an image's file; and the name without case.

    >>> _parts("films/A.1.PNG")
    ('films/', 'A.1', '.png', 'a.1')
    """
    path = name.replace("\\", "/")
    match = _PARTS.fullmatch(path.casefold())
    assert match is not None
    folder, stem, ending = (match[i] or "" for i in (1, 2, 3))
    end = len(path) - len(ending)
    # casefold may change the number of letters: then the whole name is compared
    own = path[len(folder) : end] if len(path) == len(path.casefold()) else path
    return folder, own, ending, stem


def _spelling(stem: str) -> str:
    """What is left of a name without what spreadsheets and typists change in it.

    >>> _spelling("12.0"), _spelling("film 007"), _spelling("1_11"), _spelling("11_1")
    ('12', 'film_7', '1_11', '11_1')
    """
    text = unicodedata.normalize("NFKC", stem)
    text = re.sub(r"(?<=\d)\.0+$", "", text)
    text = re.sub(r"(?<!\d)0+(?=\d)", "", text)
    return re.sub(r"[\W_]+", "_", text).strip("_") or stem


def number_alike(names: Iterable[str]) -> int:
    """How many images have a name that another one has but for its spelling.

    >>> number_alike(["12", "12.0", "13", "a/12", "A.png", "a.png", "a.jpg"])
    4
    """
    keys = collections.Counter(
        (folder, _spelling(stem), ending)
        for folder, _, ending, stem in map(_parts, names)
    )
    return sum(count for count in keys.values() if count > 1)


def as_label(cell: str) -> int | None:
    """1, 0 or -1 unknown; None for what is no label.

    >>> [as_label(cell) for cell in ("yes", "0.0", "TRUE", "NA", "2")]
    [1, 0, 1, -1, None]
    """
    number = as_number(cell.replace(",", "."))
    if number in (0, 1):
        return int(number)
    unknown = -1 if patients.is_missing(cell) else None
    return LABELS.get(cell.casefold(), unknown)


def usable(
    table: Table, layout: Layout, faults: Faults
) -> dict[int, Mapping[str, str]]:
    """Row number -> cells, of the rows with a name, in the order of the names.

    So the order of rows has no influence on anything.
    """
    rows: dict[int, Mapping[str, str]] = {}
    first: dict[str, int] = {}
    for number, cells in table.numbered():
        name = layout.cell(cells, "image")
        if not name:
            faults.add(table, number, "image is empty")
        elif name in first:
            text = f"the image of {place(table, first[name])} again"
            faults.add(table, number, text)
        else:
            first[name] = number
            rows[number] = cells
        label = as_label(layout.cell(cells, "label"))
        if label is None or not layout.cell(cells, "label"):
            faults.add(table, number, "label must be 0 or 1")
        elif label < 0:
            text = "label is unknown; an image can be scored as positive or negative "
            faults.add(table, number, text + "only: take its row out")
    if not rows:
        faults.add(table, None, "has no usable row")
    return dict(sorted(rows.items(), key=lambda row: layout.cell(row[1], "image")))


def together(table: Table, layout: Layout, faults: Faults) -> Table:
    """One row per image, of a table that has a row per box: labels must agree."""
    rows: dict[str, dict[str, str]] = {}
    for number, cells in table.numbered():
        name = layout.cell(cells, "image")
        kept = rows.setdefault(name or f"\0{number}", {**cells, "entry": str(number)})
        one, other = (as_label(layout.cell(c, "label")) for c in (kept, cells))
        if one != other:
            text = f"its image has another label in row {kept['entry']}"
            faults.add(table, number, text)
    return Numbered(table.name, table.columns, list(rows.values()))


def labels_of(rows: Rows, layout: Layout) -> np.ndarray:
    """bool[n]; a bad label counts as positive, it is a fault already."""
    return np.array(
        [as_label(layout.cell(cells, "label")) != 0 for cells in rows.values()], bool
    )


def patients_of(table: Table, rows: Rows, layout: Layout, faults: Faults) -> list[str]:
    """Who each image is of. An image without a patient has one of its own.

    The two kinds of names never meet: patient 1 is not whom image 1 is of.
    """
    numbers = [(n, {"patient_id": layout.cell(c, "patient")}) for n, c in rows.items()]
    named = patients.identify(table.name, numbers, faults.problems)
    return [
        f"{NAMED}{named[n]}" if named[n] else f"image {layout.cell(c, 'image')}"
        for n, c in rows.items()
    ]


def check_patients(
    table: Table,
    layout: Layout,
    patient_of: Mapping[str, str],
    column: str,
    faults: Faults,
) -> None:
    """Faults where lesions or detections know other patients than the images table.

    Args:
        table: with a column of patients, of which nothing else is made.
        layout: of that table.
        patient_of: image -> whose it is, of `patients_of`.
        column: of patients in the images table; "" without.
    """
    if not {"patient", "image"} <= set(layout.columns):
        return
    own = layout.columns["patient"]
    if not is_same_patient(own, column or own):
        return
    images: dict[str, set[str]] = {}
    for number, cells in table.numbered():
        image, cell = layout.cell(cells, "image"), layout.cell(cells, "patient")
        who = patient_of.get(image, "")
        if patients.is_missing(cell):
            continue
        images.setdefault(patients.bare(cell), set()).add(image)
        is_known = who.startswith(NAMED)
        if is_known and patients.bare(who.removeprefix(NAMED)) != patients.bare(cell):
            text = "its image is of another patient in the images table"
            faults.add(table, number, text)
    if not column and any(len(each) > 1 for each in images.values()):
        text = "says that patients have several images, and the images table has no "
        text += "patients, so each image would count as one: bring the column over"
        faults.add(table, None, text)


def sizes_of(
    table: Table,
    rows: Rows,
    layout: Layout,
    faults: Faults,
    *,
    others: Mapping[str, tuple[float, float]],
) -> np.ndarray:
    """f64[n, 2], width and height in pixels; infinite where they are not stated.

    Args:
        others: image -> its size, from elsewhere, for a table that has none.
    """
    sizes = []
    for number, cells in rows.items():
        stated = [layout.cell(cells, f"image_{side}") for side in ("width", "height")]
        stated = ["" if patients.is_missing(cell) else cell for cell in stated]
        if any(stated):
            size = tuple(map(as_number, stated))
            if not (size[0] > 0 and size[1] > 0):
                text = "width and height must both be pixels, or empty"
                faults.add(table, number, text)
                size = (math.inf, math.inf)
        else:
            name = layout.cell(cells, "image")
            size = others.get(name, (math.inf, math.inf))
        sizes.append(size)
    return np.reshape(np.array(sizes, np.float64), (-1, 2))


def scores_of(
    table: Table, rows: Rows, layout: Layout, faults: Faults, *, systems: int
) -> list[np.ndarray]:
    """The image scores of each system; none where there are no such columns.

    Args:
        systems: tables of detections; 0: as many as there are columns of scores.
    """
    wanted = ("score", "score_b")[: systems or 2]
    there = [name for name in wanted if name in layout.columns]
    if faults.is_broken(table) and not there:
        return []
    if systems and there and len(there) < systems:
        text = f"has {there[0]} and not {' and '.join(set(wanted) - set(there))}"
        faults.add(table, None, f"{text}: give each system its image scores, or none")
    if not systems and "score" not in there:
        text = "no column score: without --detections it must hold the image scores"
        faults.add(table, None, text)
    scores = []
    for name in there:
        cells = {row: layout.cell(cells, name) for row, cells in rows.items()}
        values = {row: as_number(cell) for row, cell in cells.items()}
        for row, value in values.items():
            if not math.isfinite(value):
                text = f"{name} must be a finite number{remedy([cells[row]])}"
                faults.add(table, row, text)
        scores.append(np.array(list(values.values()), np.float64))
        for row, is_none in zip(rows, stand_for_none(scores[-1]), strict=True):
            if is_none:
                faults.add(table, row, NO_SCORE)
    return scores


def splits_of(
    table: Table, rows: Rows, layout: Layout, patient: Sequence[str], faults: Faults
) -> np.ndarray:
    """str[n], of SPLITS; "" without such a column."""
    cells = [layout.cell(cells, "split").casefold() for cells in rows.values()]
    splits = [groups.SPLIT_WORDS.get(cell, cell) for cell in cells]
    if any(splits):
        for number, split in zip(rows, splits, strict=True):
            if split not in SPLITS:
                faults.add(table, number, f"split must be one of {', '.join(SPLITS)}")
        if "test" not in splits:
            faults.add(table, None, "no row is of the split test: nothing to measure")
    first: dict[str, str] = {}
    for number, split, who in sorted(zip(rows, splits, patient, strict=True)):
        if first.setdefault(who, split) != split:
            faults.add(table, number, "its patient is in the other split, too")
    return np.array(splits, str)


def groups_of(
    table: Table,
    rows: Rows,
    layout: Layout,
    patient: Sequence[str],
    faults: Faults,
    asked: Sequence[str] = (),
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The columns to report by group, and those that can't be; see `groups`.

    Args:
        asked: names of columns that are to be reported; one that can't be is a fault.
    """
    columns = {
        name: [cells[name] for cells in rows.values()]
        for name in table.columns
        if name not in layout.used
    }
    has_split = "split" in layout.columns
    if not has_split and any(map(groups.is_split, columns.values())):
        text = "a further column says train, validation or test: name it split, or "
        faults.add(table, None, text + "take it out")
    if "patient" not in layout.columns and any(
        name not in asked
        and (groups.is_person(name) or groups.may_be_patients(name, cells))
        for name, cells in columns.items()
    ):
        text = "a further column seems to name patients, or studies of theirs: name it "
        text += "patient if it tells them apart, or take it out"
        faults.add(table, None, text)
    if strange := [name for name in asked if name not in columns]:
        text = f"--subgroups={','.join(strange)}: no such further column"
        faults.add(table, None, text)
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    found, left_out = groups.of_columns(columns, patient, asked)
    if refused := sorted({*asked} & {*left_out}):
        text = f"--subgroups={','.join(refused)}: its cells look like identifiers, "
        text += "names or dates, or are too many for so few images"
        faults.add(table, None, text)
    return found, left_out
