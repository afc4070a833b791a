"""Random cases, and what they come to when every threshold is counted by hand.

Nothing here is clever: loops over images, thresholds, detections and lesions, written
from the definitions and from no line of the package. Scores, places and sizes come from
a few values, so that ties, duplicates and empty sets are the rule.
"""

import dataclasses
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

SIZE = 6  # pixels, of a side
LEAST_OVERLAP, MOST_DISTANCE = 0.25, 1.5

PARAMETERS = {
    "center_in_box": {},
    "iou": {"iou_threshold": LEAST_OVERLAP},
    "distance": {"max_distance": MOST_DISTANCE},
    "radius": {},
}


def cases(number):
    """Runs a test of a random generator so often, each time with the same ones.

    Hypothesis draws the seeds, and each seed stands for ten cases: drawing every number
    of a case by hypothesis would take longer than all that is tested.
    """

    def decorate(test):
        def ten_cases(seed):
            for case in range(10):
                test(np.random.default_rng([seed, case]))

        ten_cases.__name__ = test.__name__
        plan = settings(
            derandomize=True, deadline=None, database=None, max_examples=number // 10
        )
        return plan(given(st.integers(0, 2**32 - 1))(ten_cases))

    return decorate


many_cases, few_cases = cases(2000), cases(500)


@dataclasses.dataclass(frozen=True)
class Films:
    """A few images with detections and lesions, and weights of replicates."""

    found: list  # n lists of rows (x, y, score) or (x0, y0, x1, y1, score)
    lesions: list  # n lists of rows (x0, y0, x1, y1) or (x, y)
    weights: np.ndarray  # f64[3, n], whole numbers; the first row is one each
    counted: list  # n lists of bool, the lesions of a subset


def random_box(rng):
    x0, y0 = rng.integers(0, SIZE, 2)
    return tuple(
        map(float, (x0, y0, rng.integers(x0, SIZE) + 1, rng.integers(y0, SIZE) + 1))
    )


def random_point(rng):
    return tuple(rng.integers(0, 2 * SIZE, 2) / 2)


def random_weights(rng, n):
    return np.stack([np.ones(n), *rng.integers(0, 4, (2, n))])


def random_films(rng, rule):
    """One to four images; half of all cases draw detections as boxes."""
    n = int(rng.integers(1, 5))
    place = random_box if rule == "iou" or rng.random() < 0.5 else random_point
    lesion = random_point if rule == "distance" and rng.random() < 0.5 else random_box
    found = [
        [(*place(rng), rng.integers(1, 5) / 4) for _ in range(rng.integers(0, 6))]
        for _ in range(n)
    ]
    lesions = [[lesion(rng) for _ in range(max(0, rng.integers(-2, 4)))] for _ in found]
    for rows in (*found, *lesions):  # some rows twice
        if rows and rng.random() < 0.2:
            rows.append(rows[0])
    counted = [[bool(rng.random() < 0.6) for _ in each] for each in lesions]
    return Films(found, lesions, random_weights(rng, n), counted)


def center(place):
    half = len(place) // 2
    return [(place[k] + place[k - half]) / 2 for k in (0, 1)] if half == 2 else place


def holds(box, x, y):
    return box[0] <= x < box[2] and box[1] <= y < box[3]


def overlap(a, b):
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    common = max(wide, 0) * max(high, 0)
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return common / (area - common)


def badness(rule, place, lesion):
    """How bad a hit would be, the lower the better; None is not a hit."""
    x, y = center(place)
    away = math.dist((x, y), center(lesion))
    if rule == "iou":
        share = overlap(place, lesion)
        return -share if share >= LEAST_OVERLAP else None
    if rule == "distance":
        return away if away <= MOST_DISTANCE else None
    if rule == "radius":
        (u, v), (wide, high) = (
            center(lesion),
            (lesion[2] - lesion[0], lesion[3] - lesion[1]),
        )
        share = (2 * (x - u) / wide) ** 2 + (2 * (y - v) / high) ** 2
        return away if share <= 1 + 1e-9 else None
    return away if holds(lesion, x, y) else None


