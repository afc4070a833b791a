"""Tables of several readers: one part for each, and lesions that they agree on.

Readers are numbered in the order of their names; the names themselves, which may be
those of persons, go no further.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from aals_jax.metrics import consensus
from data.cxr_registry.tables import patients
from data.cxr_registry.tables.formats import Table

MOST = 50  # more names than this are no readers, but something else

Tell = Callable[[Table, int | None, str], None]  # table, row, what is wrong


@dataclasses.dataclass(frozen=True)
class Consensus:
    """What makes lesions of several readers one."""

    least: int  # readers that a lesion needs, >= 1
    column: str = "reader"  # of the lesions table
    iou: float = consensus.IOU


def column_of(table: Table, name: str) -> str | None:
    """The column of that name, in any case."""
    found = (own for own in table.columns if own.lower() == name.lower())
    return next(found, None)


def split(table: Table, name: str, tell: Tell) -> list[Table]:
    """The rows of each reader, by the order of their names.

    Rows of the others are empty in a reader's part, so that rows keep their numbers.

    Args:
        table: with a column of readers.
        name: of that column, in any case.
        tell: takes what is wrong.
    """
    column = column_of(table, name)
    if column is None:
        tell(table, None, f"no column {name}, which says who read")
        return []
    names: set[str] = set()
    first: dict[str, tuple[str, int]] = {}  # bare name -> first spelling and its row
    for number, cells in table.numbered():
        name = cells[column]
        if patients.is_missing(name):
            tell(table, number, f"{column} is empty: nobody is said to have read it")
            continue
        spelling, earlier = first.setdefault(patients.bare(name), (name, number))
        if spelling != name and name not in names:
            text = f"{column} is that of row {earlier} in another spelling (zeros, .0, "
            tell(table, number, text + "case, signs); write each reader's in one way")
        names.add(name)
    if len(names) > MOST:
        text = f"{column} has {len(names)} values: more than {MOST} are no readers"
        tell(table, None, text)
        return []
    empty = dict.fromkeys(table.columns, "")
    return [
        table._replace(
            rows=[cells if cells[column] == one else empty for cells in table.rows]
        )
        for one in sorted(names)
    ]


def agreed(
    by_reader: Sequence[Sequence[np.ndarray]], rule: Consensus
) -> list[np.ndarray]:
    """Lesions of each image that enough readers drew.

    Args:
        by_reader: per reader n arrays f64[k, 4], which may be empty.
        rule: of the consensus.

    Returns:
        n arrays f64[k, 4].

    Raises:
        ValueError: lesions are points, which have no overlap.
    """
    found = []
    for of_image in zip(*by_reader, strict=True):
        filled = [(r, boxes) for r, boxes in enumerate(of_image) if len(boxes)]
        if any(boxes.shape[1] != 4 for _, boxes in filled):
            raise ValueError("--consensus needs boxes: points have no overlap")
        boxes = np.concatenate([np.empty((0, 4)), *(b for _, b in filled)])
        reader = np.repeat([r for r, _ in filled], [len(b) for _, b in filled])
        found.append(consensus.agree(boxes, reader, least=rule.least, iou=rule.iou))
    return found


def differ(tables: Sequence[Table], name: str) -> str:
    """Why the readers of two modalities are not the same ones; "" if they are."""
    named = [
        {cells[column] for _, cells in table.numbered()} - {""}
        for table in tables
        if (column := column_of(table, name)) is not None
    ]
    if len(named) < 2 or named[0] == named[1]:
        return ""
    if len(named[0]) != len(named[1]):
        return (
            f"{name} has {len(named[1])} readers, the first file {len(named[0])}: each "
            "must read each modality"
        )
    return f"{name} names other readers than the first file"


def note(
    by_reader: Sequence[Sequence[np.ndarray]],
    marked: Sequence[np.ndarray],
    rule: Consensus,
) -> str:
    """What became of the boxes, in a sentence without its full stop."""
    drawn = sum(len(boxes) for own in by_reader for boxes in own)
    lost = sum(
        any(len(own[i]) for own in by_reader) and not len(boxes)
        for i, boxes in enumerate(marked)
    )
    lesions = sum(map(len, marked))
    return (
        f"{drawn} boxes of {len(by_reader)} readers are {lesions} lesions "
        f"that at least {rule.least} of them drew (overlap of {rule.iou:g} or more); "
        f"{lost} image(s) with boxes keep none"
    )
