"""Anybody's scores: tables or COCO files to the records that metrics are made of.

From top to bottom: the record that is made, `read`, the files, the images, and scores
out of detections. `layouts` says which column is what, `image_rows`, `places` and
`groups` read the cells, `plausible` doubts them.

Every fault of every file is reported at once, with file and row.
"""

import collections
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from aals_jax.evaluation import (
    classes,
    coco,
    groups,
    image_rows,
    layouts,
    places,
    readers,
)
from aals_jax.evaluation.faults import Faults, Numbered, SubmissionError
from aals_jax.evaluation.layouts import Kind, Layout
from aals_jax.metrics import readings
from data.cxr_registry.guard import memory
from data.cxr_registry.tables import formats
from data.cxr_registry.tables.formats import Table

__all__ = ["Files", "Submission", "SubmissionError", "highest", "read"]
_NO_LESIONS = np.empty((0, 4))
# Columns by which some rows are left out of a count, and by others not
_SET_ASIDE = frozenset(
    groups.listed(
        "difficult isdifficult uncertain isuncertain ambiguous doubtful exclude "
        "excluded isexcluded discard discarded remove removed dontcare donotcare "
        "invalid rejected suppressed deleted"
    )
)


@dataclasses.dataclass(frozen=True)
class Submission:
    """The truth of the images and what each system says of them."""

    image: np.ndarray  # str[n], names, ascending
    truth: readings.Truth
    split: np.ndarray  # str[n], "validation" or "test"; "" without such a column
    detections: list[list[np.ndarray]]  # per system: n of f64[k, 3] or f64[k, 5]
    scores: list[np.ndarray] | None  # per system: f64[n], of the images; None: highest
    ignored: list[np.ndarray]  # n of f64[k, 4], regions that judge nothing
    names: tuple[str, ...]  # of the systems
    left_out: tuple[str, ...]  # columns that must not, or can't, be subgroups
    notes: tuple[str, ...]  # sentences: what was understood that isn't obvious
    # systems as (modality, reader), numbered from 0; () where nobody is told apart
    read_by: tuple[tuple[int, int], ...] = ()

    def image_scores(self) -> list[np.ndarray]:
        """f64[n] of each system: as given, or of the highest detection."""
        if self.scores is not None:
            return self.scores
        return [highest(system) for system in self.detections]


@dataclasses.dataclass(frozen=True)
class Files:
    """Where a submission is read from."""

    images: Path | None  # None: the lesions file names them
    lesions: Path | None  # None: image-level metrics alone
    detections: tuple[Path, ...]  # one per system; none: scores are in the images table
    category: str | None = None  # name of the one scored, where a file has several
    reader: str | None = None  # column of the detections, where several readers read
    with_radius: bool = False  # points of lesions have a radius or a diameter
    consensus: readers.Consensus | None = None  # of lesions that several readers drew
    subgroups: tuple[str, ...] = ()  # further columns of the images to report by group


@dataclasses.dataclass(frozen=True)
class _Laid:
    """A table and what its columns are."""

    table: Table
    layout: Layout


@dataclasses.dataclass(frozen=True)
class _Truth:
    """The tables of the ground truth."""

    images: _Laid
    lesions: _Laid | None
    names: coco.Names | None  # of a COCO file, by which its results are read
    is_patient: bool  # the images are named by their patients


@dataclasses.dataclass(frozen=True)
class _Tables:
    """The files as tables with their layouts."""

    truth: _Truth
    detections: list[tuple[Table, Layout]]
    sizes: Mapping[str, tuple[float, float]]  # image -> its size in a COCO file
    notes: tuple[str, ...]