def greedy(rule, rows, lesions):
    """The set of lesions hit and the number of false positives of one image."""
    taken, false = set(), 0
    for row in sorted(rows, key=lambda row: (-row[-1], row)):
        can = {
            j: badness(rule, row[:-1], lesion)
            for j, lesion in enumerate(lesions)
            if badness(rule, row[:-1], lesion) is not None
        }
        free = [j for j in can if j not in taken]
        if free:
            taken.add(min(free, key=lambda j: (can[j], lesions[j][::-1])))
        elif not can:
            false += 1
    return taken, false


def count_points(rule, films, weights, *, subset=False):
    """(threshold, weighted recall, weighted false rate) at every score there is."""
    counted = films.counted if subset else [[True] * len(x) for x in films.lesions]
    total = sum(w * sum(which) for w, which in zip(weights, counted, strict=True))
    scores = {row[-1] for rows in films.found for row in rows}
    if not total:
        return
    for threshold in [np.inf, *sorted(scores, reverse=True)]:
        hit = false = 0
        for i, w in enumerate(weights):
            rows = [row for row in films.found[i] if row[-1] >= threshold]
            taken, wrong = greedy(rule, rows, films.lesions[i])
            hit += w * sum(counted[i][j] for j in taken)
            false += w * wrong
        yield threshold, hit / total, false / sum(weights)


@dataclasses.dataclass(frozen=True)
class Maps:
    """A few maps with boxes, masks and weights of replicates."""

    maps: np.ndarray  # f32[n, 6, 6]
    valid: np.ndarray  # bool[n, 6, 6]
    boxes: list
    weights: np.ndarray  # f64[3, n]
    counted: list


def random_maps(rng):
    n = int(rng.integers(1, 4))
    maps = rng.integers(0, 6, (n, SIZE, SIZE)).astype(np.float32) / 8
    valid = rng.random(maps.shape) < rng.choice([0.5, 0.9, 1.0])
    boxes = [
        [random_box(rng) for _ in range(max(0, rng.integers(-2, 4)))] for _ in maps
    ]
    counted = [[bool(rng.random() < 0.6) for _ in each] for each in boxes]
    return Maps(maps, valid, boxes, random_weights(rng, n), counted)


def area_points(case, weights, *, subset=False):
    """The same for the shares of activated pixels, pixel by pixel."""
    counted = case.counted if subset else [[True] * len(x) for x in case.boxes]
    total = sum(w * sum(which) for w, which in zip(weights, counted, strict=True))
    outside = [
        (w, case.maps[i, y, x])
        for i, w in enumerate(weights)
        for y in range(SIZE)
        for x in range(SIZE)
        if case.valid[i, y, x]
        and not any(holds(box, x + 0.5, y + 0.5) for box in case.boxes[i])
    ]
    centers = []
    for w, boxes, which, values, valid in zip(
        weights, case.boxes, counted, case.maps, case.valid, strict=True
    ):
        for box, counts in zip(boxes, which, strict=True):
            x, y = map(int, center(box))
            centers += [(w * counts, values[y, x] if valid[y, x] else -np.inf)]
    units = sum(w for w, _ in outside)
    if not (total and units):
        return
    for threshold in [np.inf, *sorted(set(case.maps.ravel().tolist()), reverse=True)]:
        hit = sum(w for w, value in centers if value >= threshold)
        false = sum(w for w, value in outside if value >= threshold)
        yield threshold, hit / total, false / units


def best_below(points, limits):
    """The largest recall at a rate that is not larger than each limit."""
    points = list(points)
    if not points:
        return [np.nan] * len(limits)
    return [max(p[1] for p in points if p[2] <= limit) for limit in limits]


def random_scores(rng):
    """Scores f64[n] of few values, labels i64[n], weights f64[3, n]; n from 0."""
    n = int(rng.integers(0, 13))
    prevalence = rng.choice([0.0, 0.2, 0.5, 1.0], p=[0.05, 0.4, 0.5, 0.05])
    labels = (rng.random(n) < prevalence).astype(int)
    return rng.integers(-3, 4, n) / 4, labels, random_weights(rng, n)


def pairwise_auroc(scores, labels):
    wins = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a in scores[labels == 1]
        for b in scores[labels == 0]
    ]
    return sum(wins) / len(wins) if wins else np.nan


def stepwise_average_precision(scores, labels):
    if not 0 < labels.sum() < len(labels):
        return np.nan
    total, recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        called = scores >= threshold
        now = labels[called].sum() / labels.sum()
        total += (now - recall) * labels[called].mean()
        recall = now
    return total
