"""The phantom's soft tissue: trunk, lungs, heart and great vessels, breasts.

All are depths along the ray, in mm of water, on a coarse grid in the patient.
"""

from collections.abc import Mapping

import cv2
import numpy as np

from data.phantom import bones

LUNG_AIR = 0.74  # share of the lung's volume
GRID_MM = 2.25  # soft tissue has no finer detail than the film's unsharpness
GRID_X, GRID_Y = np.meshgrid(
    np.arange(-265, 266, GRID_MM, dtype=np.float32),
    np.arange(-150, 391, GRID_MM, dtype=np.float32),
    sparse=True,
)


def _dome(x: np.ndarray, y: np.ndarray, cx, cy, rx, ry, turn: float = 0.0):
    """Signed mm inside an ellipse, near its edge: (1 - r) min(rx, ry)."""
    c, s = np.cos(turn), np.sin(turn)
    u, v = ((x - cx) * c + (y - cy) * s) / rx, ((y - cy) * c - (x - cx) * s) / ry
    return (1 - np.sqrt(u * u + v * v)) * min(rx, ry)


def _inside(distance: np.ndarray, edge: float) -> np.ndarray:
    """Share covered at a signed distance (mm) with an edge of `edge` mm."""
    return 0.5 + 0.5 * np.tanh(distance / edge)


