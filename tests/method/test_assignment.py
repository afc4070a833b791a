"""Targets of hand-made boxes, worked out by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aals_jax.method import assignment
from aals_jax.method.assignment import BACKGROUND, IGNORED
from aals_jax.models import heads

SHAPE = (64, 64)
SQUARES = heads.squares(SHAPE, finest=4, scale=1.0)
# in the list of locations: the levels of stride 4, 8, 16, 32 and 64 begin here
STARTS = np.cumsum([0, 256, 64, 16, 4])


def by_center(*found, center_radius=1.5, size_limit=8.0):
    """The locations of each box, as (stride, column, row)."""
    truth = jnp.array([[*found, (0, 0, 0, 0)]], jnp.float32)
    assign = functools.partial(
        assignment.by_center,
        SQUARES,
        center_radius=center_radius,
        size_limit=size_limit,
    )
    matched = np.asarray(jax.jit(assign)(truth)[0])
    places: list[set] = [set() for _ in found]
    for i in np.flatnonzero(matched != BACKGROUND):
        level = np.searchsorted(STARTS, i, side="right") - 1
        row, column = divmod(int(i - STARTS[level]), 16 >> level)
        places[matched[i]].add((4 << level, column, row))
    return places


def test_the_locations_about_the_centre_find_a_box():
    """(20, 20, 32, 32) has its centre at 26, locations at 22, 26 and 30: all in it, and
    all within 1.5 strides = 6 px. Nothing else of that level is; of the next, 20 and 28
    are in the box, but its farthest edge is below 4 strides."""
    (places,) = by_center((20, 20, 32, 32))
    assert places == {(4, x, y) for x in (5, 6, 7) for y in (5, 6, 7)}


def test_the_radius_is_in_strides_and_the_box_bounds_it():
    """Centre (28, 22): columns at 22, 26, 30 and 34 are within 8 px (2 strides) of it;
    the only rows in the box are those at 22."""
    (places,) = by_center((8, 20, 48, 24), center_radius=2.0)
    # farthest edges are 48 - 22 = 26, 26, ... px, below 8 strides = 32
    assert places == {(4, x, 5) for x in (5, 6, 7, 8)}


def test_a_level_has_its_range_of_sizes():
    """A box of 60 px about the middle: from each of the middle locations its farthest
    edge is 32 to 60 px away, which is the second level's range."""
    (places,) = by_center((2, 2, 62, 62))
    assert {stride for stride, _, _ in places} == {8}
    # 8 px: the four locations at 28 and 36, and those at 20 and 44, 12 px off, are not
    # below 1.5 strides
    assert places == {(8, x, y) for x in (3, 4) for y in (3, 4)}
    # with larger limits the finest level takes it: the four at 30 and 34, and not those
    # at 26 and 38, just 6 px off
    (places,) = by_center((2, 2, 62, 62), size_limit=16.0)
    assert places == {(4, x, y) for x in (7, 8) for y in (7, 8)}
    # the coarsest has no end: 30 px is more than 0.4 of its stride
    assert by_center((2, 2, 62, 62), size_limit=0.4) == [{(64, 0, 0)}]


def test_the_smaller_of_two_boxes_takes_what_both_could():
    large, small = by_center((16, 16, 36, 36), (24, 24, 32, 32))
    # centre 28: small has the locations at 26 and 30, large those within 6 px of 26
    assert small == {(4, x, y) for x in (6, 7) for y in (6, 7)}
    assert large == {(4, x, y) for x in (5, 6, 7) for y in (5, 6, 7)} - small


def test_no_box_is_all_background():
    assert by_center((0, 0, 0, 0)) == [set()]


# --- by overlap, with anchors of our own

ANCHORS = np.array(
    [
        (0, 0, 10, 10),  # IoU 1 with the first box
        (0, 0, 10, 18),  # 100 / 180 = 0.56
        (0, 0, 10, 22),  # 100 / 220 = 0.45, between the two limits
        (0, 0, 10, 26),  # 100 / 260 = 0.38
        (40, 40, 60, 60),  # 100 / 400 = 0.25 with the second box: none has more
        (40, 40, 70, 70),  # 100 / 900
        (80, 80, 90, 90),  # 0
    ],
    np.float32,
)
TRUTH = jnp.array([[(0, 0, 10, 10), (40, 40, 50, 50), (0, 0, 0, 0)]], jnp.float32)


def by_overlap(on_film=True, truth=TRUTH):
    on_film = jnp.broadcast_to(jnp.asarray(on_film), (1, len(ANCHORS)))
    assign = functools.partial(assignment.by_overlap, ANCHORS)
    return jax.jit(assign)(truth, on_film)[0].tolist()


def test_an_anchor_finds_what_it_overlaps_most_and_each_box_is_found():
    expected = [0, 0, IGNORED, BACKGROUND, 1, BACKGROUND, BACKGROUND]
    assert by_overlap() == expected


def test_an_anchor_that_is_the_best_of_two_boxes_finds_the_one_it_overlaps_more():
    truth = jnp.array([[(40, 40, 50, 50), (40, 40, 60, 60)]], jnp.float32)
    found = by_overlap(truth=truth)
    assert found[4] == 1 and 0 not in found


def test_anchors_off_film_are_ignored_and_the_next_best_finds_the_box():
    on_film = np.arange(7)[None] != 4
    expected = [0, 0, IGNORED, BACKGROUND, IGNORED, 1, BACKGROUND]
    assert by_overlap(on_film) == expected


def test_without_a_box_anchors_are_background():
    assert by_overlap(truth=jnp.zeros((1, 2, 4))) == [BACKGROUND] * 7


def test_an_anchor_is_on_film_where_its_centre_is():
    valid = np.zeros((1, 16, 16), np.float32)
    valid[0, 5, 6] = 1.0  # y 20 to 24, x 24 to 28
    got = assignment.centers_on_film(SQUARES, jnp.array(valid), stride=4)[0]
    # of stride 8 the location at (28, 20) is on the next pixel's edge
    assert np.flatnonzero(got).tolist() == [5 * 16 + 6]
    everywhere = assignment.centers_on_film(SQUARES, jnp.ones((1, 16, 16)), stride=4)
    assert np.all(everywhere)


@pytest.mark.parametrize("shape", [(32, 32), (96, 32)])
def test_levels_that_reach_beyond_the_image_have_their_centre_at_its_edge(shape):
    """At 32 px the only location of stride 64 is at (32, 32)."""
    squares = heads.squares(shape, finest=4, scale=1.0)
    valid = jnp.ones((1, shape[0] // 4, shape[1] // 4))
    assert np.all(assignment.centers_on_film(squares, valid, stride=4))
