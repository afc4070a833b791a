"""Peaks and scores of maps: laws, then numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from aals_jax.metrics import detection, matching

exhaustive = settings(derandomize=True, deadline=None, max_examples=300, database=None)


@st.composite
def maps(draw):
    rng = np.random.default_rng(draw(st.integers(0, 100_000)))
    shape = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    return rng.integers(0, draw(st.integers(1, 6)) + 1, shape).astype(np.float32) / 8


def peaks_by_definition(values, distance, threshold):
    """Plateaus with nothing higher in reach, thinned out from the highest down."""
    height, width = values.shape
    places = []
    for level in np.unique(values[values >= threshold]):
        labels, count = ndimage.label(values == level, np.ones((3, 3)))
        for k in range(1, count + 1):
            pixels = np.argwhere(labels == k)
            reach = [
                values[y, x]
                for py, px in pixels
                for y in range(max(py - distance, 0), min(py + distance + 1, height))
                for x in range(max(px - distance, 0), min(px + distance + 1, width))
            ]
            if max(reach) > level:
                continue
            center = pixels.mean(axis=0)
            squared = np.square(pixels - center).sum(axis=1)
            if squared.min() > 1:
                center = pixels[squared.argmin()]
            places.append((-level, center[0] + 0.5, center[1] + 0.5))
    kept = []
    for place in sorted(places):
        if all(
            max(abs(place[1] - y), abs(place[2] - x)) > distance for _, y, x in kept
        ):
            kept.append(place)
    return [(x, y, -level) for level, y, x in kept]


def gaussian(shape, x, y, sigma=2.0):
    rows, columns = np.indices(shape) + 0.5
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))


@exhaustive
@given(maps(), st.integers(1, 3))
def test_a_detection_is_a_plateau_with_nothing_higher_in_reach(values, distance):
    found = detection.find_detections(values, min_distance=distance, threshold=0.2)
    expected = peaks_by_definition(values, distance, 0.2)
    np.testing.assert_allclose(
        found.rows(), np.reshape(expected, (-1, 3)), rtol=0, atol=1e-12
    )


@exhaustive
@given(maps(), st.integers(1, 3))
def test_detections_are_apart_sorted_and_in_the_map(values, distance):
    found = detection.find_detections(values, min_distance=distance, threshold=0.2)
    assert (np.diff(found.score) <= 0).all()
    assert (found.score >= 0.2).all()
    height, width = values.shape
    assert ((found.x > 0) & (found.x < width)).all()
    assert ((found.y > 0) & (found.y < height)).all()
    apart = np.maximum(abs(found.x[:, None] - found.x), abs(found.y[:, None] - found.y))
    np.fill_diagonal(apart, np.inf)
    assert (apart > distance).all()
    matching.match(found.rows(), [], image_shape=values.shape)
    fewer = detection.find_detections(
        values, min_distance=distance, threshold=0.2, max_detections=2
    )
    np.testing.assert_array_equal(fewer.rows(), found.rows()[:2])


def test_a_mirrored_map_has_mirrored_detections():
    values = ndimage.gaussian_filter(np.random.default_rng(0).random((40, 60)), 2)
    found = detection.find_detections(values, min_distance=3, threshold=0.0)
    mirrored = detection.find_detections(values[:, ::-1], min_distance=3, threshold=0.0)
    assert len(found.x) > 5
    np.testing.assert_allclose(mirrored.x, 60 - found.x)
    np.testing.assert_array_equal(mirrored.y, found.y)


def test_a_blob_is_found_where_it_is():
    values = gaussian((30, 40), 12.5, 7.5) + 0.5 * gaussian((30, 40), 31.5, 20.5)
    found = detection.find_detections(values, min_distance=3, threshold=0.1)
    np.testing.assert_allclose(
        found.rows(), [[12.5, 7.5, 1.0], [31.5, 20.5, 0.5]], atol=1e-6
    )


def test_a_blob_between_pixels_is_a_plateau_of_two_by_two():
    values = np.zeros((8, 8))
    values[2:4, 4:6] = 0.75
    found = detection.find_detections(values, min_distance=1, threshold=0.1)
    np.testing.assert_array_equal(found.rows(), [[5.0, 3.0, 0.75]])


def test_a_shelf_beside_a_peak_is_no_detection():
    values = np.zeros((5, 20))
    values[2, 2:18] = 0.5
    values[2, 2] = 0.9
    found = detection.find_detections(values, min_distance=2, threshold=0.1)
    np.testing.assert_array_equal(found.rows(), [[2.5, 2.5, 0.9]])


def test_a_ring_is_one_detection_on_the_ring():
    values = np.zeros((9, 9))
    values[1:8, 1:8] = 0.5
    values[2:7, 2:7] = 0.25
    found = detection.find_detections(values, min_distance=1, threshold=0.4)
    assert len(found.x) == 1
    assert values[int(found.y[0]), int(found.x[0])] == 0.5


def test_equal_peaks_in_reach_of_each_other_are_one():
    values = np.zeros((5, 9))
    values[2, [2, 4]] = 0.5
    for distance, count in ((1, 2), (2, 1)):
        found = detection.find_detections(values, min_distance=distance, threshold=0.1)
        assert len(found.x) == count


def test_a_constant_map_is_one_detection_or_none():
    values = np.full((6, 10), 0.5, np.float16)
    found = detection.find_detections(values, min_distance=2, threshold=0.5)
    np.testing.assert_array_equal(found.rows(), [[5.0, 3.0, 0.5]])
    none = detection.find_detections(values, min_distance=2, threshold=0.6)
    assert none.rows().shape == (0, 3)


def test_padding_holds_no_peak_and_hides_none():
    values = gaussian((20, 20), 4.5, 4.5)
    values[:, 8:] = 0.9
    values[0, 19] = np.nan
    valid = np.arange(20) < 8 + np.zeros((20, 1))
    found = detection.find_detections(
        values, min_distance=5, threshold=0.5, valid=valid
    )
    np.testing.assert_allclose(found.rows(), [[4.5, 4.5, 1.0]])
    assert detection.image_score(values, valid) == 1.0


def test_a_stride_multiplies_and_an_affine_maps():
    points = np.array([[0.5, 1.5], [4.0, 2.0]])
    np.testing.assert_array_equal(detection.to_image(points, 4), points * 4)
    affine = np.array([[0.0, 2.0, 1.0], [3.0, 0.0, -1.0]])
    np.testing.assert_array_equal(
        detection.to_image(points, affine), [[4.0, 0.5], [5.0, 11.0]]
    )
    boxes = np.array([[0.0, 1.0, 2.0, 3.0]])
    corners = detection.to_image(boxes.reshape(-1, 2, 2), 2.5)
    np.testing.assert_array_equal(corners.reshape(-1, 4), boxes * 2.5)


def test_a_coarse_map_finds_the_place_of_the_fine_one():
    fine = gaussian((64, 64), 22.0, 42.0, sigma=6.0)
    coarse = fine.reshape(16, 4, 16, 4).mean(axis=(1, 3))
    found = detection.find_detections(coarse, min_distance=2, threshold=0.5)
    place = detection.to_image(found.rows()[:, :2], 4)
    np.testing.assert_allclose(place, [[22.0, 42.0]])


def test_image_scores_lie_between_mean_and_max():
    values = np.random.default_rng(0).random((16, 16))
    largest = np.sort(values, axis=None)[::-1]
    assert detection.image_score(values) == values.max()
    mean = detection.image_score(values, pooling="top_k_mean", top_k=5)
    assert mean == pytest.approx(largest[:5].mean())
    everything = detection.image_score(values, pooling="top_k_mean", top_k=999)
    assert everything == pytest.approx(values.mean())
    for sharpness, limit in ((1e-5, values.mean()), (1e5, values.max())):
        smooth = detection.image_score(
            values, pooling="log_sum_exp", sharpness=sharpness
        )
        assert smooth == pytest.approx(limit, abs=1e-4)
    direct = np.log(np.mean(np.exp(10 * values))) / 10
    assert detection.image_score(values, pooling="log_sum_exp") == pytest.approx(direct)
    odds = np.exp(np.mean(np.log(values / (1 - values))))  # their geometric mean
    score = detection.image_score(values, pooling="mean_logit")
    assert score == pytest.approx(odds / (1 + odds))
    certain = np.array([[0.0, 1.0]], np.float32)  # as rounding leaves them
    assert 0 < detection.image_score(certain, pooling="mean_logit") < 1


def test_bad_input_is_named():
    values = np.zeros((4, 4))
    find = detection.find_detections
    with pytest.raises(ValueError, match="min_distance=0"):
        find(values, min_distance=0, threshold=0.5)
    with pytest.raises(ValueError, match="threshold=nan"):
        find(values, min_distance=1, threshold=np.nan)
    with pytest.raises(ValueError, match="non-finite"):
        find(values + np.inf, min_distance=1, threshold=0.5)
    with pytest.raises(ValueError, match="take one channel"):
        find(values[..., None], min_distance=1, threshold=0.5)
    with pytest.raises(ValueError, match="must agree"):
        find(values, min_distance=1, threshold=0.5, valid=np.ones((3, 4), bool))
    with pytest.raises(ValueError, match="without a valid pixel"):
        detection.image_score(values, np.zeros((4, 4), bool))
    with pytest.raises(ValueError, match="pooling='mean'"):
        detection.image_score(values, pooling="mean")
    with pytest.raises(ValueError, match="must be >= 1"):
        detection.image_score(values, pooling="top_k_mean", top_k=0)
    for stride in (0.0, -2.0):
        with pytest.raises(ValueError, match="stride > 0"):
            detection.to_image(np.zeros((1, 2)), stride)


# --- boxes round the peaks of a map


def peaks_of(values):
    return detection.find_detections(values, min_distance=1, threshold=0.01).rows()


def hills(seed, *, shape=(20, 24), count=3):
    """Smooth hills of one height at random places."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    values = np.zeros(shape, np.float32)
    for _ in range(count):
        cx, cy = rng.uniform(2, shape[1] - 2), rng.uniform(2, shape[0] - 2)
        hill = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / rng.uniform(4, 20))
        values = np.maximum(values, np.float32(rng.uniform(0.3, 1)) * hill)
    return values.astype(np.float32)


