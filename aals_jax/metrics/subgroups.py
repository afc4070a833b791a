"""The same metrics on parts of a set: by the columns of the truth, and by lesion size.

A difference between groups here is a question, not an answer: groups are small and
differ in more than their name. Read the intervals. A group with fewer patients of a
kind than `intervals.LEAST` has its counts and a reason, and no value to be read.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from aals_jax.metrics import definitions, froc, intervals, proportions
from aals_jax.metrics.definitions import Entry, entry, image_set
from aals_jax.metrics.draws import TruthDraws
from aals_jax.metrics.readings import Hit, Reading, Truth

NAMES = ("auroc", "froc_count")  # the metrics of each group
SIZES = ("small", "middle", "large")


def measure_groups(
    truth: Truth, reading: Reading, *, draws: TruthDraws, hit: Hit
) -> list[dict[str, Any]]:
    """A row for each value of each column, then for each third of lesion sizes.

    Args:
        truth, reading: of the whole set.
        draws: of its patients; a group's own patients are drawn with the same seed.
        hit: when a detection hits a lesion.
    """
    rows = []
    for column, value, members in _groups(truth):
        part = truth.select(members)
        part_reading = reading.select(truth, members, hit=hit)
        every = np.arange(len(part))
        drawn = definitions.draw_metrics(
            part, part_reading, draws=TruthDraws(part, draws.bootstrap), names=NAMES
        )
        entries = definitions.metric_entries(
            drawn, part, part_reading, seed=draws.bootstrap.seed, hit=hit
        )
        rows.append(
            {
                "column": column,
                "group": value,
                **image_set(part, every),
                "metrics": {
                    name: _unless_few(each, part, definitions.METRICS[name])
                    for name, each in entries.items()
                },
            }
        )
    return rows + _by_size(truth, reading, draws)


def _unless_few(found: Entry, part: Truth, metric: definitions.Metric) -> Entry:
    """An entry of a group, without its numbers where patients are few."""
    having = definitions.patients_having(part, metric.rows(part), metric.needs)
    few = intervals.too_few(**having)
    if found["value"] is None or not few:
        return found
    kept = ("definition", *image_set(part, np.arange(0)))
    return _without_numbers(few) | {name: found[name] for name in kept}


def _without_numbers(reason: str) -> Entry:
    ends = dict.fromkeys(("value", "low", "high"))
    return ends | {"interval": "none", "reason": reason}


def _groups(truth: Truth) -> Iterator[tuple[str, str, np.ndarray]]:
    """Columns with at least two values; an empty cell is the group `unknown`."""
    for column, values in truth.groups.items():
        names = sorted(set(values.tolist()))
        for name in names if len(names) > 1 else ():
            yield column, name or "unknown", np.flatnonzero(values == name)


def _by_size(truth: Truth, reading: Reading, draws: TruthDraws) -> list[dict[str, Any]]:
    """Sensitivity for the lesions of each third; false positives are those of all."""
    rows = truth.judged_rows
    lesions = [truth.lesions[i] for i in rows]
    filled = [boxes for boxes in lesions if len(boxes)]
    if not filled or any(np.shape(boxes)[-1] != 4 for boxes in filled):
        return []  # points have no size
    # rounded, so that x + width of decimal coordinates makes no sizes of its own
    size = _side(np.concatenate(filled))
    size = np.array([float(f"{side:.9g}") for side in size])
    edges = np.quantile(size, [1 / 3, 2 / 3])
    third = np.searchsorted(edges, size, side="right")
    if len(set(third.tolist())) < 2:
        return []  # lesions of one size make no groups
    masks = {
        name: third == number
        for number, name in enumerate(SIZES)
        if np.any(third == number)
    }
    entries = _scores_of(reading.count, masks, draws)
    sizes = []
    for name, mask in masks.items():
        scale, unit = truth.unit
        low, high = scale * size[mask].min(), scale * size[mask].max()
        sizes.append(
            {
                "column": "lesion size",
                "group": f"{name}, {_length(low)} to {_length(high)} {unit}",
                **image_set(truth, rows),
                "n_lesions": int(mask.sum()),
                "metrics": {"froc_count": entries[name]},
            }
        )
    return sizes


def _scores_of(
    data: froc.FrocData, masks: Mapping[str, np.ndarray], draws: TruthDraws
) -> dict[str, Entry]:
    """`froc_count` of some lesions each, on all judged images."""
    patient, image = draws.judged_images.patient, data.lesion_image
    having = {
        name: len(np.unique(patient[image[mask]])) for name, mask in masks.items()
    }
    few = {name: intervals.too_few(lesion=count) for name, count in having.items()}
    found = {name: _without_numbers(reason) for name, reason in few.items()}
    names = [name for name, reason in few.items() if not reason]
    if not names:
        return found

    def scores(weights: np.ndarray) -> np.ndarray:
        parts = [masks[name] for name in names]
        at = froc.sensitivity_of_parts(data, parts, froc.COUNT_LIMITS, weights=weights)
        return at.mean(axis=-1)

    (values,) = scores(np.ones((1, len(patient))))
    replicates = np.concatenate([scores(w) for w in draws.judged_images])
    for name, value, column in zip(names, values, replicates.T, strict=True):
        lesions = np.bincount(image[masks[name]], minlength=len(patient))
        found[name] = entry(
            intervals.share_interval(
                intervals.Drawn(float(value), column),
                seed=draws.bootstrap.seed,
                patients=having[name],
                trials=proportions.effective_number(lesions, patient),
            )
        )
    return found


def _length(side: float) -> str:
    """Whole units where they are many: 117, 23.5, 0.04."""
    return f"{side:.0f}" if side >= 100 else f"{side:.3g}"


def _side(boxes: np.ndarray) -> np.ndarray:
    """f64[k], the square root of each box's area."""
    boxes = np.reshape(boxes, (-1, 4))
    return np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
