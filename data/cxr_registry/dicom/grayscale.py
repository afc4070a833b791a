"""From stored values to brightness: 0 = air, 1 = bone.

The order is the standard's: modality LUT or rescale, then VOI LUT or the first
window, then inversion. All three depend on the stored value alone, so they are
composed once over the 2**BitsStored values and applied as one table.

Reference: DICOM PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT), C.11.6.
"""

import math
from typing import Any, NamedTuple

import cv2
import numpy as np

from data.cxr_registry.dicom.headers import UnreadableRadiograph

_SAMPLE = 64  # pixels per side of the sample that tells whether a window shows anything


class BrightnessTable(NamedTuple):
    """The brightness of every stored value, and what it was taken from."""

    values: np.ndarray  # f32[2**BitsStored], index = stored value - lowest
    lowest: int  # the stored value of index 0: 0, or -2**(BitsStored - 1)
    source: str  # "voi_lut", "window", "image_range", "image_range_window_missed"


def brightness_table(header: Any, stored: np.ndarray) -> BrightnessTable:
    """Composes modality transform, VOI transform and inversion over stored values.

    The image's own range is shown where there is no VOI transform, and where the window
    leaves the whole image black or white, as in files whose pixels were shifted without
    their window.

    Args:
        header: the DICOM header, a mapping of keywords.
        stored: int[H, W], the stored values.

    Returns:
        The table, with values in [0, 1], 0 = air and 1 = bone.
    """
    bits = int(header.BitsStored)
    lowest = -(1 << (bits - 1)) if header.get("PixelRepresentation", 0) else 0
    domain = np.arange(lowest, lowest + (1 << bits), dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        modality = _modality(header, domain)
    if not np.isfinite(modality).all():
        raise ValueError("modality values over the range of numbers")
    is_film = ~_is_padding(header, domain)

    brightness, source = _voi(header, modality)
    if brightness is not None and source == "window":
        step = max(1, min(stored.shape) // _SAMPLE)
        sample = brightness[stored[::step, ::step].astype(np.int64) - lowest]
        dark, bright = np.percentile(sample, [1, 99])
        if dark == bright:
            brightness, source = None, "image_range_window_missed"
    if brightness is None:
        brightness = _image_range(modality, stored, lowest=lowest, is_film=is_film)

    if is_inverted(header):
        brightness = 1.0 - brightness
    brightness = np.where(is_film, brightness, 0.0)  # padding is not tissue: air
    return BrightnessTable(brightness.astype(np.float32), lowest, source)


def apply_table(table: BrightnessTable, stored: np.ndarray) -> np.ndarray:
    """f32[H, W], the brightness of stored values int[H, W] within the table."""
    # cv2.LUT is four times faster than indexing but takes only unsigned values;
    # negative ones wrap round
    dtype = np.uint8 if stored.itemsize == 1 else np.uint16
    values = np.zeros(np.iinfo(dtype).max + 1, np.float32)
    domain = np.arange(table.lowest, table.lowest + len(table.values))
    values[domain.astype(dtype)] = table.values
    return cv2.LUT(stored.astype(dtype, copy=False), values[None])


def is_inverted(header: Any) -> bool:
    """Whether low output means bright.

    MONOCHROME1 with INVERSE is the standard's normal pair for DX and says the same
    thing twice: one inversion. A contradiction, MONOCHROME1 with IDENTITY, follows
    the photometric interpretation, as viewers do.
    """
    return (
        header.get("PhotometricInterpretation") == "MONOCHROME1"
        or header.get("PresentationLUTShape") == "INVERSE"
    )


def apply_window(
    values: np.ndarray, *, center: float, width: float, function: str = "LINEAR"
) -> np.ndarray:
    """The three window functions of PS3.3 C.11.2.1.2, with output in [0, 1].

        LINEAR        (x - (c - 0.5)) / (w - 1) + 0.5
        LINEAR_EXACT  (x - c) / w + 0.5
        SIGMOID       1 / (1 + exp(-4 (x - c) / w))

    Args:
        values: modality values, any shape.
        center: c, in modality values.
        width: w, at least 1 for LINEAR, above 0 for the others.
        function: one of the three names.
    """
    if function == "SIGMOID":
        # clipped where float64's exp would overflow; the result is 0 or 1 there
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0, 1)
    if width == 1:  # a threshold: the slope is infinite
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)


