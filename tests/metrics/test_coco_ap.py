"""COCO's AP against its definition in loops, and against numbers of its own program."""

import numpy as np
import pytest

from aals_jax.metrics import coco_ap


def case(seed, n=12, most=6):
    """Boxes and detections that scatter around them; all scores differ."""
    rng = np.random.default_rng(seed)
    lesions, found = [], []
    for _ in range(n):
        m = int(rng.integers(0, 4))
        corner = rng.integers(0, 60, (m, 2)).astype(float)
        lesions.append(np.c_[corner, corner + rng.integers(10, 30, (m, 2))])
        rows = []
        for box in lesions[-1]:
            near = [box + rng.integers(-4, 5, 4) for _ in range(rng.integers(0, 3))]
            rows += [[*one, 0] for one in near]
        for _ in range(rng.integers(0, most)):
            x, y = rng.integers(0, 80, 2)
            rows.append([x, y, x + 15, y + 12, 0])
        found.append(np.reshape(np.array(rows, float), (-1, 5)))
    scores = rng.permutation(sum(map(len, found))) / 1000
    start = 0
    for rows in found:
        rows[:, 4] = scores[start : start + len(rows)]
        start += len(rows)
    return found, lesions


def overlap(a, b):
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    common = max(wide, 0) * max(high, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return common / (sum(areas) - common)


def by_loops(found, lesions, iou):
    """The definition: one list of all detections, each recall level by itself."""
    calls = sorted(
        ((row[4], i, row) for i, rows in enumerate(found) for row in rows),
        key=lambda call: -call[0],
    )
    taken, curve, true = set(), [], 0
    total = sum(map(len, lesions))
    for number, (_, i, row) in enumerate(calls, start=1):
        free = [
            (overlap(row, box), j)
            for j, box in enumerate(lesions[i])
            if (i, j) not in taken and overlap(row, box) >= iou
        ]
        if free:
            taken.add((i, max(free)[1]))
            true += 1
        curve.append((true / total, true / number))
    levels = np.linspace(0, 1, 101)
    return np.mean([max([p for r, p in curve if r >= x], default=0.0) for x in levels])


@pytest.mark.parametrize("seed", range(30))
def test_it_is_the_definition(seed):
    found, lesions = case(seed)
    for iou in (0.5, 0.75, 0.9):
        value = coco_ap.average_precision(coco_ap.collect(found, lesions, iou=iou))
        assert value == pytest.approx(by_loops(found, lesions, iou))


def test_a_weight_is_a_copy_and_the_order_of_rows_has_no_influence():
    found, lesions = case(1)
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 3, (5, 12)).astype(float)
    data = coco_ap.collect(found, lesions, iou=0.5)
    values = coco_ap.average_precision(data, weights=weights)
    for value, row in zip(values, weights.astype(int), strict=True):
        which = np.repeat(np.arange(12), row)
        copies = [found[i] for i in which], [lesions[i] for i in which]
        whole = coco_ap.collect(*copies, iou=0.5)
        assert value == pytest.approx(coco_ap.average_precision(whole))
    tied = [np.c_[rows[:, :4], np.round(rows[:, 4], 1)] for rows in found]
    turned = [rows[::-1] for rows in tied]
    first, second = (
        coco_ap.average_precision(coco_ap.collect(rows, lesions, iou=0.5))
        for rows in (tied, turned)
    )
    assert first == second


def test_limits():
    found, lesions = case(2)
    perfect = [np.c_[boxes, np.full(len(boxes), 0.9)] for boxes in lesions]
    data = coco_ap.collect(perfect, lesions, iou=0.95)
    assert coco_ap.average_precision(data) == 1.0
    nothing = [np.empty((0, 5))] * 12
    silent = coco_ap.collect(nothing, lesions, iou=0.5)
    assert coco_ap.average_precision(silent) == 0.0
    none = coco_ap.collect(found, [np.empty((0, 4))] * 12, iou=0.5)
    assert np.isnan(coco_ap.average_precision(none))
    ious = [
        coco_ap.average_precision(coco_ap.collect(found, lesions, iou=iou))
        for iou in coco_ap.IOUS
    ]
    assert np.all(np.diff(ious) <= 1e-12)


def test_only_the_highest_hundred_of_an_image_count():
    box = np.array([[0.0, 0.0, 10.0, 10.0]])
    away = np.array([[50.0, 50.0, 60.0, 60.0]])
    scores = np.linspace(0.5, 0.9, 100)
    rows = np.r_[np.c_[np.repeat(away, 100, 0), scores], np.c_[box, 0.4]]
    assert coco_ap.average_precision(coco_ap.collect([rows], [box], iou=0.5)) == 0.0
    fewer = coco_ap.collect([rows[1:]], [box], iou=0.5)
    assert coco_ap.average_precision(fewer) == pytest.approx(1 / 100)


@pytest.mark.parametrize(
    ("seed", "expected"),
    [
        (0, (0.13496577044922536, 0.37237710613166586, 0.036386138613861384)),
        (1, (0.09148806057076296, 0.4171758352305819, 0.023762376237623766)),
        (2, (0.08277715705528138, 0.2901049698481872, 0.02104252978489338)),
        (3, (0.06913058881790618, 0.20944877650422813, 0.0)),
    ],
)
def test_numbers_of_pycocotools(seed, expected):
    """AP, AP50 and AP75 that pycocotools 2.0.11 gave for the same boxes."""
    found, lesions = case(seed)
    each = [
        coco_ap.average_precision(coco_ap.collect(found, lesions, iou=iou))
        for iou in coco_ap.IOUS
    ]
    assert (np.mean(each), each[0], each[5]) == pytest.approx(expected, abs=1e-12)
