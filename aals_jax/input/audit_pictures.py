"""Which images the page of an audit shows, and their pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aals_jax import report
from data.cxr_registry.survey import counts, looks
from data.cxr_registry.survey import pixels as pixel_survey
from data.cxr_registry.tables import registry as records

RANDOM, EXTREMES, PAIRS = 12, 6, 6  # images, boxes at each end, pairs of a kind
_SIDE = 448  # pixels of a picture


def galleries(
    registry: records.Registry,
    seen: Sequence[looks.Look | looks.Refused],
    pixels: Mapping[str, Any],
) -> list[report.Gallery]:
    """A contact sheet, repeated images side by side, the smallest and largest boxes.

    Args:
        registry: of the audit.
        seen: a look at each image.
        pixels: what `pixel_survey.pixels` counted.
    """
    random = pixel_survey.chosen_rows(registry, seen, number=RANDOM)
    pairs = _pairs(pixels)
    sizes = sorted(
        (side, row, place, name)
        for name in registry.findings
        for side, row, place in counts.box_sizes(registry, name)
    )
    ends = [*sizes[:EXTREMES], *sizes[EXTREMES:][-EXTREMES:]]
    wanted = {*random, *(row for rows, _ in pairs for row in rows)}
    wanted |= {row for _, row, *_ in ends}
    # in this process: each was read a moment ago, within the time limit
    pictures = (
        looks.picture(study, side=_SIDE)
        for study in registry.studies
        if study.row in wanted
    )
    shown = {picture.row: picture for picture in pictures if picture}
    return [
        report.Gallery(
            "At random",
            "Is it bone bright and air dark, head up, the patient's left on the right?",
            _figures([((row,), _labels(registry, row)) for row in random], shown),
        ),
        report.Gallery(
            "Repeated",
            "Same pixels of two patients first, then the nearest by perceptual hash.",
            _figures(pairs, shown),
        ),
        report.Gallery(
            "Smallest and largest boxes",
            "A box off its lesion, or of another image's size, shows here first.",
            tuple(
                report.AuditFigure((_panel(shown[row], place),), _size(side, row, name))
                for side, row, place, name in ends
                if row in shown
            ),
        ),
    ]


def _pairs(pixels: Mapping[str, Any]) -> list[tuple[tuple[int, ...], str]]:
    """(rows, caption) of pairs to show."""
    same = [
        (tuple(group["rows"][:2]), "same pixels, two patients")
        for group in pixels["same_pixels"]["groups"]
        if not group["one_patient"]
    ]
    near = [
        (
            tuple(pair["rows"]),
            f"{pair['distance']} of {pixels['near_same']['bits']} bits differ, "
            + ("one patient" if pair["one_patient"] else "two patients"),
        )
        for pair in pixels["near_same"]["pairs"]
    ]
    return same[:PAIRS] + near[:PAIRS]


def _figures(
    chosen: Sequence[tuple[tuple[int, ...], str]], shown: Mapping[int, looks.Picture]
) -> tuple[report.AuditFigure, ...]:
    """Rows without a picture are left out: unreadable, or flagged."""
    return tuple(
        report.AuditFigure(
            tuple(_panel(shown[row]) for row in rows),
            f"{'row' if len(rows) == 1 else 'rows'} {' and '.join(map(str, rows))}: "
            f"{says}",
        )
        for rows, says in chosen
        if all(row in shown for row in rows)
    )


def _panel(picture: looks.Picture, place: int | None = None) -> report.AuditPanel:
    """The picture with all of its boxes, or with one."""
    boxes = picture.boxes if place is None else picture.boxes[place : place + 1]
    return report.AuditPanel(picture.pixels, np.asarray(boxes))


def _labels(registry: records.Registry, row: int) -> str:
    study = next(study for study in registry.studies if study.row == row)
    words = {1: "positive", -1: "unknown"}
    said = [f"{name} {words[label]}" for name, label in study.labels.items() if label]
    return ", ".join(said) or "negative"


def _size(side: float, row: int, finding: str) -> str:
    return f"row {row}: {finding}, {side:.0f} px a side"
