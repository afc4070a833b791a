"""Several readers of one image to one consensus: votes, clusters, means.

    label = 1   when `agree` readers saw the finding
            0   when none did, and `agree` readers looked
           -1   otherwise: too few saw it, or too few looked
    boxes = means of the clusters that hold boxes of `agree` readers

A reader saw a finding when the reader said so or drew a box of it.
"""

import itertools
import statistics
from collections.abc import Sequence
from typing import NamedTuple

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in stored pixels


class Mark(NamedTuple):
    """What one reader left on one image about one finding."""

    is_positive: bool  # labelled the image as having it
    boxes: tuple[Box, ...] = ()


class Consensus(NamedTuple):
    """What the readers say together."""

    label: int  # 1, 0, or -1 unknown
    boxes: tuple[Box, ...]  # sorted
    dropped: int  # clusters that too few readers drew


def merge(marks: Sequence[Mark], *, agree: int, min_iou: float) -> Consensus:
    """The consensus of one mark per reader, given in any order.

    Args:
        marks: one per reader, also of readers who saw nothing.
        agree: number of readers that must agree, at least 1.
        min_iou: overlap from which two boxes are of the same lesion, in (0, 1].

    >>> merge([Mark(True), Mark(True), Mark(False)], agree=2, min_iou=0.5).label
    1
    """
    votes = sum(mark.is_positive or bool(mark.boxes) for mark in marks)
    is_negative = not votes and len(marks) >= agree
    label = 1 if votes >= agree else 0 if is_negative else -1
    clusters = _clusters(marks, min_iou)
    kept = [boxes for boxes in clusters if len(boxes) >= agree]
    means = (tuple(map(statistics.mean, zip(*boxes, strict=True))) for boxes in kept)
    return Consensus(label, tuple(sorted(means)), len(clusters) - len(kept))


def overlap(a: Box, b: Box) -> float:
    """Intersection over union, in [0, 1]."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return shared / (areas - shared)


def _clusters(marks: Sequence[Mark], min_iou: float) -> list[list[Box]]:
    """Clusters of boxes, each of one lesion and with at most one box per reader.

    Pairs are joined by falling overlap, ties by coordinates, so the order of readers
    does not matter. Clusters with a reader in common are never joined: what a reader
    drew as two lesions stays two.
    """
    # a set: a box that one reader drew twice counts once
    drawn = sorted({(box, who) for who, mark in enumerate(marks) for box in mark.boxes})
    pairs = [
        (-overlap(drawn[i][0], drawn[j][0]), i, j)
        for i, j in itertools.combinations(range(len(drawn)), 2)
        if drawn[i][1] != drawn[j][1]
    ]
    # `drawn` is sorted by coordinates, so an index orders as its coordinates do
    alike = sorted(pair for pair in pairs if -pair[0] >= min_iou)
    cluster_of = [{index} for index in range(len(drawn))]
    for _, i, j in alike:
        one, other = cluster_of[i], cluster_of[j]
        if {drawn[k][1] for k in one}.isdisjoint(drawn[k][1] for k in other):
            one |= other
            for k in other:
                cluster_of[k] = one
    distinct = {min(cluster): cluster for cluster in cluster_of}
    return [[drawn[k][0] for k in sorted(cluster)] for cluster in distinct.values()]
