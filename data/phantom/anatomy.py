"""The phantom's patients and their films: from a seed to pixels and true boxes.

Everything is drawn in millimetres of the patient and attenuates X-rays. The film is a
logistic response to the sum, so that what overlaps adds up as on a radiograph. Each
concern has its own random numbers, default_rng([seed, index, stream]), so that nothing
but the fracture itself depends on whether there is one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data.phantom import bones, film, fractures, tissue

# Streams of random numbers; their order is part of what a seed means.
ANATOMY, ACQUISITION, OBJECTS, FRACTURE, NOISE = range(5)

DETECTOR_MM = {"portrait": (430, 350), "square": (430, 430), "landscape": (350, 430)}
_TRIES = 30  # places tried for a fracture before it may lie at the edge of the film


@dataclass(frozen=True)
class Drawing:
    """One upright film and the truth about it."""

    pixels: np.ndarray  # f32[H, W], 0 = air, 1 = bone
    boxes: Mapping[str, np.ndarray]  # site -> f64[N, 4], x0, y0, x1, y1 in pixels
    spacing: float  # mm per pixel
    sex: str  # F | M
    age: int  # years
    view: str  # PA | AP


def draw(
    seed: int,
    index: int,
    *,
    height: int,
    broken: Mapping[str, float],
    patient: int | None = None,
) -> Drawing:
    """Draws film `index` of the registry `seed`.

    Args:
        seed: of the registry, >= 0.
        index: of the image, >= 0.
        height: typical rows of a film in pixels; films have 0.85 to 1.15 times these.
        broken: site (rib, clavicle) -> conspicuity of its fractures, from 0 = they
            change no pixel to 1 = as plain as in a textbook. Sites left out are whole.
        patient: whose body it is; images of one patient share it. Default: index.

    Returns:
        The film; where `broken` is empty, or 0, bit for bit the unbroken one.
    """
    body_number = index if patient is None else patient
    body = _anatomy(np.random.default_rng([seed, body_number, ANATOMY]))
    shot = _acquisition(np.random.default_rng([seed, index, ACQUISITION]), height, body)
    to_px, shape = shot["to_px"], shot["shape"]
    tubes = body["tubes"]
    skeleton = np.zeros(shape, np.float32)
    for tube in tubes.values():
        bones.paint(skeleton, tube, to_px)
    blood = np.zeros(shape, np.float32)  # mm, that fractures shed
    boxes = {}
    for site, conspicuity in broken.items():
        stream = [seed, index, FRACTURE, fractures.SITES.index(site)]
        rng = np.random.default_rng(stream)
        cracks, boxes[site] = _fractures(rng, site, tubes, shape, to_px)
        for crack in cracks:
            tube = tubes[crack.bone]
            fractures.break_bone(skeleton, blood, tube, crack, conspicuity, to_px)
    _flat_bones(skeleton, body, to_px)
    _spine(skeleton, body, to_px)
    soft, lung = (
        tissue.to_film(grid, to_px, shape) for grid in tissue.soft_tissue(body, shot)
    )
    rng = np.random.default_rng([seed, index, OBJECTS])
    soft += lung * film.vessels(rng, shape, to_px, body)
    soft += film.objects(rng, shape, to_px, shot)
    noise = np.random.default_rng([seed, index, NOISE])
    pixels = film.expose(noise, soft, blood, skeleton, shot)
    return Drawing(
        pixels, boxes, shot["spacing"], body["sex"], body["age"], shot["view"]
    )


def _anatomy(rng: np.random.Generator) -> dict:
    """One patient: sizes in mm, and all the long bones."""
    sex = str(rng.choice(["F", "M"]))
    age = int(np.clip(rng.normal(52, 19), 18, 94))
    size = rng.normal(0.955 if sex == "F" else 1.02, 0.035)
    fat = float(np.clip(rng.normal(1.0, 0.13), 0.75, 1.4))
    old = (age - 50) / 40
    frail = (1.0 if sex == "M" else 0.92) * (1 - 0.10 * old)
    cortex = float(np.clip(0.22 * frail * rng.normal(1, 0.12), 0.12, 0.32))
    cage = {
        "width": size * rng.normal(1, 0.03),
        "tilt": float(np.clip(rng.normal(1.0, 0.13), 0.7, 1.35)),
        "level": np.array(bones.LEVEL) * size * rng.normal(1, 0.03),
        "rib_radius": 5.6 * size * rng.normal(1, 0.07),
        "rib_depth": 9.0 * frail * rng.normal(1, 0.10),
        "rib_profile": bones.shell_profile(cortex),
        "clavicle_profile": bones.shell_profile(1.15 * cortex),
        "callus": 0.035,  # a rib; so about half of all films show one
        "clavicle_level": rng.normal(50, 7),
        "clavicle_rise": rng.normal(34, 13),
        "clavicle_bend": rng.normal(6.0, 2.2),
        "clavicle_radius": 5.0 * size * rng.normal(1, 0.08),
        "clavicle_depth": 16.0 * frail * rng.normal(1, 0.10),
    }
    body = {"sex": sex, "age": age, "size": size, "fat": fat, "old": old, "cage": cage}
    tubes = {}
    for mirror in (-1, 1):
        for number in range(1, bones.RIBS + 1):
            tubes[f"rib{number}{mirror:+d}"] = bones.rib(rng, number, mirror, cage)
        collar = bones.clavicle(rng, mirror, cage)
        tubes[f"clavicle{mirror:+d}"] = collar
        shoulder = np.abs(collar.xy[-1]) * [1, np.sign(collar.xy[-1, 1])] + [14, 16]
        body[f"shoulder{mirror:+d}"] = shoulder
        tubes[f"humerus{mirror:+d}"] = bones.humerus(rng, mirror, shoulder)
        body[f"dome{mirror:+d}"] = rng.normal(206 + 5 * mirror, 9) * size
    body["tubes"] = tubes
    body["heart"] = rng.normal(1.0 + 0.04 * old, 0.09)
    body["knob"] = rng.normal(15 + 3 * old, 2)
    body["lean"] = rng.normal(0, 4)  # mm, scoliosis
    body["breast"] = float(np.clip(rng.normal(28, 14), 0, 60)) if sex == "F" else 0.0
    body["breast_at"] = rng.normal([78, 188], [6, 12])
    body["spine_depth"] = 11 * frail
    body["scapula_out"] = rng.normal(0, 8)
    body["bubble"] = rng.uniform(0, 45)  # mm of air in the stomach
    return body


def _acquisition(rng: np.random.Generator, height: int, body: Mapping) -> dict:
    """How the patient stands before the detector, and how the film responds."""
    form = str(rng.choice(["portrait", "square", "landscape"], p=[0.4, 0.4, 0.2]))
    tall, wide = DETECTOR_MM[form]
    rows = round(height * float(rng.uniform(0.85, 1.15)))
    spacing = tall / rows
    angle = np.deg2rad(rng.normal(0, 2.2))
    zoom = rng.normal(1.07, 0.03) / spacing  # the film is behind the patient
    turn = zoom * np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    columns = round(wide / spacing)
    centre = np.array([0.0, 118 * body["size"]]) + rng.normal(0, [7, 9])
    to_px = np.c_[turn, np.array([columns, rows]) / 2 - turn @ centre]
    return {
        "shape": (rows, columns),
        "spacing": spacing,
        "to_px": to_px,
        "view": str(rng.choice(["PA", "AP"], p=[0.6, 0.4])),
        "flatten": rng.uniform(0.25, 0.6),  # share of large-scale contrast removed
        "dark": rng.normal(0.30, 0.05),  # response of the lung
        "bright": rng.normal(0.80, 0.03),  # response of the mediastinum
        "blur_mm": rng.uniform(0.35, 0.8),
        "grain": rng.uniform(0.005, 0.014),
        "haze": rng.uniform(0, 22) * (rng.random() < 0.4),  # mm of water in the lungs
        "breath": rng.normal(0, 9),  # mm the domes are lower
        "heart": rng.normal(1, 0.03),
        "margin": rng.random() < 0.3,  # collimator edge on the film
    }


def _fractures(
    rng: np.random.Generator, site: str, tubes: Mapping, shape, to_px: np.ndarray
) -> tuple[list[fractures.Fracture], np.ndarray]:
    """The breaks of one site, and f64[N, 4], their boxes in the film."""
    limit = np.array([*shape[::-1], *shape[::-1]], float)
    tries = 0
    while True:
        cracks = fractures.sample(rng, site)
        boxes = np.stack([fractures.box(tubes[c.bone], c, to_px) for c in cracks])
        tries += 1
        if ((boxes >= 0) & (boxes <= limit)).all() or tries == _TRIES:
            return cracks, np.clip(boxes, 0, limit)


def _flat_bones(skeleton: np.ndarray, body: Mapping, to_px: np.ndarray) -> None:
    """Shoulder blades with their spines, the breastbone."""
    for mirror in (-1, 1):
        sx, sy = body[f"shoulder{mirror:+d}"] + [-18, 4]
        inner = sx - 72 + body["scapula_out"]
        blade = np.array(
            [
                [sx, sy - 8], [sx - 22, sy - 10], [inner + 12, sy + 2],
                [inner, sy + 30], [inner + 8, sy + 95], [inner + 22, sy + 128],
                [inner + 34, sy + 118], [sx - 20, sy + 52], [sx - 2, sy + 22],
            ]
        )  # fmt: skip
        for shrink, depth in ((1.0, 4.2), (0.93, -2.2)):  # a thin plate, a denser rim
            centre = blade.mean(0)
            plate = (centre + (blade - centre) * shrink) * [mirror, 1]
            bones.fill(skeleton, [plate], to_px, depth, 1.2)
        ridge = np.array([[inner + 6, sy + 26], [sx - 30, sy - 4], [sx + 8, sy - 20]])
        rise = np.array([0, 4])
        band = np.concatenate([ridge - rise, ridge[::-1] + rise])
        bones.fill(skeleton, [band * [mirror, 1]], to_px, 4.0, 2.0)
    breast = [[-28, 32], [28, 32], [22, 75], [15, 80], [14, 165], [-14, 165], [-15, 80]]
    bones.fill(skeleton, [[*breast, [-22, 75]]], to_px, 1.6, 2.5)


def _spine(skeleton: np.ndarray, body: Mapping, to_px: np.ndarray) -> None:
    """Vertebral bodies, disc spaces, pedicles and spinous processes."""
    level, depth = body["cage"]["level"], body["spine_depth"]
    gap = float(level[-1] / 11)
    centres = np.concatenate([level[0] - gap * np.arange(6, 0, -1) * 0.8, level])
    centres = np.concatenate([centres, level[-1] + gap * 1.15 * np.arange(1, 4)])
    corners = np.array([(-1, -1), (-0.86, 0), (-1, 1), (1, 1), (0.86, 0), (1, -1)])
    ring = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    knob = np.stack([3.4 * np.cos(ring), 4.6 * np.sin(ring)], 1)
    bodies, inner, knobs, wings = [], [], [], []
    for number, y in enumerate(centres):
        at = np.array([body["lean"] * np.sin(y / 110), y])
        half = 12 + 0.42 * number
        tall = gap * (0.29 if number < 6 else 0.40)
        bodies.append(at + corners * [half, tall])
        inner.append(at + corners * [half * 0.9, tall * 0.84])
        # two pedicles, and the spinous process end on
        for across, down in ((-0.62, -0.2), (0.62, -0.2), (0, 0.45)):
            knobs += [at + knob + (across * half, down * tall)]
        for mirror in (-1, 1):  # transverse processes
            wing = [[half, -5], [half + 15, -7], [half + 16, 0], [half, 4]]
            wings.append(at + np.array(wing) * [mirror, 1])
    for outlines, share, soft in (
        (bodies, 0.55, 1.2), (inner, -0.2, 1.2), (knobs, 0.28, 1.0), (wings, 0.22, 1.6),
    ):  # fmt: skip
        bones.fill(skeleton, outlines, to_px, depth * share, soft)
