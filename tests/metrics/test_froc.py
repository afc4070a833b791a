"""Both FROC definitions against a count over all thresholds, then easy cases."""

import collections
import dataclasses
import functools

import numpy as np
import pytest

from aals_jax.metrics import counts, froc, matching
from tests.support import brute_force
from tests.support.brute_force import PARAMETERS

LIMITS = (0.0, 0.1, 0.2, 0.25, 1 / 3, 0.5, 1.0, 2.0, 4.0)


def by_level(data):
    """f64[t + 1, n], false units of each image at or above each level."""
    n = len(data.units)
    every = np.arange(len(data.threshold) + 1)[:, None]
    return data.false.weighted(np.eye(n))(np.tile(every, n))


@pytest.mark.parametrize("rule", PARAMETERS)
def test_count_is_the_best_of_all_thresholds(rule):
    @brute_force.many_cases
    def check(rng):
        films = brute_force.random_films(rng, rule)
        data = froc.count_data(
            films.found, films.lesions, rule=rule, **PARAMETERS[rule]
        )
        expected = [
            brute_force.best_below(
                brute_force.count_points(rule, films, weights), LIMITS
            )
            for weights in films.weights
        ]
        values = froc.sensitivity_at(data, LIMITS, weights=films.weights)
        np.testing.assert_array_equal(values, expected)
        np.testing.assert_array_equal(froc.sensitivity_at(data, LIMITS), values[0])

    check()


@brute_force.many_cases
def test_area_is_the_best_of_all_thresholds(rng):
    case = brute_force.random_maps(rng)
    limits = (*LIMITS, *froc.AREA_LIMITS)
    data = froc.area_data(case.maps, case.boxes, valid=case.valid)
    expected = [
        brute_force.best_below(brute_force.area_points(case, weights), limits)
        for weights in case.weights
    ]
    values = froc.sensitivity_at(data, limits, weights=case.weights)
    np.testing.assert_array_equal(values, expected)


@brute_force.few_cases
def test_a_subset_of_lesions_ignores_the_others(rng):
    """They are neither hit nor missed, and what lies on them is not false."""
    films, case = brute_force.random_films(rng, "iou"), brute_force.random_maps(rng)
    count = froc.count_data(films.found, films.lesions, rule="iou", **PARAMETERS["iou"])
    area = froc.area_data(case.maps, case.boxes, valid=case.valid)
    for data, source, points in (
        (count, films, functools.partial(brute_force.count_points, "iou")),
        (area, case, brute_force.area_points),
    ):
        mask = np.array([each for row in source.counted for each in row], bool)
        chosen = froc.select_lesions(data, mask)
        expected = [
            brute_force.best_below(points(source, weights, subset=True), LIMITS)
            for weights in source.weights
        ]
        values = froc.sensitivity_at(chosen, LIMITS, weights=source.weights)
        np.testing.assert_array_equal(values, expected)
        kept = np.isin(data.threshold, chosen.threshold)
        np.testing.assert_array_equal(by_level(chosen)[1:], by_level(data)[1:][kept])


@brute_force.few_cases
def test_every_point_of_the_curve_is_reached_at_its_threshold(rng):
    films = brute_force.random_films(rng, "center_in_box")
    ones = films.weights[0]
    points = {
        t: (r, f) for t, r, f in brute_force.count_points("center_in_box", films, ones)
    }
    curve = froc.froc_curve(froc.count_data(films.found, films.lesions))
    if not points:
        assert np.isnan(curve.sensitivity).all()
        return
    points[-np.inf] = points[min(points)]
    for threshold, recall, rate in zip(
        curve.threshold, curve.sensitivity, curve.false_rate, strict=True
    ):
        assert points[threshold] == (recall, rate)
    assert {recall for recall, _ in points.values()} == set(curve.sensitivity)


@brute_force.few_cases
def test_the_order_of_rows_has_no_influence(rng):
    films = brute_force.random_films(rng, "center_in_box")
    before = froc.count_data(films.found, films.lesions)
    for rows in (*films.found, *films.lesions):
        rng.shuffle(rows)
    after = froc.count_data(films.found, films.lesions)
    np.testing.assert_array_equal(by_level(after), by_level(before))
    np.testing.assert_array_equal(
        np.sort(after.lesion_score), np.sort(before.lesion_score)
    )


