"""Detections against lesions: who hits whom.

Coordinates are as in `froc`: pixel i covers [i, i + 1), a box is (x0, y0, x1, y1) and
holds the points x0 <= x < x1, y0 <= y < y1.

All images are matched at once: their rows are stacked into two tables, the pairs that
can be a hit are listed and sorted, and one pass over this short list is the matching.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

FALSE_POSITIVE, REPEAT = -1, -2  # values of Match.lesion_of

IOU_THRESHOLD = 0.2  # default of the rule "iou"
_BLOCK = 1 << 16  # detections whose pairs are listed at a time; bounds memory
# Share of a limit, and of a coordinate, that rounding may take: x + width of decimal
# coordinates is off by some 1e-16 of x, and an overlap of exactly the limit is a hit.
_ROUNDING = 1e-9
_OF_COORDINATE = 1e-12


@dataclasses.dataclass(frozen=True)
class Match:
    """Detections against lesions, of one image or of several in their order."""

    lesion_score: np.ndarray  # f64[m], -inf for a lesion that is not hit
    lesion_image: np.ndarray  # i64[m], index of its image, ascending
    false_score: np.ndarray  # f64[f], of false positives, in the order of the rows
    false_image: np.ndarray  # i64[f], index of its image
    lesion_of: np.ndarray  # i64[k], index of the lesion, FALSE_POSITIVE or REPEAT


def match(
    detections: np.ndarray,
    lesions: np.ndarray,
    *,
    rule: str = "center_in_box",
    iou_threshold: float = IOU_THRESHOLD,
    max_distance: float | None = None,
    image_shape: tuple[int, int] | None = None,
) -> Match:
    """`match_images` of one image; `image_shape` is (height, width), or None."""
    return match_images(
        [detections],
        [lesions],
        rule=rule,
        iou_threshold=iou_threshold,
        max_distance=max_distance,
        image_shapes=None if image_shape is None else [image_shape],
    )


def match_images(
    detections: Sequence[np.ndarray],
    lesions: Sequence[np.ndarray],
    *,
    rule: str = "center_in_box",
    iou_threshold: float = IOU_THRESHOLD,
    max_distance: float | None = None,
    image_shapes: Sequence[tuple[int, int]] | None = None,
) -> Match:
    """Greedy matching by descending score; a second hit on a lesion counts for nothing.

    Of several free lesions a detection takes the nearest centre (`center_in_box`,
    `radius`, `distance`) or the largest overlap (`iou`). Equal scores go by
    coordinates, so that the order of the rows has no influence. Raising the threshold
    only cuts the tail off the matching, so each lesion has one score.

    Args:
        detections: n arrays, one per image, which may be empty: f[k, 3] points (x, y,
            score) or f[k, 5] boxes (box, score), the same columns in all images; for
            "distance" and "radius" also f[k, 4] points in space (x, y, z, score).
        lesions: n arrays f[m, 4] of boxes; for "distance" f[m, 2] of points will do, or
            f[m, 3] in space; for "distance" and "radius" f[m, 6] of boxes in space
            (x0, y0, z0, x1, y1, z1), around a ball say.
        rule: "center_in_box" (a point, or the centre of a box, lies in the lesion's
            box), "radius" (it lies in the ellipse inscribed in the box: of equal sides,
            within a radius), "iou" (of two boxes) or "distance" (of point or centre to
            the centre).
        iou_threshold: least intersection over union of a hit, 0 < value <= 1.
        max_distance: largest distance of a hit, >= 0, in the unit of the coordinates.
        image_shapes: n pairs (height, width); when given, points must lie in the image.
            Without them coordinates may be of any kind, negative ones too.
    """
    limit = _limit(rule, iou_threshold, max_distance)
    flat, columns = (3, 5), _LESION_COLUMNS.get(rule, (4,))
    rows, image = _stack("detections", detections, (3, 4, 5) if columns[1:] else flat)
    lesion_rows, lesion_image = _stack("lesions", lesions, columns)
    num_images = len(lesions)
    shapes = [None] * num_images if image_shapes is None else image_shapes
    if not len(detections) == num_images == len(shapes):
        raise ValueError(
            f"{len(detections)} arrays of detections, {num_images} of lesions and "
            f"{len(shapes)} image shapes; give one of each per image, empty or not"
        )
    _check_lesions(lesion_rows)
    if len(rows) and len(lesion_rows):
        in_space = rows.shape[1] == 4, lesion_rows.shape[1] in (3, 6)
        if in_space[0] != in_space[1]:
            raise ValueError("lesions and detections need the same dimensions, 2 or 3")
    _check_detections(
        rows, image, None if image_shapes is None else np.asarray(shapes, np.float64)
    )
    hits = [
        np.empty((0, 3)),
        *_hits(rows, image, lesion_rows, lesion_image, rule, limit),
    ]
    return _greedy(np.concatenate(hits), rows, image, lesion_rows, lesion_image)


def _hits(
    detections: np.ndarray,
    image: np.ndarray,
    lesions: np.ndarray,
    lesion_image: np.ndarray,
    rule: str,
    limit: float,
) -> Iterator[np.ndarray]:
    """Pairs that can be a hit, in blocks f64[p, 3]: detection, lesion, closeness."""
    offset = np.searchsorted(lesion_image, np.arange(image.max(initial=-1) + 2))
    for start in range(0, len(detections), _BLOCK):
        rows = image[start : start + _BLOCK]
        number = offset[rows + 1] - offset[rows]  # lesions of the image
        first = np.repeat(np.arange(start, start + len(rows)), number)
        shift = offset[rows] - (np.cumsum(number) - number)
        second = np.arange(len(first)) + np.repeat(shift, number)
        closeness = RULES[rule](detections[first], lesions[second], limit)
        yield np.stack([first, second, closeness], axis=1)[closeness > -np.inf]


def _greedy(
    hits: np.ndarray,
    detections: np.ndarray,
    image: np.ndarray,
    lesions: np.ndarray,
    lesion_image: np.ndarray,
) -> Match:
    """Goes through the pairs f64[p, 3], best first; both sides are used once."""
    (first, second), closeness = hits[:, :2].astype(int).T, hits[:, 2]
    # The last key counts first: score, coordinates, closeness, place of the lesion.
    rows = detections[first]
    keys = (*lesions[second].T, -closeness, *rows[:, -2::-1].T, -rows[:, -1])
    order = np.lexsort(keys)
    hit_by: dict[int, int] = {}
    used: set[int] = set()
    for row, lesion in zip(first[order].tolist(), second[order].tolist(), strict=True):
        if row not in used and lesion not in hit_by:
            hit_by[lesion] = row
            used.add(row)
    hit, by = np.array(list(hit_by), int), np.array(list(hit_by.values()), int)
    lesion_score = np.full(len(lesions), -np.inf)
    lesion_score[hit] = detections[by, -1]
    lesion_of = np.full(len(detections), FALSE_POSITIVE)
    lesion_of[first] = REPEAT
    lesion_of[by] = hit
    false = lesion_of == FALSE_POSITIVE
    return Match(
        lesion_score, lesion_image, detections[false, -1], image[false], lesion_of
    )


def _near_center(detections: np.ndarray, lesions: np.ndarray, _: float) -> np.ndarray:
    """Minus the distance of point and centre, -inf when not in the box."""
    point, low, high = center(detections[:, :-1]), lesions[:, :2], lesions[:, 2:]
    room = _OF_COORDINATE * np.maximum(np.abs(low), np.abs(high))
    inside = ((point >= low - room) & (point < high - room)).T
    inside = inside[0] & inside[1]
    return np.where(inside, _nearness(point, lesions), -np.inf)


def _near(detections: np.ndarray, lesions: np.ndarray, most: float) -> np.ndarray:
    """Minus the distance of the centres, -inf when beyond `most`."""
    point = center(detections[:, :-1])
    nearness = _nearness(point, lesions)
    largest = np.maximum(most, np.abs(point).max(axis=1, initial=0.0))
    return np.where(nearness >= -(most + _OF_COORDINATE * largest), nearness, -np.inf)


def _within_radius(detections: np.ndarray, lesions: np.ndarray, _: float) -> np.ndarray:
    """Minus the distance of the centres, -inf outside of the inscribed ellipse."""
    point, middle, sides = center(detections[:, :-1]), center(lesions), lesions.shape[1]
    radius = (lesions[:, sides // 2 :] - lesions[:, : sides // 2]) / 2.0
    room = _OF_COORDINATE * np.maximum(radius, np.abs(point))
    share = np.hypot.reduce((point - middle) / (radius + room), axis=1)
    return np.where(share <= 1.0, _nearness(point, lesions), -np.inf)


def _overlap(detections: np.ndarray, lesions: np.ndarray, least: float) -> np.ndarray:
    """Intersection over union, -inf when below `least`."""
    if detections.shape[1] != 5:
        raise ValueError('rule="iou" needs boxes (x0, y0, x1, y1, score), not points')
    shared = overlap(detections[:, :4], lesions)
    return np.where(shared >= least * (1 - _ROUNDING), shared, -np.inf)


def overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes f64[p, 4] and others f64[p or 1, 4]: f64[p]."""
    low = np.maximum(boxes[:, :2], others[:, :2])
    high = np.minimum(boxes[:, 2:], others[:, 2:])
    common = np.prod(np.maximum(high - low, 0.0), axis=1)
    areas = [np.prod(box[:, 2:] - box[:, :2], axis=1) for box in (boxes, others)]
    return common / (areas[0] + areas[1] - common)


