"""Hit rules against a loop over detections, then easy cases as plain numbers."""

import numpy as np
import pytest

from aals_jax.metrics import matching
from tests.support import brute_force
from tests.support.brute_force import PARAMETERS

BOX = [[0, 0, 10, 10]]


@pytest.mark.parametrize("rule", PARAMETERS)
def test_a_rule_is_the_greedy_loop_at_every_threshold(rule):
    @brute_force.few_cases
    def check(rng):
        films = brute_force.random_films(rng, rule)
        found = matching.match_images(
            films.found, films.lesions, rule=rule, **PARAMETERS[rule]
        )
        for i, (rows, lesions) in enumerate(
            zip(films.found, films.lesions, strict=True)
        ):
            score = found.lesion_score[found.lesion_image == i]
            false = found.false_score[found.false_image == i]
            for threshold in {row[-1] for row in rows} | {np.inf}:
                above = [row for row in rows if row[-1] >= threshold]
                taken, wrong = brute_force.greedy(rule, above, lesions)
                assert len(taken) == np.sum(score >= threshold)
                # of two equal lesions either may be hit
                places = sorted(lesions[j] for j in taken)
                ours = sorted(lesions[j] for j in np.flatnonzero(score >= threshold))
                assert places == ours
                assert wrong == np.sum(false >= threshold)
        scores = np.array([row[-1] for rows in films.found for row in rows])
        hit = found.lesion_of >= 0
        np.testing.assert_array_equal(
            found.lesion_score[found.lesion_of[hit]], scores[hit]
        )

    check()


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


@pytest.mark.parametrize("lesion", [[0, 0], [-4, -2, 4, 2]])
def test_a_distance_is_to_the_centre_and_inclusive(lesion):
    for detection in ([3, 4, 0.9], [1, 2, 5, 6, 0.9]):
        for most, score in ((5, 0.9), (4.99, -np.inf)):
            found = matching.match(
                [detection], [lesion], rule="distance", max_distance=most
            )
            np.testing.assert_array_equal(found.lesion_score, [score])


def test_a_distance_takes_the_nearest_lesion_that_is_free():
    points = [[2, 0, 0.9], [3, 0, 0.8], [2, 0, 0.7], [9, 0, 0.6]]
    found = matching.match(points, [[0, 0], [3, 0]], rule="distance", max_distance=3)
    repeat, false = matching.REPEAT, matching.FALSE_POSITIVE
    np.testing.assert_array_equal(found.lesion_of, [1, 0, repeat, false])
    np.testing.assert_array_equal(found.lesion_score, [0.8, 0.9])


def test_images_do_not_meet():
    """Same places in other images; an image without anything between them."""
    found = matching.match_images(
        [[[5, 5, 0.3]], [], [[5, 5, 0.9], [50, 5, 0.8]], [[5, 5, 0.7]]],
        [BOX, [], [], [*BOX, [2, 2, 8, 8]]],
    )
    np.testing.assert_array_equal(found.lesion_image, [0, 3, 3])
    assert sorted(found.lesion_score) == [-np.inf, 0.3, 0.7]
    np.testing.assert_array_equal(found.false_score, [0.9, 0.8])
    np.testing.assert_array_equal(found.false_image, [2, 2])


@pytest.mark.parametrize("block", [1, 3, 1 << 16])
def test_the_block_changes_nothing(block, monkeypatch):
    films = brute_force.random_films(np.random.default_rng(0), "iou")
    before = matching.match_images(films.found, films.lesions, rule="iou")
    monkeypatch.setattr(matching, "_BLOCK", block)
    after = matching.match_images(films.found, films.lesions, rule="iou")
    np.testing.assert_array_equal(after.lesion_of, before.lesion_of)


def test_other_bad_input_is_named():
    with pytest.raises(ValueError, match="x0 < x1"):
        matching.match([], [[5, 5, 5, 9]])
    with pytest.raises(ValueError, match="non-finite"):
        matching.match([], [[5, np.nan]], rule="distance", max_distance=1)
    with pytest.raises(ValueError, match="unknown"):
        matching.match([], BOX, rule="touch")
    with pytest.raises(ValueError, match="needs boxes"):
        matching.match([[1, 1, 0.5]], BOX, rule="iou")
    with pytest.raises(ValueError, match="iou_threshold"):
        matching.match([[0, 0, 1, 1, 0.5]], BOX, rule="iou", iou_threshold=0.0)
    for most in (None, -1, np.nan):
        with pytest.raises(ValueError, match="needs max_distance"):
            matching.match([], BOX, rule="distance", max_distance=most)
    with pytest.raises(ValueError, match=r"lesions .* must be \[k, 4\]"):
        matching.match([], [[1, 2]])
    with pytest.raises(ValueError, match="same in all images"):
        matching.match_images([[[1, 1, 0.5]], [[0, 0, 1, 1, 0.5]]], [[], []])
    with pytest.raises(ValueError, match="one of each per image"):
        matching.match_images([[]], [BOX, BOX])
    with pytest.raises(ValueError, match="one of each per image"):
        matching.match_images([[]], [BOX], image_shapes=[])


