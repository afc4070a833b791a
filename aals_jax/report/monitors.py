"""Whether sharpening can work: the teacher's peaks, and how far targets exceed them."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from aals_jax.report import entry_grid, plots, wording


@dataclasses.dataclass(frozen=True)
class Histogram:
    """Peaks of one model on several sets of images."""

    model: str
    note: str  # when it was the teacher, and where t is
    legend: tuple[tuple[str, int, str], ...]  # images, slot, their number
    alt: str
    drawing: plots.Drawing


def grids(monitors: Mapping) -> list[entry_grid.Grid]:
    """What result.json says under `monitors`; none where it says nothing.

    Args:
      monitors: `peaks`, model -> name -> entry; `moments`, model -> words; `targets`,
        name -> entry.
    """
    peaks, targets = monitors.get("peaks") or {}, monitors.get("targets") or {}
    moments = monitors.get("moments") or {}
    drawn = []
    if peaks:
        columns = tuple((str(model), str(moments.get(model, ""))) for model in peaks)
        drawn.append(entry_grid.grid(columns, list(peaks.values())))
    if targets:
        drawn.append(entry_grid.grid((("stage 2", "all updates"),), [targets]))
    return drawn


def histograms(monitors: Mapping) -> list[Histogram]:
    """The peaks of each model on each set of images, with t; a figure a model.

    Args:
      monitors: `histograms`, model -> images -> counts; `bin_edges`, f[bins + 1];
        `center`, t; `moments`, as in `grids`.
    """
    moments = monitors.get("moments") or {}
    return [
        _histogram(
            str(model),
            str(moments.get(model, "")),
            {name: np.asarray(counts) for name, counts in sets.items()},
            edges=np.asarray(monitors["bin_edges"], np.float64),
            center=float(monitors["center"]),
            key=f"peaks-{index}",
        )
        for index, (model, sets) in enumerate(
            (monitors.get("histograms") or {}).items()
        )
    ]


def _histogram(
    model: str,
    moment: str,
    sets: Mapping[str, np.ndarray],
    *,
    edges: np.ndarray,
    center: float,
    key: str,
) -> Histogram:
    figure, axes = plots.canvas(width=340, height=230)
    legend, texts = [], []
    for slot, (name, counts) in enumerate(sets.items()):
        number = int(counts.sum())
        legend.append((name, slot, wording.count(number, "image")))
        if not number:
            continue
        shares = counts / number
        line = plots.Line(edges, np.append(shares, shares[-1]), slot)
        plots.draw_line(axes, line, steps=True)
        middle = edges[np.searchsorted(np.cumsum(counts), number / 2)]
        texts.append(f"half of {name} from {middle:.2f} up")
    axes.axvline(center, color=plots.FAINT, linewidth=1.2, dashes=(2, 2))
    axes.set_xlim(-0.015, 1.015)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(FixedLocator(plots.FIFTHS))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    plots.label(axes, x="Peak of the map, probability", y="Share of images")
    return Histogram(
        model=model,
        note=f"{moment}; the vertical line is t = {center:g}",
        legend=tuple(legend),
        alt=f"Peaks of the maps of {model}; t is {center:g}. {'; '.join(texts)}.",
        drawing=plots.svg(figure, key=key),
    )
