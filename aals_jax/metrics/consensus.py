"""One set of lesions out of those that several readers drew.

Boxes of different readers that overlap enough are one lesion; what too few readers drew
is none. Two boxes of one reader are two lesions, however much they overlap.
"""

from collections.abc import Sequence

import numpy as np

from aals_jax.metrics.matching import check_boxes

IOU = 0.5  # least overlap of two boxes of one lesion


def agree(
    boxes: np.ndarray, reader: np.ndarray | Sequence, *, least: int, iou: float = IOU
) -> np.ndarray:
    """The lesions of one image that at least so many readers drew.

    Pairs of boxes are joined in the order of falling overlap. Two groups are joined
    where they share no reader and each box of one overlaps each of the other by `iou`.
    A lesion's box has the median of each coordinate of its group.

    Args:
        boxes: f[m, 4] (x0, y0, x1, y1), of all readers.
        reader: [m], who drew each.
        least: readers that a lesion needs, >= 1.
        iou: above 0 and at most 1.

    Returns:
        f64[k, 4], ordered by coordinates; rows and names in any order give the same.
    """
    boxes, reader = check_boxes(boxes), np.asarray(reader)
    if len(boxes) != len(reader):
        raise ValueError(f"{len(boxes)} boxes and {len(reader)} readers")
    if least < 1 or not 0 < iou <= 1:
        raise ValueError(f"least={least} must be >= 1, and iou={iou} in 0 .. 1")
    if not len(boxes):
        return boxes
    order = np.lexsort(boxes.T[::-1])  # rows of any order give the same
    boxes, reader = boxes[order], reader[order]
    overlap = _overlaps(boxes)
    groups = {k: [k] for k in range(len(boxes))}
    group_of = list(range(len(boxes)))
    first, second = np.triu_indices(len(boxes), 1)
    pairs = np.argsort(-overlap[first, second], kind="stable")
    for a, b in zip(first[pairs].tolist(), second[pairs].tolist(), strict=True):
        one, other = groups[group_of[a]], groups[group_of[b]]
        if one is other or overlap[a, b] < iou:
            continue
        is_shared = {*reader[one].tolist()} & {*reader[other].tolist()}
        if is_shared or overlap[np.ix_(one, other)].min() < iou:
            continue
        gone = group_of[b]
        groups[group_of[a]] = one + other
        for k in other:
            group_of[k] = group_of[a]
        del groups[gone]
    kept = [np.median(boxes[g], axis=0) for g in groups.values() if len(g) >= least]
    found = np.reshape(np.array(kept, np.float64), (-1, 4))
    return found[np.lexsort(found.T[::-1])]


def _overlaps(boxes: np.ndarray) -> np.ndarray:
    """f64[m, m], intersection over union of all pairs."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common = np.prod(np.maximum(high - low, 0.0), axis=2)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return common / (area[:, None] + area[None, :] - common)
