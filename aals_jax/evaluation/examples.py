"""Which images the page shows: best hits, worst misses, loudest false alarms."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from aals_jax.metrics import detection, matching, operating
from aals_jax.metrics.readings import Hit, Reading, Truth
from aals_jax.report.pictures import KINDS, Detection, Example

# rate on the judged images that sets the threshold of the pictures
FALSE_POSITIVES_PER_IMAGE = 0.5
MOST = 6  # pictures per kind


class Film(NamedTuple):
    """What is drawn under the marks of one image."""

    image: np.ndarray  # u8[H, W]
    probability: np.ndarray | None  # f32[h, w], covers the image; None: there is none
    affine: np.ndarray  # f64[2, 3], coordinates of the reading -> pixels of the image


def choose_examples(
    truth: Truth, reading: Reading, film_of: Callable[[int], Film | None], *, hit: Hit
) -> list[Example]:
    """Of the judged images: hits, misses, false alarms and clear negatives.

    Args:
        truth, reading: of the set.
        film_of: the film of image i; None where it can't be shown.
        hit: when a detection hits.
    """
    threshold = operating.false_positive_threshold(reading, FALSE_POSITIVES_PER_IMAGE)
    threshold = np.inf if np.isnan(threshold) else threshold
    marked = "no detection anywhere"
    if np.isfinite(threshold):
        marked = f"detections from {threshold:.2g} up"
    rows = truth.judged_rows
    kind_of = _kinds(reading.match, threshold, len(rows))
    kinds: dict[str, list[int]] = {kind: [] for kind in KINDS}
    for k in np.argsort(-reading.score[rows], kind="stable"):
        kinds[kind_of[k]].append(int(rows[k]))
    kinds["miss"].reverse()  # the least suspicious first: the worst misses
    kinds["clear"].reverse()
    chosen = []
    for kind, images in kinds.items():
        for i in images[:MOST]:
            if (film := film_of(i)) is not None:
                match = matching.match(
                    reading.detections[i], truth.lesions[i], **hit.matching
                )
                marks = _marks(reading.detections[i], match, threshold, film)
                boxes = _boxes(truth.lesions[i], hit, film)
                chosen.append(
                    Example(
                        image=film.image,
                        probability=film.probability,
                        boxes=boxes[:, [1, 0, 3, 2]],
                        found=(match.lesion_score >= threshold).tolist(),
                        detections=marks,
                        kind=kind,
                        score=float(reading.score[i]),
                        caption=f"image {i}; {marked}",
                    )
                )
    return chosen


def _kinds(match: matching.Match, threshold: float, images: int) -> list[str]:
    """The kind of each judged image, from the matching of all of them."""

    def any_of(image: np.ndarray) -> np.ndarray:
        return np.bincount(image, minlength=images) > 0

    hit = any_of(match.lesion_image[match.lesion_score >= threshold])
    alarmed = any_of(match.false_image[match.false_score >= threshold])
    has_lesion = any_of(match.lesion_image)
    conditions = [has_lesion & hit, has_lesion, alarmed]
    return np.select(conditions, ["hit", "miss", "false_alarm"], "clear").tolist()


def _marks(
    detections: np.ndarray, match: matching.Match, threshold: float, film: Film
) -> list[Detection]:
    points = detection.to_image(matching.center(detections[:, :-1]), film.affine)
    return [
        Detection(float(x), float(y), float(score), bool(lesion >= 0))
        for (x, y), score, lesion in zip(
            points, detections[:, -1], match.lesion_of, strict=True
        )
        # a further hit on a lesion counts for nothing, and would hide the first
        if score >= threshold and lesion != matching.REPEAT
    ]


def _boxes(lesions: np.ndarray, hit: Hit, film: Film) -> np.ndarray:
    """f64[k, 4], (x0, y0, x1, y1) in pixels of the image; a point gets its reach."""
    lesions = np.asarray(lesions, np.float64)
    if lesions.shape[-1] == 2:
        reach = max(hit.max_distance, 1.0)
        lesions = np.concatenate([lesions - reach, lesions + reach], axis=-1)
    corners = detection.to_image(lesions.reshape(-1, 2, 2), film.affine)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
