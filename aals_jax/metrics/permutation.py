"""Whether two systems differ, on few patients: their readings swapped within patients.

If the systems were alike, each patient's readings might as well have come from the
other one. So the readings of any patients are swapped, all images of a patient at once,
and p is the share of such swaps whose difference is at least as large, either way. It
holds for any number of patients and never falls below what they can give: with k
patients whose readings differ there are 2^k swaps, and no p below 2 / 2^k.

Systems have scales of their own, so their scores are first put on a common one which
keeps each system's own metrics: ranks for images, and for detections the number of its
system's false positives at or above it. A monotone transform of one system's scores
changes nothing.

References:
    E. Venkatraman, C. Begg, A distribution-free procedure for comparing receiver
    operating characteristic curves from a paired experiment, Biometrika 83 (1996).
    A. Bandos, H. Rockette, D. Gur, A permutation test sensitive to differences in areas
    for comparing ROC curves from a paired design, Statistics in Medicine 24 (2005).
    B. Phipson, G. Smyth, Permutation p-values should never be zero, Statistical
    Applications in Genetics and Molecular Biology 9 (2010).
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from aals_jax.metrics import froc
from aals_jax.metrics.delong import mid_ranks
from aals_jax.metrics.intervals import Statistic
from aals_jax.metrics.matching import Match
from aals_jax.metrics.readings import Reading, Truth

EXACT = 12  # patients that differ, up to which all swaps are looked at
_CLOSE = 1e-9  # differences that are equal but for rounding
_BLOCK = 1 << 21  # f64 weights at a time, 16 MiB


@dataclasses.dataclass(frozen=True)
class Test:
    """A two-sided p-value of "the systems are alike"."""

    p_value: float
    method: str


def swap_test(
    statistic: Statistic,
    patient: np.ndarray,
    differs: np.ndarray,
    *,
    permutations: int = 2000,
    seed: int = 0,
) -> Test:
    """p of the difference of two systems under swaps of their readings.

    All 2^k swaps for k <= EXACT patients that differ, else `permutations` of them drawn
    at random: p = (1 + b) / (1 + B), of which b reach the difference.

    Args:
        statistic: f64[r, 2 n] -> f64[r], over n images as the first system reads them,
            then as the second does; weights are 0 or 1. nan: not defined.
        patient: i64[n], number of each image's patient.
        differs: bool[n], images which the two read differently.
        permutations: drawn where not all are looked at.
        seed: of those drawn.
    """
    swapped = np.unique(patient[differs])
    number, rows = len(swapped), np.flatnonzero(np.isin(patient, swapped))
    place = np.searchsorted(swapped, patient[rows])
    if not number:
        return Test(1.0, "none needed: all readings are the same")
    observed = _differences(statistic, np.zeros((1, len(patient)), bool))[0]
    reached, tried = 0, 0
    for choice in _choices(number, permutations, seed, len(patient)):
        swap = np.zeros((len(choice), len(patient)), bool)
        swap[:, rows] = choice[:, place]
        found = np.abs(_differences(statistic, swap))
        # a swap without a value can't be smaller
        reached += int(np.sum(~(found < abs(observed) - _CLOSE)))
        tried += len(choice)
    what = "readings swapped within patients"
    if number <= EXACT:
        return Test(reached / tried, f"exact permutation, {what}, {2**number} swaps")
    return Test(
        (1 + reached) / (1 + tried), f"permutation, {what}, {tried} swaps, seed {seed}"
    )


def both(
    truth: Truth, first: Reading, second: Reading, *, on_ranks: bool
) -> tuple[Truth, Reading]:
    """The images twice, as one system reads them and as the other does.

    Args:
        truth: of n images.
        first, second: of these images.
        on_ranks: image scores as mid-ranks of each system; False: as they are.

    Returns:
        Of 2 n images, without area data; weights 1 and 0 give either system's metrics.
        Of the reading, `score` and `count` are those of both; the rest is not.
    """
    rows, n = np.arange(len(truth)), len(truth.judged_rows)
    twice = truth.select(np.concatenate([rows, rows]))
    scores = [each.score for each in (first, second)]
    if on_ranks:
        scores = [mid_ranks(score) for score in scores]
    count = joined(first.match, second.match, n)
    return twice, Reading(np.concatenate(scores), [], first.match, count, None)


def joined(first: Match, second: Match, num_images: int) -> froc.FrocData:
    """`froc_count` of n images twice, as two systems match them, on a common scale."""
    one, two = _on_common_scale(first), _on_common_scale(second)
    match = Match(
        np.concatenate([one.lesion_score, two.lesion_score]),
        np.concatenate([one.lesion_image, two.lesion_image + num_images]),
        np.concatenate([one.false_score, two.false_score]),
        np.concatenate([one.false_image, two.false_image + num_images]),
        np.empty(0, int),
    )
    return froc.matched_data(match, 2 * num_images)


def differing_scores(first: Reading, second: Reading) -> np.ndarray:
    """bool[n], images whose scores differ."""
    return first.score != second.score


def differing_matches(first: Reading, second: Reading, num_images: int) -> np.ndarray:
    """bool[n], judged images whose hits, or false positives, differ in their scores."""
    one, two = first.match, second.match
    differs = np.zeros(num_images, bool)
    differs[one.lesion_image[one.lesion_score != two.lesion_score]] = True
    false = [
        np.stack([each.false_image, each.false_score])[
            :, np.lexsort((each.false_score, each.false_image))
        ]
        for each in (one, two)
    ]
    count = [np.bincount(each.false_image, minlength=num_images) for each in (one, two)]
    same_number = count[0] == count[1]
    differs |= ~same_number
    left = [each[:, same_number[each[0].astype(int)]] for each in false]
    differs[left[0][0, left[0][1] != left[1][1]].astype(int)] = True
    return differs


def _on_common_scale(match: Match) -> Match:
    """Scores as minus the number of false positives at or above; -inf stays."""
    ascending = np.sort(match.false_score)

    def scaled(score: np.ndarray) -> np.ndarray:
        above = len(ascending) - np.searchsorted(ascending, score, side="left")
        return np.where(np.isfinite(score), -above.astype(np.float64), -np.inf)

    return dataclasses.replace(
        match,
        lesion_score=scaled(match.lesion_score),
        false_score=scaled(match.false_score),
    )


def _differences(statistic: Statistic, swap: np.ndarray) -> np.ndarray:
    """First minus second, f64[r], after the swaps bool[r, n]."""
    as_one = np.concatenate([~swap, swap], axis=1).astype(np.float64)
    return np.asarray(statistic(as_one)) - np.asarray(statistic(1.0 - as_one))


def _choices(
    number: int, permutations: int, seed: int, images: int
) -> Iterator[np.ndarray]:
    """bool[r, number] in blocks: all subsets, or as many as asked for, at random."""
    block = max(1, _BLOCK // max(1, 2 * images))
    if number <= EXACT:
        total = 2**number
        for start in range(0, total, block):
            subset = np.arange(start, min(start + block, total))[:, None]
            yield (subset >> np.arange(number)) % 2 == 1
        return
    rng = np.random.default_rng(seed)
    for start in range(0, permutations, block):
        rows = min(block, permutations - start)
        yield rng.integers(0, 2, (rows, number), dtype=np.uint8) == 1
