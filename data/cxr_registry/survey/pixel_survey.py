"""Counts of a registry's images: sizes, makers, duplicates, refusals."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data.cxr_registry.dicom import grayscale
from data.cxr_registry.guard import checks
from data.cxr_registry.survey import duplicates, looks, table_survey
from data.cxr_registry.tables import records

_LISTED = 10_000  # near pairs that audit.json lists; all are counted
_FLAGS = {True: "yes", False: "no", None: "not_stated"}
_NEGATIVE = (
    "looks like a negative (air bright, bone dark), or is no upright chest; look at "
    "it, and mend the polarity in its header"
)
_SIZES = 12  # stored sizes that are listed, the commonest ones


def pixels(
    registry: records.Registry,
    results: Sequence[looks.Look | looks.Refused],
    *,
    split_of: Mapping[int, str],
    problems: checks.Problems,
    max_bad_share: float,
) -> dict[str, Any]:
    """All counts that need pixels; docs/audit.md describes the keys.

    Args:
        registry: its tables.
        results: of `looks.look`, for each study.
        split_of: row -> split; empty where patients are not known.
        problems: takes same pixels of two patients, negatives, and too many unusable
            images.
        max_bad_share: of the images, unusable ones that a build leaves out.
    """
    images = [result for result in results if isinstance(result, looks.Look)]
    refused = [result for result in results if isinstance(result, looks.Refused)]
    burned_in = _burned_in(images)
    unusable = len(refused) + burned_in["yes"] * ("burned_in" not in problems.allow)
    if unusable > max_bad_share * len(results):
        many = f"{unusable} of {len(results)} images would go to a build's quarantine"
        text = f"{many}, more than max_bad_share={max_bad_share:g} lets pass; mend them"
        problems.add(registry.table, None, text, check="quarantine")
    by_row = {image.row: image for image in images}
    negatives = [image.row for image in images if image.is_negative]
    for row in negatives:
        problems.add(registry.table, row, _NEGATIVE, check="negative")

    portable = {image.row for image in images if image.is_portable}

    def of(row: int, name: str) -> str:
        return getattr(by_row[row], name) if row in by_row else ""

    return {
        "readable": len(images),
        "unreadable": [{"row": file.row, "reason": file.reason} for file in refused],
        "burned_in": burned_in,
        "makers": table_survey.crossed(
            registry, lambda s: of(s.row, "maker") or "unknown"
        ),
        "views": table_survey.crossed(
            registry, lambda s: table_survey.view(s.view or of(s.row, "view"))
        ),
        "modalities": _counted(image.modality or "none" for image in images),
        "portable": table_survey.crossed(
            registry,
            lambda s: "named" if s.row in portable else "not named",
        ),
        "lateral_rows": [image.row for image in images if image.is_lateral],
        "view_conflict_rows": [image.row for image in images if image.views_differ],
        "negative_rows": negatives,
        "brightness_from": _counted(image.source for image in images),
        "brightness_corrected_rows": [
            image.row for image in images if grayscale.is_corrected(image.source)
        ],
        "stored_sizes": _sizes(images),
        "spacing_mm": table_survey.spread(
            [x.spacing_mm for x in images if x.spacing_mm]
        ),
        "box_sqrt_area_mm": {
            name: _millimetres(registry, name, by_row) for name in registry.findings
        },
        **_duplicates(registry, images, split_of, problems),
    }


def _burned_in(images: Sequence[looks.Look]) -> dict[str, Any]:
    """Images by what their header says of burned-in text."""
    return {
        "flagged_rows": [image.row for image in images if image.burned_in],
        **{
            name: sum(image.burned_in is flag for image in images)
            for flag, name in _FLAGS.items()
        },
    }


def _sizes(images: Sequence[looks.Look]) -> dict[str, int]:
    """`2544 x 3056` (columns x rows) -> images; rarer sizes are counted as other."""
    shapes = collections.Counter(
        f"{columns} x {rows}"
        for rows, columns in (image.stored_shape for image in images)
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
    images: Sequence[looks.Look],
    split_of: Mapping[int, str],
    problems: checks.Problems,
) -> dict[str, Any]:
    patient_of = {study.row: study.patient for study in registry.studies}

    def kind(rows: Sequence[int]) -> dict[str, bool | None]:
        splits = {split_of.get(row) for row in rows}
        return {
            "one_patient": len({patient_of[row] for row in rows}) == 1,
            "one_split": len(splits) == 1 if split_of else None,
        }

    same = [
        [images[index].row for index in group]
        for group in duplicates.groups([image.digest for image in images])
    ]
    for first, *others in same:
        for row in others:
            if patient_of[row] != patient_of[first]:
                text = f"same pixels as row {first}, another patient's; which is right?"
                problems.add(registry.table, row, text, check="same_pixels")
    groups = [{"rows": rows, **kind(rows)} for rows in same]
    near = duplicates.near([image.hash for image in images])
    pairs = []
    for first, second, distance in near.pairs.tolist():
        if images[first].digest != images[second].digest:
            rows = [images[first].row, images[second].row]
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


def _kinds(groups: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {
        "found": len(groups),
        "across_patients": sum(not group["one_patient"] for group in groups),
        "across_splits": sum(group["one_split"] is False for group in groups),
    }


def _counted(values: Any) -> dict[str, int]:
    return dict(sorted(collections.Counter(values).items()))


def chosen_rows(
    results: Sequence[looks.Look | looks.Refused], *, number: int, seed: int = 0
) -> list[int]:
    """Rows of readable images drawn at random; images with burned-in text are left out.

    Args:
        results: of `looks.look`, for each study.
        number: rows that are drawn at most.
        seed: another seed draws others.
    """
    fit = [x.row for x in results if isinstance(x, looks.Look) and not x.burned_in]
    order = np.random.default_rng(seed).permutation(len(fit))
    return sorted(fit[index] for index in order[:number])
