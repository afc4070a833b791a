"""Laws of augmentation: image, boxes and film go through one geometry."""

import dataclasses
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aals_jax.input import augment

SIDE, STRIDE = 128, 4
MAP = {"side": SIDE, "map_side": SIDE // STRIDE}
OFF = augment.Ranges(0.0, (1.0, 1.0), 0.0, False, 0.0, 0.0, 0.0)
FULL = augment.Ranges(20.0, (0.85, 1.2), 0.11, True, 0.1, 0.3, 0.03)
SEEDS = st.integers(0, 2**32 - 1)
# so near the centre that no augmentation of FULL moves it off the square
NEAR = st.tuples(st.integers(44, 84), st.integers(44, 84))


def geometry(seed: int, ranges: augment.Ranges = FULL) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return augment.sample_geometry(rng, ranges, side=SIDE)


def centroid(weights: np.ndarray, pixel: float) -> np.ndarray:
    """(x, y) of the mean of a map whose pixels are `pixel` wide."""
    rows, columns = np.indices(weights.shape) + 0.5
    return pixel * np.array(
        [np.average(columns, weights=weights), np.average(rows, weights=weights)]
    )


def source(matrix: np.ndarray, x: float, y: float) -> np.ndarray:
    return matrix[:, 0] * x + matrix[:, 1] * y + matrix[:, 2]


@settings(max_examples=60, deadline=None)
@given(SEEDS, NEAR)
def test_a_delta_and_its_box_stay_together(seed, at):
    x, y = at
    image = np.zeros((SIDE, SIDE), np.float32)
    image[y, x] = 1.0
    matrix = geometry(seed)
    box = np.array([[x, y, x + 1, y + 1]], np.float32)
    target = augment.draw_boxes(box, matrix, **MAP)
    there = centroid(augment.warp(image, matrix), 1)
    assert np.abs(there - centroid(target, STRIDE)).max() <= STRIDE / 2 + 0.5


@settings(max_examples=60, deadline=None)
@given(SEEDS, NEAR)
def test_a_bright_square_fills_its_box(seed, at):
    x, y = at
    image = np.zeros((SIDE, SIDE), np.float32)
    image[y - 7 : y + 7, x - 9 : x + 9] = 1.0
    matrix = geometry(seed)
    box = np.array([[x - 9, y - 7, x + 9, y + 7]], np.float32)
    target = augment.draw_boxes(box, matrix, **MAP)
    warped = augment.warp(image, matrix)
    there = centroid(warped, 1)
    column, row = np.floor(there / STRIDE).astype(int)
    assert target[row, column] == 1.0
    assert np.abs(there - centroid(target, STRIDE)).max() <= STRIDE / 2
    # the map's pixel centre lies between these four pixels
    around = sum(warped[i::4, j::4] for i in (1, 2) for j in (1, 2))
    assert np.all(around[target == 1] > 0)
    assert np.all(around[target == 0] < 4)


@pytest.mark.parametrize(
    "ranges",
    [
        augment.Ranges(45.0, (1.0, 1.0), 0.0, False, 0.0, 0.0, 0.0),
        augment.Ranges(0.0, (0.5, 0.5001), 0.0, False, 0.0, 0.0, 0.0),
        augment.Ranges(0.0, (2.0, 2.0001), 0.0, False, 0.0, 0.0, 0.0),
        augment.Ranges(0.0, (1.0, 1.0), 0.2, False, 0.0, 0.0, 0.0),
        augment.Ranges(0.0, (1.0, 1.0), 0.0, True, 0.0, 0.0, 0.0),
    ],
    ids=["rotation", "smaller", "larger", "shift", "flip"],
)
def test_each_geometry_alone_moves_the_image_and_its_box_alike(ranges):
    image = np.zeros((SIDE, SIDE), np.float32)
    image[60:68, 40:48] = 1.0
    box = np.array([[40, 60, 48, 68]], np.float32)
    moved = []
    for seed in range(8):
        matrix = geometry(seed, ranges)
        target = augment.draw_boxes(box, matrix, **MAP)
        there = centroid(augment.warp(image, matrix), 1)
        assert np.abs(there - centroid(target, STRIDE)).max() < 2.5
        moved.append(np.abs(there - [44, 64]).max() > 1)
    assert any(moved)  # else the range does nothing


def test_scale_above_one_enlarges():
    image = np.zeros((SIDE, SIDE), np.float32)
    image[56:72, 56:72] = 1.0
    ranges = augment.Ranges(0.0, (2.0, 2.0001), 0.0, False, 0.0, 0.0, 0.0)
    area = augment.warp(image, geometry(0, ranges)).sum()
    np.testing.assert_allclose(area, 4 * 16**2, rtol=0.02)


def test_identity_leaves_image_box_and_film_exactly():
    image = np.random.default_rng(0).random((SIDE, SIDE), np.float32)
    np.testing.assert_array_equal(geometry(0, OFF), augment.identity())
    np.testing.assert_array_equal(augment.warp(image, augment.identity()), image)
    box = np.array([[16, 24, 48, 60]], np.float32)
    expected = np.zeros((32, 32), np.float32)
    expected[6:15, 4:12] = 1.0
    target = augment.draw_boxes(box, augment.identity(), **MAP)
    np.testing.assert_array_equal(target, expected)
    valid = augment.draw_content(box[0], augment.identity(), **MAP)
    np.testing.assert_array_equal(valid, expected)


@settings(max_examples=12, deadline=None)
@given(SEEDS)
def test_off_the_film_nothing_is_valid_and_the_image_is_air(seed):
    x0, y0, x1, y1 = content = np.array([20, 0, 108, 128], np.float32)
    image = np.zeros((SIDE, SIDE), np.float32)
    image[:, 20:108] = 1.0
    matrix = geometry(seed)
    valid = augment.draw_content(content, matrix, **MAP)
    warped = augment.warp(image, matrix)
    for row, column in np.ndindex(valid.shape):
        x, y = source(matrix, STRIDE * (column + 0.5), STRIDE * (row + 0.5))
        inside = min(x - x0, x1 - x, y - y0, y1 - y)
        pixels = warped[4 * row + 1 : 4 * row + 3, 4 * column + 1 : 4 * column + 3]
        if inside < -1e-6:
            assert valid[row, column] == 0.0
        if inside > 1e-6:
            assert valid[row, column] == 1.0
        if inside < -2:  # interpolation blends at the edge itself
            assert np.all(pixels == 0.0)
        if inside > 2:
            np.testing.assert_allclose(pixels, 1.0, atol=1e-6)


@settings(max_examples=12, deadline=None)
@given(
    SEEDS,
    st.lists(st.tuples(*[st.floats(0, 90)] * 2, *[st.floats(0.2, 60)] * 2), max_size=3),
)
def test_drawn_boxes_are_the_points_in_a_box_and_their_centres(seed, given_boxes):
    boxes = np.array([[x, y, x + w, y + h] for x, y, w, h in given_boxes])
    matrix = geometry(seed)
    target = augment.draw_boxes(boxes, matrix, **MAP)
    expected = np.zeros_like(target)
    forward = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    for x0, y0, x1, y1 in boxes:
        for row, column in np.ndindex(target.shape):
            x, y = source(matrix, STRIDE * (column + 0.5), STRIDE * (row + 0.5))
            if x0 <= x < x1 and y0 <= y < y1:
                expected[row, column] = 1.0
        x, y, _ = forward @ [(x0 + x1) / 2, (y0 + y1) / 2, 1] / STRIDE
        if 0 <= x < 32 and 0 <= y < 32:
            expected[int(y), int(x)] = 1.0
    # rounding may differ only where a source lies on a box's edge
    assert np.sum(target != expected) <= len(boxes)


@settings(max_examples=50, deadline=None)
@given(SEEDS, NEAR, st.floats(0.01, 3.0))
def test_a_tiny_box_never_vanishes(seed, at, size):
    x, y = at
    box = np.array([[x, y, x + size, y + size]])
    assert augment.draw_boxes(box, geometry(seed), **MAP).sum() >= 1


def test_a_box_off_the_square_is_not_drawn():
    shifted = augment.identity()
    shifted[0, 2] = 100.0
    box = np.array([[0.0, 0.0, 40.0, 40.0]])
    assert augment.draw_boxes(box, shifted, **MAP).sum() == 0


def test_flip_is_its_own_inverse():
    ranges = augment.Ranges(0.0, (1.0, 1.0), 0.0, True, 0.0, 0.0, 0.0)
    image = np.random.default_rng(0).random((SIDE, SIDE), np.float32)
    kinds = set()
    for seed in range(16):
        matrix = geometry(seed, ranges)
        once = augment.warp(image, matrix)
        flipped = matrix[0, 0] < 0
        kinds.add(bool(flipped))
        np.testing.assert_array_equal(once, image[:, ::-1] if flipped else image)
        np.testing.assert_array_equal(augment.warp(once, matrix), image)
    assert kinds == {True, False}


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_photometry_stays_in_range_and_spares_its_input(seed):
    rng = np.random.default_rng(seed)
    image = rng.random((16, 16), np.float32).round()  # at both ends of the range
    before = image.copy()
    ranges = augment.Ranges(0.0, (1.0, 1.0), 0.0, False, 0.9, 3.0, 0.5)
    changed = augment.photometry(image, rng, ranges)
    assert changed.dtype == np.float32
    assert changed.min() >= 0.0 and changed.max() <= 1.0
    np.testing.assert_array_equal(image, before)


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_photometry_without_noise_is_one_rising_curve_for_all_pixels(seed):
    image = np.random.default_rng(seed).integers(0, 9, (16, 16)) / np.float32(8)
    ranges = augment.Ranges(0.0, (1.0, 1.0), 0.0, False, 0.1, 0.3, 0.0)
    changed = augment.photometry(image, np.random.default_rng(seed), ranges)
    curve = [np.unique(changed[image == level]) for level in np.unique(image)]
    assert all(len(values) == 1 for values in curve)
    assert np.all(np.diff(np.concatenate(curve)) >= 0)
    assert not np.array_equal(changed, image)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(1, 40), st.integers(1, 40))
