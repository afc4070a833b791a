"""From stored values to brightness: 0 = air, 1 = bone.

The order is the standard's: modality LUT or rescale, then VOI LUT or the first
window, then inversion. All three depend on the stored value alone, so they are
composed once over the 2**BitsStored values and applied as one table.

What comes out is looked at once. A table or window that leaves few grey levels, or
nearly everything black or white, was meant for other pixels: the image's own range is
shown in its place, and the source says so.

Reference: DICOM PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT), C.11.6.
"""

import math
from typing import Any, NamedTuple

import cv2
import numpy as np

from data.cxr_registry.dicom import headers, lookup
from data.cxr_registry.dicom.headers import UnreadableRadiograph

_SAMPLE = 256  # pixels per side of the sample in which the contrast is looked at
_LEAST_CONTRAST = 1 / 4  # of the grey levels, between the 1st and 99th percentile
_LEAST_OF_RANGE = 1 / 8  # of the range, that the film without what lies far off has
_FEW = 16  # values of a drawing, which is no film
_MOST_CLIPPED = 0.9  # share of the pixels that may be black or white
_MOST_ABOVE = 0.25  # share of the pixels that may lie above a window of fewer bits
_AS_STATED = frozenset({"voi_lut", "window", "image_range", "file"})


class Window(NamedTuple):
    """The first window of a header, one that can be applied."""

    center: float
    width: float
    function: str  # LINEAR, LINEAR_EXACT or SIGMOID


class BrightnessTable(NamedTuple):
    """The brightness of every stored value, and what it was taken from.

    The sources: `voi_lut`; `window`; `image_range`, where there is neither; `file`, the
    levels of a PNG or JPEG. Others say what was corrected (`is_corrected`):
    `voi_lut_of_fewer_bits` than it states; `image_range_voi_lut_missed`,
    `image_range_window_missed` and `file_range`, where the first three left no
    contrast; `image_range_without_outliers`, where a border or a few pixels far off
    would leave none.
    """

    values: np.ndarray  # f32[2**BitsStored], index = stored value - lowest
    lowest: int  # the stored value of index 0: 0, or -2**(BitsStored - 1)
    source: str


def is_corrected(source: str) -> bool:
    """Whether a source is another one than the file states."""
    return source not in _AS_STATED


def brightness_table(header: Any, stored: np.ndarray) -> BrightnessTable:
    """Composes modality transform, VOI transform and inversion over stored values.

    Args:
        header: the DICOM header, a mapping of keywords.
        stored: int[H, W], the stored values.

    Returns:
        The table, with values in [0, 1], 0 = air and 1 = bone.
    """
    domain = stored_domain(header)
    lowest = int(domain[0])
    with np.errstate(over="ignore", invalid="ignore"):
        modality = _modality(header, domain)
    if not np.isfinite(modality).all():
        raise ValueError("modality values over the range of numbers")
    is_film = ~_is_padding(header, domain)

    pixels = _Pixels(stored, modality, lowest=lowest, is_film=is_film)
    voi = _voi(header, modality)
    if voi is None:
        brightness, source = pixels.own_range()
    elif pixels.shows(voi):
        brightness, source = voi.brightness, voi.source
    else:
        brightness, source = pixels.own_range(instead_of=voi)
    if is_inverted(header):
        brightness = 1.0 - brightness
    brightness = np.where(is_film, brightness, 0.0)  # padding is not tissue: air
    return BrightnessTable(brightness.astype(np.float32), lowest, source)


