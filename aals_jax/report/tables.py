"""The metric blocks and the table of the splits."""

import dataclasses
from collections.abc import Iterable, Mapping

from aals_jax.report import entries, wording

_PLACED = entries.KEYS | {"definition", "n_images", "n_patients", "n_lesions"}
_PLACED |= {"prevalence"}


@dataclasses.dataclass(frozen=True)
class Row:
    model: str
    slot: int
    entry: entries.EntryView
    facts: str  # image set, where the rows of a block differ; else ""


@dataclasses.dataclass(frozen=True)
class Block:
    """One metric, all models."""

    name: str
    title: str
    lower_is_better: bool
    definitions: tuple[tuple[str, str], ...]  # (models or "", definition)
    facts: str  # image set, where it is the same for all rows; else ""
    scale: entries.Scale | None
    rows: tuple[Row, ...]


def in_order(names: Iterable[str]) -> list[str]:
    """Names of metrics in the order of wording.TITLES, then as they come."""
    names = dict.fromkeys(names)
    titled = [name for name in wording.TITLES if name in names]
    return [*titled, *(name for name in names if name not in wording.TITLES)]


def blocks(
    metrics: Mapping[str, Mapping[str, Mapping]], *, slots: Mapping[str, int]
) -> list[Block]:
    return [
        _block(
            name,
            {model: by[name] for model, by in metrics.items() if name in by},
            slots=slots,
        )
        for name in in_order(name for model in metrics.values() for name in model)
    ]


def _block(
    name: str, cells: Mapping[str, Mapping], *, slots: Mapping[str, int]
) -> Block:
    facts = {model: image_set(cell) for model, cell in cells.items()}
    common = len(set(facts.values())) == 1
    scale = entries.scale_around(cells.values())
    return Block(
        name=name,
        title=wording.title(name),
        lower_is_better=name in wording.LOWER_IS_BETTER,
        definitions=wording.by_models(
            {
                model: str(cell.get("definition") or wording.UNRECORDED)
                for model, cell in cells.items()
            }
        ),
        facts=next(iter(facts.values())) if common else "",
        scale=scale,
        rows=tuple(
            Row(
                model=model,
                slot=slots[model],
                entry=entries.view(cell, scale=scale),
                facts="" if common else facts[model],
            )
            for model, cell in cells.items()
        ),
    )


def image_set(cell: Mapping) -> str:
    """`412 images · 58 lesions · prevalence 10.2 %`, and what else the cell says."""
    parts = [wording.count(cell.get("n_images"), "image")]
    if "n_patients" in cell:
        parts.append(wording.count(cell["n_patients"], "patient"))
    if "n_lesions" in cell:
        parts.append(wording.count(cell["n_lesions"], "lesion"))
    parts.append(f"prevalence {wording.percent(cell.get('prevalence'))}")
    return wording.SEPARATOR.join(parts + wording.extras(cell, placed=_PLACED))


def splits_table(splits: Mapping[str, Mapping]) -> tuple[list[str], list[list[str]]]:
    """(columns, rows): one row per split, one column per kind of label, and the sum."""
    kinds = list(dict.fromkeys(kind for split in splits.values() for kind in split))
    rows = []
    for name, split in splits.items():
        counts = [split.get(kind) for kind in kinds]
        total = sum(number for number in counts if wording.is_number(number))
        rows.append([name, *map(wording.number, counts), wording.number(total)])
    return ["split", *(kind.replace("_", "-") for kind in kinds), "all"], rows