def test_normal_numbers_are_quantiles_of_the_generators_bits(seed, height, width):
    """Of any shape, by the normal distribution of Python's own library."""
    got = augment.normal_numbers(
        np.random.default_rng(seed), (height, width), mean=0.0, deviation=1.0
    )
    assert got.shape == (height, width) and got.dtype == np.float32
    words = np.random.default_rng(seed).bit_generator.random_raw(height * width)
    normal = statistics.NormalDist()
    for number in range(height * width):
        bits = int(words[number // 4]) >> 16 * (number % 4) & 0xFFFF
        expected = normal.inv_cdf((bits + 0.5) / 2**16)
        np.testing.assert_allclose(got.flat[number], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (0.4, 0.03), (-2.0, 0.5)])
def test_normal_numbers_have_their_mean_and_deviation_and_no_neighbours(
    mean, deviation
):
    """Within five standard errors; also next to each other, and of two calls."""
    rng, count = np.random.default_rng(0), 512 * 512
    calls = [
        augment.normal_numbers(rng, (512, 512), mean=mean, deviation=deviation)
        for _ in range(2)
    ]
    first, second = [(call.astype(np.float64) - mean) / deviation for call in calls]
    error = 5 / np.sqrt(count)
    assert abs(first.mean()) < error
    assert abs(first.var() - 1) < np.sqrt(2) * error
    assert abs((first**3).mean()) < np.sqrt(15) * error
    assert abs((first**4).mean() - 3) < np.sqrt(96) * error
    assert abs((first[1:] * first[:-1]).mean()) < 1.01 * error
    assert abs((first[:, 1:] * first[:, :-1]).mean()) < 1.01 * error
    assert abs((first[:, 4:] * first[:, :-4]).mean()) < 1.01 * error
    assert abs((first * second).mean()) < error


def test_noise_of_an_image_has_a_deviation_uniform_up_to_its_range():
    """On a grey image away from both ends, by its own pixels."""
    image = np.full((64, 64), 0.5, np.float32)
    only = dataclasses.replace(OFF, noise=0.03)
    rng = np.random.default_rng(0)
    found = [augment.photometry(image, rng, only).std() for _ in range(400)]
    np.testing.assert_allclose(np.max(found), 0.03, rtol=0.05)
    np.testing.assert_allclose(np.mean(found), 0.015, rtol=0.1)


def test_photometry_of_no_range_is_the_identity():
    image = np.random.default_rng(0).random((16, 16), np.float32)
    changed = augment.photometry(image, np.random.default_rng(1), OFF)
    np.testing.assert_allclose(changed, image, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.floats(0.01, 2.0))
def test_gamma_is_one_power_for_all_pixels_within_its_range(seed, gamma):
    image = np.random.default_rng(seed).random((16, 16), np.float32)
    only = dataclasses.replace(OFF, gamma=gamma)
    changed = augment.photometry(image, np.random.default_rng(seed), only)
    inside = (image > 0.05) & (image < 0.95)
    exponents = np.log(changed[inside]) / np.log(image[inside])
    np.testing.assert_allclose(exponents, exponents[0], rtol=1e-3)
    assert 1 / (1 + gamma) - 1e-3 <= exponents[0] <= 1 + gamma + 1e-3


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.floats(0.05, 0.9))
def test_erasing_takes_one_rectangle_and_leaves_all_else(seed, erase):
    image = np.random.default_rng(seed).random((20, 30), np.float32)
    only = dataclasses.replace(OFF, erase=erase)
    changed = augment.photometry(image, np.random.default_rng(seed), only)
    rows, columns = np.nonzero(np.abs(changed - image) > 1e-6)
    if not len(rows):
        return
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert np.ptp(changed[box]) < 1e-6 and abs(changed[box][0, 0] - image.mean()) < 1e-5
    height, width = changed[box].shape
    assert height <= erase * 20 + 1 and width <= erase * 30 + 1


