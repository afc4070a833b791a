"""On which film a box would teach most: reasons as numbers, and an order of films.

Of a film the record says that it is positive (1), negative (0) or nothing (-1), and a
model's map has a peak. Reasons have a strength in [0, 1], 0 where they don't apply; a
film's value is their weighted sum. The order takes the most valuable film that is
unlike those taken before, and one film of each patient before a second one.

Reference: the order is farthest-first (k-center greedy) by features, as in Sener and
Savarese, Active Learning for Convolutional Neural Networks: A Core-Set Approach, ICLR
2018, with each distance times the film's value. Reasons and weights are ours.
"""

from collections.abc import Mapping

import cv2
import numpy as np

DEAD_ZONE = "dead_zone"  # positive, and the peak is below t: sharpening leaves it be
DISAGREEMENT = "disagreement"  # models or views see something in different places
SOMETHING_FOUND = "something_found"  # not positive by the record, a positive's peak
NOTHING_FOUND = "nothing_found"  # positive by the record, a negative's peak
NO_BOX = "no_box"  # positive, and nobody has drawn where
WEIGHTS: Mapping[str, float] = {
    DEAD_ZONE: 1.0,
    DISAGREEMENT: 0.75,
    SOMETHING_FOUND: 0.75,
    NOTHING_FOUND: 0.5,
    NO_BOX: 0.1,
}
LEAST_DISAGREEMENT = 0.2  # in probability; less is no reason
# A label is in doubt where so many films of the other kind look like this one, and so
# few of its own: a model that tells neither from the other doubts few.
OF_OTHER_KIND, OF_OWN_KIND = 0.5, 0.2


def disagreement(
    a: np.ndarray, b: np.ndarray, *, reach: int, valid: np.ndarray | None = None
) -> float:
    """The most that one map exceeds all that the other has nearby, in [0, 1].

    A peak that is moved by no more than `reach` is no disagreement; one that is
    elsewhere, or not there at all, is.

    Args:
        a, b: f32[h, w], probabilities.
        reach: pixels, the larger of |dx| and |dy|; at least 0.
        valid: [h, w], true on film; None: everywhere.
    """
    if valid is not None:
        a, b = (np.where(valid, one, 0.0) for one in (a, b))
    a, b = (np.asarray(one, np.float32) for one in (a, b))
    window = np.ones((2 * reach + 1,) * 2, np.uint8)
    beyond = max((a - cv2.dilate(b, window)).max(), (b - cv2.dilate(a, window)).max())
    return max(float(beyond), 0.0)


def strengths(
    record: np.ndarray,
    peak: np.ndarray,
    differing: np.ndarray,
    *,
    center: float,
    positives: np.ndarray,
    negatives: np.ndarray,
) -> dict[str, np.ndarray]:
    """Reason -> its strength for each film, f64[n] in [0, 1].

    Args:
        record: i[n], 1 positive, 0 negative, -1 unknown.
        peak: f[n], of the model's map, in [0, 1].
        differing: f[n], the largest `disagreement` between two looks at the film.
        center: t in (0, 1).
        positives, negatives: f[.], peaks on films that no training has seen; not empty.

    Raises:
        ValueError: there are no positives or no negatives to compare with.
    """
    if not len(positives) or not len(negatives):
        raise ValueError("validation needs positives and negatives, to compare with")
    peak = np.asarray(peak, np.float64)
    positive, other = record == 1, record != 1
    below = np.clip((center - peak) / center, 0.0, 1.0)
    # of the negatives, those whose peak is as high; of the positives, as low
    as_high = 1 - np.searchsorted(np.sort(negatives), peak) / len(negatives)
    as_low = np.searchsorted(np.sort(positives), peak, side="right") / len(positives)
    is_found = other & (as_low >= OF_OTHER_KIND) & (as_high <= OF_OWN_KIND)
    is_empty = positive & (as_high >= OF_OTHER_KIND) & (as_low <= OF_OWN_KIND)
    found = np.where(is_found, as_low, 0.0)
    # a model that disagrees with itself about a negative is no reason to look
    counts = (differing >= LEAST_DISAGREEMENT) & ((record != 0) | (found > 0))
    return {
        DEAD_ZONE: np.where(positive & (peak < center), 0.5 + below / 2, 0.0),
        DISAGREEMENT: np.where(counts, np.minimum(differing, 1.0), 0.0),
        SOMETHING_FOUND: found,
        NOTHING_FOUND: np.where(is_empty, as_high, 0.0),
        NO_BOX: positive.astype(np.float64),
    }


def value(strength: Mapping[str, np.ndarray]) -> np.ndarray:
    """f64[n], the weighted sum of the reasons of `strengths`."""
    return np.sum([WEIGHTS[name] * each for name, each in strength.items()], axis=0)


def reasons(strength: Mapping[str, np.ndarray], film: int) -> list[str]:
    """The reasons of a film, the one that counts most first; NO_BOX only if alone."""
    counted = {name: WEIGHTS[name] * each[film] for name, each in strength.items()}
    told = [name for name, weight in counted.items() if weight and name != NO_BOX]
    return sorted(told, key=lambda name: -counted[name]) or [NO_BOX]


def order(
    value: np.ndarray,
    features: np.ndarray,
    patient: np.ndarray,
    name: np.ndarray,
    *,
    count: int,
) -> np.ndarray:
    """The films to take, the first one first; a smaller count gives the beginning.

    The next film is the one of the largest value times distance to the nearest film
    taken (in units of the usual distance, at most 1), of the patients of whom fewest
    films were taken. Of equal ones the more valuable is first, then the lower name: so
    the order in which films are given does not matter.

    Args:
        value: f[n]; films of value 0 are never taken.
        features: f[n, d]; copies of a film have the same ones.
        patient: str[n].
        name: str[n], of the films, each once.
        count: how many to take, at least 1.

    Returns:
        i64[m], m the smaller of count and the films with a value.
    """
    if count < 1:
        raise ValueError(f"count={count}: must be at least 1")
    by_name = np.argsort(name, kind="stable")
    pool = by_name[np.asarray(value)[by_name] > 0]
    worth = np.asarray(value, np.float64)[pool]
    points = np.asarray(features, np.float64)[pool]
    _, whose = np.unique(patient[pool], return_inverse=True)
    taken_of = np.zeros(len(pool), np.int64)  # films taken of each film's patient
    is_left = np.ones(len(pool), bool)
    novelty = np.ones(len(pool))
    unit = _usual_distance(points)
    taken = []
    for _ in range(min(count, len(pool))):
        left = np.flatnonzero(is_left)
        left = left[taken_of[left] == taken_of[left].min()]
        first = left[np.lexsort((left, -worth[left], -(worth * novelty)[left]))[0]]
        taken.append(int(pool[first]))
        is_left[first] = False
        taken_of[whose == whose[first]] += 1
        distance = np.linalg.norm(points - points[first], axis=1)
        novelty = np.minimum(novelty, distance / unit if unit else np.zeros(len(pool)))
    return np.array(taken, np.int64)


def _usual_distance(points: np.ndarray) -> float:
    """The median distance from the mean; 0 where all points are one."""
    if not len(points):
        return 0.0
    return float(np.median(np.linalg.norm(points - points.mean(axis=0), axis=1)))
