"""Example images: the radiograph, and the same with map, boxes and detections.

The radiograph is a JPEG, the map a small PNG with transparency, the marks are vectors:
sharp at every size, and the picture is stored once.
"""

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

KINDS: Mapping[str, tuple[str, str]] = {
    "hit": ("Found", "A lesion was hit. Highest image score first."),
    "miss": ("Missed", "No detection lies on the lesion. Lowest image score first."),
    "false_alarm": (
        "False alarm",
        "A detection lies on no lesion. Highest image score first.",
    ),
    "clear": ("Clear", "No lesion, and nothing reported. Lowest image score first."),
}
ASCENDING = ("miss", "clear")  # kinds whose lowest image score comes first
SHOWN_DETECTIONS = 12  # the strongest; the caption counts the others
LABELLED_DETECTIONS = 3
_MAP_SIDES = (256, 128, 64)
TOTAL_BYTES = 3_000_000  # all pictures of a page, before base64 adds a third
_ENCODINGS = ((720, 85), (640, 80), (512, 75), (448, 65), (384, 55), (256, 40))
# Blue to near-white keeps clear of the green, red and orange of the marks.
_HEAT_STOPS = np.array([0.0, 0.45, 0.8, 1.0])
_HEAT_RGB = np.array([[29, 60, 190], [40, 120, 255], [60, 200, 255], [214, 250, 255]])


class Detection(NamedTuple):
    x: float  # image pixels, from the left
    y: float  # image pixels, from the top
    score: float
    hit: bool


@dataclasses.dataclass(frozen=True)
class Example:
    """One image of the evaluated set. It carries nothing that names a patient."""

    image: np.ndarray  # u8[H, W]
    probability: np.ndarray | None  # f32[h, w], 0 ... 1, covers the image; None: no map
    boxes: np.ndarray  # f32[k, 4], (y0, x0, y1, x1) in image pixels
    detections: Sequence[tuple[float, float, float, bool]]  # (x, y, score, hit)
    kind: str  # one of KINDS
    score: float  # image score
    caption: str
    found: Sequence[bool] | None = None  # one per box; None: worked out from the hits

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"Example.kind={self.kind!r}; use one of {list(KINDS)}")
        if self.image.ndim != 2 or self.image.dtype != np.uint8:
            raise ValueError(
                f"Example.image is {self.image.dtype}{self.image.shape}; give u8[H, W]"
            )
        if self.probability is not None and (
            self.probability.ndim != 2 or not np.isfinite(self.probability).all()
        ):
            raise ValueError("Example.probability must be a finite map [h, w], or None")
        if self.boxes.ndim != 2 or self.boxes.shape[1] != 4:
            raise ValueError(
                f"Example.boxes has shape {self.boxes.shape}; give [k, 4], "
                "np.zeros((0, 4)) for none"
            )
        if self.found is not None and len(self.found) != len(self.boxes):
            raise ValueError(
                f"Example.found has {len(self.found)} entries for "
                f"{len(self.boxes)} boxes"
            )


@dataclasses.dataclass(frozen=True)
class Box:
    x: float
    y: float
    width: float
    height: float
    found: bool


@dataclasses.dataclass(frozen=True)
class Mark:
    x: float
    y: float
    hit: bool
    score: str
    label_x: float
    anchor: str  # start | end: labels near the right edge turn to the left
    labelled: bool


@dataclasses.dataclass(frozen=True)
class Picture:
    """What the template draws; lengths in image pixels."""

    key: str
    width: int
    height: int
    unit: float  # 1 % of the longer side
    image_uri: str
    heat_uri: str  # "" where there is no map
    boxes: tuple[Box, ...]
    marks: tuple[Mark, ...]
    chip: str
    kind: str
    score: str
    caption: str
    note: str
    image_alt: str
    overlay_alt: str


def pictures(examples: Sequence[Example]) -> list[Picture]:
    limit = TOTAL_BYTES // max(len(examples), 1)
    return [
        _picture(example, key=f"example-{index}", limit=limit)
        for index, example in enumerate(examples)
    ]


def galleries(examples: Sequence[Example]) -> list[tuple[str, str, list[Picture]]]:
    """(title, what it shows, pictures) of each kind: worst misses and alarms first."""
    drawn = pictures(sorted(examples, key=_rank))
    return [
        (name, says, [picture for picture in drawn if picture.kind == kind])
        for kind, (name, says) in KINDS.items()
        if any(picture.kind == kind for picture in drawn)
    ]


def _rank(example: Example) -> tuple[int, float]:
    sign = 1 if example.kind in ASCENDING else -1
    return list(KINDS).index(example.kind), sign * example.score


def found_boxes(example: Example) -> list[bool]:
    """Which boxes a hit claims: strongest hit first, one box each.

    A hit claims the nearest free box that holds its point. Under the rule `iou` the
    point may lie in no box: give `Example.found` then.
    """
    if example.found is not None:
        return list(map(bool, example.found))
    found = [False] * len(example.boxes)
    for x, y, _, hit in sorted(example.detections, key=lambda d: -d[2]):
        free = [
            (np.hypot((x0 + x1) / 2 - x, (y0 + y1) / 2 - y), index)
            for index, (y0, x0, y1, x1) in enumerate(example.boxes)
            if hit and not found[index] and y0 <= y <= y1 and x0 <= x <= x1
        ]
        if free:
            found[min(free)[1]] = True
    return found


