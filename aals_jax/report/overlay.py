"""A film with what was found drawn into its pixels, for those who have no viewer."""

import functools
from collections.abc import Sequence

import cv2
import numpy as np

from aals_jax.report import pictures

BURNED_IN = "RESEARCH ONLY, NOT A MEDICAL DEVICE"
_FOUND = (255, 176, 0)  # RGB
LEAST_SIDE = 512  # px; a smaller film is enlarged, so that the words can be read
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw(
    picture: np.ndarray,
    heat: np.ndarray | None,
    boxes: np.ndarray,
    *,
    lines: Sequence[str],
) -> np.ndarray:
    """The film, the map over it, boxes with scores, and a strip of words below.

    Args:
        picture: u8[h, w].
        heat: f32[h, w] probabilities, or None.
        boxes: f64[k, 5], (x0, y0, x1, y1, score) in pixels of the picture.
        lines: words below the film, ASCII; BURNED_IN comes first.

    Returns:
        u8[n h + strip, n w, 3], RGB; n > 1, each pixel as n x n, of a film whose longer
        side is below LEAST_SIDE.
    """
    factor = max(1, -(-LEAST_SIDE // max(picture.shape)))
    if factor > 1:
        picture = _enlarged(picture, factor)
        heat = None if heat is None else _enlarged(heat, factor)
        boxes = boxes * [factor, factor, factor, factor, 1]
    height, width = picture.shape
    if heat is None:
        drawn = cv2.merge([picture] * 3)
    else:
        blended = _blends()[pictures.heat_levels(heat).astype(np.intp), picture]
        drawn = np.ascontiguousarray(blended)
    unit = max(height, width) / 100
    scale, thick = unit / 14, max(1, round(unit / 4))
    for x0, y0, x1, y1, score in boxes.tolist():
        corners = (round(x0), round(y0)), (max(round(x1) - 1, 0), max(round(y1) - 1, 0))
        cv2.rectangle(drawn, *corners, (0, 0, 0), thick + 2, cv2.LINE_AA)
        cv2.rectangle(drawn, *corners, _FOUND, thick, cv2.LINE_AA)
        _write(drawn, f"{score:.2f}", (round(x0), round(y0 - unit)), scale, thick)
    strip = [BURNED_IN, *lines]
    step = round(4 * unit) + 2
    words = np.zeros((step * len(strip) + step // 2, width, 3), np.uint8)
    for number, line in enumerate(strip, start=1):
        size = cv2.getTextSize(line, _FONT, scale, 1)[0][0] + 2 * unit
        fitted = scale * min(1.0, width / size)
        _write(words, line, (round(unit), step * number), fitted, 1)
    return np.concatenate([drawn, words])


@functools.cache
def _blends() -> np.ndarray:
    """u8[HEAT_LEVELS, 256, 3], each grey level under each level of the map."""
    levels = np.linspace(0, 1, pictures.HEAT_LEVELS, dtype=np.float32)
    rgba = pictures.heat_rgba(levels)[:, None].astype(np.float32)
    alpha = rgba[..., 3:] / 255 / 2  # half of a page's: the film stays readable
    grey = np.arange(256, dtype=np.uint8)[:, None]
    return np.rint(grey * (1 - alpha) + rgba[..., :3] * alpha).astype(np.uint8)


def _enlarged(image: np.ndarray, factor: int) -> np.ndarray:
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def _write(
    image: np.ndarray, text: str, at: tuple[int, int], scale: float, thick: int
) -> None:
    at = (at[0], max(at[1], round(22 * scale)))
    cv2.putText(image, text, at, _FONT, scale, (0, 0, 0), thick + 2, cv2.LINE_AA)
    cv2.putText(image, text, at, _FONT, scale, (255, 255, 255), thick, cv2.LINE_AA)


def png(image: np.ndarray) -> bytes:
    """The file of an image u8[h, w, 3], RGB."""
    done, data = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))
    if not done:
        raise ValueError(f"OpenCV could not encode {image.shape} as PNG")
    return data.tobytes()