def soft_tissue(body: Mapping, shot: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """(mm of water, share of lung depth) on the patient grid, both f32."""
    x, y, size = GRID_X, GRID_Y, body["size"]
    lung = np.zeros(np.broadcast_shapes(x.shape, y.shape))
    for mirror in (-1, 1):
        lung += _lung(mirror * x, y, body, shot, mirror)
    middle = _middle(x, y, body, shot)
    lung *= 1 - middle
    air = 15 * _inside(_dome(x, y, body["lean"], 10, 8.5, 95), 2.5)
    air = air + body["bubble"] * _inside(
        _dome(x, y, 75, body["dome+1"] + shot["breath"] + 26, 34, 17), 3
    )
    trunk = _torso(x, y, body)
    deep = np.minimum(165 * size, 0.78 * trunk)  # the chest wall takes the rest
    water = trunk - air - lung * (LUNG_AIR * deep - shot["haze"])
    for mirror in (-1, 1):
        cx, cy = body["breast_at"].tolist()
        radius = 46 + 0.5 * body["breast"]
        shape = np.clip(
            _dome(mirror * x, y, cx, cy, radius * 1.15, radius) / radius, 0, 1
        )
        water = water + 1.6 * body["breast"] * shape**0.6
    water = np.maximum(water, 0).astype(np.float32)
    coarse = cv2.GaussianBlur(water, (0, 0), 22 / GRID_MM)
    solid = np.clip(trunk / 60, 0, 1)  # the background beside the patient stays empty
    water = water - solid * shot["flatten"] * (coarse - 110)
    return np.maximum(water, 0).astype(np.float32), lung.astype(np.float32)


def _lung(x, y, body: Mapping, shot: Mapping, mirror: int) -> np.ndarray:
    """Share of full depth of one lung; x is mirrored so that it grows outwards."""
    cage = body["cage"]
    side = cage["level"] + np.array(bones.DROP) * cage["tilt"]
    apex = -6.0
    wall_y = np.concatenate([[apex - 1, apex + 4], side[:10], [side[9] + 80]])
    half = np.array(bones.HALF_WIDTH[:10]) * cage["width"] - 3
    wall = np.interp(y, wall_y, np.concatenate([[34, 48], half, [half[-1]]]))
    wall = cv2.GaussianBlur(wall.astype(np.float32), (0, 0), 6 / GRID_MM)
    near = 20 + body["lean"] * mirror * 0.3
    top = apex + ((x - 40) / 22) ** 2 * 7
    span = np.clip((x - near) / np.maximum(wall - near, 1), -1, 2)
    profile = np.clip(1 - np.clip(2 * span - 1, -1, 1) ** 4, 0, 1) ** 0.5
    depth = np.clip((y - apex + 12) / 95, 0, 1) ** 0.55
    middle = 0.5 * (near + 128 * cage["width"])
    low = body[f"dome{mirror:+d}"] + shot["breath"]
    low = low + 46 * (np.abs(x - middle - 6) / 66) ** 2.6
    above = _inside(low - y, 1.6) * 0.9 + 0.1 * _inside(low + 26 - y, 14)
    return profile * depth * above * _inside(y - top, 2) * _inside(wall - x, 1.5)


def _middle(x, y, body: Mapping, shot: Mapping) -> np.ndarray:
    """How much of the lung the heart, the great vessels and the hila push away."""
    grow, size = body["heart"] * shot["heart"], body["size"]
    # (x, y, half axes, turn), mm: ventricles, right atrium, aortic knob, lung trunk
    balls = (
        (22, 184 * size, 64 * grow, 47 * grow, 0.6), (-4, 180 * size, 38 * grow, 44, 0),
        (20, 76 * size, body["knob"] * 1.05, body["knob"] * 1.2, 0),
        (16, 122 * size, 27, 36, 0.2),
    )  # fmt: skip
    waist = 23 + 4 * np.cos((y - 20) / 38) + 8 * np.clip((30 - y) / 60, 0, 1)
    covered = _inside(waist - np.abs(x - 3), 3.0)
    for cx, cy, rx, ry, turn in balls:
        ball = _dome(x, y, cx, cy, rx, ry, turn)
        round_off = np.clip(ball / 26, 0, 1)  # blood is deeper away from the border
        solid = _inside(ball, 1.8) * (0.5 + 0.48 * round_off * (2 - round_off))
        covered = 1 - (1 - covered) * (1 - solid)
    hila = np.zeros_like(covered)
    for cx, cy in ((-42, 122), (44, 114)):
        far = ((x - cx) / 13) ** 2 + ((y - cy * size) / 22) ** 2
        hila = hila + 0.30 * np.exp(-0.5 * far)
    return 1 - (1 - covered) * (1 - np.minimum(hila, 0.5))


def _torso(x, y, body: Mapping) -> np.ndarray:
    """mm of tissue from front to back: neck, shoulders, trunk and arms."""
    fat, size = body["fat"], body["size"]
    girth = (0.6 + 0.4 * fat) * size
    outline_y = [-160, -80, -55, -40, -22, -2, 25, 60, 100, 200, 400]
    outline_x = [54, 56, 68, 92, 140, 178, 196, 188, 168, 160, 172]
    half = np.interp(y, outline_y, outline_x) * girth
    half = cv2.GaussianBlur(half.astype(np.float32), (0, 0), 7 / GRID_MM)
    deep = np.interp(y, [-160, -60, 0, 80, 240, 400], [105, 115, 150, 205, 225, 230])
    deep = cv2.GaussianBlur(deep.astype(np.float32), (0, 0), 12 / GRID_MM)
    trunk = np.clip(1 - (x / half) ** 2, 0, 1) ** 0.42 * deep * (0.45 + 0.55 * fat)
    arms = np.zeros_like(trunk)
    for mirror in (-1, 1):
        top = float(body[f"shoulder{mirror:+d}"][1])
        tube = body["tubes"][f"humerus{mirror:+d}"].xy
        centre = np.interp(y, tube[:, 1], mirror * tube[:, 0]).astype(np.float32) + 3
        radius = 42 * girth * np.clip((y - top + 26) / 60, 0, 1) ** 0.5 + 1e-3
        arms += np.sqrt(np.clip(1 - ((mirror * x - centre) / radius) ** 2, 0, 1)) * 80
    return np.maximum(trunk, arms) + 0.25 * np.minimum(trunk, arms)


def to_film(grid: np.ndarray, to_px: np.ndarray, shape) -> np.ndarray:
    """Brings a field from the patient grid to the film, f32[H, W]."""
    turn = to_px[:, :2] * GRID_MM
    origin = np.array([GRID_X.ravel()[0], GRID_Y.ravel()[0]])
    matrix = np.c_[turn, to_px[:, :2] @ origin + to_px[:, 2]]
    return cv2.warpAffine(
        grid,
        matrix,
        shape[::-1],
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )
