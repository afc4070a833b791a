"""Augmentation on the host: geometry, which boxes follow, and photometry.

Coordinates are continuous: pixel i covers [i, i + 1) and its centre is i + 0.5. A
geometry is one 2 x 3 matrix that takes an *output* point (x, y) to its *source*, so an
image is sampled, a box drawn and the film's edge found by the same matrix.
"""

import dataclasses
import functools

import cv2
import numpy as np
from scipy import special

_HALF = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])


@dataclasses.dataclass(frozen=True)
class Ranges:
    """How far augmentation goes; the fields of `config.augment`."""

    rotation_deg: float  # uniform in +- this, degrees
    scale: tuple[float, float]  # log-uniform; above 1 enlarges
    shift: float  # uniform in +- this along each axis, as a share of the side
    flip: bool  # left-right with probability 1/2
    intensity: float  # uniform in +- this, added; images lie in [0, 1]
    contrast: float  # c: factor about the mean, log-uniform in [1 / (1 + c), 1 + c]
    noise: float  # its standard deviation is uniform in [0, this]
    gamma: float = 0.0  # g: exponent of the grey levels, log-uniform in [1/(1+g), 1+g]
    erase: float = 0.0  # longest side of an erased rectangle, as a share of the side


def sample_geometry(
    rng: np.random.Generator, ranges: Ranges, *, side: int
) -> np.ndarray:
    """A random geometry about the centre of the square: scale, rotation, flip, shift.

    Args:
      rng: the same draws are taken whatever the ranges.
      ranges: those of geometry are read.
      side: of the square, px.

    Returns:
      f64[2, 3], output -> source.
    """
    angle = np.deg2rad(rng.uniform(-1, 1) * ranges.rotation_deg)
    scale = np.exp(rng.uniform(*np.log(ranges.scale)))
    shift = rng.uniform(-1, 1, size=2) * ranges.shift * side
    mirror = -1.0 if rng.random() < 0.5 and ranges.flip else 1.0
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    linear = np.array([[cos * mirror, -sin * mirror], [sin, cos]])
    center = np.full(2, side / 2)
    return np.column_stack([linear, center - linear @ (center + shift)])


def to_view(matrix: np.ndarray, *, side: int) -> np.ndarray:
    """The inverse of a geometry, in shares of the side: for images and maps alike.

    Args:
      matrix: f64[2, 3], output -> source, px.
      side: of the square, px.

    Returns:
      f32[2, 3], source (x, y, 1) -> output (x, y), both in [0, 1] within the square.
    """
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    inverse[:, 2] /= side
    return inverse.astype(np.float32)


def identity() -> np.ndarray:
    """The geometry that changes nothing: f64[2, 3]."""
    return np.eye(2, 3)


def warp(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """An image under a geometry.

    Args:
      image: f32[H, W].
      matrix: f64[2, 3], output -> source, px.

    Returns:
      f32[H, W], sampled bilinearly; 0 (air) where the source is outside the image.
    """
    # OpenCV puts integer coordinates at pixel centres
    shifted = np.linalg.inv(_HALF) @ np.vstack([matrix, [0, 0, 1]]) @ _HALF
    return cv2.warpAffine(
        image,
        shifted[:2],
        image.shape[::-1],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0.0,
    )


def _sources(matrix: np.ndarray, *, side: int, map_side: int) -> np.ndarray:
    """Source points f64[map_side, map_side, 2] of the centres of the map's pixels."""
    centers = (np.arange(map_side) + 0.5) * (side / map_side)
    x, y = np.meshgrid(centers, centers)
    return np.stack([x, y, np.ones_like(x)], axis=-1) @ matrix.T


def draw_content(
    content: np.ndarray, matrix: np.ndarray, *, side: int, map_side: int
) -> np.ndarray:
    """f32[map_side, map_side], 1 where the map's pixel centre lies on film.

    Args:
      content: f[4] (x0, y0, x1, y1), the film in the source square, px.
      matrix: f64[2, 3], output -> source.
      side: of the square, px.
      map_side: of the map, in its pixels.
    """
    points = _sources(matrix, side=side, map_side=map_side)
    return _inside(points, content).astype(np.float32)


def draw_boxes(
    boxes: np.ndarray, matrix: np.ndarray, *, side: int, map_side: int
) -> np.ndarray:
    """f32[map_side, map_side], 1 where the map's pixel centre lies in a box.

    A box is drawn after the geometry, at the map's resolution: its pixels are those
    whose source lies inside, so a rotated box stays exactly itself. The pixel that
    holds a box's centre is always set, however small the box.

    Args:
      boxes: f[k, 4] (x0, y0, x1, y1), px of the source square.
      matrix: f64[2, 3], output -> source.
      side: of the square, px.
      map_side: of the map, in its pixels.
    """
    target = np.zeros((map_side, map_side), np.float32)
    if len(boxes) == 0:
        return target
    points = _sources(matrix, side=side, map_side=map_side)
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    for box in boxes:
        target[_inside(points, box)] = 1.0
        center = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, 1.0])
        column, row = np.floor(inverse @ center * (map_side / side)).astype(int)
        if 0 <= row < map_side and 0 <= column < map_side:
            target[row, column] = 1.0
    return target


MIN_SHARE = 0.25  # of a box: less than this left in view, and it is no box


