"""What a run keeps so that others can be compared with it on the same test set.

Runs that test on the same images with the same bootstrap seed have the same draws, so
their replicates may be subtracted one by one, long after the maps are gone.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from aals_jax.metrics import definitions
from aals_jax.metrics.measurement import Measurement
from aals_jax.runtime import files


@dataclasses.dataclass(frozen=True)
class Replicates:
    """Replicates of one model on one test set; no patient is in it."""

    values: Mapping[str, np.ndarray]  # metric -> f32[replicates]; nan: rejected
    scores: np.ndarray  # f32[n], of the images in the order of the set
    labels: np.ndarray  # i8[n]


def replicates_of(measurement: Measurement) -> Replicates:
    """The values behind the intervals; a metric without an interval has none."""
    return Replicates(
        {
            name: drawn.replicates.astype(np.float32)
            for name, drawn in measurement.drawn.items()
            if not definitions.METRICS[name].no_interval
        },
        measurement.reading.score.astype(np.float32),
        measurement.truth.label.astype(np.int8),
    )


def write(path: Path, replicates: Replicates) -> None:
    """Writes a NumPy archive, whole or not at all."""
    values = {f"values/{name}": drawn for name, drawn in replicates.values.items()}
    named = {"scores": replicates.scores, "labels": replicates.labels}
    files.write_npz(path, named | values)


def read(path: Path) -> Replicates:
    """What `write` wrote."""
    with np.load(path) as archive:
        values = {
            name.removeprefix("values/"): archive[name]
            for name in archive.files
            if name.startswith("values/")
        }
        return Replicates(values, archive["scores"], archive["labels"])
