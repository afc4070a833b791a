"""wAFROC and JAFROC: a double loop, AUROC as their limit, and what weights do."""

import numpy as np
import pytest

from aals_jax.metrics import afroc, matching, roc

BOXES = np.array([[0.0, 0.0, 9.0, 9.0], [20.0, 0.0, 29.0, 9.0], [40.0, 0.0, 49.0, 9.0]])


def random_case(seed, n=8):
    rng = np.random.default_rng(seed)
    lesions = [BOXES[: max(0, rng.integers(-2, 4))] for _ in range(n)]
    lesions[0], lesions[1] = BOXES[:2], BOXES[:0]
    spots = []
    for _ in range(n):
        x = rng.choice([4.0, 24.0, 44.0, 70.0, 90.0], rng.integers(0, 5), False)
        score = rng.integers(1, 5, len(x)) / 4
        spots.append(np.stack([x, np.full(len(x), 4.0), score], 1))
    return spots, lesions, rng.integers(0, 4, (3, n)).astype(float)


def by_loops(match, lesions, weights, name):
    """The definition, image by image and lesion by lesion."""
    won = total = 0.0
    for k, own in enumerate(lesions):
        if len(own):
            continue
        false = [
            s
            for s, i in zip(match.false_score, match.false_image, strict=True)
            if i == k
        ]
        worst = max(false, default=-np.inf)
        for score, i in zip(match.lesion_score, match.lesion_image, strict=True):
            weight = weights[k] * weights[i]
            weight /= len(lesions[i]) if name == "wafroc" else 1
            total += weight
            won += weight * (1.0 if score > worst else 0.5 if score == worst else 0.0)
    return won / total if total else np.nan


@pytest.mark.parametrize("name", afroc.NAMES)
@pytest.mark.parametrize("seed", range(60))
def test_it_is_the_double_sum(seed, name):
    spots, lesions, weights = random_case(seed)
    match = matching.match_images(spots, lesions)
    data = afroc.afroc_data(match, len(lesions), name=name)
    once = afroc.figure_of_merit(data)
    assert once == pytest.approx(by_loops(match, lesions, np.ones(8), name))
    found = afroc.figure_of_merit(data, weights=weights)
    expected = [by_loops(match, lesions, row, name) for row in weights]
    assert found == pytest.approx(expected, nan_ok=True)


def test_with_one_lesion_an_image_both_are_the_same_and_marks_make_an_auroc():
    """Positives are hit at their score, negatives have a false mark at theirs."""
    rng = np.random.default_rng(0)
    label = np.arange(40) % 2 == 0
    score = np.round(rng.random(40) + 0.3 * label, 1)
    lesions = [BOXES[:1] if positive else BOXES[:0] for positive in label]
    x = np.where(label, 4.0, 70.0)
    spots = [np.array([[x[i], 4.0, score[i]]]) for i in range(40)]
    match = matching.match_images(spots, lesions)
    for name in afroc.NAMES:
        found = afroc.figure_of_merit(afroc.afroc_data(match, 40, name=name))
        assert found == pytest.approx(roc.auroc(score, label))


def test_an_image_of_many_lesions_counts_once_in_one_and_often_in_the_other():
    lesions = [BOXES, BOXES[:1], BOXES[:0]]
    # all three lesions of the first image are missed, that of the second is found
    spots = [np.empty((0, 3)), np.array([[4.0, 4.0, 0.9]]), np.array([[70.0, 4, 0.5]])]
    match = matching.match_images(spots, lesions)
    found = {
        n: afroc.figure_of_merit(afroc.afroc_data(match, 3, name=n))
        for n in afroc.NAMES
    }
    assert found == {"wafroc": 0.5, "jafroc": 0.25}


def test_marks_are_compared_by_order_alone_and_silence_is_half():
    spots, lesions, _ = random_case(5)
    data = afroc.afroc_data(matching.match_images(spots, lesions), 8)
    stretched = [np.c_[rows[:, :2], rows[:, 2] ** 3] for rows in spots]
    other = afroc.afroc_data(matching.match_images(stretched, lesions), 8)
    assert afroc.figure_of_merit(data) == afroc.figure_of_merit(other)
    silent = afroc.afroc_data(matching.match_images([np.empty((0, 3))] * 8, lesions), 8)
    assert afroc.figure_of_merit(silent) == 0.5


def test_without_lesions_or_without_images_free_of_them_there_is_a_reason():
    spots = [np.empty((0, 3))] * 2
    none = afroc.afroc_data(matching.match_images(spots, [BOXES[:0]] * 2), 2)
    assert "no lesion" in afroc.undefined_reason(none)
    full = afroc.afroc_data(matching.match_images(spots, [BOXES[:1]] * 2), 2)
    assert "without lesions" in afroc.undefined_reason(full)
    assert np.isnan(afroc.figure_of_merit(full))
    with pytest.raises(ValueError, match="afroc"):
        afroc.afroc_data(matching.match_images(spots, [BOXES] * 2), 2, name="froc")


@pytest.mark.parametrize("seed", range(10))
def test_both_in_one_search_are_each_on_its_own_and_an_auroc_of_entries(seed):
    spots, lesions, weights = random_case(seed)
    match = matching.match_images(spots, lesions)
    each = [afroc.afroc_data(match, len(lesions), name=name) for name in afroc.NAMES]
    found = afroc.figures_of_merit(each, weights=weights)
    assert found.shape == (3, 2) and afroc.figures_of_merit(each).shape == (2,)
    for k, data in enumerate(each):
        own = afroc.figure_of_merit(data, weights=weights)
        np.testing.assert_array_equal(found[:, k], own)
        entries = weights[:, data.image] * data.weight
        np.testing.assert_array_equal(
            own, roc.auroc(data.score, data.label, weights=entries)
        )
