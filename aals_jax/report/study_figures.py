"""Figures of a study as SVG files: dots of seeds, intervals, curves over a level, a
surface.

A file has the colours of the HTML pages for light and dark, and paints its own
background, so that it can be read wherever it is shown.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import markupsafe
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from aals_jax.report import plots

_COLUMNS = 2
_WIDTH = 720.0  # points, of every figure
_TOP, _BOTTOM, _GAP = 28.0, 44.0, 22.0  # points around a panel
_MANY = 12  # points of a curve, above which its seeds are a band and not dots
_ROW = 17.0  # points, a line of a legend


@dataclasses.dataclass(frozen=True)
class DotRow:
    """A row of a dot plot."""

    label: str
    slot: int  # its place in the palette
    values: tuple[float, ...]  # one per seed; may be empty


@dataclasses.dataclass(frozen=True)
class Mark:
    """A row of a plot of intervals."""

    label: str
    slot: int  # its place in the palette
    value: float
    low: float  # nan: there is no interval
    high: float


@dataclasses.dataclass(frozen=True)
class Curve:
    """A line of a plot, through the means of the seeds."""

    label: str
    slot: int
    x: tuple[float, ...]  # ascending
    seeds: tuple[tuple[float, ...], ...]  # values at each x, one per seed

    @property
    def mean(self) -> np.ndarray:
        return np.array([np.mean(values) for values in self.seeds])


@dataclasses.dataclass(frozen=True)
class Axis:
    """The x axis of curves."""

    title: str
    logarithmic: bool = False
    percent: bool = False
    ticks: tuple[float, ...] = ()  # empty: Matplotlib chooses


def dots(panels: Sequence[tuple[str, Sequence[DotRow]]], *, key: str) -> plots.Drawing:
    """One row per method: a dot per seed, a stroke at the mean, a bar of one SD.

    Rows far below the others would press those together: their mean stands as a number
    at the left edge instead.

    Args:
      panels: title of the x axis; rows from top to bottom.
      key: prefix of the drawing's ids, unlike that of any other drawing.
    """
    count = max(len(rows) for _, rows in panels)
    height = 19.0 * count + 12
    figure, axes = _grid(len(panels), height=height, left=142.0, inner=20.0, top=8.0)
    for number, ((title, rows), panel) in enumerate(zip(panels, axes, strict=True)):
        below = _far_below(rows)
        for place, row in enumerate(rows):
            if place in below:
                mean = (
                    f"\N{BLACK LEFT-POINTING SMALL TRIANGLE} {np.mean(row.values):.3f}"
                )
                colour, at = plots.slot_colour(row.slot), panel.get_yaxis_transform()
                panel.text(0.02, place, mean, color=colour, va="center", transform=at)
            else:
                _draw_dots(panel, row, place)
        panel.set_ylim(count - 0.4, -0.6)
        panel.yaxis.set_major_locator(FixedLocator(range(len(rows))))
        labels = [row.label for row in rows] if number % _COLUMNS == 0 else []
        panel.set_yticklabels(labels or [""] * len(rows))
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.3g}"))
        plots.label(panel, x=title, y="")
    return plots.svg(figure, key=key)


def marks(
    panels: Sequence[tuple[str, Sequence[Mark]]],
    *,
    key: str,
    span: tuple[float, float] = (-1.0, 2.0),
) -> plots.Drawing:
    """One row per method: a dot at the value, a bar over its interval; strokes at 0, 1.

    Args:
      panels: title of the x axis; rows from top to bottom.
      key: as in `dots`.
      span: of the x axis of all panels; what lies beyond is cut off there.
    """
    count = max(len(rows) for _, rows in panels)
    figure, axes = _grid(
        len(panels), height=19.0 * count + 12, left=142.0, inner=110.0, top=8.0
    )
    for (title, rows), panel in zip(panels, axes, strict=True):
        for end in (0.0, 1.0):
            panel.axvline(end, color=plots.INK, linewidth=0.8)
        for place, row in enumerate(rows):
            colour = plots.slot_colour(row.slot)
            ends = np.clip([row.low, row.high], *span)
            panel.plot(ends, [place, place], color=colour, linewidth=4, alpha=0.35)
            at = float(np.clip(row.value, *span))
            panel.plot([at], [place], color=colour, marker="o", markersize=5.5)
        panel.set_xlim(*span)
        panel.set_ylim(count - 0.4, -0.6)
        panel.yaxis.set_major_locator(FixedLocator(range(len(rows))))
        panel.set_yticklabels([row.label for row in rows])
        panel.xaxis.set_major_locator(MaxNLocator(6))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.3g}"))
        plots.label(panel, x=title, y="")
    return plots.svg(figure, key=key)


def _far_below(rows: Sequence[DotRow]) -> set[int]:
    """Places of the lowest rows, where the gap above them is wider than the range of
    all rows above. At least two rows remain."""
    ordered = sorted(
        (i for i in range(len(rows)) if rows[i].values),
        key=lambda i: np.mean(rows[i].values),
    )
    below: set[int] = set()
    for number, place in enumerate(ordered[:-2]):
        rest = [v for i in ordered[number + 1 :] for v in rows[i].values]
        if min(rest) - max(rows[place].values) > max(rest) - min(rest):
            below.update(ordered[: number + 1])
    return below


def _draw_dots(axes: Axes, row: DotRow, place: int) -> None:
    colour = plots.slot_colour(row.slot)
    if not row.values:
        return
    mean = float(np.mean(row.values))
    if len(row.values) > 1:
        spread = float(np.std(row.values, ddof=1))
        ends = [mean - spread, mean + spread]
        axes.plot(ends, [place, place], color=colour, linewidth=5, alpha=0.25)
    axes.plot([mean, mean], [place - 0.32, place + 0.32], color=colour, linewidth=1.9)
    axes.plot(
        row.values,
        [place] * len(row.values),
        color=colour,
        linestyle="",
        marker="o",
        markersize=4.2,
        markeredgewidth=0,
        alpha=0.75,
    )


def curves(
    panels: Sequence[tuple[str, Sequence[Curve]]], axis: Axis, *, key: str
) -> plots.Drawing:
    """Lines through the means of the seeds, with a dot per seed; above _MANY points
    with the band from the lowest to the highest seed instead.

    Args:
      panels: title of the y axis; its curves.
      axis: the x axis of all.
      key: as in `dots`.
    """
    legend = {c.label: c.slot for _, lines in panels for c in lines}
    below = _ROW * -(-len(legend) // 4) + 6
    figure, axes = _grid(len(panels), height=170.0, left=44.0, inner=30.0, legend=below)
    for (title, lines), panel in zip(panels, axes, strict=True):
        for curve in lines:
            _draw_curve(panel, curve)
        _x_axis(panel, axis)
        panel.yaxis.set_major_locator(MaxNLocator(5))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.3g}"))
        plots.label(panel, x=axis.title, y=title)
    _draw_legend(figure, legend)
    return plots.svg(figure, key=key)


def _draw_curve(axes: Axes, curve: Curve) -> None:
    x, band = np.array(curve.x), None
    if len(x) > _MANY:
        low, high = (np.array([f(v) for v in curve.seeds]) for f in (min, max))
        band = (x, low, high)
    plots.draw_line(axes, plots.Line(x, curve.mean, curve.slot, band))
    if band is not None:
        return
    spots = [(at, v) for at, values in zip(x, curve.seeds, strict=True) for v in values]
    places, values = zip(*spots, strict=True)
    axes.plot(
        places,
        values,
        color=plots.slot_colour(curve.slot),
        linestyle="",
        marker="o",
        markersize=4,
        markeredgewidth=0,
        alpha=0.7,
    )


def _x_axis(axes: Axes, axis: Axis) -> None:
    if axis.logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    if axis.ticks:
        axes.xaxis.set_major_locator(FixedLocator(axis.ticks))

    def tick(value: float, _: int) -> str:
        return f"{100 * value:g} %" if axis.percent else f"{value:g}"

    axes.xaxis.set_major_formatter(FuncFormatter(tick))


def _draw_legend(figure: Figure, legend: dict[str, int]) -> None:
    width, height = (float(72 * inches) for inches in figure.get_size_inches())
    for number, (text, slot) in enumerate(legend.items()):
        row, column = divmod(number, 4)
        x, y = 14 + column * (width - 20) / 4, height - 13 - row * _ROW
        line = Line2D(
            [x / width, (x + 22) / width],
            [y / height] * 2,
            color=plots.slot_colour(slot),
            linewidth=1.9,
            dashes=plots.slot_dashes(slot) or (None, None),
        )
        figure.add_artist(line)
        figure.text((x + 27) / width, (y - 3.5) / height, text, color=plots.INK)


def surfaces(
    panels: Sequence[tuple[str, np.ndarray]],
    *,
    rows: tuple[str, Sequence[str]],
    columns: tuple[str, Sequence[str]],
    key: str,
) -> plots.Drawing:
    """Tables of coloured cells with their numbers; the largest of a panel is darkest.

    Args:
      panels: title, f64[rows, columns]; nan: not run.
      rows, columns: title of the axis, its ticks.
      key: as in `dots`.
    """
    height = 26.0 * len(rows[1])
    figure, axes = _grid(len(panels), height=height, left=52.0, inner=40.0)
    for (title, values), panel in zip(panels, axes, strict=True):
        panel.grid(visible=False)
        low = float(np.nanmin(values))
        span = float(np.nanmax(values)) - low or 1.0
        for (i, j), value in np.ndenumerate(values):
            if np.isnan(value):
                continue
            # never so deep that the number on it is hard to read
            depth = 0.05 + 0.4 * (value - low) / span
            colour = plots.slot_colour(0)
            panel.add_patch(
                Rectangle((j - 0.5, i - 0.5), 1, 1, fc=colour, alpha=depth, lw=0)
            )
            panel.text(j, i, f"{value:.3f}", color=plots.INK, ha="center", va="center")
        panel.set_xlim(-0.5, len(columns[1]) - 0.5)
        panel.set_ylim(-0.5, len(rows[1]) - 0.5)
        panel.set_xticks(range(len(columns[1])), columns[1])
        panel.set_yticks(range(len(rows[1])), rows[1])
        panel.set_ylabel(rows[0], color=plots.INK, rotation=0, labelpad=9)
        plots.label(panel, x=columns[0], y=title)
    drawing = plots.svg(figure, key=key)
    darker = str(drawing.body).replace("var(--muted)", "var(--ink)")
    return dataclasses.replace(drawing, body=markupsafe.Markup(darker))


def _grid(
    count: int,
    *,
    height: float,
    left: float,
    inner: float,
    legend: float = 0.0,
    top: float = _TOP,
) -> tuple[Figure, list[Axes]]:
    """Panels of `height` points, two in a row, as wide as the figure allows.

    Args:
      count: number of panels.
      height: of a panel.
      left: points left of the first column, for its labels.
      inner: points left of the second column.
      legend: points above all panels.
      top: points above each panel, for its title.
    """
    lines = -(-count // _COLUMNS)
    full = legend + lines * (top + height + _BOTTOM)
    figure, first = plots.canvas(width=_WIDTH, height=full)
    panels = [first, *(plots.lower_axes(figure, height=9.0) for _ in range(count - 1))]
    wide = (_WIDTH - left - inner - 2 * _GAP) / _COLUMNS
    for number, axes in enumerate(panels):
        row, column = divmod(number, _COLUMNS)
        x = left + column * (wide + _GAP + inner)
        y = full - legend - row * (top + height + _BOTTOM) - top - height
        axes.set_position((x / _WIDTH, y / full, wide / _WIDTH, height / full))
    return figure, panels


def standalone(drawing: plots.Drawing, *, alt: str) -> str:
    """The drawing as the text of an SVG file, with its own colours and background."""
    style = (Path(__file__).parent / "templates" / "style.css").read_text()
    colours = style.partition("* {")[0].strip()  # light, then dark
    _, _, width, height = drawing.view_box.split()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{drawing.view_box}" '
        f'width="{width}" height="{height}" role="img" '
        f'aria-label="{markupsafe.escape(alt)}">\n<style>\n{colours}\n'
        "text { fill: var(--muted); }\n</style>\n"
        f'<rect width="{width}" height="{height}" fill="var(--paper)"/>\n'
        f"{drawing.body}\n</svg>\n"
    )
