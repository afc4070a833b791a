"""The pages of a study with an oracle: is there room, and how much of it is filled?

The gate comes first. Where the oracle, which has the boxes of P too, is hardly above
training without P, no use of P can show anything, and a page that compared methods
there would compare noise: it says that there is no head-room instead.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aals_jax.metrics.definitions import HEAD_ROOM
from aals_jax.metrics.intervals import Interval
from aals_jax.report import markdown, study_figures, wording
from aals_jax.report.bounds import HIGH, LOW
from aals_jax.study import comparisons, facts, tables
from aals_jax.study.comparisons import Comparison
from aals_jax.study.kept import Study
from aals_jax.study.layout import NOT_RUN, Block, Layout, Page, figure, of_text
from aals_jax.study.plan import NO_SHARPENING, Arm, Fields, arms, label, slot
from aals_jax.study.tables import ArmTable

PRIMARY = "froc_count"
_SHOWN = (PRIMARY, "auroc")
PARTS = ("ribs", "regions", "clavicles", "subtle", "methods")
REFERENCES = (LOW, NO_SHARPENING, "mean_teacher")


def name(fields: Fields) -> str:
    """A trial's label, with a0 and t where the method sharpens."""
    text = label(fields)
    method, comma, option = text.partition(", ")
    if text == NO_SHARPENING or method not in ("aals", "asymmetric"):
        return text
    sharpening = (fields["distill.max_strength"], fields["distill.center"])
    return "{} {:g}/{:g}".format(method, *sharpening) + comma + option


@dataclasses.dataclass(frozen=True)
class Room:
    """The gap between the bounds of one table at one level."""

    level: Any  # images of R
    low: Arm
    high: Arm
    gaps: Mapping[str, Comparison]  # metric -> HIGH minus LOW

    def has(self, metric: str) -> bool:
        """Whether the gap of this metric is wide enough to be filled."""
        gap = self.gaps.get(metric)
        return gap is not None and gap.across.value >= HEAD_ROOM[metric]

    @property
    def is_there(self) -> bool:
        """Whether any metric leaves room: then the rows may be compared."""
        return any(map(self.has, HEAD_ROOM))


def table_of(study: Study, part: str) -> ArmTable:
    """The rows of a part over R; a part without bounds borrows those of others that
    differ from its own trials in the method alone."""
    planned = study.plan.part(part)
    made = arms(planned, level=_region, name=name)
    if not {LOW, HIGH} & {arm.label for arm in made}:
        levels = {arm.level for arm in made}
        others = arms(study.plan.part(PARTS[0]), level=_region, name=name)
        borrowed = [a for a in others if a.label in (LOW, HIGH) and a.level in levels]
        made = [*borrowed, *made]
    return ArmTable(made, study.results, "R", "{:g}".format)


def _region(fields: Fields) -> int:
    return fields["data.region_images"]


def rooms(table: ArmTable) -> list[Room]:
    """The gap at each level that has a finished pair of bounds."""
    found = []
    for level in dict.fromkeys(arm.level for arm in table.arms):
        at = {arm.label: arm for arm in table.arms if arm.level == level}
        if {LOW, HIGH} <= at.keys():
            pair = [at[HIGH]]
            gaps = {
                metric: made[0]
                for metric in HEAD_ROOM
                if (
                    made := comparisons.comparisons(
                        pair, lambda _, low=at[LOW]: low, table.results, metric
                    )
                )
            }
            if gaps:
                found.append(Room(level, at[LOW], at[HIGH], gaps))
    return found


def room(study: Study) -> Block:
    """Block: the gate of every part and level."""
    lines = []
    for part in PARTS[:-1]:
        table = table_of(study, part)
        for found in rooms(table):
            gaps = (found.gaps.get(metric) for metric in HEAD_ROOM)
            cells = [
                wording.NOTHING if gap is None else tables.difference(gap.across)
                for gap in gaps
            ]
            worlds = len(next(iter(found.gaps.values())).within)
            verdict = "yes" if found.is_there else "**no head-room**"
            peaks = _share_in_box(study, found.low)
            lines.append([part, found.level, worlds, *cells, peaks, verdict])
    if not lines:
        return Block(NOT_RUN)
    titles = [f"oracle minus supervised: {wording.title(m)}" for m in HEAD_ROOM]
    head = ["part", "R", "worlds", *titles, "P's peaks in a box", "room"]
    least = " or ".join(f"{v:g} in {wording.title(m)}" for m, v in HEAD_ROOM.items())
    note = (
        f"Room: the oracle is at least {least} above supervised, mean over worlds "
        "[95 % interval]. P's peaks in a box: of the network that stage 2 starts from, "
        "mean over worlds."
    )
    return Block(f"{note}\n\n{markdown.table(head, lines)}")


def _share_in_box(study: Study, arm: Arm) -> str:
    """How often the peak of stage 1 on P lies in a box that P withholds."""
    shares = [
        share
        for trial in arm.trials.values()
        if trial in study.results
        and (share := study.results[trial].start_in_box) is not None
    ]
    return wording.percent(sum(shares) / len(shares)) if shares else wording.NOTHING


