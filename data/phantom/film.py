"""What the film adds to the phantom: lung markings, objects, exposure and noise."""

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

# Attenuation per mm at about 100 kV, behind an anti-scatter grid.
MU_SOFT = 0.019
MU_BONE = 0.075  # what compact bone adds


def vessels(rng, shape, to_px, body: Mapping) -> np.ndarray:
    """mm of blood in the lungs (f32[H, W]): trees from the hila, and fine markings."""
    scale = float(np.sqrt(abs(np.linalg.det(to_px[:, :2]))))
    film = np.zeros(shape, np.float32)
    stems = np.deg2rad(np.tile([-75, -40, -5, 25, 50, 80], 2) + rng.normal(0, 9, 12))
    mirror = np.repeat([-1.0, 1.0], 6)
    at = np.stack([mirror * 38, np.where(mirror < 0, 120, 112) * body["size"]], 1)
    angle, width = stems, 8.5  # rad, mm
    share = np.linspace(0, 1, 5)
    while width > 1.3:  # one generation of branches at a time
        length = (8 + 3.2 * width) * rng.uniform(0.7, 1.3, angle.shape)
        bend = angle[:, None] + rng.normal(0, 0.3, angle.shape)[:, None] * share
        run = (length[:, None] * share)[..., None]
        way = np.stack([mirror[:, None] * np.cos(bend), np.sin(bend)], -1)
        path = at[:, None] + run * way
        layer = np.zeros(shape, np.uint8)
        cells = np.rint((path @ to_px[:, :2].T + to_px[:, 2]) * 16).astype(np.int32)
        line = max(1, round(width * 0.55 * scale))
        cv2.polylines(layer, list(cells), False, 255, line, cv2.LINE_AA, 4)
        layer = cv2.GaussianBlur(layer, (0, 0), max(0.16 * width * scale, 0.5))
        film += layer * np.float32(min(8.0, 1.2 * width + 1.0) / 255)
        fork = rng.normal([-0.35, 0.4], 0.16, (angle.size, 2))
        angle = (bend[:, -1:] + fork).ravel()
        at, mirror = np.repeat(path[:, -1], 2, 0), np.repeat(mirror, 2)
        width *= 0.7
    return film + 2.4 * _cloud(rng, shape, scale, (3.0, 7.0, 20.0))


def _cloud(rng, shape, scale: float, sizes_mm: Sequence[float]) -> np.ndarray:
    """Correlated noise, f32[H, W], about unit variance, with grains of these mm."""
    total = np.zeros(shape, np.float32)
    for size in sizes_mm:
        step = max(size * scale / 2, 1.0)
        small = [int(n / step) + 4 for n in shape]
        grain = rng.standard_normal(small, dtype=np.float32)
        total += cv2.resize(grain, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return total / len(sizes_mm) ** 0.5


def objects(rng, shape, to_px, shot: Mapping) -> np.ndarray:
    """What lies on or in the patient, as mm of water: leads, tubes, folds, markers."""
    scale = float(np.sqrt(abs(np.linalg.det(to_px[:, :2]))))
    canvas = np.zeros(shape, np.uint8)

    def line(points, width_mm: float, tone: int) -> None:
        curve = np.asarray(points, float) @ to_px[:, :2].T + to_px[:, 2]
        thick = max(1, round(width_mm * scale))
        cells = [np.rint(curve * 16).astype(np.int32)]
        cv2.polylines(canvas, cells, False, tone, thick, cv2.LINE_AA, 4)

    share = np.linspace(0, 1, 40)[:, None]
    if rng.random() < (0.65 if shot["view"] == "AP" else 0.12):  # ECG leads
        for _ in range(int(rng.integers(1, 5))):
            pad = rng.uniform([-120, -10], [120, 240])
            off = np.array([rng.choice([-1, 1]) * 230, rng.uniform(-60, 330)])
            sag = np.sin(np.pi * share) * rng.normal(0, 35, 2)
            line(pad + (off - pad) * share + sag, 1.2, 120)
            ring = share * 2 * np.pi
            line(pad + 4.5 * np.concatenate([np.cos(ring), np.sin(ring)], 1), 3, 150)
    if rng.random() < (0.25 if shot["view"] == "AP" else 0.05):  # a central line
        ends = np.array([[-70.0, -60.0], [-24.0, 120.0]]) + rng.normal(0, 8, (2, 2))
        sag = np.sin(np.pi * share) * [8.0, 0.0]
        line(ends[0] + (ends[1] - ends[0]) * share + sag, 1.8, 90)
    for _ in range(int(rng.integers(0, 4))):  # folds of skin and clothes, scars
        start = rng.uniform([-150, 0], [150, 260])
        bend = rng.normal(0, 60, 2) * share + rng.normal(0, 25, 2) * share**2
        line(start + bend, rng.uniform(0.8, 2.0), int(rng.uniform(15, 50)))
    for _ in range(int(rng.integers(0, 5))):  # calcified nodes and granulomas
        spot = rng.uniform([-110, 10], [110, 230])
        line([spot, spot + 0.5], rng.uniform(2, 5), int(rng.uniform(25, 80)))
    film = cv2.GaussianBlur(canvas, (0, 0), 0.6).astype(np.float32) * (75 / 255)
    if rng.random() < 0.75:  # the marker lies at the patient's left
        marker = np.zeros(shape, np.uint8)
        rows, columns = shape
        at = (
            int(columns * rng.uniform(0.86, 0.93)),
            int(rows * rng.uniform(0.06, 0.3)),
        )
        size = 0.035 * rows * rng.uniform(0.7, 1.2) / 22
        cv2.putText(
            marker, "L", at, cv2.FONT_HERSHEY_SIMPLEX, size, 255, 2, cv2.LINE_AA
        )
        film += marker.astype(np.float32)
    return film


def expose(rng, soft, blood, skeleton, shot: Mapping) -> np.ndarray:
    """Beer-Lambert sum, film response, unsharpness and noise: f32[H, W] in [0, 1].

    v = 1 / (1 + exp(-(att - centre) / range)) with centre and range such that lung
    and mediastinum fall on the exposure's two tones; both come from the soft tissue
    without `blood`, so that no bone and no fracture moves them.
    """
    scale = float(np.sqrt(abs(np.linalg.det(shot["to_px"][:, :2]))))
    inner = soft[soft > 30]
    low, high = (np.percentile(inner[::7], [12, 80]) * MU_SOFT).tolist()
    dark, bright = (math.log(p / (1 - p)) for p in (shot["dark"], shot["bright"]))
    gain = (bright - dark) / (high - low)
    grain = 1 + 0.06 * _cloud(rng, soft.shape, scale, (2.5,))  # spongy bone
    attenuation = MU_SOFT * (soft + blood) + MU_BONE * skeleton * grain
    value = 1 / (1 + np.exp(-(gain * (attenuation - low) + dark)))
    value = cv2.GaussianBlur(value, (0, 0), max(shot["blur_mm"] * scale, 0.4))
    quanta = rng.standard_normal(value.shape, dtype=np.float32)
    quanta = quanta + 0.8 * cv2.GaussianBlur(quanta, (0, 0), 0.8)
    value = value + shot["grain"] * quanta * np.sqrt(0.35 + value)
    if shot["margin"]:
        edge = max(2, round(4 * scale))
        value[:edge] = value[-edge:] = 0.0
    return np.clip(value, 0, 1).astype(np.float32)