RULES = {
    "center_in_box": _near_center,
    "radius": _within_radius,
    "iou": _overlap,
    "distance": _near,
}
_LESION_COLUMNS = {"radius": (4, 6), "distance": (2, 3, 4, 6)}  # 4 of the others


def center(places: np.ndarray) -> np.ndarray:
    """Points f64[p, 2 or 3] as they are, boxes f64[p, 4 or 6] by their centres."""
    if places.shape[1] < 4:
        return places
    half = places.shape[1] // 2
    return (places[:, :half] + places[:, half:]) / 2.0


def _nearness(point: np.ndarray, lesions: np.ndarray) -> np.ndarray:
    """Minus the distance to the centre of a lesion, f64[p]."""
    return -np.hypot.reduce(point - center(lesions), axis=1)


def _limit(rule: str, iou_threshold: float, max_distance: float | None) -> float:
    """What the rule compares with; checks it."""
    if rule not in RULES:
        raise ValueError(f"rule={rule!r} is unknown; use one of {sorted(RULES)}")
    if rule == "iou" and not 0.0 < iou_threshold <= 1.0:
        raise ValueError(f"iou_threshold={iou_threshold} must be above 0 and at most 1")
    if rule == "distance" and not (max_distance is not None and max_distance >= 0.0):
        raise ValueError(
            'rule="distance" needs max_distance >= 0, in the unit of the coordinates; '
            f"it is {max_distance}"
        )
    return iou_threshold if rule == "iou" else float(max_distance or 0.0)


def _stack(
    name: str, arrays: Sequence[np.ndarray], columns: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of all images f64[k, c] and the image of each i64[k]."""
    tables = [np.asarray(rows, np.float64) for rows in arrays]
    filled = [i for i, table in enumerate(tables) if table.size]
    shapes = {tables[i].shape[1:] for i in filled}
    if len(shapes) > 1 or not shapes <= {(c,) for c in columns}:
        wanted = " or ".join(f"[k, {c}]" for c in columns)
        wrong = sorted({tables[i].shape for i in filled}, key=str)
        raise ValueError(f"{name} {wrong} must be {wanted}, the same in all images")
    numbers = [len(tables[i]) for i in filled]
    image = np.repeat(np.array(filled, int), numbers)
    none = np.empty((0, *(shapes or {columns[:1]}).pop()))
    return np.concatenate([none, *(tables[i] for i in filled)]), image


def check_boxes(boxes: np.ndarray) -> np.ndarray:
    """Boxes as f64[m, 4], finite, x0 < x1 and y0 < y1; any empty array is no box."""
    boxes = np.asarray(boxes, np.float64)
    if not boxes.size:
        return np.empty((0, 4))
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes {boxes.shape} must be [m, 4], (x0, y0, x1, y1)")
    x0, y0, x1, y1 = boxes.T
    good = np.isfinite(boxes).all(axis=1) & (x0 < x1) & (y0 < y1)
    if not good.all():
        raise ValueError(
            f"{np.sum(~good)} of {len(boxes)} boxes, as {boxes[~good][0]}: "
            "must be finite, x0 < x1, y0 < y1"
        )
    return boxes


def _check_lesions(lesions: np.ndarray) -> None:
    """Boxes have an extent, points are finite."""
    if lesions.shape[1] == 4:
        check_boxes(lesions)
    elif lesions.shape[1] == 6 and not (lesions[:, :3] < lesions[:, 3:]).all():
        raise ValueError("a lesion's box in space needs x0 < x1, y0 < y1, z0 < z1")
    elif not np.isfinite(lesions).all():
        raise ValueError("a lesion has a non-finite coordinate")


def _check_detections(
    detections: np.ndarray, image: np.ndarray, shapes: np.ndarray | None
) -> None:
    """Finite, boxes with an area, the point in its image; shapes f64[n, 2] or None."""
    if not np.isfinite(detections).all():
        bad = detections[~np.isfinite(detections).all(axis=1)]
        raise ValueError(
            f"{len(bad)} of {len(detections)} detections have a non-finite score or "
            f"coordinate; the first is {bad[0]}"
        )
    if detections.shape[1] == 5:
        check_boxes(detections[:, :4])
    if shapes is None:
        return
    x, y = center(detections[:, :-1]).T
    high, wide = shapes.T
    inside = (x >= 0) & (x < wide[image]) & (y >= 0) & (y < high[image])
    if not inside.all():
        first = np.flatnonzero(~inside)[0]
        height, width = shapes[image[first]]
        raise ValueError(
            f"{np.sum(~inside)} of {len(inside)} detections, the first at (x, y) = "
            f"({x[first]}, {y[first]}), are outside the image, height {height} and "
            f"width {width}; check the order and scale of coordinates"
        )