def heat_rgba(probability: np.ndarray) -> np.ndarray:
    """Colour and opacity of a probability: nothing at 0, at most 70 % at 1.

    Args:
      probability: f32[h, w] or f32[n], 0 ... 1.

    Returns:
      u8[..., 4], red, green, blue, alpha.
    """
    return _HEAT_TABLE[heat_levels(probability)]


def heat_levels(probability: np.ndarray) -> np.ndarray:
    """u8[...] below HEAT_LEVELS, which of them a probability 0 ... 1 is shown at."""
    top = HEAT_LEVELS - 1
    return np.rint(np.clip(probability, 0, 1) * top).astype(np.uint8)


def _heat_table() -> np.ndarray:
    """u8[HEAT_LEVELS, 4] of `heat_rgba`."""
    level = np.linspace(0, 1, HEAT_LEVELS)
    colours = [np.interp(level, _HEAT_STOPS, stops) for stops in _HEAT_RGB.T]
    return np.stack([*colours, 255 * 0.7 * level**0.7], -1).round().astype(np.uint8)


HEAT_LEVELS = 64  # they pack well
_HEAT_TABLE = _heat_table()


def heat_gradient() -> str:
    """The scale of the map as a CSS gradient, from the colours of the map itself."""
    stops = heat_rgba(np.linspace(0, 1, 9))
    colours = (f"rgb({r} {g} {b} / {a / 255:.2f})" for r, g, b, a in stops.tolist())
    return f"linear-gradient(to right, {', '.join(colours)})"


def _encode(pixels: np.ndarray, *, extension: str, quality: int = 0) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if extension == ".jpg" else []
    done, data = cv2.imencode(extension, pixels, options)
    if not done:
        raise ValueError(f"OpenCV could not encode {pixels.shape} as {extension}")
    return data.tobytes()


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _shrink(pixels: np.ndarray, side: int) -> np.ndarray:
    factor = side / max(pixels.shape)
    if factor >= 1:
        return pixels
    height, width = (max(1, round(n * factor)) for n in pixels.shape)
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def radiograph_uri(image: np.ndarray, *, limit: int) -> str:
    """A JPEG data URI; size, then quality, step down until it has `limit` bytes."""
    data = b""
    for side, quality in _ENCODINGS:
        data = _encode(_shrink(image, side), extension=".jpg", quality=quality)
        if len(data) <= limit:
            break
    return _uri("jpeg", data)


def _heat_uri(probability: np.ndarray, *, limit: int) -> str:
    data = b""
    for side in _MAP_SIDES:
        small = _shrink(np.asarray(probability, np.float32), side)
        bgra = np.ascontiguousarray(heat_rgba(small)[..., [2, 1, 0, 3]])
        data = _encode(bgra, extension=".png")
        if len(data) <= limit:
            break
    return _uri("png", data)


def _marks(example: Example, *, unit: float) -> list[Mark]:
    width = example.image.shape[1]
    strongest = sorted(example.detections, key=lambda d: -d[2])[:SHOWN_DETECTIONS]
    marks = []
    for rank, (x, y, score, hit) in enumerate(strongest):
        turned = x > 0.85 * width
        marks.append(
            Mark(
                x=round(float(x), 1),
                y=round(float(y), 1),
                hit=bool(hit),
                score=f"{score:.2f}",
                label_x=round(float(x) + (-4 if turned else 4) * unit, 1),
                anchor="end" if turned else "start",
                labelled=rank < LABELLED_DETECTIONS,
            )
        )
    return marks


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _picture(example: Example, *, key: str, limit: int) -> Picture:
    height, width = example.image.shape
    heat_uri, overlay = "", "what was reported"
    if example.probability is not None:
        heat_uri = _heat_uri(example.probability, limit=limit // 3)
        peak = float(example.probability.max(initial=0))
        overlay = f"the probability map, peak {peak:.2f}"
    image_limit = limit - 3 * len(heat_uri) // 4
    unit = max(height, width) / 100
    found = found_boxes(example)
    boxes = tuple(
        Box(round(x0, 1), round(y0, 1), round(x1 - x0, 1), round(y1 - y0, 1), hit)
        for (y0, x0, y1, x1), hit in zip(example.boxes.tolist(), found, strict=True)
    )
    hits = sum(bool(hit) for *_, hit in example.detections)
    alarms = len(example.detections) - hits
    hidden = max(len(example.detections) - SHOWN_DETECTIONS, 0)
    chip = KINDS[example.kind][0]
    numbers = ", ".join(
        (
            _count(len(boxes), "lesion", "lesions") + f" ({sum(found)} found)",
            _count(hits, "hit", "hits"),
            _count(alarms, "false alarm", "false alarms"),
        )
    )
    return Picture(
        key=key,
        width=width,
        height=height,
        unit=round(unit, 2),
        image_uri=radiograph_uri(example.image, limit=image_limit),
        heat_uri=heat_uri,
        boxes=boxes,
        marks=tuple(_marks(example, unit=unit)),
        chip=chip,
        kind=example.kind,
        score=f"{example.score:.3f}",
        caption=example.caption,
        note=f"{hidden} weaker detections not drawn" if hidden else "",
        image_alt=f"Radiograph, {width} by {height} pixels. {example.caption}",
        overlay_alt=f"The same radiograph with {overlay}. {chip}: {numbers}. "
        f"Image score {example.score:.3f}.",
    )