@memory.no_collection()  # rows by the hundred thousand, none of them in a cycle
def read(files: Files) -> Submission:
    """Reads and checks all files.

    Raises:
        SubmissionError: every fault, with file and row.
    """
    faults = Faults()
    tables = _tables(files, faults)
    _check_classes(files, tables, faults)
    _check_set_aside(files, tables, faults)
    table, layout = tables.truth.images.table, tables.truth.images.layout
    has_images = {"image", "label"} <= set(layout.columns)
    rows = image_rows.usable(table, layout, faults) if has_images else {}
    size = image_rows.sizes_of(table, rows, layout, faults, others=tables.sizes)
    label = image_rows.labels_of(rows, layout)
    names = [layout.cell(cells, "image") for cells in rows.values()]
    number_of = {name: i for i, name in enumerate(names)} if has_images else None
    images = places.Images(number_of, size, label)
    lesions = [_NO_LESIONS] * len(rows)
    found = places.Found(lesions, lesions)
    if tables.truth.lesions is not None:
        found = _lesions(
            tables.truth.lesions,
            images,
            category=files.category,
            consensus=files.consensus,
            faults=faults,
        )
    detections, read_by = tables.detections, ()
    if files.reader is not None:
        detections, read_by = _by_reader(tables.detections, files.reader, faults)
    are_ratings = bool(read_by) and all(own.places is None for _, own in detections)
    if are_ratings and files.lesions is not None:
        text = "has ratings without places, which judge no lesion: leave --lesions out"
        faults.add(detections[0][0], None, text)
    systems = [
        places.read(
            *each,
            images,
            category=files.category,
            lesions=found.places,
            faults=faults,
        )
        for each in (() if are_ratings else detections)
    ]
    patient = image_rows.patients_of(table, rows, layout, faults)
    for own, its in [] if tables.truth.is_patient else _of_places(tables):
        patient_of = dict(zip(names, patient, strict=True))
        column = layout.columns.get("patient", "")
        image_rows.check_patients(own, its, patient_of, column, faults)
    scores = image_rows.scores_of(
        table, rows, layout, faults, systems=len(files.detections)
    )
    if scores and files.reader is not None:
        text = "has image scores, which can't say whose reading they are: take them out"
        faults.add(table, None, text)
    if are_ratings:
        scores = [_ratings(*each, number_of or {}, faults) for each in detections]
    split = image_rows.splits_of(table, rows, layout, patient, faults)
    by_group, left_out = image_rows.groups_of(
        table, rows, layout, patient, faults, files.subgroups
    )
    faults.stop()
    has_place = [
        len(one) + len(other) > 0
        for one, other in zip(found.places, found.ignored, strict=True)
    ]
    is_known = bool(np.isfinite(size).all()) and len(size) > 0
    truth = readings.Truth(
        label=label,
        judged=(~label | np.array(has_place, bool)) & (files.lesions is not None),
        patient=np.array(patient, str),
        lesions=found.places,
        groups=by_group,
        unit=(1.0, "px" if is_known else "units of the tables"),
        marked=files.lesions is not None,
    )
    kinds = ("detections", "detections_b") if systems else ("score", "score_b")
    return Submission(
        image=np.array(names, str),
        truth=truth,
        split=split,
        detections=[system.places for system in systems] or [lesions for _ in scores],
        scores=scores or None,
        ignored=found.ignored,
        names=tuple(f"{kinds[i]}, reader {j + 1}" for i, j in read_by)
        or kinds[: max(len(systems), len(scores) if not systems else 0)],
        left_out=left_out,
        notes=tuple(
            dict.fromkeys(
                (
                    *tables.notes,
                    *_of_names(names),
                    *(n for f in (found, *systems) for n in f.notes),
                    *_unread(files, tables),
                )
            )
        ),
        read_by=read_by,
    )


def _of_names(names: Sequence[str]) -> Iterator[str]:
    """What to look at where two images seem to be one."""
    if count := image_rows.number_alike(names):
        text = (
            "image(s) have the name of another one but for case, zeros, .0, blanks or "
        )
        yield f"{count} {text}signs: see whether they are one image"


def _unread(files: Files, tables: "_Tables") -> Iterator[str]:
    """Sentences on columns of places that nothing reads, as a class or a status."""
    for table, layout in _of_places(tables):
        if left := _unread_of(files, table, layout):
            shown = ", ".join(map(groups.shown, left))
            yield f"{table.name}: nothing reads the column(s) {shown}"
    known = _known_categories(files, tables)
    for table, layout in tables.detections:
        alone = not isinstance(table, Numbered) and "category" not in layout.columns
        if alone and (files.category is not None or len(known) > 1):
            text = "has no column of categories: every row counts as the one scored"
            yield f"{table.name}: {text}"


def _of_places(tables: "_Tables") -> list[tuple[Table, Layout]]:
    """Lesions, where there are any, and detections."""
    lesions = tables.truth.lesions
    laid = [(lesions.table, lesions.layout)] if lesions is not None else []
    return [*laid, *tables.detections]


def _unread_of(files: Files, table: Table, layout: Layout) -> list[str]:
    """The columns of a table that nothing reads and that have cells."""
    if isinstance(table, Numbered):
        return []
    drawn_by = files.consensus.column if files.consensus else None
    own = {name.casefold() for name in (files.reader, drawn_by) if name}
    return [
        name
        for name in table.columns
        if name not in layout.used
        and name.casefold() not in own
        and any(row[name] for row in table.rows)
    ]