def picture_table(stored: np.ndarray) -> BrightnessTable:
    """The table of a PNG or JPEG, whose values u8 or u16 [H, W] are its brightness.

    16-bit files often hold 10 to 14 bits: the next power of two is white.
    """
    white = (1 << max(8, int(stored.max()).bit_length())) - 1
    levels = np.arange(white + 1, dtype=np.float32)
    voi = _Voi(levels / np.float32(white), "file")
    pixels = _Pixels(stored, levels, lowest=0, is_film=np.ones(white + 1, bool))
    if pixels.shows(voi):
        return BrightnessTable(voi.brightness, 0, voi.source)
    brightness, source = pixels.own_range(instead_of=voi)
    return BrightnessTable(brightness.astype(np.float32), 0, source)


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
        headers.code(header, "PhotometricInterpretation") == "MONOCHROME1"
        or headers.code(header, "PresentationLUTShape") == "INVERSE"
    )


def stored_domain(header: Any) -> np.ndarray:
    """f64[2**BitsStored], every value that a pixel can have, the lowest first."""
    bits = int(header.BitsStored)
    lowest = -(1 << (bits - 1)) if header.get("PixelRepresentation", 0) else 0
    return np.arange(lowest, lowest + (1 << bits), dtype=np.float64)


def rescale(header: Any) -> tuple[float, float] | None:
    """Slope and intercept; None: the header has neither.

    Raises:
        UnreadableRadiograph: the slope is 0.
    """
    slope = _first(header.get("RescaleSlope"))
    intercept = _first(header.get("RescaleIntercept"))
    if slope == 0:
        raise UnreadableRadiograph("RescaleSlope is 0; export it again")
    if slope is None and intercept is None:
        return None
    return 1.0 if slope is None else slope, intercept or 0.0


def stated_brightness(header: Any) -> np.ndarray | None:
    """f64[2**BitsStored] in [0, 1], `stored_domain` by the header's first VOI table or
    window, before the inversion; None: it has neither."""
    voi = _voi(header, _modality(header, stored_domain(header)))
    return None if voi is None else voi.brightness


def _modality(header: Any, domain: np.ndarray) -> np.ndarray:
    if items := header.get("ModalityLUTSequence"):
        table = lookup.read(items[0], big_endian=headers.is_big_endian(header))
        return lookup.apply(table, domain)
    slope, intercept = rescale(header) or (1.0, 0.0)
    return domain * slope + intercept


def window(header: Any) -> Window | None:
    """The first window that the header states; None: there is none, or it can't be."""
    center = _first(header.get("WindowCenter"))
    width = _first(header.get("WindowWidth"))
    function = headers.code(header, "VOILUTFunction")
    if function not in ("LINEAR_EXACT", "SIGMOID"):  # the standard's default
        function = "LINEAR"
    least = 1.0 if function == "LINEAR" else 0.0
    if center is None or width is None or width < least or width == 0:
        return None
    return Window(center, width, function)


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


class _Voi(NamedTuple):
    """A VOI transform over the domain of stored values."""

    brightness: np.ndarray  # f64[2**BitsStored] in [0, 1], before the inversion
    source: str
    full_range: float = math.inf  # 2**bits, of a window from 0 to all of so many