def test_the_box_of_a_plateau_is_the_plateau():
    values = np.zeros((12, 16), np.float32)
    values[3:7, 5:14] = 0.8
    np.testing.assert_array_equal(
        detection.peak_boxes(values, peaks_of(values)), [[5, 3, 14, 7]]
    )


def test_the_box_of_a_cone_ends_at_half_of_its_height():
    y, x = np.mgrid[:21, :21]
    values = np.maximum(0, 1 - np.maximum(abs(y - 10), abs(x - 10)) / 8)
    np.testing.assert_array_equal(
        detection.peak_boxes(values, peaks_of(values)), [[6, 6, 15, 15]]
    )


@pytest.mark.parametrize("seed", range(8))
def test_boxes_turn_with_the_map_and_grow_with_it(seed):
    values = hills(seed)
    peaks = peaks_of(values)
    boxes = detection.peak_boxes(values, peaks)
    columns = values.shape[1]
    mirrored = peaks * [-1, 1, 1] + [columns, 0, 0]
    got = detection.peak_boxes(values[:, ::-1], mirrored)
    expected = boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [columns, 0, columns, 0]
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(
        detection.peak_boxes(values.T, peaks[:, [1, 0, 2]]), boxes[:, [1, 0, 3, 2]]
    )
    louder = peaks * [1, 1, 0.5]
    np.testing.assert_array_equal(detection.peak_boxes(values / 2, louder), boxes)