def shares(study: Study) -> Block:
    """Block: how much of the oracle's gap each row fills, where there is one."""
    panels, lines, closed = [], [], []
    for part in PARTS:
        table = table_of(study, part)
        several = len({arm.level for arm in table.arms}) > 1
        closed += [f"{part}, R = {r.level}" for r in rooms(table) if not r.has(PRIMARY)]
        filled = list(_filled(table))
        for arm, by_metric in filled:
            words = map(_words, by_metric.values())
            lines.append([part, arm.level, arm.label, *words])
        if filled:
            marks = [_mark(arm, by[PRIMARY], several) for arm, by in filled]
            panels.append((part, marks))
    if not lines and not closed:
        return Block(NOT_RUN)
    text = (
        "(row - supervised) / (oracle - supervised): 0 is training without P, 1 is P "
        "with all of its boxes. Means over worlds [95 % interval], two-level bootstrap "
        "over worlds and patients."
    )
    if closed:
        text += f" No head-room in {wording.title(PRIMARY)}: {'; '.join(closed)}."
    figures: Mapping[str, tuple[str, str]] = {}
    if lines:
        head = ["part", "R", "row", *(wording.title(m) for m in _SHOWN)]
        text += f"\n\n{markdown.table(head, lines)}"
        alt = (
            "Share of the oracle's gap in count FROC that each row fills: a dot at the "
            "mean over worlds, a bar over the 95 % interval; strokes at 0, supervised, "
            "and 1, oracle"
        )
        figures = figure("shares", alt, study_figures.marks(panels, key="shares"))
    return Block(text, figures)


def _filled(table: ArmTable) -> Iterator[tuple[Arm, dict[str, Interval | None]]]:
    """The rows between the bounds, where the primary metric leaves room, with what
    they fill of the gap of each metric of _SHOWN; None where that one is too narrow."""
    for found in rooms(table):
        for arm in table.arms if found.has(PRIMARY) else ():
            if arm.level == found.level and arm.label not in (LOW, HIGH):
                bounds = found.low, found.high, table.results
                by_metric = {
                    metric: comparisons.share_of_gap(arm, *bounds, metric)
                    if found.has(metric)
                    else None
                    for metric in _SHOWN
                }
                if by_metric[PRIMARY] is not None:
                    yield arm, by_metric


def _mark(arm: Arm, share: Interval | None, several: bool) -> study_figures.Mark:
    assert share is not None  # see _filled
    text = f"{arm.label}, R = {arm.level}" if several else arm.label
    colour = slot(arm.label.partition(" ")[0])
    return study_figures.Mark(text, colour, share.value, share.low, share.high)


def _words(share: Interval | None) -> str:
    return wording.NOTHING if share is None else tables.difference(share)


def methods_of(part: str) -> Callable[[Study], Block]:
    """Block: the rows of a part, each with its worlds."""

    def make(study: Study) -> Block:
        table = table_of(study, part)
        return Block(NOT_RUN if table.is_empty else tables.methods(table))

    return make


def pairs_of(part: str) -> Callable[[Study], Block]:
    """Block: the rows of a part against each reference, where there is head-room."""

    def make(study: Study) -> Block:
        table = table_of(study, part)
        if table.is_empty:
            return Block(NOT_RUN)
        found = rooms(table)
        texts = []
        if not found:
            texts.append("Whether there is head-room is not known: a bound is missing.")
        if closed := [f"{r.level:g}" for r in found if not r.is_there]:
            texts.append(
                f"**No head-room at R = {', '.join(closed)}**: the rows are not "
                "compared there."
            )
        levels = {r.level for r in found if r.is_there}
        open_ = [arm for arm in table.arms if arm.level in levels]
        part_of = dataclasses.replace(table, arms=open_)
        planned = {arm.label for arm in open_}
        texts += [tables.pairs(part_of, r) for r in REFERENCES if r in planned]
        return Block("\n\n".join(texts))

    return make


BLOCKS: Mapping[str, Callable[[Study], Block]] = {
    "room": room,
    "shares": shares,
    **{f"methods-{part}": methods_of(part) for part in PARTS},
    **{f"pairs-{part}": pairs_of(part) for part in PARTS},
    "progress": of_text(facts.progress),
    "data": of_text(facts.data),
    "definitions": of_text(facts.definitions),
    "time": of_text(facts.time),
}
_TITLES = {
    "ribs": "Ribs, 16 films with boxes",
    "regions": "Ribs, more and fewer films with boxes",
    "clavicles": "Clavicles, 16 films with boxes",
    "subtle": "Ribs that are hard to see",
    "methods": "Every other row of the table of methods",
}
PAGES: Mapping[str, Page] = {
    "setup": Page(
        "Trials, data, metrics and time", ("progress", "data", "definitions", "time")
    ),
    **{
        part: Page(title, (f"methods-{part}", f"pairs-{part}"))
        for part, title in _TITLES.items()
    },
}
LAYOUT = Layout(Page("The second study", ("room", "shares")), PAGES, BLOCKS)
