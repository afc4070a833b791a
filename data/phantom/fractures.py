"""Fractures of the phantom's ribs and clavicles.

A fracture changes the thickness of a bone in a short stretch, as a function of the
tube's coordinates (s, t). So step-off, gap, overlap and angulation are geometry, and no
picture that is pasted on.
"""

from dataclasses import dataclass

import numpy as np

from data.phantom import bones

SITES = ("rib", "clavicle")

# Share of the images with rib fractures that have 1, 2, ... boxes: ChestX-Det
# (Apache-2.0), 389 images with 661 boxes; the rare counts above 7 count as 7.
RIB_COUNTS = np.array([240, 85, 40, 13, 5, 0, 6], float) / 389
CLAVICLE_COUNTS = np.array([0.93, 0.07])
# Square root of the box area in ChestX-Det: median 77 px, quartiles 62 and 93 px of a
# 1024 px frame, taken for a 430 mm detector behind a body magnified 1.07 times. The
# spread of the logarithm follows from the quartiles.
BOX_SIDE_MM = 77 / 1024 * 430 / 1.07
BOX_LOG_SPREAD = float(np.log(93 / 62) / (2 * 0.6745))
CALLUS_MM = 16.0  # of bone, at conspicuity 2


@dataclass(frozen=True)
class Fracture:
    """Where a bone is broken and what it looks like at conspicuity 1 (mm)."""

    site: str
    bone: str
    at: float  # share of the bone's length
    side: float  # sqrt of the box area
    step: float  # across the bone, between the two ends
    kink: float  # across the bone, of both ends together (angulation)
    gap: float  # along the bone; negative: the ends override
    impact: float  # share by which the crushed ends are denser
    slope: float  # obliquity of the break: mm along the bone per mm across it
    jag: float  # amplitude of the ragged edge
    phase: float  # rad, of the ragged edge


def break_bone(
    image, tube: bones.Tube, crack: Fracture, conspicuity: float, to_px
) -> None:
    """Adds (broken - whole) to image, in the stretch that the break changes.

    With a the signed distance from the break and w = (1 - |s - s0| / l)^2:
    broken = T(s, t + c step w / 2 - c kink w) sigmoid(-(a + c gap / 2) / e)
           + T(s, t - c step w / 2 - c kink w) sigmoid( (a - c gap / 2) / e),
    which is T(s, t) at c = 0. A negative gap makes the ends override: they add up.
    Within some 4 mm the crushed ends are denser by the factor 1 + c impact.
    Above conspicuity 1 the displacement stays as it is, so that the box still holds
    it, and a round callus of CALLUS_MM (c - 1) of bone grows on it.
    """
    if conspicuity == 0:
        return
    callus, conspicuity = max(conspicuity - 1.0, 0.0), min(conspicuity, 1.0)
    start, middle, stop = stretch(tube, crack)
    spare = abs(crack.step) + abs(crack.kink)
    pixel, s, t = bones.locate(tube, (start, stop), spare, to_px)
    length = np.where(s < middle, middle - start, stop - middle)
    weight = np.clip(1 - np.abs(s - middle) / length, 0, 1) ** 2
    ragged = crack.jag * np.sin(t * 1.9 + crack.phase)
    a = s - middle - conspicuity * (crack.slope * t + ragged)
    half = 0.5 * conspicuity * crack.step * weight
    kink, gap = conspicuity * crack.kink * weight, 0.5 * conspicuity * crack.gap
    edge = 0.45  # mm, sharpness of the broken end
    near = 0.5 * (1 - np.tanh((a + gap) / (2 * edge)))
    far = 0.5 * (1 + np.tanh((a - gap) / (2 * edge)))
    broken = bones.thickness(tube, s, t + half - kink) * near
    broken += bones.thickness(tube, s, t - half - kink) * far
    broken *= 1 + conspicuity * crack.impact * np.exp(-((a / 4.0) ** 2))
    if callus:
        distance = ((s - middle) ** 2 + t**2) / (0.18 * crack.side) ** 2
        broken += CALLUS_MM * callus * np.exp(-0.5 * distance)
    taper = np.clip(weight * 60, 0, 1)  # nothing is left to see at the ends
    bones.add(image, pixel, taper * (broken - bones.thickness(tube, s, t)))


