"""Laws of peaks: found where they are, counted by hand, and silent about nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aals_jax.metrics import peaks, readings
from aals_jax.metrics.draws import Bootstrap

BOOTSTRAP = Bootstrap(100, 0)
BOX = np.array([[2.0, 2.0, 5.0, 6.0]])  # x 2 .. 4, y 2 .. 5
NOWHERE = BOX[:0]


def truth_of(label, lesions, patient=None):
    label = np.asarray(label, bool)
    return readings.Truth(
        label=label,
        judged=np.ones(len(label), bool),
        patient=np.arange(len(label)).astype(str) if patient is None else patient,
        lesions=lesions,
        groups={},
    )


def map_of(points):
    """f32[8, 8], 0 but for (x, y) -> value."""
    values = np.zeros((8, 8), np.float32)
    for (x, y), value in points.items():
        values[y, x] = value
    return values


def find(maps, lesions, valid=None):
    maps = np.stack(maps)
    valid = np.ones_like(maps) if valid is None else valid
    return peaks.find_peaks(maps, truth_of([True] * len(maps), lesions), valid=valid)


@pytest.mark.parametrize(
    "points, value, in_box",
    [
        ({(2, 2): 0.9, (7, 7): 0.8}, 0.9, True),  # the corner that a box holds
        ({(5, 3): 0.9, (3, 3): 0.8}, 0.9, False),  # the first pixel beyond its end
        ({(4, 5): 0.2}, 0.2, True),  # the last pixel it holds
        ({(4, 6): 0.2}, 0.2, False),
        ({(1, 3): 0.7, (2, 3): 0.7, (3, 3): 0.7}, 0.7, True),  # a plateau's centroid
        ({(0, 3): 0.7, (1, 3): 0.7, (2, 3): 0.7}, 0.7, False),
    ],
)
def test_the_peak_is_the_highest_point_and_lies_in_a_box_or_not(points, value, in_box):
    found = find([map_of(points)], [BOX])
    np.testing.assert_allclose(found.value, value, rtol=1e-6)
    assert found.in_box.tolist() == [in_box]


def test_any_of_the_boxes_will_do_and_without_boxes_there_is_no_hit():
    two = np.array([[0.0, 0.0, 1.0, 1.0], [2.0, 2.0, 5.0, 6.0]])
    found = find([map_of({(3, 3): 0.9})] * 2, [two, NOWHERE])
    assert found.in_box.tolist() == [True, False]


def test_a_peak_lies_on_film_and_a_map_without_film_has_none():
    maps = [map_of({(3, 3): 0.9, (0, 0): 0.4}), map_of({(3, 3): 0.9})]
    valid = np.ones((2, 8, 8), np.float32)
    valid[0, 3, 3] = 0
    valid[1] = 0
    found = find(maps, [BOX, BOX], valid)
    np.testing.assert_allclose(found.value, [0.4, 0.0], rtol=1e-6)
    assert not found.in_box.any()


def test_the_monitors_of_p_are_those_counted_by_hand():
    """Four images of P: three with a box, of which two are hit; two are below t."""
    truth = truth_of([True] * 4, [BOX, BOX, BOX, NOWHERE])
    found = peaks.Peaks(
        np.array([0.9, 0.39, 0.4, 0.1]), np.array([True, True, False, False])
    )
    entries = peaks.of_image_level(truth, found, center=0.4, bootstrap=BOOTSTRAP)
    values = {name: entry["value"] for name, entry in entries.items()}
    assert values == {
        "peak_in_box_p": 2 / 3,
        "dead_share_p": 2 / 4,
        "median_peak_p": pytest.approx(0.395),
    }
    assert [e["n_images"] for e in entries.values()] == [3, 4, 4]
    for name in ("peak_in_box_p", "dead_share_p"):
        entry = entries[name]
        assert entry["low"] < entry["value"] < entry["high"]
        assert entry["interval"] == "95 % Wilson" and "reason" not in entry
    assert "only 4 patients" in entries["median_peak_p"]["reason"]


def test_many_peaks_have_intervals_over_patients():
    rng = np.random.default_rng(0)
    truth = truth_of([True, False] * 40, [BOX, NOWHERE] * 40, np.arange(80) // 2)
    found = peaks.Peaks(rng.random(80), rng.random(80) < 0.5)
    entries = peaks.of_labelled(truth, found, bootstrap=BOOTSTRAP)
    for entry in entries.values():
        assert entry["low"] < entry["value"] < entry["high"]
        assert "reason" not in entry
    for name in ("peak_separation", "median_peak_positive", "median_peak_negative"):
        assert "bootstrap over patients" in entries[name]["interval"]


def test_the_monitors_of_a_labelled_set_are_those_counted_by_hand():
    label = [True, True, False, False, False]
    found = peaks.Peaks(np.array([0.9, 0.3, 0.3, 0.2, 0.1]), np.arange(5) == 0)
    truth = truth_of(label, [BOX, NOWHERE, NOWHERE, NOWHERE, NOWHERE])
    entries = peaks.of_labelled(truth, found, bootstrap=BOOTSTRAP)
    values = {name: entry["value"] for name, entry in entries.items()}
    assert values == {
        "peak_in_box": 1.0,
        "peak_separation": pytest.approx(5.5 / 6),  # one of six pairs is a tie
        "median_peak_positive": pytest.approx(0.6),
        "median_peak_negative": pytest.approx(0.2),
    }
    assert [e["n_images"] for e in entries.values()] == [1, 5, 2, 3]


def test_an_interval_is_over_patients_not_images():
    """All images of one patient are one trial, and no set to be resampled."""
    same = np.array(["one"] * 4)
    found = peaks.Peaks(np.array([0.9, 0.5, 0.2, 0.1]), np.array([True] * 3 + [False]))
    truth = truth_of([True] * 4, [BOX] * 4, same)
    entries = peaks.of_image_level(truth, found, center=0.4, bootstrap=BOOTSTRAP)
    for name in ("peak_in_box_p", "dead_share_p"):
        entry = entries[name]
        assert entry["design_effect"] == 4.0
        assert entry["high"] - entry["low"] > 0.7
    assert entries["median_peak_p"]["low"] is None
    assert "only 1 patient with an image" in entries["median_peak_p"]["reason"]


def test_what_can_not_be_counted_says_why():
    empty = peaks.Peaks(np.empty(0), np.empty(0, bool))
    nothing = peaks.of_image_level(
        truth_of([], []), empty, center=0.4, bootstrap=BOOTSTRAP
    )
    assert {e["reason"] for e in nothing.values()} == {"P has no image"}
    one = peaks.Peaks(np.array([0.5]), np.array([False]))
    unboxed = truth_of([True], [NOWHERE])
    p = peaks.of_image_level(unboxed, one, center=0.4, bootstrap=BOOTSTRAP)
    assert p["peak_in_box_p"]["value"] is None
    assert "no image of P has a box" in p["peak_in_box_p"]["reason"]
    assert p["dead_share_p"]["value"] == 0.0
    labelled = peaks.of_labelled(unboxed, one, bootstrap=BOOTSTRAP)
    reasons = {name: e.get("reason", "") for name, e in labelled.items()}
    assert reasons["peak_in_box"] == "no positive has a box"
    assert "one class only" in reasons["peak_separation"]
    assert reasons["median_peak_negative"] == "no image is negative"
    assert labelled["median_peak_positive"]["value"] == 0.5


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3)), min_size=1, max_size=9))
def test_a_weight_counts_as_so_many_copies(rows):
    values, times = (np.array(column) for column in zip(*rows, strict=True))
    copies = np.repeat(values, times)
    if len(copies):
        found = peaks._median(values, times[None].astype(float))
        np.testing.assert_allclose(found, [np.median(copies)], rtol=1e-12)


def test_a_histogram_has_every_peak_once():
    values = np.array([0.0, 0.049, 0.05, 0.5, 1.0])
    counts = peaks.histogram(values)
    assert len(counts) == len(peaks.BIN_EDGES) - 1
    assert (counts[0], counts[1], counts[10], counts[-1]) == (2, 1, 1, 1)
    assert sum(counts) == 5


SHARES = st.floats(0.001, 0.999) | st.integers(1, 99).map(lambda n: n / 100)
VALUES = st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.4, 0.7, 1.0]) | st.floats(0, 1))


@pytest.mark.parametrize(
    "share, most, expected",
    [
        (0.2, 0.9, 0.1),  # 1 of 5 + 1: the lowest peak, below which there is none
        (0.5, 0.9, 0.3),  # 3 of 6: two of five are lower
        (0.7, 0.9, 0.4),
        (0.9, 0.9, 0.5),
        (0.5, 0.25, 0.25),  # never raised
        (0.5, 0.3, 0.3),
    ],
)
def test_t_is_the_peak_counted_by_hand(share, most, expected):
    values = np.array([0.4, 0.1, 0.5, 0.3, 0.2])
    assert peaks.lowered_center(values, share=share, most=most) == expected


def test_a_share_is_met_as_it_is_written():
    """29 of 100, though 0.29 times 100 is 28.999999999999996."""
    values = np.arange(1, 100) / 100
    assert peaks.lowered_center(values, share=0.29, most=0.9) == 0.29
    assert peaks.lowered_center(values, share=0.2, most=0.9) == 0.2


@given(VALUES, SHARES, st.floats(0.01, 0.99))
def test_few_positives_and_few_further_ones_are_dead(values, share, most):
    """Of n + 1 peaks each is left out in turn, and t made of the others: that it is
    below t happens in no more than the share."""
    values = np.array(values)
    if len(values) >= peaks.least_peaks(share):
        t = peaks.lowered_center(values, share=share, most=most)
        assert t <= most
        assert np.mean(values < t) <= share
    if len(values) > peaks.least_peaks(share):
        dead = [
            value < peaks.lowered_center(np.delete(values, i), share=share, most=most)
            for i, value in enumerate(values)
        ]
        assert np.mean(dead) <= share


@given(VALUES, SHARES, SHARES, st.floats(0.01, 0.99))
def test_t_falls_no_further_than_it_must_and_with_a_smaller_share(
    values, one, other, most
):
    low, high = sorted([one, other])
    values = np.array(values)
    if len(values) < peaks.least_peaks(low):
        return
    smaller, larger = (
        peaks.lowered_center(values, share=share, most=most) for share in (low, high)
    )
    assert smaller <= larger <= most
    if smaller < most:  # then it is a peak, and of a higher t the promise is broken
        assert smaller in values
        assert np.sum(values <= smaller) + 1 > low * (len(values) + 1) * (1 - 1e-9)


@given(SHARES)
def test_fewer_peaks_than_the_least_are_refused(share):
    least = peaks.least_peaks(share)
    values = np.linspace(0.1, 0.9, least)
    assert peaks.lowered_center(values, share=share, most=0.95) == values[0]
    with pytest.raises(ValueError, match="too few for a share"):
        peaks.lowered_center(values[1:], share=share, most=0.95)


def test_a_tiny_share_takes_no_memory():
    assert peaks.least_peaks(1e-12) == 10**12 - 1