def _modality(header: Any, domain: np.ndarray) -> np.ndarray:
    if lut := header.get("ModalityLUTSequence"):
        values, first, _ = _read_lut(lut[0])
        return _look_up(values, first, domain)
    slope = _first(header.get("RescaleSlope"))
    intercept = _first(header.get("RescaleIntercept"))
    if slope == 0:
        raise UnreadableRadiograph("RescaleSlope is 0; export it again")
    return domain * (1.0 if slope is None else slope) + (intercept or 0.0)


def _voi(header: Any, modality: np.ndarray) -> tuple[np.ndarray | None, str]:
    if lut := header.get("VOILUTSequence"):
        values, first, bits = _read_lut(lut[0])
        white = (1 << bits) - 1
        if values.max() > white:
            raise ValueError("entries of more bits than the table states")
        return _look_up(values, first, modality) / white, "voi_lut"
    center = _first(header.get("WindowCenter"))
    width = _first(header.get("WindowWidth"))
    function = str(header.get("VOILUTFunction") or "LINEAR")
    if function not in ("LINEAR_EXACT", "SIGMOID"):  # the standard's default
        function = "LINEAR"
    least = 1.0 if function == "LINEAR" else 0.0
    if center is None or width is None or width < least or width == 0:
        return None, "image_range"
    windowed = apply_window(modality, center=center, width=width, function=function)
    return windowed, "window"


def _first(value: Any) -> float | None:
    """The first of one or several values; None where there is none."""
    if value is not None and not isinstance(value, str | int | float):
        value = value[0] if len(value) else None
    if value is None or value == "":
        return None
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("a value that is not finite")
    return number


def _read_lut(item: Any) -> tuple[np.ndarray, int, int]:
    """Entries, the first value mapped, and the bits of an entry."""
    count, first, bits = (int(value) for value in item.LUTDescriptor)
    count = count or 1 << 16  # 0 stands for 65,536, which a US cannot hold
    first -= (1 << 16) if item["LUTDescriptor"].VR == "SS" and first >= 1 << 15 else 0
    data = item.LUTData
    if isinstance(data, bytes):
        entries = np.frombuffer(data, "<u2" if len(data) >= 2 * count else "u1")
    else:
        entries = np.atleast_1d(np.asarray(data, dtype=np.uint16))
        if len(entries) < count:  # 8-bit entries packed two to a word
            entries = entries.astype("<u2").view(np.uint8)
    if len(entries) < count or not 1 <= bits <= 16:
        raise ValueError("lookup table does not match its descriptor")
    return entries[:count].astype(np.float64), first, bits


def _look_up(values: np.ndarray, first: int, at: np.ndarray) -> np.ndarray:
    index = np.clip(np.rint(at) - first, 0, len(values) - 1)
    return values[index.astype(np.int64)]


def _is_padding(header: Any, domain: np.ndarray) -> np.ndarray:
    value = header.get("PixelPaddingValue")
    if value is None:
        return np.zeros(domain.shape, bool)
    limit = header.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if limit is None else limit)))
    return (domain >= low) & (domain <= high)


def _image_range(
    modality: np.ndarray, stored: np.ndarray, *, lowest: int, is_film: np.ndarray
) -> np.ndarray:
    count = np.bincount(stored.ravel().astype(np.int64) - lowest)
    present = np.zeros(modality.shape, bool)
    present[: len(count)] = count > 0
    if not (present := present & is_film).any():
        return np.zeros(modality.shape)
    low, high = modality[present].min(), modality[present].max()
    return np.clip((modality - low) / max(high - low, 1e-9), 0, 1)
