"""Which images the page shows: best hits, worst misses, loudest false alarms."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from aals_jax import matching, operating
from aals_jax.readings import Hit, Reading, Truth
from aals_jax.report import Detection, Example
from aals_jax.report.pictures import KINDS

FALSE_POSITIVES = 0.5  # an image, on the judged images: the threshold of the pictures
EACH = 6  # pictures of a kind


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
    threshold = operating.false_positive_threshold(reading, FALSE_POSITIVES)
    threshold = np.inf if np.isnan(threshold) else threshold
    said = f"detections from {threshold:.2g} up"
    said = said if np.isfinite(threshold) else "no detection anywhere"
    rows = truth.judged_rows
    found = {
        i: matching.match(
            reading.detections[i], truth.lesions[i], **dataclasses.asdict(hit)
        )
        for i in rows.tolist()
    }
    kinds: dict[str, list[int]] = {kind: [] for kind in KINDS}
    for i in rows[np.argsort(-reading.score[rows], kind="stable")].tolist():
        kinds[_kind(found[i], threshold)].append(i)
    kinds["miss"].reverse()  # the least suspicious first: the worst misses
    kinds["clear"].reverse()
    made = []
    for kind, images in kinds.items():
        for i in images[:EACH]:
            if (film := film_of(i)) is not None:
                marks = _marks(reading.detections[i], found[i], threshold, film)
                boxes = _boxes(truth.lesions[i], hit, film)
                made.append(
                    Example(
                        image=film.image,
                        probability=film.probability,
                        boxes=boxes[:, [1, 0, 3, 2]],
                        found=(found[i].lesion_score >= threshold).tolist(),
                        detections=marks,
                        kind=kind,
                        score=float(reading.score[i]),
                        caption=f"image {i}; {said}",
                    )
                )
    return made


def _kind(match: matching.Match, threshold: float) -> str:
    if len(match.lesion_score):
        return "hit" if (match.lesion_score >= threshold).any() else "miss"
    return "false_alarm" if (match.false_score >= threshold).any() else "clear"


def _marks(
    detections: np.ndarray, match: matching.Match, threshold: float, film: Film
) -> list[Detection]:
    half = detections.shape[1] // 2 - 1  # 0: points; 1: boxes, marked at the centre
    points = (detections[:, :2] + detections[:, 2 * half : 2 * half + 2]) / 2.0
    points = _moved(points, film)
    return [
        Detection(float(x), float(y), float(score), bool(lesion >= 0))
        for (x, y), score, lesion in zip(
            points, detections[:, -1], match.lesion_of, strict=True
        )
        if score >= threshold
    ]


def _boxes(lesions: np.ndarray, hit: Hit, film: Film) -> np.ndarray:
    """f64[k, 4], (x0, y0, x1, y1) in pixels of the image; a point gets its reach."""
    lesions = np.asarray(lesions, np.float64)
    if lesions.shape[-1] == 2:
        reach = max(hit.max_distance, 1.0)
        lesions = np.concatenate([lesions - reach, lesions + reach], axis=-1)
    corners = _moved(lesions.reshape(-1, 2, 2), film)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def _moved(points: np.ndarray, film: Film) -> np.ndarray:
    return points @ film.affine[:, :2].T + film.affine[:, 2]
