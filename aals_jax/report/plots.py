"""Line plots as inline SVG whose colours are CSS variables of the page.

Matplotlib draws with marker colours (`INK`, `slot_colour(i)`) that `svg` replaces by
`var(--...)`, so one drawing serves light and dark. Titles, legends and every string
from outside stay in HTML: no text of the caller passes through matplotlib.
"""

import dataclasses
import io
import re
from collections.abc import Sequence
from typing import Any

import markupsafe
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

Band = tuple[np.ndarray, np.ndarray, np.ndarray]  # x, low, high: f64[n] each

INK = "#010101"
GRID = "#020202"
FAINT = "#030303"
NUM_COLOURS = 6  # --line-0 ... --line-5 in style.css
DASHES = ((), (6.0, 2.0), (1.5, 1.8), (7.0, 2.0, 1.5, 2.0))  # points
_VARIABLES = {
    INK: "var(--muted)",
    GRID: "var(--grid)",
    FAINT: "var(--faint)",
    **{f"#0a0a{i:02d}": f"var(--line-{i})" for i in range(NUM_COLOURS)},
}
_STYLE: dict[Any, Any] = {  # rcParams, set for the drawing only
    "svg.fonttype": "none",  # real text in the font of the page
    "svg.hashsalt": "aals",  # ids do not change from call to call
    "font.size": 10,
    "lines.scale_dashes": False,
    "path.simplify": True,
}
_LEFT, _RIGHT, _BOTTOM, _TOP = 40.0, 12.0, 38.0, 24.0  # points around the axes
FIFTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
COUNT_RATES = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0)  # where froc_count is scored
AREA_RATIOS = tuple(i / 100 for i in range(1, 11))  # where froc_area is scored


@dataclasses.dataclass(frozen=True)
class Line:
    x: np.ndarray  # f64[n], ascending
    y: np.ndarray  # f64[n]
    slot: int  # its place in the palette
    band: Band | None = None


@dataclasses.dataclass(frozen=True)
class Drawing:
    view_box: str
    body: markupsafe.Markup  # the inside of an <svg>, safe: drawn from numbers only


def slot_colour(slot: int) -> str:
    return f"#0a0a{slot % NUM_COLOURS:02d}"


def slot_dashes(slot: int) -> tuple[float, ...]:
    """Colour and dash together repeat only after 12 lines."""
    return DASHES[slot % len(DASHES)]


def canvas(*, width: float, height: float, below: float = 0.0) -> tuple[Figure, Axes]:
    """An empty plot of `width` x `height` points; `below` is left for `lower_axes`."""
    figure = Figure(figsize=(width / 72, height / 72))
    FigureCanvasAgg(figure)
    figure.patch.set_visible(False)
    bottom = _BOTTOM + below
    return figure, _axes(figure, bottom=bottom, height=height - bottom - _TOP)


def lower_axes(figure: Figure, *, height: float) -> Axes:
    """A second plot of `height` points at the bottom, as wide as the first."""
    return _axes(figure, bottom=_BOTTOM, height=height)


def _axes(figure: Figure, *, bottom: float, height: float) -> Axes:
    """Quiet axes; lengths in points."""
    width, full = (float(72 * inches) for inches in figure.get_size_inches())
    box = _LEFT / width, bottom / full, (width - _LEFT - _RIGHT) / width, height / full
    axes = figure.add_axes(box)
    axes.patch.set_visible(False)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set(color=FAINT, linewidth=1)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelcolor=INK, length=0, pad=5)
    return axes


def label(axes: Axes, *, x: str, y: str) -> None:
    """The y label stands upright at the top left, where it is read first."""
    axes.set_xlabel(x, color=INK, labelpad=6)
    axes.annotate(
        y,
        (0, 1),
        xycoords="axes fraction",
        xytext=(-34, 10),
        textcoords="offset points",
        color=INK,
    )


