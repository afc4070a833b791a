"""Ribs, clavicles and upper arms of the phantom as tubes of bone.

A bone is a tube around a centreline in patient millimetres: x towards the patient's
left (right on the film), y towards the feet, the origin on the midline at the first
thoracic vertebra. `paint` adds the tube's line integral of bone (mm) to an image, in
the tube's own coordinates s (along) and t (across).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

RIBS = 12

# Half width of the cage at the outermost point of each rib, the level of its
# vertebra, and the drop from there to the side of the chest, all mm in an adult.
HALF_WIDTH = (58, 90, 111, 123, 130, 135, 138, 140, 139, 134, 126, 110)
LEVEL = (0, 19, 39, 60, 82, 104, 127, 150, 174, 199, 225, 252)
DROP = (24, 32, 40, 46, 50, 54, 58, 60, 60, 58, 52, 46)
# How far each rib runs round the chest, degrees from the spine (180 = sternum).
SWEEP = (150, 150, 148, 146, 144, 142, 138, 128, 116, 106, 78, 58)
CAGE_DEPTH = 92.0  # mm, half of the front-to-back size at the ribs

_MARROW = 0.72  # share of the marrow space that does not attenuate as bone
_TABLE_STEP = 1 / 200  # of the radius, in the profile table


@dataclass(frozen=True)
class Tube:
    """A long bone: samples along the centreline, about 2 mm apart."""

    xy: np.ndarray  # f64[N, 2], mm in the patient
    radius: np.ndarray  # f64[N], mm, half of the width seen on the film
    depth: np.ndarray  # f64[N], mm of bone at full density along the ray
    profile: np.ndarray  # f32[K], share of depth against |t| / radius

    @property
    def arc(self) -> np.ndarray:
        """f64[N], mm along the centreline."""
        steps = np.hypot(*np.diff(self.xy, axis=0).T)
        return np.concatenate([[0.0], np.cumsum(steps)])


def shell_profile(cortex: float) -> np.ndarray:
    """Line integral through a tube with a wall of `cortex` radii, bright at its edges.

    T(u) = sqrt(1 - u^2) - m sqrt((1 - cortex)^2 - u^2), u = |t| / radius in [0, 1.28],
    m the empty share of the marrow space, smoothed by 0.07 radii.
    """
    u = np.arange(-256, 256) * _TABLE_STEP
    outer = np.sqrt(np.clip(1 - u**2, 0, None))
    inner = np.sqrt(np.clip((1 - cortex) ** 2 - u**2, 0, None))
    kernel = np.exp(-0.5 * (np.arange(-40, 41) * _TABLE_STEP / 0.07) ** 2)
    smooth = np.convolve(outer - _MARROW * inner, kernel / kernel.sum(), mode="same")
    smooth[-1] = 0.0
    return smooth[256:].astype(np.float32)


def _wobble(rng: np.random.Generator, share: np.ndarray, size: float) -> np.ndarray:
    """A smooth random curve over share in [0, 1] with standard deviation ~ size."""
    waves = np.arange(1, 6)
    gain = size * rng.normal(size=5) / waves**0.6 / 1.3
    phase = rng.uniform(0, 2 * np.pi, 5)
    return (gain * np.sin(np.pi * waves * share[:, None] * 1.7 + phase)).sum(1)


def rib(rng: np.random.Generator, number: int, mirror: int, cage: Mapping) -> Tube:
    """Rib 1-12 of one side: an ellipse round the chest, tilted down to the front.

    x = W sin(a)^0.88, y = level + drop (1 - cos a), z = -D cos a, a from the spine to
    the cartilage. Where the rib runs along the ray it is denser by ds_3d / ds_film.
    """
    k = number - 1
    width = HALF_WIDTH[k] * cage["width"] + rng.normal(0, 1.5)
    start = np.arcsin((20 / width) ** (1 / 0.88))
    stop = np.deg2rad(SWEEP[k] + rng.normal(0, 3))
    angle = np.linspace(start, stop, 100)
    share = np.linspace(0, 1, 100)
    drop = DROP[k] * cage["tilt"] * (1 + rng.normal(0, 0.03))
    x = width * np.sin(angle) ** 0.88
    y = cage["level"][k] + drop * (1 - np.cos(angle)) - 4 * np.sin(2 * angle)
    y = y + _wobble(rng, share, 0.7) + rng.normal(0, 1.0)
    z = CAGE_DEPTH * -np.cos(angle)
    film = np.hypot(np.gradient(x), np.gradient(y))
    along_ray = np.clip(np.hypot(1, np.gradient(z) / film), 1, 1.6)
    radius = cage["rib_radius"] * (0.90 + 0.22 * share) * (0.78 if number > 10 else 1)
    radius = radius * (1 + 0.35 * np.exp(-share * 14)) + _wobble(rng, share, 0.2)
    if number == 1:
        radius = radius * 1.15
    fade = np.clip((1 - share) / 0.07, 0.15, 1) * (1 - 0.30 * share)
    depth = cage["rib_depth"] * along_ray * fade * (1 + _wobble(rng, share, 0.04))
    if rng.random() < cage["callus"]:  # an old, healed fracture: a mild even bulge
        bump = np.exp(-0.5 * ((share - rng.uniform(0.2, 0.9)) / 0.022) ** 2)
        size = rng.uniform(0.3, 1.0)
        radius, depth = radius * (1 + 0.28 * size * bump), depth * (1 + 0.3 * bump)
    profile = cage["rib_profile"]
    return Tube(np.stack([mirror * x, y], 1), radius, depth, profile)


def clavicle(rng: np.random.Generator, mirror: int, cage: Mapping) -> Tube:
    """An S from the manubrium to the acromion, wide at both ends."""
    share = np.linspace(0, 1, 90)
    length = 146 * cage["width"] + rng.normal(0, 3)
    x = 15 + length * share
    rise = cage["clavicle_rise"] + rng.normal(0, 4)
    bend = cage["clavicle_bend"] + rng.normal(0, 1.2)
    y = cage["clavicle_level"] + rng.normal(0, 2) - rise * share**0.9
    y = y - bend * np.sin(2 * np.pi * (share * 0.95 + 0.02)) + _wobble(rng, share, 0.5)
    waist = 1 + 0.75 * np.exp(-share * 11) + 0.28 * np.exp(-(1 - share) * 7)
    radius = cage["clavicle_radius"] * waist + _wobble(rng, share, 0.18)
    tip = np.clip(np.minimum(share / 0.03, (1 - share) / 0.05), 0.2, 1) ** 0.5
    depth = cage["clavicle_depth"] * (1 - 0.25 * share) * tip
    profile = cage["clavicle_profile"]
    return Tube(np.stack([mirror * x, y], 1), radius * tip, depth, profile)


def humerus(rng: np.random.Generator, mirror: int, shoulder: np.ndarray) -> Tube:
    """Head and shaft of the upper arm, hanging a little away from the body."""
    share = np.linspace(0, 1, 120)
    away = rng.uniform(5, 45)
    x = shoulder[0] + 2 + away * share
    y = shoulder[1] + 6 + 290 * share
    radius = 12.5 + 12 * np.exp(-((share / 0.13) ** 2)) + _wobble(rng, share, 0.3)
    radius = radius * np.clip(share / 0.06, 0, 1) ** 0.5 + 0.5
    depth = 17 + 8 * np.exp(-((share / 0.10) ** 2))
    return Tube(np.stack([mirror * x, y], 1), radius, depth, shell_profile(0.28))


def locate(tube: Tube, span: tuple[float, float], spare: float, to_px: np.ndarray):
    """The pixels of a stretch of the tube and `spare` mm around, in tube coordinates.

    Every half pixel of the straightened tube is thrown onto the film; of those that
    land in one pixel the last is kept, and the pixel's own centre is then projected
    on that sample's tangent, which is exact to the curvature over half a pixel.

    Args:
        tube: the bone.
        span: first and last mm along the tube.
        spare: mm across, beyond the bone to each side.
        to_px: f64[2, 3], affine map from patient mm to pixels (x, y).

    Returns:
        pixel (x i32[M], y i32[M]), s f64[M] in mm, t f64[M] in mm.
    """
    arc, scale = tube.arc, float(np.sqrt(abs(np.linalg.det(to_px[:, :2]))))
    s = np.arange(span[0], span[1], 0.7 / scale)
    xy = np.stack([np.interp(s, arc, tube.xy[:, i]) for i in (0, 1)], 1)
    centre = xy @ to_px[:, :2].T + to_px[:, 2]
    tangent = np.gradient(centre, axis=0)
    tangent = tangent / np.hypot(tangent[:, :1], tangent[:, 1:])
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1)
    limit = np.interp(s, arc, tube.radius) * 1.25 + spare
    reach = float(limit.max())
    across = np.arange(-reach, reach + 0.7 / scale, 0.7 / scale)
    line, side = np.nonzero(np.abs(across) <= limit[:, None])
    offset = across[side] * scale
    x = np.rint(centre[line, 0] + offset * normal[line, 0]).astype(np.int32)
    y = np.rint(centre[line, 1] + offset * normal[line, 1]).astype(np.int32)
    left, top = x.min(), y.min()
    cell = (y - top) * (x.max() - left + 1) + (x - left)
    order = np.arange(cell.size, dtype=np.int32)
    owner = np.empty(cell.max() + 1, np.int32)
    owner[cell] = order
    kept = np.flatnonzero(owner[cell] == order)
    row, px, py = line[kept], x[kept], y[kept]
    dx, dy = px - centre[row, 0], py - centre[row, 1]
    tx, ty = tangent[row, 0], tangent[row, 1]
    return (px, py), s[row] + (dx * tx + dy * ty) / scale, (dy * tx - dx * ty) / scale


def thickness(tube: Tube, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """f64[M], mm of bone along the ray at tube coordinates s, t (mm)."""
    arc = tube.arc
    radius = np.interp(s, arc, tube.radius)
    index = np.abs(t) / radius / _TABLE_STEP
    index = np.minimum(index, tube.profile.size - 1).astype(np.int64)
    return np.interp(s, arc, tube.depth) * tube.profile[index]


def add(image: np.ndarray, pixel: tuple, value: np.ndarray) -> None:
    """image[y, x] += value where (x, y) lies on the film; no pixel occurs twice."""
    height, width = image.shape
    x, y = pixel
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    image[y[inside], x[inside]] += value[inside]


def paint(image: np.ndarray, tube: Tube, to_px: np.ndarray) -> None:
    """Adds the tube's mm of bone to image f32[H, W]."""
    pixel, s, t = locate(tube, (0.0, float(tube.arc[-1])), 0.0, to_px)
    add(image, pixel, thickness(tube, s, t))


def fill(image: np.ndarray, outlines: Sequence, to_px, depth: float, soft: float):
    """Adds flat bones: depth mm inside each outline (mm points), edge of soft px."""
    rim = int(3 * soft) + 2
    points = [np.asarray(o, float) @ to_px[:, :2].T + to_px[:, 2] for o in outlines]
    every = np.concatenate(points)
    low = np.maximum(every.min(0).astype(int) - rim, 0)
    high = np.minimum(every.max(0).astype(int) + rim + 1, image.shape[::-1])
    if (high <= low).any():
        return
    mask = np.zeros((high - low)[::-1], np.uint8)
    cells = [np.rint((p - low) * 16).astype(np.int32) for p in points]
    cv2.fillPoly(mask, cells, 255, cv2.LINE_AA, 4)
    patch = cv2.GaussianBlur(mask, (0, 0), soft, borderType=cv2.BORDER_CONSTANT)
    part = image[low[1] : high[1], low[0] : high[0]]
    part += patch.astype(np.float32) * (depth / 255)
