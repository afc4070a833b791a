"""Panels of the training history: losses, validation, monitors.

Plots whatever names metrics.jsonl has. Both stages lie on one axis, a divider between.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from aals_jax.report import plots

# name: (title, unit, logarithmic). A name that is not here gets a panel of its own.
MONITORS: Mapping[str, tuple[str, str, bool]] = {
    "pseudo/mean_peak": ("Peak of the teacher's map on P", "mean probability", False),
    "pseudo/center": ("t, from validation's peaks", "probability", False),
    "pseudo/share_dead": ("P that gets no help", "share with peak below t", False),
    "pseudo/share_raised_pixels": ("Raised by sharpening", "share of pixels", False),
    "pseudo/distill_grad_norm": ("Gradient of the distillation", "L2 norm", True),
    "time/data_wait_share": ("Waiting for data", "share of step time", False),
    "ema_decay": ("Decay of the teacher's average", "per update", False),
}
# prefix: (title, unit, logarithmic)
GROUPS: Mapping[str, tuple[str, str, bool]] = {
    "loss/": ("Losses", "mean over the term's own images", True),
    "validation/": ("Validation", "score, 0 to 1", False),
    "peak_in_box/": ("Peak in a box, validation", "share of boxed positives", False),
    "median_peak/": ("Peaks of the maps, validation", "median probability", False),
    "pseudo/lift_": ("Lift of a target", "above the teacher's map, probability", False),
}
UNITS = {"_s": "seconds", "_share": "share", "_per_s": "per second"}
STAGE_TITLES = {"pretrain": "pre-training", "distill": "distillation"}
MAX_POINTS = 200  # longer series are drawn as mean and range of this many bins


@dataclasses.dataclass(frozen=True)
class Series:
    name: str
    x: np.ndarray  # f64[n], updates counted through both stages
    y: np.ndarray  # f64[n], finite
    num_rejected: int  # values that were not finite


@dataclasses.dataclass(frozen=True)
class Panel:
    title: str
    unit: str
    legend: tuple[tuple[str, int, str], ...]  # name, slot, last value
    drawing: plots.Drawing
    alt: str
    notes: tuple[str, ...]


def stage_offsets(history: Sequence[Mapping]) -> dict[str, float]:
    """Updates before each stage; a stage that counts on from the last one adds none."""
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for row in history:
        stage, step = str(row["stage"]), float(row["step"])
        first[stage] = min(first.get(stage, step), step)
        last[stage] = max(last.get(stage, step), step)
    offsets: dict[str, float] = {}
    end = 0.0
    for stage in first:
        offsets[stage] = end if first[stage] < end else 0.0
        end = offsets[stage] + last[stage]
    return offsets


def read_series(history: Sequence[Mapping]) -> dict[str, Series]:
    """One series per name; of rows written twice (a resumed run) the later counts."""
    offsets = stage_offsets(history)
    values: dict[str, dict[float, float]] = {}
    for row in history:
        x = offsets[str(row["stage"])] + float(row["step"])
        for name, value in row.items():
            if name in ("stage", "step") or isinstance(value, (str, bool)):
                continue
            number = math.nan if value is None else float(value)
            values.setdefault(str(name), {})[x] = number
    series = {}
    for name in sorted(values):
        x = np.array(sorted(values[name]))
        y = np.array([values[name][step] for step in x])
        good = np.isfinite(y)
        series[name] = Series(name, x[good], y[good], int((~good).sum()))
    return series


def _group_of(name: str) -> tuple[str, tuple[str, str, bool]]:
    for prefix, group in GROUPS.items():
        if name.startswith(prefix):
            return prefix, group
    if name in MONITORS:
        return name, MONITORS[name]
    endings = [ending for ending in UNITS if name.endswith(ending)]
    unit = UNITS[max(endings, key=len)] if endings else "value"
    return name, (name.replace("_", " ").replace("/", ", "), unit, False)


def panels(history: Sequence[Mapping]) -> list[Panel]:
    """Losses first, then validation, the known monitors, and the rest by name."""
    groups: dict[str, list[Series]] = {}
    for name, series in read_series(history).items():
        groups.setdefault(_group_of(name)[0], []).append(series)
    order = [*GROUPS, *MONITORS]
    keys = [key for key in order if key in groups]
    keys += [key for key in groups if key not in order]
    dividers = _dividers(history)
    return [
        _panel(groups[key], key=f"history-{index}", dividers=dividers)
        for index, key in enumerate(keys)
    ]


def _dividers(history: Sequence[Mapping]) -> list[tuple[float, float, str]]:
    """(start, end, name) of each stage, in updates."""
    offsets = stage_offsets(history)
    spans = []
    for stage, offset in offsets.items():
        steps = [float(row["step"]) for row in history if row["stage"] == stage]
        start = offset or (spans[-1][1] if spans else min(steps))
        title = STAGE_TITLES.get(stage, "further stage")
        spans.append((start, offset + max(steps), title))
    return spans


def _binned(series: Series, slot: int) -> plots.Line:
    if series.x.size <= MAX_POINTS:
        return plots.Line(series.x, series.y, slot)
    parts = [
        (x.mean(), y.mean(), y.min(), y.max())
        for x, y in zip(
            np.array_split(series.x, MAX_POINTS),
            np.array_split(series.y, MAX_POINTS),
            strict=True,
        )
    ]
    x, mean, low, high = np.array(parts).T
    return plots.Line(x, mean, slot, (x, low, high))


def _panel(group: list[Series], *, key: str, dividers: list) -> Panel:
    title, unit, logarithmic = _group_of(group[0].name)[1]
    figure, axes = plots.canvas(width=340, height=230)
    everything = np.concatenate([series.y for series in group])
    logarithmic = logarithmic and bool((everything > 0).any())
    for slot, series in enumerate(group):
        line = _binned(series, slot)
        plots.draw_line(axes, line, dots=series.x.size <= 40)
    _scale_y(axes, everything, logarithmic=logarithmic)
    _stages(axes, dividers)
    plots.label(axes, x="Updates", y="")
    legend, notes, texts = [], [], []
    for slot, series in enumerate(group):
        short = series.name.split("/", 1)[-1] if len(group) > 1 else series.name
        last = f"{series.y[-1]:.4g}" if series.y.size else "no finite value"
        legend.append((short, slot, last))
        texts.append(f"{short}: last value {last}{_extremes(series)}")
        if series.num_rejected:
            notes.append(f"Left out, not finite: {series.num_rejected} of {short}")
    if any(series.x.size > MAX_POINTS for series in group):
        notes.append(f"Mean and range of {MAX_POINTS} bins")
    return Panel(
        title=title,
        unit=unit + (", log scale" if logarithmic else ""),
        legend=tuple(legend),
        drawing=plots.svg(figure, key=key),
        alt=f"{title} over training ({unit}). " + "; ".join(texts) + ".",
        notes=tuple(notes),
    )


def _extremes(series: Series) -> str:
    if not series.y.size:
        return ""
    return f", lowest {series.y.min():.4g}, highest {series.y.max():.4g}"


def _scale_y(axes: Axes, values: np.ndarray, *, logarithmic: bool) -> None:
    if not logarithmic:
        if values.size and np.ptp(values) <= 1e-9 * np.abs(values).max(initial=0):
            pad = 0.1 * abs(float(values[0])) or 1.0
            axes.set_ylim(float(values[0]) - pad, float(values[0]) + pad)
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.5g}"))
        return
    positive = values[values > 0]
    low, high = float(positive.min()) / 1.3, float(positive.max()) * 1.3
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(low, high)
    decades = math.log10(high / low)
    leads = (1, 2, 5) if decades < 2 else (1,)
    stride = max(1, round(decades / 4))
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1, stride)
    ticks = [lead * 10.0**power for power in powers for lead in leads]
    axes.yaxis.set_major_locator(FixedLocator([t for t in ticks if low <= t <= high]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.3g}"))


def _stages(axes: Axes, spans: Sequence[tuple[float, float, str]]) -> None:
    left, right = spans[0][0], spans[-1][1]
    pad = 0.015 * (right - left) or 1.0
    axes.set_xlim(left - pad, right + pad)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
    for index, (start, _, name) in enumerate(spans):
        if index:
            axes.axvline(start, color=plots.FAINT, linewidth=1.2, dashes=(2, 2))
        last = index > 0 and index == len(spans) - 1
        axes.annotate(
            name,
            (1 if last else (start - left + pad) / (right - left + 2 * pad), 1),
            xycoords="axes fraction",
            xytext=(0, 7),
            textcoords="offset points",
            ha="right" if last else "left",
            color=plots.INK,
            fontsize=9,
        )
