"""Detections of one image against its lesions: who hits whom.

Coordinates are as in `froc`: pixel i covers [i, i + 1), a box is (x0, y0, x1, y1) and
holds the points x0 <= x < x1, y0 <= y < y1.
"""

import dataclasses

import numpy as np

FALSE_POSITIVE, REPEAT = -1, -2  # values of Match.lesion_of


@dataclasses.dataclass(frozen=True)
class Match:
    """Detections of one image against its lesions."""

    lesion_score: np.ndarray  # f64[m], -inf for a lesion that is not hit
    false_score: np.ndarray  # f64[f], descending
    lesion_of: np.ndarray  # i64[k], index of the lesion, FALSE_POSITIVE or REPEAT


def match(
    detections: np.ndarray,
    lesions: np.ndarray,
    *,
    rule: str = "center_in_box",
    iou_threshold: float = 0.2,
    image_shape: tuple[int, int] | None = None,
) -> Match:
    """Greedy matching by descending score; a second hit on a lesion counts for nothing.

    Of several free lesions a detection takes the nearest centre (`center_in_box`) or
    the largest overlap (`iou`). Equal scores go by coordinates, so that the order of
    the rows has no influence. A matching at a threshold is the beginning of the
    matching of all detections, hence each lesion has one score.

    Args:
        detections: f[k, 3] points (x, y, score) or f[k, 5] boxes (box, score).
        lesions: f[m, 4] boxes.
        rule: "center_in_box" (point, or centre of the box) or "iou" (boxes only).
        iou_threshold: least intersection over union of a hit, 0 < value <= 1.
        image_shape: (height, width); when given, points must lie in the image.
    """
    if rule not in RULES:
        raise ValueError(f"rule={rule!r} is unknown; use one of {sorted(RULES)}")
    detections = _check_detections(detections, image_shape)
    lesions = check_boxes(lesions)
    lesion_score = np.full(len(lesions), -np.inf)
    lesion_of = np.full(len(detections), FALSE_POSITIVE)
    closeness = RULES[rule](detections, lesions, iou_threshold)
    columns = (*detections[:, -2::-1].T, -detections[:, -1])
    ranking = np.lexsort(columns)  # the last key, the score, counts first
    canonical = np.lexsort(lesions.T)  # equally close lesions go by coordinates too
    for k in ranking[(closeness > -np.inf).any(axis=1)[ranking]]:
        hits = canonical[closeness[k, canonical] > -np.inf]
        free = hits[lesion_score[hits] == -np.inf]
        if len(free):
            lesion_of[k] = free[np.argmax(closeness[k, free])]
            lesion_score[lesion_of[k]] = detections[k, -1]
        else:
            lesion_of[k] = REPEAT
    false = np.sort(detections[lesion_of == FALSE_POSITIVE, -1])[::-1]
    return Match(lesion_score, false, lesion_of)


def _near_center(detections: np.ndarray, lesions: np.ndarray, _: float) -> np.ndarray:
    """Minus the squared distance of point and centre, -inf when not in the box."""
    point = detections[:, :2]
    if detections.shape[1] == 5:
        point = (point + detections[:, 2:4]) / 2.0
    point = point[:, None]  # f64[k, 1, 2]
    low, high = lesions[:, :2], lesions[:, 2:]
    inside = ((point >= low) & (point < high)).all(axis=-1)
    distance = np.square(point - (low + high) / 2.0).sum(axis=-1)
    return np.where(inside, -distance, -np.inf)


def _overlap(detections: np.ndarray, lesions: np.ndarray, least: float) -> np.ndarray:
    """Intersection over union, -inf when below `least`."""
    if detections.shape[1] != 5:
        raise ValueError('rule="iou" needs boxes (x0, y0, x1, y1, score), not points')
    if not 0.0 < least <= 1.0:
        raise ValueError(f"iou_threshold={least} is not in 0 .. 1, or is 0")
    first, second = detections[:, None, :4], lesions[None]
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    common = np.prod(np.maximum(high - low, 0.0), axis=-1)
    areas = [np.prod(box[..., 2:] - box[..., :2], axis=-1) for box in (first, second)]
    overlap = common / (areas[0] + areas[1] - common)
    return np.where(overlap >= least, overlap, -np.inf)


RULES = {"center_in_box": _near_center, "iou": _overlap}


def check_boxes(boxes: np.ndarray) -> np.ndarray:
    """Boxes as f64[m, 4], finite, x0 < x1 and y0 < y1; any empty array is no box."""
    boxes = np.asarray(boxes, np.float64)
    if not boxes.size:
        return np.empty((0, 4))
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes {boxes.shape} must be [m, 4], (x0, y0, x1, y1)")
    good = np.isfinite(boxes).all(axis=1) & (boxes[:, :2] < boxes[:, 2:]).all(axis=1)
    if not good.all():
        raise ValueError(f"box {boxes[~good][0]}: must be finite, x0 < x1, y0 < y1")
    return boxes


def _check_detections(
    detections: np.ndarray, image_shape: tuple[int, int] | None
) -> np.ndarray:
    """Detections as f64[k, 3] or f64[k, 5], finite and in the image."""
    detections = np.asarray(detections, np.float64)
    if not detections.size:
        return np.empty((0, detections.shape[-1] if detections.ndim == 2 else 3))
    if detections.ndim != 2 or detections.shape[1] not in (3, 5):
        raise ValueError(f"detections {detections.shape} must be [k, 3] or [k, 5]")
    if not np.isfinite(detections).all():
        bad = detections[~np.isfinite(detections).all(axis=1)][0]
        raise ValueError(f"detection {bad} has a non-finite score or coordinate")
    if detections.shape[1] == 5:
        check_boxes(detections[:, :4])
    half = detections.shape[1] // 2 - 1  # 0: points; 1: boxes, judged by the centre
    point = (detections[:, :2] + detections[:, 2 * half : 2 * half + 2]) / 2.0
    height, width = image_shape if image_shape is not None else (np.inf, np.inf)
    inside = ((point >= 0) & (point < (width, height))).all(axis=1)
    if not inside.all():
        raise ValueError(
            f"detection at (x, y) = {point[~inside][0]} is outside the image, height "
            f"{height} and width {width}; check the order and scale of coordinates"
        )
    return detections
