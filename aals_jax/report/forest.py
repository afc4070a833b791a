"""Subgroups: each group's value and interval beside the line of the whole set."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from aals_jax.report import entries, tables, wording

COUNTS = {  # field of a group: what is counted
    "n_images": "image",
    "n_patients": "patient",
    "n_positive": "positive",
    "n_lesions": "lesion",
}


@dataclasses.dataclass(frozen=True)
class Row:
    model: str
    slot: int
    counts: str  # where the models of a group were measured on different images
    entry: entries.EntryView
    whole: float | None  # the model's value on the whole set, in percent of the scale


@dataclasses.dataclass(frozen=True)
class Group:
    name: str
    counts: str
    rows: tuple[Row, ...]


@dataclasses.dataclass(frozen=True)
class Forest:
    """One metric in all groups of a column."""

    title: str
    name: str
    lower_is_better: bool
    scale: entries.Scale | None
    groups: tuple[Group, ...]


@dataclasses.dataclass(frozen=True)
class Column:
    title: str
    forests: tuple[Forest, ...]


@dataclasses.dataclass(frozen=True)
class _Cell:
    """One metric of one model in one group."""

    model: str
    column: str
    group: str
    metric: str
    counts: str
    record: Mapping


def columns(
    subgroups: Mapping[str, Sequence[Mapping]],
    *,
    metrics: Mapping[str, Mapping[str, Mapping]],
    slots: Mapping[str, int],
) -> list[Column]:
    """Columns, groups and models in the order given; metrics in that of TITLES.

    A metric has one scale in all columns, so that its forests can be compared.

    Args:
      subgroups: model -> its groups: `column`, `group`, the COUNTS, and `metrics`,
        name -> `{value, low, high, reason?}`.
      metrics: model -> name -> the same metric on the whole set: the line.
      slots: model -> its place in the palette.
    """
    cells = list(_cells(subgroups))
    scales, whole = {}, {}
    for name in dict.fromkeys(cell.metric for cell in cells):
        whole[name] = {model: metrics.get(model, {}).get(name, {}) for model in slots}
        alike = [cell.record for cell in cells if cell.metric == name]
        drawn = [whole[name][model] for model in subgroups]
        scales[name] = entries.scale_around([*alike, *drawn])
    return [
        Column(
            title=column.replace("_", " "),
            forests=tuple(
                _forest(
                    [c for c in cells if (c.column, c.metric) == (column, name)],
                    scale=scales[name],
                    whole=whole[name],
                    slots=slots,
                )
                for name in tables.in_order(
                    cell.metric for cell in cells if cell.column == column
                )
            ),
        )
        for column in dict.fromkeys(cell.column for cell in cells)
    ]


def _cells(subgroups: Mapping[str, Sequence[Mapping]]) -> Iterator[_Cell]:
    for model, groups in subgroups.items():
        for group in groups:
            counts = wording.SEPARATOR.join(
                wording.count(group[field], one)
                for field, one in COUNTS.items()
                if field in group
            )
            for metric, record in group["metrics"].items():
                yield _Cell(
                    model=model,
                    column=str(group["column"]),
                    group=str(group["group"]),
                    metric=metric,
                    counts=counts,
                    record=record,
                )


def _forest(
    cells: Sequence[_Cell],
    *,
    scale: entries.Scale | None,
    whole: Mapping[str, Mapping],
    slots: Mapping[str, int],
) -> Forest:
    name = cells[0].metric
    groups = []
    for group in dict.fromkeys(cell.group for cell in cells):
        members = [cell for cell in cells if cell.group == group]
        counts = {cell.counts for cell in members}
        common = members[0].counts if len(counts) == 1 else ""
        groups.append(
            Group(
                name=group,
                counts=common,
                rows=tuple(
                    Row(
                        model=cell.model,
                        slot=slots[cell.model],
                        counts="" if common else cell.counts,
                        entry=entries.view(cell.record, scale=scale),
                        whole=_place(whole[cell.model].get("value"), scale),
                    )
                    for cell in members
                ),
            )
        )
    return Forest(
        title=wording.title(name),
        name=name,
        lower_is_better=name in wording.LOWER_IS_BETTER,
        scale=scale,
        groups=tuple(groups),
    )


def _place(value: object, scale: entries.Scale | None) -> float | None:
    return scale.at(value) if scale and wording.is_number(value) else None
