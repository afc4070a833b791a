"""Numbers as a person reads them: metric blocks, splits, facts, config."""

import dataclasses
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

TITLES = {
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "froc_area": "FROC score, area rule",
    "froc_count": "FROC score, count rule",
}
_KNOWN = frozenset(("value", "low", "high", "definition", "reason", "n_images"))
_KNOWN |= {"n_lesions", "prevalence", "rejected", "replicates"}
NOTHING = "—"
UNRECORDED = "not recorded"


@dataclasses.dataclass(frozen=True)
class Bar:
    """An interval on the scale of its block, all in percent of the width."""

    left: float
    width: float
    dot: float


@dataclasses.dataclass(frozen=True)
class Row:
    model: str
    slot: int
    value: str
    exact: str
    interval: str
    reason: str
    bar: Bar | None
    facts: str
    rejected: str


@dataclasses.dataclass(frozen=True)
class Block:
    """One metric, all models."""

    name: str
    title: str
    definitions: tuple[tuple[str, str], ...]  # (models or "", definition)
    facts: str  # image set, where it is the same for all rows; else ""
    scale: tuple[str, str] | None  # both ends of the bars
    rows: tuple[Row, ...]


def is_number(value: Any) -> TypeGuard[float]:
    """A finite real number, of Python or NumPy."""
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def number(value: object, *, missing: str = NOTHING) -> str:
    """Three decimals, fewer for large numbers, three digits for very small ones."""
    if not is_number(value):
        return missing
    if isinstance(value, numbers.Integral) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if value and abs(value) < 0.0005:
        return f"{value:.3g}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def percent(value: object) -> str:
    return f"{100 * value:.1f} %" if is_number(value) else UNRECORDED


def seconds(value: object) -> str:
    """`75` -> `1 min 15 s`."""
    if not is_number(value):
        return UNRECORDED
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def flatten(tree: object, prefix: str = "") -> list[tuple[str, str]]:
    """Leaves of nested mappings as (dotted name, text), in the order given."""
    if isinstance(tree, Mapping):
        rows = []
        for key, value in tree.items():
            rows += flatten(value, f"{prefix}.{key}" if prefix else str(key))
        return rows
    if isinstance(tree, (list, tuple)):
        return [(prefix, ", ".join(str(item) for item in tree) or NOTHING)]
    return [(prefix, NOTHING if tree is None else str(tree))]


def splits_table(splits: Mapping[str, Mapping]) -> tuple[list[str], list[list[str]]]:
    """(columns, rows): one row a split, one column a kind of label, and the sum."""
    kinds = list(dict.fromkeys(kind for split in splits.values() for kind in split))
    rows = []
    for name, split in splits.items():
        counts = [split.get(kind) for kind in kinds]
        total = sum(count for count in counts if is_number(count))
        rows.append([name, *(number(count) for count in counts), number(total)])
    return ["split", *(kind.replace("_", "-") for kind in kinds), "all"], rows


def blocks(
    metrics: Mapping[str, Mapping[str, Mapping]], *, slots: Mapping[str, int]
) -> list[Block]:
    """The metrics in the order of TITLES, then as they come."""
    names = dict.fromkeys(name for model in metrics.values() for name in model)
    known = [name for name in TITLES if name in names]
    return [
        _block(
            name,
            {model: by[name] for model, by in metrics.items() if name in by},
            slots=slots,
        )
        for name in [*known, *(name for name in names if name not in TITLES)]
    ]


def _block(name: str, cells: Mapping[str, Mapping], *, slots: Mapping[str, int]):
    facts = {model: _facts(cell) for model, cell in cells.items()}
    common = len(set(facts.values())) == 1
    ends = _scale(list(cells.values()))
    rows = [
        Row(
            model=model,
            slot=slots[model],
            value=number(cell.get("value")),
            exact=repr(float(cell["value"])) if is_number(cell.get("value")) else "",
            interval=_interval(cell),
            reason=_reason(cell),
            bar=_bar(cell, ends),
            facts="" if common else facts[model],
            rejected=_rejected(cell),
        )
        for model, cell in cells.items()
    ]
    return Block(
        name=name,
        title=TITLES.get(name, name.replace("_", " ").capitalize()),
        definitions=_definitions(cells),
        facts=next(iter(facts.values())) if common else "",
        scale=None if ends is None else (f"{ends[0]:g}", f"{ends[1]:g}"),
        rows=tuple(rows),
    )


def _definitions(cells: Mapping[str, Mapping]) -> tuple[tuple[str, str], ...]:
    models: dict[str, list[str]] = {}
    for model, cell in cells.items():
        models.setdefault(str(cell.get("definition") or UNRECORDED), []).append(model)
    if len(models) == 1:
        return (("", next(iter(models))),)
    return tuple((", ".join(who), text) for text, who in models.items())


def _facts(cell: Mapping) -> str:
    parts = [
        f"{number(cell.get('n_images'), missing='?')} images",
        f"{number(cell.get('n_lesions'), missing='?')} lesions",
        f"prevalence {percent(cell.get('prevalence'))}",
    ]
    extra = ((key, value) for key, value in cell.items() if key not in _KNOWN)
    parts += [f"{key.replace('_', ' ')} {_text(value)}" for key, value in extra]
    return " · ".join(parts)


def _text(value: object) -> str:
    return number(value) if is_number(value) else str(value)


def _interval(cell: Mapping) -> str:
    if not is_number(cell.get("low")) or not is_number(cell.get("high")):
        return NOTHING
    return f"{number(cell['low'])} to {number(cell['high'])}"


def _reason(cell: Mapping) -> str:
    reason = str(cell.get("reason") or "")
    if is_number(cell.get("value")):
        return reason
    return reason or "no value, and no reason was recorded"


def _rejected(cell: Mapping) -> str:
    replicates = cell.get("replicates")
    if not is_number(replicates):
        return NOTHING
    return f"{number(cell.get('rejected'), missing='?')} of {number(replicates)}"


def _scale(cells: Sequence[Mapping]) -> tuple[float, float] | None:
    """Both ends of the bars: tenths around everything shown."""
    keys = ("value", "low", "high")
    shown = [cell[key] for cell in cells for key in keys if is_number(cell.get(key))]
    if not shown:
        return None
    low = math.floor(10 * min(shown)) / 10
    high = math.ceil(10 * max(shown)) / 10
    return (low, high) if high > low else (low, low + 0.1)


def _bar(cell: Mapping, ends: tuple[float, float] | None) -> Bar | None:
    if ends is None or not is_number(cell.get("value")):
        return None
    start, span = ends[0], ends[1] - ends[0]
    known = [key if is_number(cell.get(key)) else "value" for key in ("low", "high")]
    left, right, dot = (
        round(100 * (float(cell[key]) - start) / span, 2) for key in (*known, "value")
    )
    return Bar(left, round(right - left, 2), dot)
