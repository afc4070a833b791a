"""Operating points: a threshold chosen on one set, and what it gives on another.

A threshold chosen on the images that it is then measured on looks better than it is,
so each point says where it was chosen.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aals_jax.metrics import proportions, roc
from aals_jax.metrics.definitions import entry, number
from aals_jax.metrics.draws import Draws, TruthDraws
from aals_jax.metrics.readings import Reading, Truth

SPECIFICITIES = (0.90, 0.95)
FALSE_POSITIVES = (0.5, 1.0)  # per image
RATES = frozenset(["false_positives_per_image"])  # of what is measured; else shares


@dataclasses.dataclass(frozen=True)
class Point:
    """A chosen threshold: positive, or reported, when score >= threshold."""

    name: str
    level: str  # "image" or "lesion"
    rule: str  # how it was chosen
    threshold: float  # nan: could not be chosen; +inf: above every score


def choose(truth: Truth, reading: Reading) -> list[Point]:
    """The points of SPECIFICITIES and FALSE_POSITIVES on one set."""
    points = []
    for wanted in SPECIFICITIES:
        best = roc.sensitivity_at_specificity(
            reading.score, truth.label, specificity=wanted
        )
        rule = f"the most sensitive threshold with specificity >= {wanted:g}"
        points.append(Point(f"specificity {wanted:.2f}", "image", rule, best.threshold))
    for wanted in FALSE_POSITIVES if truth.marked else ():
        rule = f"the lowest threshold with at most {wanted:g} false positives an image"
        name = f"{wanted:g} false positives an image"
        threshold = false_positive_threshold(reading, wanted)
        points.append(Point(name, "lesion", rule, threshold))
    return points


def false_positive_threshold(reading: Reading, limit: float) -> float:
    """The lowest threshold with at most `limit` false positives per image.

    Down to the lowest detection when all of them are few enough; nan without an image,
    +inf without a detection.
    """
    images, match = len(reading.count.units), reading.match
    scores = np.concatenate([match.false_score, match.lesion_score])
    scores = scores[np.isfinite(scores)]
    if not images or not len(scores):
        return np.inf if images else np.nan
    false = np.sort(match.false_score)[::-1]
    allowed = int(np.floor(limit * images))
    if len(false) <= allowed:
        return float(scores.min())
    return float(np.nextafter(false[allowed], np.inf))  # nor any score equal to it


def apply(
    points: Sequence[Point],
    truth: Truth,
    reading: Reading,
    *,
    chosen_on: str,
    draws: TruthDraws,
) -> list[dict[str, Any]]:
    """What each point gives on a set: shares with Wilson's interval, and rates.

    Args:
        points: of `choose`, on this set or another one.
        truth, reading: of the set they are applied to.
        chosen_on: words for the set that they were chosen on.
        draws: of the patients of the set they are applied to.
    """
    applied = []
    for point in points:
        if point.level == "image":
            counts = _image_counts(point, truth, reading)
            set_draws = draws.all_images
        else:
            counts = _lesion_counts(point, reading)
            set_draws = draws.judged_images
        applied.append(
            {
                "name": point.name,
                "level": point.level,
                "rule": point.rule,
                "threshold": number(point.threshold),
                "chosen_on": chosen_on,
                "measured": {}
                if np.isnan(point.threshold)
                else _ratios(counts, set_draws),
                **_no_threshold(point),
            }
        )
    return applied


Counts = Mapping[str, tuple[np.ndarray, np.ndarray]]  # name -> over, under: f64[n] each


def _image_counts(point: Point, truth: Truth, reading: Reading) -> Counts:
    called, label = reading.score >= point.threshold, truth.label
    return {
        "sensitivity": (called & label, label),
        "specificity": (~called & ~label, ~label),
        "ppv": (called & label, called),
        "npv": (~called & ~label, ~called),
    }


def _lesion_counts(point: Point, reading: Reading) -> Counts:
    match, images = reading.match, len(reading.count.units)

    def count(image: np.ndarray) -> np.ndarray:
        return np.bincount(image, minlength=images)

    hit = match.lesion_score >= point.threshold
    false = match.false_score >= point.threshold
    return {
        "sensitivity": (count(match.lesion_image[hit]), count(match.lesion_image)),
        "false_positives_per_image": (count(match.false_image[false]), np.ones(images)),
    }


def _ratios(counts: Counts, draws: Draws) -> dict[str, Any]:
    """name -> over / under with its interval, as result.json holds it."""
    return {
        name: entry(
            (proportions.rate if name in RATES else proportions.proportion)(
                over, under, draws.patient
            )
        )
        for name, (over, under) in counts.items()
    }


def _no_threshold(point: Point) -> dict[str, str]:
    if np.isnan(point.threshold):
        return {"reason": "no threshold: there is one class only, or no image"}
    if np.isinf(point.threshold):
        return {"reason": "nothing is called: no threshold of the rule finds anything"}
    return {}
