"""Tells a negative from a film: in a chest, bone is bright and air is dark.

A header may say MONOCHROME2 of an image that is stored as MONOCHROME1, and the reverse;
only the image can contradict it. Where bone and air are in a chest is drawn here by
hand, and nothing is fitted: benchmarks/polarity.py counts how often it errs.
"""

import cv2
import numpy as np

_SIDE = 64  # of the small picture, in pixels
_LEAST = 0.15  # of the rank, that air is brighter than bone in a negative
_BORDER = 0.02  # of the range, within which a row or column is a border of one value


def is_negative(pixels: np.ndarray) -> bool:
    """Whether the image looks like a negative; also of many that are no upright chest.

    Args:
        pixels: f32[H, W] in [0, 1], which should have 0 = air, 1 = bone.
    """
    return bone_over_air(pixels) < -_LEAST


def bone_over_air(pixels: np.ndarray) -> float:
    """By how much bone is brighter than air, in [-1, 1]; 1 - pixels has its negative.

    It is the mean of four differences of mean ranks, where the rank of a pixel is the
    share of pixels that are darker: spine and abdomen over lungs, abdomen over the
    corners above the shoulders, spine over the left and right edge.

    Args:
        pixels: f32[H, W].
    """
    small = _shrink(_without_border(_shrink(pixels, 4 * _SIDE)), _SIDE)
    _, place, count = np.unique(small, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - count / 2)[place].reshape(small.shape) / small.size
    at = (np.arange(_SIDE) + 0.5) / _SIDE
    down, aside = at[:, None], abs(at - 0.5)[None]

    def mean(region: np.ndarray) -> float:
        return float(ranks[region].mean())

    spine = mean((down > 0.3) & (aside < 0.07))
    abdomen = mean((down > 0.75) & (aside < 0.3))
    lungs = mean((down > 0.25) & (down < 0.5) & (abs(aside - 0.18) < 0.07))
    corners = mean((down < 0.15) & (aside > 0.3))
    edges = mean((down > 0) & (aside > 0.47))
    bone, air = 2 * spine + 2 * abdomen, 2 * lungs + corners + edges
    return (bone - air) / 4


def _shrink(pixels: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)


def _without_border(pixels: np.ndarray) -> np.ndarray:
    """The part inside rows and columns that are black or white from end to end."""
    low, high = pixels.min() + _BORDER, pixels.max() - _BORDER
    near = (pixels <= low) | (pixels >= high)
    rows, columns = np.flatnonzero(~near.all(1)), np.flatnonzero(~near.all(0))
    if len(rows) < 2 or len(columns) < 2:
        return pixels
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