@pytest.mark.parametrize("step", [0.1, 0.3, 0.7, 12.3])
def test_a_limit_that_decimal_coordinates_reach_is_reached(step):
    """Equalities that hold in decimal numbers, and not in sums of binary ones."""
    hit, missed = [], []
    for k in range(300):
        x = k * step
        lesion = [[x, x, x + 8.4, x + 8.4]]
        half = [[x, x, x + 4.2, x + 8.4, 0.9]]
        hit.append((half, lesion, {"rule": "iou", "iou_threshold": 0.5}))
        missed.append((half, lesion, {"rule": "iou", "iou_threshold": 0.5000001}))
        near = [[x + 0.3, x + 0.4, 0.9]]
        hit.append((near, [[x, x]], {"rule": "distance", "max_distance": 0.5}))
        missed.append((near, [[x, x]], {"rule": "distance", "max_distance": 0.49999}))
        # the left border is of the box, the right one is not
        box = [[x + 0.2, x + 0.2, x + 0.2 + 5, x + 0.2 + 5]]
        hit.append(([[x - 0.1, x - 0.1, x - 0.1 + 0.6, x - 0.1 + 0.6, 0.9]], box, {}))
        small = [[x + 0.1, x + 0.1, x + 0.1 + 0.2, x + 0.1 + 0.2]]
        missed.append(([[x + 0.3, x + 0.2, 0.9]], small, {}))
    for cases, expected in ((hit, 0.9), (missed, -np.inf)):
        for detections, lesions, rule in cases:
            found = matching.match(detections, lesions, **rule)
            assert found.lesion_score.tolist() == [expected], (detections, rule)


def test_a_distance_in_space_counts_all_three_directions():
    lesion = [[-28.0, 4.0, -298.0]]
    for z, score in ((-293.0, 0.9), (-292.9, -np.inf)):
        found = matching.match(
            [[-28.0, 4.0, z, 0.9]], lesion, rule="distance", max_distance=5
        )
        assert found.lesion_score.tolist() == [score]
    with pytest.raises(ValueError, match="the same dimensions"):
        matching.match([[1.0, 2.0, 0.9]], lesion, rule="distance", max_distance=5)
    with pytest.raises(ValueError, match="must be"):
        matching.match([[1.0, 2.0, 3.0, 0.9]], BOX)


def test_coordinates_without_an_image_may_be_negative():
    found = matching.match([[-3.0, -4.0, 0.9]], [[-5, -5, 0, 0]])
    assert found.lesion_score.tolist() == [0.9]


def test_a_hit_within_the_radius_by_hand():
    circle = [[0, 0, 10, 10]]  # of radius 5 around (5, 5)
    for point, is_hit in (((8, 9), True), ((8, 9.1), False), ((1, 1), False)):
        found = matching.match([[*point, 0.9]], circle, rule="radius")
        assert bool(found.lesion_of[0] == 0) == is_hit, point
    assert matching.match([[1, 1, 0.9]], circle).lesion_of[0] == 0  # in the square
    ellipse = [[0, 0, 20, 10]]
    assert matching.match([[19, 5, 0.9]], ellipse, rule="radius").lesion_of[0] == 0
    assert matching.match([[19, 8, 0.9]], ellipse, rule="radius").lesion_of[0] == -1


def test_a_hit_within_the_radius_in_space_takes_the_nearest():
    balls = [[-15, -15, -15, -5, -5, -5], [-13, -13, -13, -3, -3, -3]]
    points = [[-7, -6, -10, 0.9], [-7, -6, -9, 0.8], [0, 0, 0, 0.7]]
    found = matching.match(points, balls, rule="radius")
    assert found.lesion_of.tolist() == [1, -2, -1]
    assert matching.match([points[0]], balls[:1], rule="radius").lesion_of[0] == 0
    with pytest.raises(ValueError, match="same dimensions"):
        matching.match([[1, 1, 0.5]], balls, rule="radius")
    with pytest.raises(ValueError, match="x0 < x1"):
        matching.match(points, [[0, 0, 0, 1, 1, 0]], rule="radius")


def test_rounding_never_reaches_a_share_of_the_distance():
    """Coordinates of 1e9 are off by 1e-7, and a limit of 0.3 is not 0.9."""
    for size in (1e3, 1e6, 1e9):
        lesion = np.array([[size, size]])
        for away, hit in ((0.29, True), (0.31, False), (0.9, False)):
            found = np.array([[size + away, size, 0.5]])
            match = matching.match(found, lesion, rule="distance", max_distance=0.3)
            assert np.isfinite(match.lesion_score[0]) == hit