def stretch(tube: bones.Tube, crack: Fracture) -> tuple[float, float, float]:
    """First, middle and last mm of the tube that the fracture changes."""
    length = float(tube.arc[-1])
    middle = crack.at * length
    half = 0.37 * crack.side
    return max(middle - half, 0.0), middle, min(middle + half, length)


def box(tube: bones.Tube, crack: Fracture, to_px: np.ndarray) -> np.ndarray:
    """f64[4], x0, y0, x1, y1 in pixels: what is changed, grown evenly to side^2.

    The box is that of conspicuity 1 at any conspicuity: an expert's box, too, is no
    smaller because the break is harder to see.
    """
    start, _, stop = stretch(tube, crack)
    s = np.linspace(start, stop, 40)
    xy = np.stack([np.interp(s, tube.arc, tube.xy[:, i]) for i in (0, 1)], 1)
    centre = xy @ to_px[:, :2].T + to_px[:, 2]
    scale = float(np.sqrt(abs(np.linalg.det(to_px[:, :2]))))
    tangent = np.gradient(centre, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1)
    normal = normal / np.hypot(normal[:, :1], normal[:, 1:])
    shift = (abs(crack.step) / 2 + abs(crack.kink)) * (1 - np.abs(s - s.mean()) / 40)
    out = (np.interp(s, tube.arc, tube.radius) + 0.6 * shift)[:, None] * normal * scale
    rim = np.concatenate([centre + out, centre - out])
    low, high = rim.min(0), rim.max(0)
    wide, tall = high - low
    # (wide + 2 g) (tall + 2 g) = side^2, and never smaller than the change itself
    root = np.sqrt((wide - tall) ** 2 + 4 * (crack.side * scale) ** 2)
    grow = max((root - wide - tall) / 4, 0.8 * scale)
    return np.concatenate([low - grow, high + grow])


def sample(rng: np.random.Generator, site: str) -> list[Fracture]:
    """The breaks of one positive image; several rib fractures are neighbours."""
    if site == "clavicle":
        count = 1 + int(rng.choice(CLAVICLE_COUNTS.size, p=CLAVICLE_COUNTS))
        mirrors = rng.permutation([-1, 1])[:count]
        thirds = rng.random(count) < 0.8  # the middle third breaks in most
        at = np.where(thirds, rng.uniform(0.35, 0.65, count), rng.uniform(0.7, 0.85))
        names = [f"clavicle{m:+d}" for m in mirrors]
    else:
        count = 1 + int(rng.choice(RIB_COUNTS.size, p=RIB_COUNTS))
        mirror = int(rng.choice([-1, 1]))
        # ribs 3-9 behind the lung and at the side, where breaks are common and seen
        first = int(rng.integers(3, 10))
        numbers = [3 + (first - 3 + i) % 7 for i in range(count)]
        at = np.clip(rng.uniform(0.18, 0.60) + rng.normal(0, 0.05, count), 0.14, 0.75)
        names = [f"rib{n}{mirror:+d}" for n in numbers]
    return [_crack(rng, site, b, float(a)) for b, a in zip(names, at, strict=True)]


def _crack(rng: np.random.Generator, site: str, bone: str, at: float) -> Fracture:
    """One fracture: displaced, angulated, a gap or overriding, or some of each."""
    size = 1.0 if site == "rib" else 1.15
    side = BOX_SIDE_MM * float(np.exp(np.clip(rng.normal(), -2, 2) * BOX_LOG_SPREAD))
    kind = rng.choice(["step", "kink", "gap", "override"], p=[0.4, 0.15, 0.2, 0.25])
    sign = float(rng.choice([-1, 1]))
    step = {"step": (11, 17), "kink": (3, 6), "gap": (3, 8), "override": (8, 14)}[kind]
    gap = {"step": (3, 6), "kink": (3, 6), "gap": (8, 12), "override": (-17, -10)}[kind]
    kink = (8, 12) if kind == "kink" else (-2.5, 2.5)
    # a short stretch cannot bend far
    room = min(1.0, side / BOX_SIDE_MM)
    return Fracture(
        site=site,
        bone=bone,
        at=at,
        side=side,
        step=sign * size * room * rng.uniform(*step),
        kink=size * room * rng.uniform(*kink),
        gap=size * rng.uniform(*gap),
        impact=rng.uniform(0.25, 1.1),
        slope=rng.normal(0, 0.45),
        jag=rng.uniform(0.2, 0.8),
        phase=rng.uniform(0, 2 * np.pi),
    )