def _known_categories(files: Files, tables: "_Tables") -> set[str]:
    """Names of categories that the ground truth, or a flag, has."""
    known = {files.category} if files.category else set()
    if tables.truth.names is not None:
        return known | set(tables.truth.names.categories.values())
    if tables.truth.lesions is not None:
        known |= places.categories(
            tables.truth.lesions.table, tables.truth.lesions.layout
        )
    return known


def _check_classes(files: Files, tables: "_Tables", faults: Faults) -> None:
    """Faults of places that are of several classes by a column that nothing reads."""
    known, lesions = _known_categories(files, tables), tables.truth.lesions
    if lesions is not None and "category" in lesions.layout.columns:
        lesions = None  # their classes have a column
    ours = _unread_of(files, lesions.table, lesions.layout) if lesions else []
    found: list[tuple[Table, str, str]] = []
    for table, layout in tables.detections:
        if "category" in layout.columns:
            continue
        unread = _unread_of(files, table, layout)
        why = classes.of_no_name(table, unread, known=known)
        if lesions is not None:
            why |= classes.in_both([(lesions.table, ours), (table, unread)])
        found += [(table, column, text) for column, text in why.items()]
    if lesions is not None:
        theirs = {
            name
            for table, layout in tables.detections
            for name in places.categories(table, layout)
        }
        why = classes.of_no_name(lesions.table, ours, known=theirs, by_name=False)
        found += [(lesions.table, column, text) for column, text in why.items()]
    for table, column, why in found:
        text = f"the column {groups.shown(column)} seems to hold classes ({why}), and "
        text += "nothing reads it, so all would be scored as one: name it category "
        faults.add(table, None, text + "and give --category, or take it out")


_OR = {
    Kind.LESIONS: ", or name it ignore",
    Kind.IMAGES: ", or report it by group with --subgroups",
}


def _check_set_aside(files: Files, tables: "_Tables", faults: Faults) -> None:
    """Faults of columns that say of some rows that they may not count."""
    laid = [(tables.truth.images.table, tables.truth.images.layout)]
    for table, layout in [*laid, *_of_places(tables)]:
        asked = files.subgroups if layout.kind is Kind.IMAGES else ()
        for column in _unread_of(files, table, layout):
            if layouts.fold(column) not in _SET_ASIDE or column in asked:
                continue
            marked = [
                number
                for number, cells in table.numbered()
                if image_rows.as_label(cells[column]) == 1
            ]
            if marked:
                text = f"the column {groups.shown(column)} is set here and in "
                text += f"{len(marked) - 1} other(s), and nothing reads it: take these "
                text += f"rows out, or the column{_OR.get(layout.kind, '')}"
                faults.add(table, marked[0], text)


def _lesions(
    laid: _Laid,
    images: places.Images,
    *,
    category: str | None,
    consensus: readers.Consensus | None,
    faults: Faults,
) -> places.Found:
    """What lies on each image: as drawn, or as enough readers drew it."""
    table, layout = laid.table, laid.layout
    if consensus is None:
        return places.read(table, layout, images, category=category, faults=faults)
    # what one reader drew on a negative image needs no second one to agree
    anywhere = dataclasses.replace(images, label=np.ones_like(images.label))
    parts = [
        places.read(part, layout, anywhere, category=category, faults=faults)
        for part in readers.split(table, consensus.column, faults.add)
    ]
    faults.stop()
    by_reader = [part.places for part in parts]
    marked = readers.agreed(by_reader, consensus)
    against = sum(
        len(boxes) > 0 and not positive
        for boxes, positive in zip(marked, images.label, strict=True)
    )
    if against:
        text = f"{against} image(s) with label 0 have a lesion by consensus"
        faults.add(table, None, text)
    of_image = zip(*(part.ignored for part in parts), strict=True)
    ignored = [np.concatenate(regions) for regions in of_image]
    note = f"{table.name}: {readers.note(by_reader, marked, consensus)}"
    notes = (*(n for part in parts for n in part.notes), note)
    return places.Found(marked, ignored, notes)


