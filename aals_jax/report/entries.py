"""One number with its interval, as text and as a bar on the scale of its neighbours."""

import dataclasses
import math
from collections.abc import Iterable, Mapping

from aals_jax.report import wording

ENDS = ("value", "low", "high")
OTHER_INTERVALS = {"delong": "DeLong"}  # shown beside the interval of the bootstrap
KEYS = frozenset((*ENDS, *OTHER_INTERVALS, "reason", "rejected", "replicates"))


@dataclasses.dataclass(frozen=True)
class Bar:
    """An interval on a scale, all in percent of its width."""

    left: float
    width: float
    dot: float


@dataclasses.dataclass(frozen=True)
class Scale:
    low: float
    high: float

    @property
    def ends(self) -> tuple[str, str]:
        low, high = (f"{end:g}".replace("-", wording.MINUS) for end in self.span)
        return low, high

    @property
    def span(self) -> tuple[float, float]:
        return self.low, self.high

    def at(self, value: float) -> float:
        """Where a value lies, in percent from the left."""
        return round(100 * (float(value) - self.low) / (self.high - self.low), 2)


@dataclasses.dataclass(frozen=True)
class EntryView:
    """What is written and drawn of one `{value, low, high, ...}`."""

    value: str
    exact: str  # all digits, "" where there is no value
    interval: str
    others: tuple[str, ...]  # further intervals: `DeLong 0.88 to 0.94`
    caveats: tuple[str, ...]  # what those take for granted, or why there is none
    reason: str  # never empty where there is no value
    rejected: str  # `3 of 2,000` replicates, "" where nobody counted
    num_rejected: int
    bar: Bar | None


def scale_around(cells: Iterable[Mapping]) -> Scale | None:
    """Tenths around everything that the cells hold; None where they hold nothing."""
    values = _values(cells)
    if not values:
        return None
    low = math.floor(10 * min(values)) / 10
    high = math.ceil(10 * max(values)) / 10
    return Scale(low, high) if high > low else Scale(low, low + 0.1)


def scale_around_zero(cells: Iterable[Mapping]) -> Scale | None:
    """Zero in the middle, and 1, 2 or 5 times a power of ten at both ends."""
    largest = max(map(abs, _values(cells)), default=None)
    if largest is None:
        return None
    power = 10.0 ** math.floor(math.log10(largest or 0.1))
    end = next(n * power for n in (1, 2, 5, 10) if n * power >= largest)
    return Scale(-end, end)


def _values(cells: Iterable[Mapping]) -> list[float]:
    values = (cell.get(end) for cell in cells for end in ENDS)
    return [float(value) for value in values if wording.is_number(value)]


def text(entry: Mapping) -> str:
    """A metric in a line: value and interval, or why there is no value.

    >>> text({"value": 0.8761, "low": 0.832, "high": 0.914})
    '0.876 [0.832, 0.914]'
    >>> text({"value": None, "reason": "no lesion in 8 images"})
    'nan (no lesion in 8 images)'
    """
    if not wording.is_number(entry.get("value")):
        return f"nan ({entry.get('reason', 'no reason')})"
    value, low, high = wording.interval(*map(entry.get, ENDS))
    return f"{value} [{low}, {high}]" if has_ends(entry) else f"{value} (no interval)"


def difference_text(entry: Mapping) -> str:
    """A paired difference in a line."""
    p_value = entry.get("p_value")
    p_text = "nan" if p_value is None else f"{p_value:.3g}"
    return (
        f"{entry['a']} minus {entry['b']}: {entry['metric']} {text(entry)}, "
        f"p {p_text} ({entry['method']})"
    )


def has_ends(entry: Mapping) -> bool:
    """Whether it has an interval."""
    return all(wording.is_number(entry.get(end)) for end in ("low", "high"))


def view(
    cell: Mapping, *, scale: Scale | None = None, is_signed: bool = False
) -> EntryView:
    """One cell as it is shown.

    Args:
      cell: `value`, `low`, `high` (numbers, None or nan), and maybe `reason`,
        `rejected`, `replicates` and intervals by the names of OTHER_INTERVALS.
      scale: of the bar; None: no bar.
      is_signed: it is a difference, whose sign is always written.
    """
    value = cell.get("value")
    has_value = wording.is_number(value)
    rejected, replicates = cell.get("rejected"), cell.get("replicates")
    counted = wording.number(rejected, missing="?")
    others = {
        _name_of(cell[key], name): cell[key]
        for key, name in OTHER_INTERVALS.items()
        if isinstance(cell.get(key), Mapping)
    }
    return EntryView(
        value=wording.interval(*map(cell.get, ENDS), is_signed=is_signed)[0],
        exact=repr(float(value)) if has_value else "",
        interval=_interval(cell, is_signed),
        others=tuple(f"{name} {_interval(o, is_signed)}" for name, o in others.items()),
        caveats=tuple(
            f"{name}: {text}"
            for name, other in others.items()
            for key in ("note", "reason")
            if (text := other.get(key)) and text != cell.get("reason")
        ),
        reason=str(cell.get("reason") or "")
        or ("" if has_value else "no value, and no reason was recorded"),
        rejected=f"{counted} of {wording.number(replicates)}"
        if wording.is_number(replicates)
        else "",
        num_rejected=int(rejected) if wording.is_number(rejected) else 0,
        bar=_bar(cell, scale),
    )


def _name_of(other: Mapping, name: str) -> str:
    """Of an interval: patients with several images have Obuchowski's."""
    return "Obuchowski" if "Obuchowski" in str(other.get("interval")) else name


def _interval(cell: Mapping, is_signed: bool) -> str:
    if not has_ends(cell):
        return wording.NOTHING
    middle = cell.get("value", cell["low"])  # DeLong's has no value of its own
    _, low, high = wording.interval(
        middle, cell["low"], cell["high"], is_signed=is_signed
    )
    return f"{low} to {high}"


def _bar(cell: Mapping, scale: Scale | None) -> Bar | None:
    if scale is None or not wording.is_number(cell.get("value")):
        return None
    keys = [key if wording.is_number(cell.get(key)) else "value" for key in ENDS]
    dot, left, right = (scale.at(cell[key]) for key in keys)
    return Bar(left, round(right - left, 2), dot)
