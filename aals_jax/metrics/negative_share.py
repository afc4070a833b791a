"""What FROC would be in a set with another share of images without lesions.

False positives per image are over all images. A set with many negatives, on which a
system seldom calls, so looks better than one of positives alone, and two papers with
different shares can't be compared. Here the negatives of a set are weighted to any
share; sensitivity on the lesions is that of the same threshold, only the rate changes.
"""

from collections.abc import Sequence

import numpy as np

from aals_jax.metrics import froc, roc


def share_of(data: froc.FrocData) -> float:
    """The set's own share of images without lesions, 0 .. 1; nan without an image."""
    without = is_without(data)
    return float(without.mean()) if len(without) else np.nan


def is_without(data: froc.FrocData) -> np.ndarray:
    """bool[n], images without any lesion."""
    return np.bincount(data.lesion_image, minlength=len(data.units)) == 0


def score_at_share(
    data: froc.FrocData,
    limits: Sequence[float],
    *,
    share: float,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Mean sensitivity at the limits, as if a share of the images had no lesion.

    With s of the images without lesions these weigh s P / ((1 - s) N) each, for P
    images with and N without lesions. In a replicate P and N are its own weights.

    Args:
        data: of n images.
        limits: false rates, >= 0, see `froc.sensitivity_at`.
        share: of images without lesions, at least 0 and below 1.
        weights: f64[..., n], how often an image counts, >= 0; None: 1 each.

    Returns:
        f64[...], 0 .. 1; nan where no lesion has weight, or where the share is above
        0 and no image without lesions has weight.
    """
    if not 0.0 <= share < 1.0:
        raise ValueError(f"share={share} must be at least 0 and below 1")
    weights = roc.check_weights(weights, len(data.units))
    without = is_without(data)
    some = weights[..., ~without].sum(axis=-1)
    none = weights[..., without].sum(axis=-1)
    if share == 0:
        factor = np.zeros_like(none)
    else:
        factor = roc.ratio(share * some, (1 - share) * none)
    known = np.nan_to_num(np.asarray(factor))[..., None]
    changed = np.where(without, weights * known, weights)
    score = froc.froc_score(data, limits, weights=changed)
    return np.where(np.isnan(factor), np.nan, score)[()]