def _ratings(
    table: Table, layout: Layout, number_of: Mapping[str, int], faults: Faults
) -> np.ndarray:
    """f64[n], one reader's rating of each image, of a table without places."""
    found = np.full(len(number_of), np.nan)
    first: dict[int, int] = {}
    not_there = image_rows.NotThere(number_of)
    lacks = [name for name in ("image", "score") if name not in layout.columns]
    if lacks:
        faults.add(table, None, f"no column {', '.join(lacks)}: a row is one rating")
        return found
    for row, cells in table.numbered():
        image = number_of.get(layout.cell(cells, "image"))
        rating = image_rows.as_number(layout.cell(cells, "score"))
        if image is None:
            faults.add(table, row, not_there.text(layout.cell(cells, "image")))
        elif image in first:
            faults.add(table, row, f"its reader's rating of row {first[image]} again")
        elif not np.isfinite(rating):
            faults.add(table, row, "the rating must be a finite number")
        else:
            first[image], found[image] = row, rating
    if missing := int(np.isnan(found).sum()):
        text = f"a reader has no rating of {missing} image(s): each must rate all"
        faults.add(table, None, text)
    return found


def _by_reader(
    tables: Sequence[tuple[Table, Layout]], column: str, faults: Faults
) -> tuple[list[tuple[Table, Layout]], tuple[tuple[int, int], ...]]:
    """A part for each modality and reader; all read all modalities."""
    parts = [readers.split(table, column, faults.add) for table, _ in tables]
    if why := readers.differ([table for table, _ in tables], column):
        faults.add(tables[-1][0], None, why)
    read_by = [(i, j) for i, own in enumerate(parts) for j in range(len(own))]
    split = [
        (part, layout)
        for own, (_, layout) in zip(parts, tables, strict=True)
        for part in own
    ]
    return split, tuple(read_by)


def _tables(files: Files, faults: Faults) -> _Tables:
    """Reads the files; what they lack as a whole is a fault."""
    opened = _Opened(files, faults)
    truth, sizes = _truth(files, opened, faults)
    if files.images is not None:
        _check_columns(truth.images.table, truth.images.layout, faults)
    detections = [
        (found.table, found.layout)
        for path in files.detections
        for found in [_detections(path, truth, opened, faults)]
    ]
    every = [truth.images.layout]
    every += [truth.lesions.layout] if truth.lesions else []
    every += [layout for _, layout in detections]
    if files.category is not None and truth.names is None:
        has = any("category" in layout.columns for layout in every)
        if not has and not any(map(coco.is_coco, files.detections)):
            text = "--category is given, and no file has a column of categories"
            faults.problems.add("", None, text)
    notes = [note for layout in every for note in layout.notes]
    if truth.is_patient:
        name = truth.images.table.name
        notes.append(f"{name}: images are named by their patients: each has one")
    return _Tables(truth, detections, sizes, tuple(dict.fromkeys(notes)))


def _truth(
    files: Files, opened: "_Opened", faults: Faults
) -> tuple[_Truth, Mapping[str, tuple[float, float]]]:
    """Images and lesions; and sizes of images that a COCO file states."""
    images = lesions = names = None
    sizes: Mapping[str, tuple[float, float]] = {}
    is_patient = False
    if files.lesions is not None and coco.is_coco(files.lesions):
        table, marks, names = opened.truth()
        images = _Laid(table, layouts.read(table, Kind.IMAGES, faults))
        lesions = _Laid(marks, layouts.read(marks, Kind.LESIONS, faults))
        sizes = _sizes(images.table, images.layout)
    if files.images is not None:
        images, is_patient = _images(files.images, opened, faults)
    if files.lesions is not None and lesions is None:
        marks = opened.table(files.lesions)
        is_patient = is_patient or (images is None and _is_named_by_patient(marks))
        layout = layouts.read(
            marks,
            Kind.LESIONS,
            faults,
            image_is_patient=is_patient,
            with_radius=files.with_radius,
        )
        lesions = _Laid(marks, layout)
        if images is None:
            table = _derived(marks, layout, files.category, faults)
            images = _Laid(table, layouts.read(table, Kind.IMAGES, faults))
    if images is None:
        raise ValueError("give --images, or --lesions as a file that names the images")
    return _Truth(images, lesions, names, is_patient), sizes


def _images(path: Path, opened: "_Opened", faults: Faults) -> tuple[_Laid, bool]:
    """The images table, a row per image; whether patients name the images."""
    table = opened.table(path)
    is_patient = _is_named_by_patient(table)
    layout = layouts.read(table, Kind.IMAGES, faults, image_is_patient=is_patient)
    if layout.places is not None:  # a row per box
        table = image_rows.together(table, layout, faults)
    return _Laid(table, layout), is_patient


def _detections(path: Path, truth: _Truth, opened: "_Opened", faults: Faults) -> _Laid:
    """One system's table."""
    if coco.is_coco(path):
        table = opened.results(path, truth.names)
        return _Laid(table, layouts.read(table, Kind.DETECTIONS, faults))
    table = opened.table(path)
    layout = layouts.read(
        table, Kind.DETECTIONS, faults, image_is_patient=truth.is_patient
    )
    return _Laid(table, layout)


