"""Resampled patients: how often each image counts in each replicate of a bootstrap.

Images of one patient are alike, so patients are drawn, not images. The patients of a
set are drawn once and serve every statistic of that set: see `Draws`.
"""

import dataclasses
from collections.abc import Hashable, Iterator, Sequence

import numpy as np

from aals_jax.metrics.readings import Truth
from aals_jax.metrics.roc import DrawnWeights

_CHUNK = 1 << 22  # f64 weights yielded at a time, 32 MiB
_KEPT = 1 << 25  # bytes of counts that are kept between passes, 32 MiB
_BLOCK = 1 << 15  # patients drawn at a time, 256 KiB: more would leave the cache


@dataclasses.dataclass(frozen=True)
class Bootstrap:
    """How many replicates are drawn, and from which seed."""

    replicates: int = 2000
    seed: int = 0


class Draws:
    """The weights of all replicates of one set of images; iterate to get them.

    Each pass yields the same blocks f64[r, n] of whole numbers: row k says how often
    the patient of each of the n images was drawn in replicate k. What is kept between
    passes is one byte per patient and replicate, at most 32 MiB; a larger set is drawn
    again in each pass, to the same numbers.
    """

    def __init__(
        self,
        patients: Sequence[Hashable] | np.ndarray,
        *,
        replicates: int = 2000,
        seed: int,
        chunk: int | None = None,
    ):
        """Draws nothing yet.

        Args:
            patients: n ids, one per image. Only which images share a patient matters.
            replicates: number of replicates, >= 1.
            seed: the same seed and patients give the same replicates.
            chunk: replicates in a block; bounds memory, changes nothing. None: at most
                256, and no more than 32 MiB of weights.
        """
        if chunk is None:
            chunk = max(1, min(256, _CHUNK // max(1, len(patients))))
        if replicates < 1 or chunk < 1:
            raise ValueError(f"replicates={replicates} and chunk={chunk} must be >= 1")
        self.replicates, self.seed, self.num_images = replicates, seed, len(patients)
        self._chunk = chunk
        self.patient = numbered(patients)  # renamed patients give the same draws
        self.num_patients = int(self.patient.max(initial=-1)) + 1
        self._kept: list[np.ndarray] | None = None  # u8[r, patients], block by block

    def __iter__(self) -> Iterator[np.ndarray]:
        if self._kept is not None:
            yield from map(self._weights, self._kept)
            return
        kept: list[np.ndarray] | None = []
        if self.replicates * self.num_patients > _KEPT:
            kept = None
        rng = np.random.default_rng(self.seed)
        for start in range(0, self.replicates, self._chunk):
            times = self._times(rng, min(self._chunk, self.replicates - start))
            if kept is not None:
                kept = [*kept, times] if times.dtype == np.uint8 else None
            yield self._weights(times)
        self._kept = kept

    def _times(self, rng: np.random.Generator, rows: int) -> np.ndarray:
        """[rows, patients], how often each patient is drawn; u8 where that suffices."""
        count = self.num_patients
        times = np.empty((rows, count), np.uint8)
        few = max(1, _BLOCK // max(1, count))
        for start in range(0, rows, few):
            drawn = rng.integers(count, size=(min(few, rows - start), count))
            for row, numbers in enumerate(drawn, start=start):
                found = np.bincount(numbers, minlength=count)
                if count and found.max() > np.iinfo(times.dtype).max:
                    times = times.astype(found.dtype)
                times[row] = found
        return times

    def _weights(self, times: np.ndarray) -> np.ndarray:
        """Counts of patients -> f64[r, n], counts of images."""
        weights = np.empty((len(times), self.num_images))
        weights[:] = np.take(times, self.patient, axis=1)
        return weights.view(DrawnWeights)


class TruthDraws:
    """The draws for the two sets of images that metrics are about."""

    def __init__(self, truth: Truth, bootstrap: Bootstrap):
        self.bootstrap = bootstrap
        settings = dataclasses.asdict(bootstrap)
        self.all_images = Draws(truth.patient, **settings)
        self.judged_images = self.all_images
        if not truth.judged.all():
            self.judged_images = Draws(truth.patient[truth.judged], **settings)


def numbered(patients: Sequence[Hashable] | np.ndarray) -> np.ndarray:
    """i64[n], the number of each image's patient, by first appearance."""
    numbers: dict[Hashable, int] = {}
    ids = patients.tolist() if isinstance(patients, np.ndarray) else patients
    return np.array([numbers.setdefault(i, len(numbers)) for i in ids], int)
