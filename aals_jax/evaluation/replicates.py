"""What a run keeps so that others can be compared with it on the same test set.

Runs that test on the same images with the same bootstrap seed have the same draws, so
their replicates may be subtracted one by one, long after the maps are gone.
"""

import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aals_jax.metrics import definitions, intervals
from aals_jax.metrics.readings import Reading, Truth
from aals_jax.runtime import files


@dataclasses.dataclass(frozen=True)
class Replicates:
    """Of one model on one test set; no patient is in it."""

    values: Mapping[str, np.ndarray]  # metric -> f32[replicates]; nan: rejected
    scores: np.ndarray  # f32[n], of the images in the order of the set
    labels: np.ndarray  # i8[n]


def of(
    truth: Truth, reading: Reading, *, bootstrap: definitions.Bootstrap
) -> Replicates:
    """The values behind the intervals of `definitions.measure`."""
    values: dict[str, np.ndarray] = {}
    for is_image_level in (True, False):
        names = [
            name
            for name in definitions.available(reading)
            if definitions.METRICS[name].is_image_level == is_image_level
            and not definitions.METRICS[name].no_interval
        ]
        rows = definitions.judged(definitions.METRICS[names[0]], truth)
        values |= intervals.replicate_values(
            truth.patient[rows].tolist(),
            {name: definitions.statistic(name, truth, reading) for name in names},
            **dataclasses.asdict(bootstrap),
        )
    return Replicates(
        {name: drawn.astype(np.float32) for name, drawn in values.items()},
        reading.score.astype(np.float32),
        truth.label.astype(np.int8),
    )


def write(path: Path, kept: Replicates) -> None:
    """Writes a NumPy archive, whole or not at all."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {
        f"values/{name}": drawn for name, drawn in kept.values.items()
    }
    np.savez_compressed(buffer, scores=kept.scores, labels=kept.labels, **arrays)
    files.write_bytes(path, buffer.getvalue())


def read(path: Path) -> Replicates:
    """What `write` wrote."""
    with np.load(path) as archive:
        values = {
            name.removeprefix("values/"): archive[name]
            for name in archive.files
            if name.startswith("values/")
        }
        return Replicates(values, archive["scores"], archive["labels"])