@brute_force.few_cases
def test_an_integer_weight_is_a_repetition(rng):
    case = brute_force.random_maps(rng)
    weights = case.weights[1]
    times = np.repeat(np.arange(len(case.maps)), weights.astype(int))
    again = froc.area_data(
        case.maps[times], [case.boxes[i] for i in times], valid=case.valid[times]
    )
    weighted = froc.sensitivity_at(
        froc.area_data(case.maps, case.boxes, valid=case.valid),
        froc.AREA_LIMITS,
        weights=weights,
    )
    repeated = froc.sensitivity_at(again, froc.AREA_LIMITS)
    np.testing.assert_array_equal(weighted, repeated)


def test_the_random_cases_hold_the_hard_ones():
    """Of 500 of them: how many have ties, repeats and empty sets."""
    kinds = collections.Counter()
    for seed in range(500):
        films = brute_force.random_films(np.random.default_rng(seed), "center_in_box")
        scores = [row[-1] for rows in films.found for row in rows]
        match = matching.match_images(films.found, films.lesions)
        kinds["tie"] += len(set(scores)) < len(scores)
        kinds["repeat"] += bool(np.sum(match.lesion_of == matching.REPEAT))
        kinds["no detection"] += not scores
        kinds["no lesion"] += not len(match.lesion_score)
        kinds["every lesion hit"] += bool(np.isfinite(match.lesion_score).all())
        kinds["empty image"] += any(
            not found and not lesions
            for found, lesions in zip(films.found, films.lesions, strict=True)
        )
    assert min(kinds.values()) >= 15, kinds


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
        for module in (froc, counts):
            monkeypatch.setattr(module, "_BLOCK", block)
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
    assert data.false.count.tolist() == [[0], [1]]
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


def test_bad_input_is_named():
    values = np.zeros((4, 4))
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
    for mask in ([True, False], [1]):
        with pytest.raises(ValueError, match="of each of the 1 lesions"):
            froc.select_lesions(data, np.array(mask))


def by_all_levels(data, limits, weights):
    """`sensitivity_at` without windows: one row at a time has none."""
    return np.stack(
        [froc.sensitivity_at(data, limits, weights=w[None])[0] for w in weights]
    )


@pytest.mark.parametrize("alike", [True, False], ids=["patients", "odd weights"])
def test_windows_of_levels_change_nothing(monkeypatch, alike):
    """Replicates whose level lies outside their window are looked at again."""
    rng = np.random.default_rng(0)
    n, m, f = 300, 400, 3000
    match = matching.Match(
        np.where(rng.random(m) < 0.9, np.round(rng.normal(1, 1, m), 2), -np.inf),
        np.sort(rng.integers(0, n, m)),
        np.round(rng.normal(0, 1, f), 2),
        rng.integers(0, n, f),
        np.empty(0, int),
    )
    data = froc.matched_data(match, n)
    weights = rng.poisson(1.0, (60, n)).astype(float)
    if not alike:
        weights[5] = 0
        weights[6] = rng.random(n) < 0.01
        weights[7, : n // 2] = 50
    limits = (0.0, *froc.COUNT_LIMITS, 9.0, 40.0)
    expected = by_all_levels(data, limits, weights)
    np.testing.assert_array_equal(
        froc.sensitivity_at(data, limits, weights=weights), expected
    )
    around = counts.windows_around

    def narrow(*arguments):
        found = around(*arguments)
        if found is None:
            return None
        return counts.Windows(found.low, np.minimum(found.low + 1, found.high))

    used = []
    monkeypatch.setattr(
        counts, "windows_around", lambda *a: used.append(narrow(*a)) or used[-1]
    )
    np.testing.assert_array_equal(
        froc.sensitivity_at(data, (0.1, 0.5), weights=weights[:5]),
        by_all_levels(data, (0.1, 0.5), weights[:5]),
    )
    assert used[0] is not None


def test_parts_in_one_search_are_each_part_alone():
    rng = np.random.default_rng(1)
    n, m, f = 80, 120, 500
    match = matching.Match(
        np.where(rng.random(m) < 0.8, np.round(rng.normal(1, 1, m), 1), -np.inf),
        np.sort(rng.integers(0, n, m)),
        np.round(rng.normal(0, 1, f), 1),
        rng.integers(0, n, f),
        np.empty(0, int),
    )
    data = froc.matched_data(match, n)
    masks = [rng.random(m) < share for share in (0.1, 0.5, 1.0, 0.0)]
    weights = rng.poisson(1.0, (30, n)).astype(float)
    for limits in (froc.COUNT_LIMITS, (0.0, 3.0)):
        found = froc.sensitivity_of_parts(data, masks, limits, weights=weights)
        for k, mask in enumerate(masks):
            alone = froc.sensitivity_at(
                froc.select_lesions(data, mask), limits, weights=weights
            )
            np.testing.assert_array_equal(found[:, k], alone)