def test_augmentation_is_a_function_of_the_seed():
    image = np.random.default_rng(0).random((16, 16), np.float32)

    def both(seed):
        rng = np.random.default_rng(seed)
        matrix = augment.sample_geometry(rng, FULL, side=SIDE)
        return matrix, augment.photometry(image, rng, FULL)

    for a, b, c in zip(both(3), both(3), both(4), strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


@given(seed=SEEDS, point=NEAR)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_the_way_to_the_view_undoes_the_way_from_it(seed, point):
    matrix = geometry(seed)
    forth = augment.to_view(matrix, side=SIDE)
    assert forth.dtype == np.float32
    in_view = SIDE * (forth @ [point[0] / SIDE, point[1] / SIDE, 1.0])
    np.testing.assert_allclose(matrix @ [*in_view, 1.0], point, atol=1e-3)


WHOLE = np.array([0.0, 0.0, SIDE, SIDE])


def corners_of(box):
    x0, y0, x1, y1 = box
    return np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]])


@settings(max_examples=60, deadline=None)
@given(SEEDS, NEAR, st.integers(2, 10), st.integers(2, 10))
def test_a_moved_box_is_that_of_the_turned_ellipse(seed, at, a, b):
    """By points on the ellipse; and never larger than the box round the corners."""
    matrix = geometry(seed)
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    box = np.array([[at[0] - a, at[1] - b, at[0] + a, at[1] + b]], np.float32)
    (got,) = augment.move_boxes(box, WHOLE, matrix, side=SIDE)
    angle = np.linspace(0, 2 * np.pi, 2_001)
    points = np.array(at) + np.stack([a * np.cos(angle), b * np.sin(angle)], axis=1)
    moved = points @ inverse[:2, :2].T + inverse[:2, 2]
    expected = np.concatenate([moved.min(axis=0), moved.max(axis=0)])
    np.testing.assert_allclose(got, expected, atol=1e-3)
    hull = corners_of(box[0]) @ inverse[:2, :2].T + inverse[:2, 2]
    assert np.all(got[:2] >= hull.min(axis=0) - 1e-3)
    assert np.all(got[2:] <= hull.max(axis=0) + 1e-3)


def test_without_a_geometry_boxes_stay_and_the_film_clips_them():
    film = np.array([16.0, 0.0, 112.0, 128.0])
    boxes = np.array([
        (40, 50, 60, 80),  # inside
        (8, 50, 28, 60),  # 12 of 20 px are on film
        (0, 50, 20, 60),  # 4 of 20: dropped
        (100, 120, 108, 136),  # half of it is below the square
    ], np.float32)  # fmt: skip
    got = augment.move_boxes(boxes, film, augment.identity(), side=SIDE)
    expected = [(40, 50, 60, 80), (16, 50, 28, 60), (100, 120, 108, 128)]
    np.testing.assert_array_equal(got, np.array(expected, np.float32))


def test_a_flip_mirrors_boxes():
    matrix = np.array([[-1.0, 0, SIDE], [0, 1, 0]])
    box = np.array([[10, 20, 30, 25]], np.float32)
    got = augment.move_boxes(box, WHOLE, matrix, side=SIDE)
    np.testing.assert_array_equal(got, [[SIDE - 30, 20, SIDE - 10, 25]])
