"""The page of a sweep: a dot plot for each metric, every trial with its intervals."""

import dataclasses
import statistics
from collections.abc import Sequence

from aals_jax.report import entries, page


@dataclasses.dataclass(frozen=True)
class MetricPlot:
    """The dot plot of a metric: one row per group of trials, one dot per trial."""

    name: str
    title: str
    groups: tuple[tuple[str, str, tuple[float, ...]], ...]  # label, mean ± SD, values

    @property
    def scale(self) -> entries.Scale | None:
        return entries.scale_around(
            {"value": value} for *_, values in self.groups for value in values
        )

    @property
    def rows(self) -> list[tuple[str, str, list[float], float | None]]:
        """Label, mean ± SD, places of the dots and of their mean in % of the width."""
        scale, rows = self.scale, []
        for label, mean, values in self.groups:
            dots = [scale.at(value) for value in values] if scale else []
            rows.append((label, mean, dots, statistics.fmean(dots) if dots else None))
        return rows


def render(
    *,
    phantom: bool,
    lead: Sequence[tuple[str, str]],
    plots: Sequence[MetricPlot],
    titles: Sequence[str],
    trials: Sequence[tuple[str, str, str, Sequence[str]]],
    definitions: Sequence[tuple[str, str]],
) -> str:
    """The page as text.

    Args:
      phantom: whether drawn images had a part in the numbers.
      lead: name and value of each fact at the top of the page.
      plots: one per metric.
      titles: of the metrics, in the order of each trial's.
      trials: name, fields, state, and a `value [low, high]` for each metric.
      definitions: title of a metric, text.
    """
    template = page.environment().get_template("sweep.html")
    return template.render(
        title="Sweep",
        phantom=phantom,
        lead=lead,
        plots=plots,
        titles=titles,
        trials=trials,
        definitions=definitions,
    )