class _Opened:
    """Opens files; what can't be read is a fault, and an empty table."""

    def __init__(self, files: Files, faults: Faults):
        self._files, self._faults = files, faults
        given = [files.images, files.lesions, *files.detections]
        paths = [path for path in given if path is not None]
        named = collections.Counter(path.name for path in {*paths})
        self._shared = {
            path: f"{path.parent.name}/{path.name}"
            for path in paths
            if named[path.name] > 1
        }

    def table(self, path: Path) -> Table:
        if not self._is_there(path):
            return self._empty(path)
        return self._named(formats.scan_table(path, self._faults.problems), path)

    def truth(self) -> tuple[Table, Table, coco.Names]:
        path = self._files.lesions
        assert path is not None
        if not self._is_there(path):
            empty = self._empty(path)
            return empty, empty, coco.Names({}, {}, frozenset())
        return coco.read_truth(path, category=self._files.category, faults=self._faults)

    def results(self, path: Path, names: coco.Names | None) -> Table:
        if not self._is_there(path):
            return self._empty(path)
        table = coco.read_results(
            path, truth=names, category=self._files.category, faults=self._faults
        )
        return self._named(table, path)

    def _is_there(self, path: Path) -> bool:
        if not path.is_file():
            self._faults.add(self._empty(path), None, "there is no such file")
        return path.is_file()

    def _named(self, table: Table, path: Path) -> Table:
        return table._replace(name=self._shared.get(path, table.name))

    def _empty(self, path: Path) -> Table:
        return Table(path.name, (), [])


def _is_named_by_patient(table: Table) -> bool:
    """Whether patients stand where the names of images should (RSNA's layout)."""
    quiet = Faults()
    columns = layouts.read(table, Kind.IMAGES, quiet).columns
    return "image" not in columns and "patient" in columns


def _check_columns(table: Table, layout: Layout, faults: Faults) -> None:
    missing = [name for name in ("image", "label") if name not in layout.columns]
    if missing and not faults.is_broken(table):
        have = table.name_columns(layouts.OWN)
        faults.add(table, None, f"no column {', '.join(missing)}; it has {have}")


def _sizes(table: Table, layout: Layout) -> dict[str, tuple[float, float]]:
    """Image -> width and height, of those that state both."""
    quiet = Faults()
    rows = dict(table.numbered())
    sizes = image_rows.sizes_of(table, rows, layout, quiet, others={})
    names = [layout.cell(cells, "image") for cells in rows.values()]
    return {
        name: (float(w), float(h)) for name, (w, h) in zip(names, sizes, strict=True)
    }


def _derived(
    lesions: Table, layout: Layout, category: str | None, faults: Faults
) -> Table:
    """The images that a table of boxes names, where it names negatives as well."""
    states = "label" in layout.columns or places.states_negatives(lesions, layout)
    columns = ("image", "label", *(["patient"] if "patient" in layout.columns else []))
    if not states or "image" not in layout.columns:
        if not faults.is_broken(lesions):
            text = "names no images without a lesion: give --images, a row per image"
            faults.add(lesions, None, text)
        return Table(lesions.name, (), [])
    quiet = Faults()
    positive = {
        layout.cell(cells, "image")
        for _, cells in places.of_category(lesions, layout, category, quiet)
        if as_positive(layout, cells)
    }
    rows: dict[str, dict[str, str]] = {}
    for number, cells in lesions.numbered():
        name = layout.cell(cells, "image")
        row = {"entry": str(number), "image": name, "label": str(int(name in positive))}
        row |= {"patient": layout.cell(cells, "patient")}
        rows.setdefault(name, row)
    if "label" in layout.columns:
        image_rows.together(lesions, layout, faults)
    return Numbered(lesions.name, columns, list(rows.values()))


def as_positive(layout: Layout, cells: Mapping[str, str]) -> bool:
    """Whether a row of boxes says that its image is positive."""
    if "label" not in layout.columns:
        return True
    return image_rows.as_label(layout.cell(cells, "label")) == 1


def highest(detections: Sequence[np.ndarray]) -> np.ndarray:
    """f64[n], the highest detection of each image.

    An image without detections is below all others: 0 where all scores are
    probabilities, else -inf.
    """
    scores = np.concatenate([np.empty(0), *(rows[:, -1] for rows in detections)])
    nothing = 0.0 if np.all((scores >= 0) & (scores <= 1)) else -np.inf
    return np.array([max(rows[:, -1], default=nothing) for rows in detections])
