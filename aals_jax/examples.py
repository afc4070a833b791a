"""Which test images the page shows: hits, misses, false alarms and clear negatives."""

import numpy as np

from aals_jax import froc, matching, pipeline
from aals_jax.evaluate import Measured, TestSet
from aals_jax.report import Detection, Example
from aals_jax.report.pictures import KINDS

FALSE_POSITIVES = 0.5  # an image, on the judged images: the threshold of the pictures
EACH = 6  # pictures of a kind


def operating_threshold(measured: Measured, test: TestSet) -> float:
    """The lowest threshold with at most FALSE_POSITIVES false alarms an image."""
    judged = np.flatnonzero(test.judged)
    data = froc.count_data(
        [measured.detections[i] for i in judged], [test.boxes[i] for i in judged]
    )
    curve = froc.froc_curve(data)
    allowed = np.flatnonzero(curve.false_rate <= FALSE_POSITIVES)
    finite = allowed[np.isfinite(curve.threshold[allowed])]
    return float(curve.threshold[finite[-1]]) if len(finite) else np.inf


def choose_examples(
    dataset: pipeline.Dataset,
    table: pipeline.Table,
    test: TestSet,
    maps: np.ndarray,
    measured: Measured,
) -> list[Example]:
    """The strongest of each kind: best hits, worst misses, loudest false alarms.

    Args:
      table: the evaluated rows of `dataset`; maps f32[n, h, w] are theirs.
    """
    threshold = operating_threshold(measured, test)
    kinds: dict[str, list[int]] = {kind: [] for kind in KINDS}
    order = np.argsort(-measured.scores, kind="stable")
    for i in order[test.judged[order]]:
        kinds[_kind(measured.detections[i], test.boxes[i], threshold)].append(int(i))
    kinds["miss"].reverse()  # the least suspicious first: the worst misses
    kinds["clear"].reverse()
    return [
        _example(dataset, table, test, maps, measured, i, kind, threshold)
        for kind, rows in kinds.items()
        for i in rows[:EACH]
    ]


def _kind(detections: np.ndarray, boxes: np.ndarray, threshold: float) -> str:
    match = matching.match(detections[detections[:, 2] >= threshold], boxes)
    if len(boxes):
        return "hit" if np.isfinite(match.lesion_score).any() else "miss"
    return "false_alarm" if len(match.false_score) else "clear"


def _example(
    dataset: pipeline.Dataset,
    table: pipeline.Table,
    test: TestSet,
    maps: np.ndarray,
    measured: Measured,
    i: int,
    kind: str,
    threshold: float,
) -> Example:
    radiograph = dataset.read(table.split[i], table.position[i])
    shown = measured.detections[i][measured.detections[i][:, 2] >= threshold]
    match = matching.match(shown, test.boxes[i])
    stride = pipeline.MAP_STRIDE
    image = radiograph.image
    if image.dtype != np.uint8:
        image = (image >> 8).astype(np.uint8)
    return Example(
        image=image,
        probability=maps[i],
        boxes=radiograph.boxes[:, [1, 0, 3, 2]],
        detections=[
            Detection(float(x * stride), float(y * stride), float(score), lesion >= 0)
            for (x, y, score), lesion in zip(shown, match.lesion_of, strict=True)
        ],
        kind=kind,
        score=float(measured.scores[i]),
        caption=f"test image {i}; detections from {threshold:.2f} up",
    )