@pytest.mark.parametrize("seed", range(8))
def test_a_box_holds_its_peak_and_a_smaller_share_makes_it_no_smaller(seed):
    values = hills(seed)
    peaks = peaks_of(values)
    boxes = detection.peak_boxes(values, peaks)
    x, y, _ = peaks.T
    assert np.all((boxes[:, 0] <= x) & (x <= boxes[:, 2]))
    assert np.all((boxes[:, 1] <= y) & (y <= boxes[:, 3]))
    wider = detection.peak_boxes(values, peaks, share=0.3)
    assert np.all(wider[:, :2] <= boxes[:, :2]) and np.all(wider[:, 2:] >= boxes[:, 2:])


def test_two_peaks_on_one_hill_have_boxes_of_their_own():
    values = np.full((9, 21), 0.6, np.float32)
    values[4, 4] = values[4, 16] = 1.0
    boxes = detection.peak_boxes(values, peaks_of(values))
    np.testing.assert_array_equal(
        np.sort(boxes, axis=0), [[0, 0, 11, 9], [11, 0, 21, 9]]
    )


def test_no_peak_no_box():
    assert detection.peak_boxes(np.zeros((4, 4)), np.zeros((0, 3))).shape == (0, 4)


def suppressed_by_definition(values, distance, threshold):
    """Pixels by descending value, each beyond the reach of all that were taken."""
    order = sorted(np.ndindex(values.shape), key=lambda place: (-values[place], place))
    taken = []
    for y, x in order:
        apart = (np.hypot(y - v, x - u) > distance for v, u in taken)
        if values[y, x] >= threshold and all(apart):
            taken.append((y, x))
    return [(x + 0.5, y + 0.5, values[y, x]) for y, x in taken]