class _Pixels:
    """How often each stored value occurs, to judge what is shown of them."""

    def __init__(
        self,
        stored: np.ndarray,
        modality: np.ndarray,
        *,
        lowest: int,
        is_film: np.ndarray,
    ):
        """
        Args:
            stored: int[H, W].
            modality: f64[N], of each stored value.
            lowest: the stored value of index 0.
            is_film: bool[N], false for padding.
        """
        self._stored, self._lowest = stored, lowest
        self._modality, self._is_film = modality, is_film
        step = max(1, min(stored.shape) // _SAMPLE)
        self._sample = self._count(stored[::step, ::step])
        self._varied = self._sample.copy()
        self._varied[np.argmax(self._sample)] = 0  # without a border of one value

    def shows(self, voi: _Voi) -> bool:
        """Whether the pixels, drawn so, have contrast."""
        dark, bright = _percentiles(voi.brightness, self._sample)
        if bright - dark < _LEAST_CONTRAST:
            return False
        levels = _levels(voi.brightness)
        if self._share((levels == 0) | (levels == 255)) > _MOST_CLIPPED:
            return False
        return self._share(self._modality >= voi.full_range) <= _MOST_ABOVE

    def own_range(self, instead_of: _Voi | None = None) -> tuple[np.ndarray, str]:
        """Brightness from the lowest to the highest value of the film, and its source.

        Args:
            instead_of: what shows no contrast; it is kept where each of a few values
                has a level of its own, as in an image of two values.
        """
        modality = self._modality
        if not (present := self._count(self._stored) > 0).any():
            return np.zeros(modality.shape), "image_range"
        low, high = modality[present].min(), modality[present].max()
        source = "image_range"
        near, far = _percentiles(modality, self._varied)
        if 0 < far - near < _LEAST_OF_RANGE * (high - low):
            low, high, source = near, far, "image_range_without_outliers"
        brightness = np.clip((modality - low) / max(high - low, 1e-9), 0, 1)
        if instead_of is None:
            return brightness, source
        occurs = self._sample > 0
        levels = np.unique(_levels(instead_of.brightness)[occurs])
        if len(levels) == np.count_nonzero(occurs) <= _FEW:
            return instead_of.brightness, instead_of.source
        if instead_of.source == "file":
            return brightness, "file_range"
        kind = "window" if instead_of.source == "window" else "voi_lut"
        return brightness, f"image_range_{kind}_missed"

    def _count(self, stored: np.ndarray) -> np.ndarray:
        """i64[N], how many pixels of the film have each stored value."""
        values = stored.ravel().astype(np.int64) - self._lowest
        return np.bincount(values, minlength=len(self._modality)) * self._is_film

    def _share(self, chosen: np.ndarray) -> float:
        """Share of the pixels, the commonest value left out, that have such values."""
        return self._varied[chosen].sum() / max(1, self._varied.sum())


def _percentiles(values: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """The 1st and the 99th of values f64[N] that occur counts i64[N] times."""
    values, counts = values[counts > 0], counts[counts > 0]
    if not len(values):
        return 0.0, 0.0
    order = np.argsort(values)
    below = np.cumsum(counts[order])
    low, high = values[order][
        np.searchsorted(below, [0.01 * below[-1], 0.99 * below[-1]])
    ]
    return float(low), float(high)


def _levels(brightness: np.ndarray) -> np.ndarray:
    return np.rint(255 * brightness)


def _voi(header: Any, modality: np.ndarray) -> _Voi | None:
    if items := header.get("VOILUTSequence"):
        table = lookup.read(items[0], big_endian=headers.is_big_endian(header))
        as_stated = table.white == table.stated_white
        source = "voi_lut" if as_stated else "voi_lut_of_fewer_bits"
        return _Voi(lookup.apply(table, modality) / table.white, source)
    stated = window(header)
    if stated is None:
        return None
    windowed = apply_window(modality, **stated._asdict())
    return _Voi(windowed, "window", _full_range(stated.center, stated.width))


def _full_range(center: float, width: float) -> float:
    """2**bits of a window from 0 to all that so many bits hold; else infinity.

    >>> _full_range(2048, 4096), _full_range(127.5, 255), _full_range(2000, 4096)
    (4096.0, 256.0, inf)
    """
    whole = 2.0 ** round(math.log2(width))
    is_whole = whole >= 256 and abs(width - whole) <= 1 and abs(2 * center - whole) <= 2
    return whole if is_whole else math.inf


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


def _is_padding(header: Any, domain: np.ndarray) -> np.ndarray:
    value = header.get("PixelPaddingValue")
    if value is None:
        return np.zeros(domain.shape, bool)
    limit = header.get("PixelPaddingRangeLimit")

    def signed_as_pixels(value: Any) -> int:
        # writers choose the VR, US or SS, without a look at the pixels' sign
        word = int(value) % (1 << 16)
        return word - (1 << 16) * (domain[0] < 0 and word >= 1 << 15)

    ends = sorted(map(signed_as_pixels, (value, value if limit is None else limit)))
    return (domain >= ends[0]) & (domain <= ends[1])