def move_boxes(
    boxes: np.ndarray, content: np.ndarray, matrix: np.ndarray, *, side: int
) -> np.ndarray:
    """Upright boxes after a geometry, clipped to the film: f32[m, 4], m <= k.

    The upright box round a turned one covers more than the lesion, and the more so the
    more it is turned. What is followed here is the ellipse inscribed in the box: its
    own upright box is exact where nothing is turned, and of the same size for a square
    at any angle. A box of which less than MIN_SHARE stays in view is dropped.

    Args:
      boxes: f[k, 4] (x0, y0, x1, y1), px of the source square.
      content: f[4] (x0, y0, x1, y1), the film in the source square, px.
      matrix: f64[2, 3], output -> source.
      side: of the square, px.
    """
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    x0, y0, x1, y1 = np.asarray(content, np.float64)
    corners = np.array([[x0, y0, 1], [x1, y0, 1], [x0, y1, 1], [x1, y1, 1]])
    film = corners @ inverse.T
    low, high = film.min(axis=0).clip(0, side), film.max(axis=0).clip(0, side)
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    center = middle @ inverse[:, :2].T + inverse[:, 2]
    # of an ellipse with half axes a under L: half extents sqrt(sum_j (L_ij a_j)^2)
    half = np.sqrt(((boxes[:, 2:] - boxes[:, :2]) / 2) ** 2 @ inverse[:, :2].T ** 2)
    clipped = np.concatenate(
        [np.clip(center - half, low, high), np.clip(center + half, low, high)], axis=1
    )
    left = np.prod(clipped[:, 2:] - clipped[:, :2], axis=1)
    return clipped[left > MIN_SHARE * np.prod(2 * half, axis=1)].astype(np.float32)


def _inside(points: np.ndarray, box: np.ndarray) -> np.ndarray:
    """bool[...]: which points f[..., 2] are in a box, right and lower edge excluded."""
    x0, y0, x1, y1 = box
    x, y = points[..., 0], points[..., 1]
    return (y0 <= y) & (y < y1) & (x0 <= x) & (x < x1)


def photometry(
    image: np.ndarray, rng: np.random.Generator, ranges: Ranges
) -> np.ndarray:
    """Random contrast, brightness and noise: clip(c (x - mean) + mean + b + noise).

    With `gamma` the grey levels are first raised to a power. With `erase` a rectangle
    takes the mean at the end; no target changes, so it should be smaller than a lesion
    with what surrounds it. A range of 0 draws nothing.

    Args:
      image: f32[H, W] in [0, 1]; it is not changed.
      rng: the source of all draws.
      ranges: those of photometry are read.

    Returns:
      f32[H, W] in [0, 1].

    Reference: DeVries and Taylor, Improved Regularization of Convolutional Neural
    Networks with Cutout, arXiv 1708.04552, 2017, for the rectangle.
    """
    if ranges.gamma:
        exponent = np.exp(rng.uniform(-1, 1) * np.log1p(ranges.gamma))
        image = np.power(image, np.float32(exponent))
    contrast = np.exp(rng.uniform(-1, 1) * np.log1p(ranges.contrast))
    shift = rng.uniform(-1, 1) * ranges.intensity
    noise = rng.uniform(0, 1) * ranges.noise
    added = (1.0 - contrast) * float(image.mean()) + shift
    # in place: a new array for each step costs as much as the step
    changed = image * np.float32(contrast)
    if noise:
        changed += normal_numbers(rng, changed.shape, mean=added, deviation=noise)
    else:
        changed += np.float32(added)
    if ranges.erase:
        changed[_rectangle(rng, changed.shape, ranges.erase)] = changed.mean()
    return np.clip(changed, 0.0, 1.0, out=changed)


def normal_numbers(
    rng: np.random.Generator, shape: tuple[int, int], *, mean: float, deviation: float
) -> np.ndarray:
    """Independent normal numbers, looked up by 16 random bits each.

    The bits choose one of 65,536 intervals that a normal number falls into equally
    often, and give the quantile in its middle; the largest is 4.3 deviations from the
    mean. They take a sixth of the time of `rng.standard_normal` (docs/speed.md).

    Args:
      rng: of a bit generator of 64 bits, as all of NumPy's but MT19937.
      shape: (H, W) of the result.
      mean: of the numbers.
      deviation: their standard deviation, >= 0.

    Returns:
      f32[H, W]
    """
    count = shape[0] * shape[1]
    words = rng.bit_generator.random_raw(-(-count // 4))
    bits = words.view(np.uint16)[:count].reshape(shape)
    return cv2.LUT(bits, _quantiles() * np.float32(deviation) + np.float32(mean))


@functools.cache
def _quantiles() -> np.ndarray:
    """f32[65536], ascending, with mean 0 and variance 0.99998."""
    count = 2**16
    return special.ndtri((np.arange(count) + 0.5) / count).astype(np.float32)


def _rectangle(
    rng: np.random.Generator, shape: tuple[int, int], longest: float
) -> tuple[slice, slice]:
    """A rectangle within an image: its sides uniform in 0 .. `longest` of the image's,
    its place uniform."""
    slices = []
    for side in shape:
        extent = rng.uniform(0, longest) * side
        start = rng.uniform(0, side - extent)
        slices.append(slice(round(start), round(start + extent)))
    return slices[0], slices[1]