@exhaustive
@given(maps(), st.sampled_from([1, 1.44, 2, 2.5]))
def test_suppression_takes_the_highest_pixel_out_of_reach(values, distance):
    found = detection.suppress(values, min_distance=distance, threshold=0.2)
    assert found.rows().tolist() == [
        list(row) for row in suppressed_by_definition(values, distance, 0.2)[:100]
    ]


def test_suppression_finds_the_peaks_and_more():
    values = np.random.default_rng(0).random((30, 40))
    kept = values >= 0.9  # a margin round the valid part
    peaks = detection.find_detections(values, min_distance=2, threshold=0.1)
    found = detection.suppress(
        values, min_distance=2, threshold=0.1, max_detections=1200
    )
    assert {*map(tuple, peaks.rows())} < {*map(tuple, found.rows())}
    some = detection.suppress(values, min_distance=2, threshold=0.1, max_detections=5)
    assert some.rows().tolist() == found.rows()[:5].tolist()
    inside = detection.suppress(values, min_distance=2, threshold=0.1, valid=kept)
    rows = inside.rows()
    assert len(rows) and kept[rows[:, 1].astype(int), rows[:, 0].astype(int)].all()
    turned = detection.suppress(values[::-1, ::-1], min_distance=2, threshold=0.1)
    back = (40, 30, 0) - turned.rows() * (1, 1, -1)
    assert np.allclose(back, detection.suppress(
        values, min_distance=2, threshold=0.1
    ).rows())  # fmt: skip


def test_two_lesions_on_one_hill_are_found_by_suppression_alone():
    """Boxes that overlap, as those of neighbouring ribs: one ridge over both."""
    values = np.full((12, 12), 0.01)
    values[4:7, 2:10] = np.linspace(0.9, 0.8, 8)
    lesions = [np.array([[2, 3, 5, 8], [6, 3, 10, 8]])]
    for name, hits in (("peaks", 1), ("suppression", 2)):
        find = detection.FINDERS[name]
        rows = find(values, min_distance=1.44, threshold=0.1).rows()
        match = matching.match_images([rows], lesions)
        assert np.isfinite(match.lesion_score).sum() == hits, name


def test_suppression_refuses_what_has_no_meaning():
    for distance, threshold in ((0.5, 0.1), (np.nan, 0.1), (2, np.inf)):
        with pytest.raises(ValueError, match="min_distance"):
            detection.suppress(
                np.zeros((3, 3)), min_distance=distance, threshold=threshold
            )
