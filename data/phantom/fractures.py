"""Fractures of the phantom's ribs and clavicles.

A fracture changes the thickness of a bone as a function of the tube's coordinates
(s, t), and lays a haematoma round it. So step-off, gap, overlap and angulation are
geometry, and no picture that is pasted on.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data.phantom import bones

SITES = ("rib", "clavicle")

# Share of the images with rib fractures that have 1, 2, ... boxes: ChestX-Det
# (Apache-2.0), 389 images with 661 boxes; the rare counts above 6 count as 6.
RIB_COUNTS = np.array([240, 85, 40, 13, 5, 6], float) / 389
CLAVICLE_COUNTS = np.array([0.93, 0.07])
# Square root of the box area in ChestX-Det: median 77 px, quartiles 62 and 93 px of a
# 1024 px frame, taken for a 430 mm detector behind a body magnified 1.07 times. The
# spread of the logarithm follows from the quartiles.
BOX_SIDE_MM = 77 / 1024 * 430 / 1.07
BOX_LOG_SPREAD = float(np.log(93 / 62) / (2 * 0.6745))
# Displacement at conspicuity 1 in mm, by the kind of break; a negative gap is an
# overlap of the ends.
STEP: Mapping[str, tuple[float, float]] = {
    "step": (16.1, 25.3), "kink": (3.45, 6.9), "gap": (4.6, 11.5),
    "override": (13.8, 20.7),
}  # fmt: skip
GAP: Mapping[str, tuple[float, float]] = {
    "step": (3.45, 6.9), "kink": (3.45, 6.9), "gap": (13.8, 20.7),
    "override": (-25.3, -13.8),
}  # fmt: skip
KINDS: Mapping[str, float] = {"step": 0.4, "kink": 0.15, "gap": 0.2, "override": 0.25}
# How far the displaced ends reach along the bone, mm: they turn about a point there.
REACH: Mapping[str, tuple[float, float]] = {"rib": (25, 42), "clavicle": (25, 45)}
# Soft tissue of the haematoma at conspicuity 1, mm of water at its thickest.
HAEMATOMA: Mapping[str, tuple[float, float]] = {"rib": (42, 88), "clavicle": (18, 60)}
# The ends of a plain break are sharp, those of a faint one are not, mm.
SHARPEST, BLUNTEST = 0.35, 1.6


@dataclass(frozen=True)
class Fracture:
    """Where a bone is broken and what it looks like at conspicuity 1 (mm)."""

    site: str
    bone: str
    at: float  # share of the bone's length
    side: float  # sqrt of the box area
    faintness: float  # exponent: this fracture's own conspicuity is c^faintness
    reach: float  # along the bone, either way: the displaced stretch
    step: float  # across the bone, between the two ends
    kink: float  # across the bone, of both ends together (angulation)
    gap: float  # along the bone; negative: the ends override
    impact: float  # share by which the crushed ends are denser
    slope: float  # obliquity of the break: mm along the bone per mm across it
    jag: float  # amplitude of the ragged edge
    phase: float  # rad, of the ragged edge
    haematoma: float  # thickness of the blood round the break
    bleed: float  # across the bone, from the break to the middle of the haematoma


def break_bone(
    bone: np.ndarray,
    blood: np.ndarray,
    tube: bones.Tube,
    crack: Fracture,
    conspicuity: float,
    to_px: np.ndarray,
) -> None:
    """Adds (broken - whole) to the bone, and the haematoma to the soft tissue.

    Both fragments are rigid: each turns about a point `reach` mm from the break. With
    c the fracture's own conspicuity, a the signed distance from the break, and w the
    share of the displacement, 1 at the break and falling to 0 at `reach`,
    broken = T(s, t + c step w / 2 - c kink w) sigmoid(-(a + c gap / 2) / e)
           + T(s, t - c step w / 2 - c kink w) sigmoid( (a - c gap / 2) / e),
    which is T(s, t) at c = 0. A negative gap makes the ends override: they add up.
    Within some 4 mm the crushed ends are denser by the factor 1 + c impact. The width
    e of the edge falls from BLUNTEST to SHARPEST.

    Args:
        bone: f32[H, W], mm of bone, changed in place.
        blood: f32[H, W], mm of soft tissue that the fracture adds, changed in place.
        tube: the bone.
        crack: the fracture.
        conspicuity: 0 (changes nothing) to 1.
        to_px: f64[2, 3], from mm to pixels.
    """
    if conspicuity == 0:
        return
    c = conspicuity**crack.faintness
    length = float(tube.arc[-1])
    middle = crack.at * length
    near_reach, far_reach = min(crack.reach, middle), min(crack.reach, length - middle)
    spare = abs(crack.step) + abs(crack.kink)
    span = (middle - near_reach, middle + far_reach)
    pixel, s, t = bones.locate(tube, span, spare, to_px)
    # a fragment that overrides goes on turning beyond the break
    near_share = np.clip(1 + (s - middle) / near_reach, 0, 1.4)
    far_share = np.clip(1 - (s - middle) / far_reach, 0, 1.4)
    a = s - middle - c * (crack.slope * t + crack.jag * np.sin(t * 1.9 + crack.phase))
    gap, edge = 0.5 * c * crack.gap, BLUNTEST + c * (SHARPEST - BLUNTEST)
    near = 0.5 * (1 - np.tanh((a + gap) / (2 * edge)))
    far = 0.5 * (1 + np.tanh((a - gap) / (2 * edge)))
    up, down = c * (crack.step / 2 - crack.kink), c * (-crack.step / 2 - crack.kink)
    broken = bones.thickness(tube, s, t + up * near_share) * near
    broken += bones.thickness(tube, s, t + down * far_share) * far
    broken *= 1 + c * crack.impact * np.exp(-((a / 4.0) ** 2))
    taper = np.clip(np.minimum(near_share, far_share) * 20, 0, 1)
    bones.add(bone, pixel, taper * (broken - bones.thickness(tube, s, t)))
    if crack.haematoma:
        along, across = 1.05 * crack.side, 0.3 * crack.side  # mm, half axes
        span = (max(middle - along, 0.0), min(middle + along, length))
        pixel, s, t = bones.locate(tube, span, abs(crack.bleed) + across, to_px)
        r = ((s - middle) / along) ** 2 + ((t - crack.bleed) / across) ** 2
        bones.add(blood, pixel, c * crack.haematoma * np.clip(1 - r, 0, None))


def box(tube: bones.Tube, crack: Fracture, to_px: np.ndarray) -> np.ndarray:
    """f64[4], x0, y0, x1, y1 in pixels: the bone about the break, grown to side^2.

    The displaced fragments reach farther; a box marks the break and not all of them.
    The box is that of conspicuity 1 at any conspicuity: an expert's box, too, is no
    smaller because the break is harder to see.
    """
    length, half = float(tube.arc[-1]), 0.37 * crack.side
    middle = crack.at * length
    s = np.linspace(max(middle - half, 0.0), min(middle + half, length), 40)
    xy = np.stack([np.interp(s, tube.arc, tube.xy[:, i]) for i in (0, 1)], 1)
    centre = xy @ to_px[:, :2].T + to_px[:, 2]
    scale = float(np.sqrt(abs(np.linalg.det(to_px[:, :2]))))
    tangent = np.gradient(centre, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1)
    normal = normal / np.hypot(normal[:, :1], normal[:, 1:])
    share = np.clip(1 - np.abs(s - middle) / crack.reach, 0, 1)
    shift = (abs(crack.step) / 2 + abs(crack.kink)) * share
    out = (np.interp(s, tube.arc, tube.radius) + 0.6 * shift)[:, None] * normal * scale
    rim = np.concatenate([centre + out, centre - out])
    low, high = rim.min(0), rim.max(0)
    wide, tall = high - low
    # (wide + 2 g) (tall + 2 g) = side^2, and never smaller than the bone there
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
        numbers = [""] * count
    else:
        count = 1 + int(rng.choice(RIB_COUNTS.size, p=RIB_COUNTS))
        mirrors = np.full(count, rng.choice([-1, 1]))
        # the back and the side of ribs 4-9, as far as they don't run along the ray or
        # behind the spine and shoulder, where nobody would see a break and draw a box
        first = int(rng.integers(4, 11 - count))
        numbers = range(first, first + count)
        at = np.clip(rng.uniform(0.23, 0.44) + rng.normal(0, 0.03, count), 0.2, 0.47)
    each = zip(numbers, mirrors.tolist(), at.tolist(), strict=True)
    return [_crack(rng, site, f"{site}{n}{m:+d}", m, a) for n, m, a in each]


def _crack(
    rng: np.random.Generator, site: str, bone: str, mirror: int, at: float
) -> Fracture:
    """One fracture: displaced, angulated, a gap or overriding, or some of each.

    Where `mirror` is 1, t grows downwards, and inwards at the side of the chest. A
    muscle draws the inner end of most broken clavicles up and the arm's weight the
    outer one down, and the skin above swells; blood gathers inside of a rib.
    """
    is_rib = site == "rib"
    side = BOX_SIDE_MM * float(np.exp(np.clip(rng.normal(), -2, 2) * BOX_LOG_SPREAD))
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    inner_end_up = 0.5 if is_rib else 0.85
    sign = mirror if rng.random() < inner_end_up else -mirror
    kink = (13.8, 20.7) if kind == "kink" else (-2.875, 2.875)
    return Fracture(
        site=site,
        bone=bone,
        at=at,
        side=side,
        faintness=float(np.exp(rng.uniform(-0.6, 0.6))),
        reach=rng.uniform(*REACH[site]),
        step=sign * rng.uniform(*STEP[kind]),
        kink=rng.uniform(*kink),
        gap=rng.uniform(*GAP[kind]),
        impact=rng.uniform(0.25, 1.1),
        slope=rng.normal(0, 0.45),
        jag=rng.uniform(0.2, 0.8),
        phase=rng.uniform(0, 2 * np.pi),
        haematoma=rng.uniform(*HAEMATOMA[site]),
        bleed=(mirror if is_rib else -mirror) * rng.uniform(2, 7),
    )
