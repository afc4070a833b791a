"""What the images of a registry are, counted: sizes, makers, duplicates, refusals."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data.cxr_registry.guard import problems
from data.cxr_registry.survey import duplicates, looks, table_survey
from data.cxr_registry.tables import records

_LISTED = 10_000  # near pairs in the file; all are counted
_FLAGS = {True: "yes", False: "no", None: "not_stated"}
_SIZES = 12  # commonest stored sizes that are listed


def pixels(
    registry: records.Registry,
    seen: Sequence[looks.Look | looks.Refused],
    *,
    split_of: Mapping[int, str],
    audit: problems.Audit,
    max_bad_share: float,
) -> dict[str, Any]:
    """All counts that need pixels; docs/audit.md describes the keys.

    Args:
        registry: its tables.
        seen: what `looks.look` gave of each study.
        split_of: row -> split; empty where patients are not known.
        audit: takes same pixels of two patients, and too many unusable images.
        max_bad_share: of images that a build lets pass into its quarantine.
    """
    read = [one for one in seen if isinstance(one, looks.Look)]
    refused = [one for one in seen if isinstance(one, looks.Refused)]
    burned_in = _burned_in(read)
    unusable = len(refused) + burned_in["yes"] * ("burned_in" not in audit.allow)
    if unusable > max_bad_share * len(seen):
        many = f"{unusable} of {len(seen)} images would go to a build's quarantine"
        text = f"{many}, more than max_bad_share={max_bad_share:g} lets pass; mend them"
        audit.report(registry.table, None, "quarantine", text)
    by_row = {one.row: one for one in read}

    def of(row: int, name: str) -> str:
        return getattr(by_row[row], name) if row in by_row else ""

    return {
        "readable": len(read),
        "unreadable": [{"row": one.row, "reason": one.reason} for one in refused],
        "burned_in": burned_in,
        "makers": table_survey.crossed(
            registry, lambda s: of(s.row, "maker") or "unknown"
        ),
        "views": table_survey.crossed(
            registry, lambda s: table_survey.view(s.view or of(s.row, "view"))
        ),
        "modalities": _counted(one.modality or "none" for one in read),
        "brightness_from": _counted(one.source for one in read),
        "stored_sizes": _sizes(read),
        "spacing_mm": table_survey.spread([x.spacing_mm for x in read if x.spacing_mm]),
        "box_sqrt_area_mm": {
            name: _millimetres(registry, name, by_row) for name in registry.findings
        },
        **_duplicates(registry, read, split_of, audit),
    }


def _burned_in(read: Sequence[looks.Look]) -> dict[str, Any]:
    """Images by what their header says of burned-in text."""
    return {
        "flagged_rows": [one.row for one in read if one.burned_in],
        **{
            name: sum(one.burned_in is flag for one in read)
            for flag, name in _FLAGS.items()
        },
    }


def _sizes(read: Sequence[looks.Look]) -> dict[str, int]:
    """`2544 x 3056` (columns x rows) -> images, the commonest ones and the rest."""
    shapes = collections.Counter(
        f"{columns} x {rows}" for rows, columns in (one.stored_shape for one in read)
    )
    listed = dict(shapes.most_common(_SIZES))
    rest = shapes.total() - sum(listed.values())
    return listed | ({table_survey.OTHER: rest} if rest else {})


def _millimetres(
    registry: records.Registry, finding: str, by_row: Mapping[int, looks.Look]
) -> dict[str, Any]:
    return table_survey.spread(
        [
            side * spacing
            for side, row, _ in table_survey.box_sizes(registry, finding)
            if row in by_row and (spacing := by_row[row].spacing_mm)
        ]
    )


def _duplicates(
    registry: records.Registry,
    read: Sequence[looks.Look],
    split_of: Mapping[int, str],
    audit: problems.Audit,
) -> dict[str, Any]:
    patient = {study.row: study.patient for study in registry.studies}

    def kind(rows: Sequence[int]) -> dict[str, bool | None]:
        splits = {split_of.get(row) for row in rows}
        return {
            "one_patient": len({patient[row] for row in rows}) == 1,
            "one_split": len(splits) == 1 if split_of else None,
        }

    same = [
        [read[index].row for index in group]
        for group in duplicates.groups([one.digest for one in read])
    ]
    for first, *others in same:
        for row in others:
            if patient[row] != patient[first]:
                text = f"same pixels as row {first}, another patient's; which is right?"
                audit.report(registry.table, row, "same_pixels", text)
    groups = [{"rows": rows, **kind(rows)} for rows in same]
    near = duplicates.near([one.hash for one in read])
    pairs = []
    for first, second, distance in near.pairs.tolist():
        if read[first].digest != read[second].digest:
            rows = [read[first].row, read[second].row]
            pairs.append({"rows": rows, "distance": distance, **kind(rows)})
    pairs.sort(key=lambda pair: (pair["distance"], pair["rows"]))
    return {
        "same_pixels": {
            "images": sum(len(rows) - 1 for rows in same),
            **_kinds(groups),
            "groups": groups,
        },
        "near_same": {
            "bits": duplicates.BITS,
            "within_bits": duplicates.NEAR,
            "complete": near.complete,
            **_kinds(pairs),
            "pairs": pairs[:_LISTED],
        },
    }


def _kinds(found: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {
        "found": len(found),
        "across_patients": sum(not one["one_patient"] for one in found),
        "across_splits": sum(one["one_split"] is False for one in found),
    }


def _counted(values: Any) -> dict[str, int]:
    return dict(sorted(collections.Counter(values).items()))


def chosen_rows(
    registry: records.Registry,
    seen: Sequence[looks.Look | looks.Refused],
    *,
    number: int,
    seed: int = 0,
) -> list[int]:
    """Rows of some readable images drawn at random, without those flagged."""
    fit = [x.row for x in seen if isinstance(x, looks.Look) and not x.burned_in]
    order = np.random.default_rng(seed).permutation(len(fit))
    return sorted(fit[index] for index in order[:number])
