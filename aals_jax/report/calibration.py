"""Reliability curves: the observed share of positives in bins of the score."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from aals_jax.report import entries, plots, wording

SCORES = ("expected_calibration_error", "brier_score")  # told beside the curve
_WIDTH, _HEIGHT = 340.0, 410.0  # points
_COUNTS, _GAP = 62.0, 32.0  # points: height of the counts, and the space above them
_FLOOR = 0.7  # where a bar of the counts starts: a single image is still seen


@dataclasses.dataclass(frozen=True)
class Reliability:
    """The curve of one model."""

    model: str
    slot: int
    scores: str
    alt: str
    drawing: plots.Drawing | None  # None where no bin has an image
    reason: str
    bins: tuple[tuple[str, str, str, str], ...]  # mean score, observed, interval, count


def definitions(calibration: Mapping[str, Mapping]) -> tuple[tuple[str, str], ...]:
    return wording.by_models(
        {
            model: str(record.get("definition") or wording.UNRECORDED)
            for model, record in calibration.items()
        }
    )


def figures(
    calibration: Mapping[str, Mapping],
    *,
    metrics: Mapping[str, Mapping[str, Mapping]],
    slots: Mapping[str, int],
) -> list[Reliability]:
    """One figure per model.

    Args:
      calibration: model -> `definition`, `bins` (each `mean_score`, `observed`, `low`,
        `high` in 0 ... 1, and `count`; None in an empty bin), and maybe a `reason`.
      metrics: model -> name -> metric; those of SCORES are told beside the curve.
      slots: model -> its place in the palette.
    """
    return [
        _figure(
            model,
            record,
            metrics=metrics.get(model, {}),
            slot=slots[model],
            key=f"reliability-{index}",
        )
        for index, (model, record) in enumerate(calibration.items())
    ]


def _figure(
    model: str,
    record: Mapping,
    *,
    metrics: Mapping[str, Mapping],
    slot: int,
    key: str,
) -> Reliability:
    bins = record.get("bins") or ()
    full = [b for b in bins if wording.is_number(b.get("observed"))]
    scores = ", ".join(
        f"{wording.title(name)} {wording.number(metrics[name].get('value'))}"
        for name in SCORES
        if name in metrics
    )
    reason = "" if full else "no bin has an image, and no reason was recorded"
    return Reliability(
        model=model,
        slot=slot,
        scores=scores,
        alt=_alt(model, full, scores),
        drawing=_draw(full, slot=slot, key=key) if full else None,
        reason=str(record.get("reason") or reason),
        bins=tuple(
            (
                wording.number(b.get("mean_score")),
                entry.value,
                entry.interval,
                wording.number(b.get("count")),
            )
            for b in bins
            for entry in [entries.view({**b, "value": b.get("observed")})]
        ),
    )


def _alt(model: str, bins: Sequence[Mapping], scores: str) -> str:
    sentences = [f"Reliability curve of {model}"]
    if bins:
        worst = max(bins, key=lambda b: abs(b["observed"] - b["mean_score"]))
        sentences.append(f"{wording.count(len(bins), 'bin')} with images")
        sentences.append(
            f"Farthest from the diagonal: mean score "
            f"{wording.number(worst['mean_score'])}, observed share "
            f"{wording.number(worst['observed'])}"
        )
    return ". ".join([*sentences, *([scores] if scores else [])]) + "."


def _draw(bins: Sequence[Mapping], *, slot: int, key: str) -> plots.Drawing:
    """Points and whiskers over the diagonal; below, how many images a point has."""
    columns = ("mean_score", "observed", "low", "high", "count")
    table = np.array([[_or_nan(b.get(name)) for name in columns] for b in bins])
    mean, observed, low, high, count = table[np.argsort(table[:, 0], kind="stable")].T
    figure, axes = plots.canvas(width=_WIDTH, height=_HEIGHT, below=_COUNTS + _GAP)
    lower = plots.lower_axes(figure, height=_COUNTS)
    colour = plots.slot_colour(slot)
    axes.plot([0, 1], [0, 1], color=plots.FAINT, linewidth=1)
    axes.vlines(mean, low, high, color=colour, linewidth=5, alpha=0.25)
    plots.draw_line(axes, plots.Line(mean, observed, slot))
    axes.plot(mean, observed, "o", color=colour, markersize=5.5, markeredgewidth=0)
    lower.vlines(mean, _FLOOR, np.fmax(count, _FLOOR), color=colour, linewidth=5)
    plots.share_axis(axes)
    for drawn in (axes, lower):
        drawn.set_xlim(-0.015, 1.015)
        drawn.xaxis.set_major_locator(FixedLocator(plots.FIFTHS))
    axes.tick_params(labelbottom=False)
    _count_axis(lower, float(np.fmax.reduce(count, initial=10)))
    plots.label(axes, x="", y="Observed share of positives")
    plots.label(lower, x="Mean score of the bin", y="Images (log scale)")
    return plots.svg(figure, key=key)


def _count_axis(axes: Axes, largest: float) -> None:
    """Logarithmic: rare findings leave nearly all images in the lowest bins."""
    decades = math.ceil(math.log10(largest))
    stride = math.ceil(decades / 3)
    axes.set_yscale("log")
    axes.set_ylim(_FLOOR, 1.4 * 10.0**decades)
    powers = range(0, decades + 1, stride)
    axes.yaxis.set_major_locator(FixedLocator([10.0**power for power in powers]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _short(value: float) -> str:
    """`10000` -> `10k`."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _or_nan(value: object) -> float:
    return float(value) if wording.is_number(value) else math.nan
