"""The same metrics on parts of a set: by the columns of the truth, and by lesion size.

A difference between groups here is a question, not an answer: groups are small and
differ in more than their name. Read the intervals.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from aals_jax.metrics import froc, intervals
from aals_jax.metrics.definitions import Bootstrap, entry, image_set, measure
from aals_jax.metrics.readings import Hit, Reading, Truth

METRICS = ("auroc", "froc_count")
SIZES = ("small", "middle", "large")


def measure_groups(
    truth: Truth, reading: Reading, *, bootstrap: Bootstrap, hit: Hit
) -> list[dict[str, Any]]:
    """A row for each value of each column, then for each third of lesion sizes."""
    options: Any = {"bootstrap": bootstrap, "hit": hit, "names": METRICS}
    made = []
    for column, value, rows in _groups(truth):
        part = truth.select(rows)
        measured = reading.select(truth, rows, hit=hit)
        made.append(
            {
                "column": column,
                "group": value,
                **image_set(part, np.arange(len(part))),
                "metrics": measure(part, measured, **options),
            }
        )
    return made + _by_size(truth, reading, bootstrap)


def _groups(truth: Truth) -> Iterator[tuple[str, str, np.ndarray]]:
    """Columns with at least two values; an empty cell is the group `unknown`."""
    for column, values in truth.groups.items():
        names = sorted(set(values.tolist()))
        for name in names if len(names) > 1 else ():
            yield column, name or "unknown", np.flatnonzero(values == name)


def _by_size(
    truth: Truth, reading: Reading, bootstrap: Bootstrap
) -> list[dict[str, Any]]:
    """Sensitivity for the lesions of each third; false positives are those of all."""
    rows = truth.judged_rows
    boxes = [truth.lesions[i] for i in rows]
    if not any(len(each) for each in boxes) or any(
        np.shape(each)[-1] != 4 for each in boxes if len(each)
    ):
        return []
    size = np.concatenate([_side(each) for each in boxes])
    edges = np.quantile(size, [1 / 3, 2 / 3])
    third = np.searchsorted(edges, size, side="right")
    made = []
    for number, name in enumerate(SIZES):
        mask = third == number
        if not mask.any():
            continue
        data = froc.select_lesions(reading.count, mask)
        interval = intervals.patient_bootstrap(
            truth.patient[rows].tolist(),
            partial(_score, data),
            replicates=bootstrap.replicates,
            seed=bootstrap.seed,
            reason=froc.undefined_reason(data),
        )
        scale, unit = truth.unit
        low, high = scale * size[mask].min(), scale * size[mask].max()
        made.append(
            {
                "column": "lesion size",
                "group": f"{name}, {low:.0f} to {high:.0f} {unit}",
                **image_set(truth, rows),
                "n_lesions": int(mask.sum()),
                "metrics": {"froc_count": entry(interval)},
            }
        )
    return made


def _score(data: froc.FrocData, weights: np.ndarray) -> np.ndarray:
    return froc.froc_score(data, froc.COUNT_LIMITS, weights=weights)


def _side(boxes: np.ndarray) -> np.ndarray:
    """f64[k], the square root of each box's area."""
    boxes = np.reshape(boxes, (-1, 4))
    return np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
