"""Both FROC definitions against a count over all thresholds, then easy cases."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aals_jax import froc, matching

exhaustive = settings(derandomize=True, deadline=None, max_examples=300, database=None)
LIMITS = (0.0, 0.1, 0.2, 0.25, 1 / 3, 0.5, 1.0, 2.0, 4.0)

coordinates = st.integers(0, 11).map(lambda x: x / 2)
levels = st.integers(1, 4).map(lambda x: x / 4)


@st.composite
def boxes_in_image(draw, size=6):
    x, y = draw(st.integers(0, size - 1)), draw(st.integers(0, size - 1))
    return x, y, draw(st.integers(x + 1, size)), draw(st.integers(y + 1, size))


@st.composite
def detection_sets(draw):
    """Images of 6 x 6 pixels, few scores; lesions and detections may be missing."""
    n = draw(st.integers(1, 4))
    points = st.tuples(coordinates, coordinates, levels)
    lesions = [draw(st.lists(boxes_in_image(), max_size=3)) for _ in range(n)]
    found = [draw(st.lists(points, max_size=5)) for _ in range(n)]
    weights = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    return found, lesions, np.array(weights, float)


@st.composite
def map_sets(draw):
    n = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    maps = rng.integers(0, 6, (n, 6, 6)).astype(np.float32) / 8
    valid = rng.random((n, 6, 6)) < draw(st.sampled_from([0.5, 0.9, 1.0]))
    boxes = [draw(st.lists(boxes_in_image(), max_size=3)) for _ in range(n)]
    weights = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    return maps, boxes, valid, np.array(weights, float)


def holds(box, x, y):
    return box[0] <= x < box[2] and box[1] <= y < box[3]


def greedy(points, boxes):
    """Lesions hit and false positives of one image, from the points given alone."""
    taken, false = set(), 0
    for x, y, _ in sorted(points, key=lambda p: (-p[2], p[0], p[1])):
        hit = [j for j, box in enumerate(boxes) if holds(box, x, y)]
        free = [j for j in hit if j not in taken]

        def near(j, x=x, y=y):
            a, b, c, d = boxes[j]
            squared = ((a + c) / 2 - x) ** 2 + ((b + d) / 2 - y) ** 2
            return squared, d, c, b, a

        if free:
            taken.add(min(free, key=near))
        elif not hit:
            false += 1
    return len(taken), false


def count_points(found, lesions, weights):
    """(threshold, weighted recall, weighted false rate) at every score there is."""
    scores = {p[2] for points in found for p in points}
    total = sum(w * len(boxes) for w, boxes in zip(weights, lesions, strict=True))
    for threshold in [np.inf, *sorted(scores, reverse=True)]:
        hit = false = 0
        for w, points, boxes in zip(weights, found, lesions, strict=True):
            h, f = greedy([p for p in points if p[2] >= threshold], boxes)
            hit, false = hit + w * h, false + w * f
        if total and weights.sum():
            yield threshold, hit / total, false / weights.sum()


def area_points(maps, boxes, valid, weights):
    """The same for the shares of activated pixels, pixel by pixel."""
    total = sum(w * len(each) for w, each in zip(weights, boxes, strict=True))
    outside = np.array(
        [
            [
                [
                    valid[i, y, x]
                    and not any(holds(b, x + 0.5, y + 0.5) for b in boxes[i])
                    for x in range(6)
                ]
                for y in range(6)
            ]
            for i in range(len(maps))
        ]
    )
    pixels = (outside.sum(axis=(1, 2)) * weights).sum()
    if not (total and pixels):
        return
    for threshold in [np.inf, *np.unique(maps)[::-1]]:
        active = (maps >= threshold) & valid
        hit = sum(
            w * active[i, (y0 + y1) // 2, (x0 + x1) // 2]
            for i, w in enumerate(weights)
            for x0, y0, x1, y1 in boxes[i]
        )
        false = ((active & outside).sum(axis=(1, 2)) * weights).sum()
        yield threshold, hit / total, false / pixels


def best_below(points, limits):
    """The largest recall at a rate that is not larger than each limit."""
    points = list(points)
    if not points:
        return [np.nan] * len(limits)
    return [max(p[1] for p in points if p[2] <= limit) for limit in limits]


@exhaustive
@given(detection_sets())
def test_count_is_the_best_of_all_thresholds(images):
    found, lesions, weights = images
    data = froc.count_data(found, lesions)
    for weight in (np.ones(len(found)), weights):
        expected = best_below(count_points(found, lesions, weight), LIMITS)
        value = froc.sensitivity_at(data, LIMITS, weights=weight)
        np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(
        froc.sensitivity_at(data, LIMITS),
        froc.sensitivity_at(data, LIMITS, weights=np.ones(len(found))),
    )


@exhaustive
@given(map_sets())
def test_area_is_the_best_of_all_thresholds(images):
    maps, boxes, valid, weights = images
    data = froc.area_data(maps, boxes, valid=valid)
    limits = (*LIMITS, *froc.AREA_LIMITS)
    for weight in (np.ones(len(maps)), weights):
        expected = best_below(area_points(maps, boxes, valid, weight), limits)
        value = froc.sensitivity_at(data, limits, weights=weight)
        np.testing.assert_array_equal(value, expected)


@exhaustive
@given(detection_sets())
def test_every_point_of_the_curve_is_reached_at_its_threshold(images):
    found, lesions, _ = images
    ones = np.ones(len(found))
    points = {t: (r, f) for t, r, f in count_points(found, lesions, ones)}
    curve = froc.froc_curve(froc.count_data(found, lesions))
    if not points:
        assert np.isnan(curve.sensitivity).all()
        return
    points[-np.inf] = points[min(points)]
    for threshold, recall, rate in zip(
        curve.threshold, curve.sensitivity, curve.false_rate, strict=True
    ):
        assert points[threshold] == (recall, rate)
    assert {recall for recall, _ in points.values()} == set(curve.sensitivity)


@exhaustive
@given(detection_sets(), st.randoms(use_true_random=False))
def test_the_order_of_rows_has_no_influence(images, random):
    found, lesions, _ = images
    before = froc.count_data(found, lesions)
    for rows in (*found, *lesions):
        random.shuffle(rows)
    after = froc.count_data(found, lesions)
    np.testing.assert_array_equal(after.false_counts, before.false_counts)
    np.testing.assert_array_equal(
        np.sort(after.lesion_score), np.sort(before.lesion_score)
    )


@exhaustive
@given(map_sets())
def test_an_integer_weight_is_a_repetition(images):
    maps, boxes, valid, weights = images
    times = np.repeat(np.arange(len(maps)), weights.astype(int))
    again = froc.area_data(maps[times], [boxes[i] for i in times], valid=valid[times])
    weighted = froc.sensitivity_at(
        froc.area_data(maps, boxes, valid=valid), froc.AREA_LIMITS, weights=weights
    )
    repeated = froc.sensitivity_at(again, froc.AREA_LIMITS)
    np.testing.assert_array_equal(weighted, repeated)


def simulated(num_images=60, seed=0):
    rng = np.random.default_rng(seed)
    maps = rng.random((num_images, 8, 8), np.float32)
    boxes = [np.array([[2, 2, 5, 6], [5, 0, 8, 3]])[: rng.integers(0, 3)] for _ in maps]
    points = [
        np.c_[rng.random((k, 2)) * 8, rng.integers(0, 20, k) / 20]
        for k in rng.integers(0, 8, num_images)
    ]
    return maps, boxes, points


def both(seed=0):
    maps, boxes, points = simulated(seed=seed)
    return [froc.count_data(points, boxes), froc.area_data(maps, boxes)]


@pytest.mark.parametrize("block", [1, 100, 1 << 22])
def test_replicates_at_once_equal_a_loop_in_blocks_of_any_size(block, monkeypatch):
    rng = np.random.default_rng(3)
    weights = rng.integers(0, 4, (2, 5, 60)).astype(float)
    for data in both():
        loop = [froc.sensitivity_at(data, LIMITS, weights=w) for w in weights[0]]
        monkeypatch.setattr(froc, "_BLOCK", block)
        at_once = froc.sensitivity_at(data, LIMITS, weights=weights)
        assert at_once.shape == (2, 5, len(LIMITS))
        np.testing.assert_array_equal(at_once[0], loop)
        score = froc.froc_score(data, LIMITS, weights=weights)
        np.testing.assert_array_equal(score, at_once.mean(axis=-1))


def test_a_monotone_transform_of_all_scores_changes_nothing():
    maps, boxes, points = simulated()
    count, area = both()
    bent = [np.c_[each[:, :2], np.exp(each[:, 2]) - 9] for each in points]
    changed = froc.count_data(bent, boxes), froc.area_data(np.exp(maps) - 9, boxes)
    for before, after in zip((count, area), changed, strict=True):
        np.testing.assert_array_equal(
            froc.sensitivity_at(before, LIMITS), froc.sensitivity_at(after, LIMITS)
        )


def test_the_curve_rises():
    for data in both():
        curve = froc.froc_curve(data)
        assert (np.diff(curve.threshold[:-1]) < 0).all()
        assert (np.diff(curve.false_rate) >= 0).all()
        assert (np.diff(curve.sensitivity) >= 0).all()
        assert curve.false_rate[0] == curve.sensitivity[0] == 0
    assert curve.false_rate[-1] == 1.0  # at the end every outside pixel is activated


BOX = [[0, 0, 10, 10]]


def test_one_hit_below_one_false_positive():
    data = froc.count_data([[[5, 5, 0.1], [20, 20, 0.2]]], [BOX])
    np.testing.assert_array_equal(froc.sensitivity_at(data, (0.5, 1)), [0.0, 1.0])
    assert froc.froc_score(data, froc.COUNT_LIMITS) == 0.5


def test_only_false_positives_score_zero_and_so_does_silence():
    for found in ([[20, 20, 0.2]], []):
        data = froc.count_data([found], [BOX])
        assert froc.froc_score(data, froc.COUNT_LIMITS) == 0.0
        assert froc.undefined_reason(data) == ""


def test_no_lesion_has_no_value_and_a_reason():
    for data in (
        froc.count_data([[[20, 20, 0.2]], []], [[], []]),
        froc.area_data(np.zeros((2, 4, 4)), [[], []]),
        froc.count_data([], []),
    ):
        assert np.isnan(froc.froc_score(data, froc.COUNT_LIMITS))
        assert froc.undefined_reason(data) == f"no lesion in {len(data.units)} images"
        curve = froc.froc_curve(data)
        np.testing.assert_array_equal(curve.threshold, [np.inf, -np.inf])
        assert np.isnan(curve.sensitivity).all()


def test_a_second_hit_counts_neither_for_nor_against():
    found = matching.match([[1, 1, 0.5], [2, 2, 0.9], [3, 3, 0.7], [30, 1, 0.6]], BOX)
    np.testing.assert_array_equal(found.lesion_score, [0.9])
    np.testing.assert_array_equal(found.false_score, [0.6])
    repeat, false = matching.REPEAT, matching.FALSE_POSITIVE
    np.testing.assert_array_equal(found.lesion_of, [repeat, 0, repeat, false])


def test_one_detection_in_two_lesions_recalls_the_nearer_one():
    found = matching.match([[4, 4, 0.5]], [[0, 0, 20, 20], [2, 2, 7, 7]])
    np.testing.assert_array_equal(found.lesion_score, [-np.inf, 0.5])


def test_the_right_edge_of_a_box_is_outside():
    found = matching.match([[0, 0, 0.5], [10, 5, 0.6]], BOX)
    np.testing.assert_array_equal(found.false_score, [0.6])


def test_overlap_rule():
    boxes = [[0, 0, 10, 5, 0.9], [20, 20, 30, 30, 0.8]]
    for least, score in ((0.5, 0.9), (0.51, -np.inf)):
        found = matching.match(boxes, BOX, rule="iou", iou_threshold=least)
        np.testing.assert_array_equal(found.lesion_score, [score])
    assert len(found.false_score) == 2
    centre = matching.match(boxes, BOX)  # the centre of a box is its point
    np.testing.assert_array_equal(centre.lesion_score, [0.9])


def test_negative_images_thin_out_the_false_positives():
    found = [[[5, 5, 0.1], [20, 20, 0.2]]] + [[]] * 9
    data = froc.count_data(found, [BOX] + [[]] * 9)
    # One false positive in ten images is exactly 0.1 per image.
    np.testing.assert_array_equal(froc.sensitivity_at(data, (0.1,)), [1.0])


def test_area_by_hand():
    values = np.zeros((10, 10))
    values[2, 2] = 0.5  # x0 + x1 = 5: the centre 2.5 is in pixel 2
    values[9, 9] = 0.8
    data = froc.area_data([values], [[[0, 0, 5, 5]]])
    assert data.units.tolist() == [75.0]
    assert data.false_counts.tolist() == [[1]]
    np.testing.assert_array_equal(
        froc.sensitivity_at(data, (0.01, 0.02)), [0.0, 1.0]
    )  # 1 / 75 = 0.0133
    assert froc.froc_score(data, froc.AREA_LIMITS) == pytest.approx(0.9)


def test_a_box_over_the_border_does_not_wrap_round():
    values = np.arange(64.0).reshape(8, 8)
    data = froc.area_data([values], [[[-3, -2, 5, 4]]])
    assert data.units.tolist() == [64.0 - 5 * 4]
    np.testing.assert_array_equal(data.lesion_score, [values[1, 1]])
    with pytest.raises(ValueError, match="outside the map"):
        froc.area_data([values], [[[-3, 0, 1, 2]]])


def test_pixels_count_as_inside_by_their_centres():
    values = np.zeros((4, 4))
    for right, inside in ((1.4, 1), (1.5, 1), (1.6, 2)):
        data = froc.area_data([values], [[[0, 0, right, 1]]])
        assert data.units.tolist() == [16 - inside]


def test_padding_is_neither_recalled_nor_false():
    values = np.ones((4, 4), np.float16)
    valid = np.arange(16).reshape(4, 4) >= 8
    values[0, 3] = np.nan  # nobody looks at padding
    data = froc.area_data([values], [[[0, 0, 1, 1]]], valid=[valid])
    np.testing.assert_array_equal(data.lesion_score, [-np.inf])
    assert data.units.tolist() == [8]
    assert froc.froc_score(data, (1.0,)) == 0.0


def test_a_box_over_the_whole_map_leaves_no_pixel_to_be_false():
    data = froc.area_data([np.ones((4, 4))], [[[0, 0, 4, 4]]])
    assert np.isnan(froc.froc_score(data, froc.AREA_LIMITS))
    assert froc.undefined_reason(data) == "no pixel outside the boxes"


def test_a_replicate_without_lesions_or_images_is_nan():
    data = froc.count_data([[[5, 5, 0.1]], []], [BOX, []])
    weights = np.array([[1.0, 1.0], [0.0, 2.0], [0.0, 0.0], [2.0, 0.0]])
    np.testing.assert_array_equal(
        froc.froc_score(data, (1.0,), weights=weights), [1.0, np.nan, np.nan, 1.0]
    )


def test_the_record_is_frozen():
    data = froc.count_data([[]], [BOX])
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.units = np.ones(2)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[5, 5, np.nan]], "non-finite"),
        ([[5, 5, np.inf]], "non-finite"),
        ([[np.nan, 5, 0.5]], "non-finite"),
        ([[-1, 5, 0.5]], "outside the image"),
        ([[5, 12, 0.5]], "outside the image"),
        ([[16, 5, 0.5]], "outside the image"),
        ([[14, 0, 20, 4, 0.5]], "outside the image"),
        ([[4, 0, 2, 4, 0.5]], "x0 < x1"),
        ([[4, 0]], "must be"),
    ],
)
def test_bad_detections_are_errors(rows, message):
    matching.match([[15.9, 11.9, 0.5]], BOX, image_shape=(12, 16))
    with pytest.raises(ValueError, match=message):
        matching.match(rows, BOX, image_shape=(12, 16))


def test_other_bad_input_is_named():
    values = np.zeros((4, 4))
    with pytest.raises(ValueError, match="x0 < x1"):
        matching.match([], [[5, 5, 5, 9]])
    with pytest.raises(ValueError, match="unknown"):
        matching.match([], BOX, rule="touch")
    with pytest.raises(ValueError, match="needs boxes"):
        matching.match([[1, 1, 0.5]], BOX, rule="iou")
    with pytest.raises(ValueError, match="iou_threshold"):
        matching.match([[0, 0, 1, 1, 0.5]], BOX, rule="iou", iou_threshold=0.0)
    with pytest.raises(ValueError, match="zip"):
        froc.count_data([[]], [BOX, BOX])
    with pytest.raises(ValueError, match="box lists"):
        froc.area_data([values], [[], []])
    with pytest.raises(ValueError, match="non-finite"):
        froc.area_data([values + np.nan], [[]])
    with pytest.raises(ValueError, match="centre of a box"):
        froc.area_data([values + np.nan], [[[0, 0, 2, 2]]])
    data = froc.count_data([[]], [BOX])
    with pytest.raises(ValueError, match="not negative"):
        froc.froc_score(data, (-1.0,))
    with pytest.raises(ValueError, match="must end in"):
        froc.froc_score(data, (1.0,), weights=np.ones((3, 2)))