def svg(figure: Figure, *, key: str) -> Drawing:
    """The figure as an SVG body; `key` keeps its ids apart from other figures."""
    stream = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context(_STYLE):
        figure.savefig(stream, format="svg", metadata=nothing)
    text = stream.getvalue()
    head = re.search(r'<svg[^>]*viewBox="([^"]+)"[^>]*>', text)
    if head is None:
        raise ValueError(f"matplotlib drew no <svg> element for figure {key!r}")
    body = text[head.end() : text.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = body.replace("xlink:href", "href").replace("\n", " ")
    body = re.sub(r"<[^>]*>", _round_lengths, body)
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{key}-", body)
    body = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font: \1 var(--sans)", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    return Drawing(head[1], markupsafe.Markup(re.sub(r"\s{2,}", " ", body)))


def _round_lengths(tag: re.Match) -> str:
    """0.01 points are enough in a tag; the text between tags keeps its digits."""
    return re.sub(r"(\.\d\d)\d+", r"\1", tag[0])


def draw_line(axes: Axes, line: Line, *, steps: bool = False, dots: bool = False):
    colour = slot_colour(line.slot)
    if line.band is not None:
        x, low, high = line.band
        axes.fill_between(
            x, low, high, step="post" if steps else None, color=colour, alpha=0.14, lw=0
        )
    axes.plot(
        line.x,
        line.y,
        color=colour,
        linewidth=1.9,
        dashes=slot_dashes(line.slot) or (None, None),
        drawstyle="steps-post" if steps else "default",
        marker="o" if dots else "",
        markersize=3.2,
        markeredgewidth=0,
    )


def steps_within(x: np.ndarray, y: np.ndarray, low: float, high: float):
    """The exact step function between `low` and `high`, both ends included.

    The value at x is that of the last operating point whose x is not larger; 0 (no
    lesion found) where there is none.

    Returns:
      (x, y), f64[m] each, from `low` to `high`.
    """
    inside = (x > low) & (x <= high)
    before = int(np.searchsorted(x, low, side="right"))
    first = float(y[before - 1]) if before else 0.0
    inner = y[inside]
    last = float(inner[-1]) if inner.size else first
    return np.r_[low, x[inside], high], np.r_[first, inner, last]


def thin(line: Line, *, logarithmic: bool = False) -> Line:
    """Leaves out points that move less than 1/500 of the plot from the one before."""

    def moves(x: np.ndarray, *ys: np.ndarray) -> np.ndarray:
        place = np.log(x) if logarithmic else x
        place = (place - place[0]) / (np.ptp(place) or 1.0)
        cells = np.round(500 * np.stack([place, *ys]))
        kept = np.r_[True, np.any(np.diff(cells) != 0, axis=0)]
        kept[-1] = True
        return kept

    kept, band = moves(line.x, line.y), line.band
    if band is not None:
        bends = moves(*band)
        band = (band[0][bends], band[1][bends], band[2][bends])
    return Line(line.x[kept], line.y[kept], line.slot, band)


def _clip(line: Line, low: float, high: float) -> Line:
    x, y = steps_within(line.x, line.y, low, high)
    band = line.band
    if band is not None:
        grid, lower = steps_within(band[0], band[1], low, high)
        band = (grid, lower, steps_within(band[0], band[2], low, high)[1])
    return Line(x, y, line.slot, band)


def share_axis(axes: Axes) -> None:
    """The y axis of a share, 0 to 1."""
    axes.set_ylim(-0.015, 1.015)
    axes.yaxis.set_major_locator(FixedLocator(FIFTHS))


def roc_plot(lines: Sequence[Line], *, key: str = "roc") -> Drawing:
    """Sensitivity against 1 - specificity, images; the thin diagonal is chance."""
    figure, axes = canvas(width=340, height=320)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
    for line in lines:
        draw_line(axes, thin(line))
    axes.set_xlim(-0.015, 1.015)
    axes.xaxis.set_major_locator(FixedLocator(FIFTHS))
    share_axis(axes)
    label(axes, x="1 \N{MINUS SIGN} specificity, images", y="Sensitivity, images")
    return svg(figure, key=key)


def froc_count_plot(lines: Sequence[Line], *, key: str = "froc-count") -> Drawing:
    """Sensitivity against false positives per image, logarithmic from 0.05 to 8."""
    figure, axes = canvas(width=340, height=320)
    for line in lines:
        visible = thin(_clip(line, 0.05, 8.0), logarithmic=True)
        draw_line(axes, visible, steps=True)
    axes.set_xscale("log")
    axes.set_xlim(0.05, 8.0)
    axes.xaxis.set_major_locator(FixedLocator(COUNT_RATES))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    share_axis(axes)
    label(axes, x="False positives per image (log scale)", y="Sensitivity, lesions")
    return svg(figure, key=key)


def froc_area_plot(lines: Sequence[Line], *, key: str = "froc-area") -> Drawing:
    """Recall at box centres against the activated share outside all boxes."""
    figure, axes = canvas(width=340, height=320)
    for line in lines:
        draw_line(axes, thin(_clip(line, 0.0, 0.105)), steps=True)
    axes.set_xlim(0.0, 0.105)
    axes.xaxis.set_major_locator(FixedLocator(AREA_RATIOS))
    axes.xaxis.set_major_formatter(
        FuncFormatter(
            lambda x, _: f"{100 * x:.0f} %" if round(100 * x) % 2 == 0 else ""
        )
    )
    share_axis(axes)
    label(axes, x="Activated pixels outside all boxes", y="Recall, lesions")
    return svg(figure, key=key)
