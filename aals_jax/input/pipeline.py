"""From the prepared dataset to batches, each a function of (seed, step).

Three streams (R, P, N) are drawn in fixed counts a batch, so the mix depends neither on
prevalence nor on the number of devices. The global order is fixed first and split over
hosts after, so it doesn't depend on them either.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import cv2
import grain
import numpy as np

from aals_jax.input import augment, views
from aals_jax.input.dataset import Dataset, ImageTable
from aals_jax.input.views import Radiograph
from aals_jax.types import Batch
from data.cxr_registry.guard import pool

# Grain zips only streams of one length, which must fit 63 bits
EPOCHS, ENDLESS = 2**40, 2**30  # of a stream; batches of each


class _Rows:
    """A stream as a random-access source for Grain."""

    def __init__(self, dataset: Dataset, table: ImageTable):
        self._dataset, self._table = dataset, table

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: int) -> Radiograph:
        table = self._table
        radiograph = self._dataset.read(table.split[index], table.position[index])
        lesions = int(table.count[index])
        if lesions < 1:  # of boxes that P withholds the number alone is known
            lesions = len(table.boxes[index]) or -1
        return dataclasses.replace(radiograph, row=index, lesions=lesions)


def _stack(examples: Sequence[Any]) -> Any:
    first = examples[0]
    columns = {
        f.name: np.stack([getattr(e, f.name) for e in examples])
        for f in dataclasses.fields(first)
    }
    return type(first)(**columns)


def batches(
    dataset: Dataset,
    streams: Mapping[str, ImageTable],
    counts: Mapping[str, int],
    *,
    seed: Sequence[int],
    ranges: augment.Ranges,
    makers: Mapping[str, Callable[..., Any]],
    start_step: int = 0,
    host: int = 0,
    hosts: int = 1,
    num_threads: int = 2,
) -> Iterator[Batch]:
    """Endless batches from `start_step` on; this host's share of each.

    Element i of a stream is a function of (seed, stream, i): its epoch's shuffle, its
    augmentation. Batch s holds elements [s n, (s + 1) n), of which host h has its own
    contiguous share. Whatever is resumed, threaded or split is therefore the same.

    Args:
      dataset: where rows are read.
      streams: table of "region", "negative" and, for stage 2, "image_level".
      counts: global images a batch, for the same names.
        seed: the run's seed and the number of the stage.
      ranges: of the augmentation.
      makers: of the examples of each stream, `views.makers`.
    """
    cv2.setNumThreads(1)  # the threads are Grain's
    pool.keep_memory()  # batches are of one size: a third less CPU time
    datasets = []
    for number, name in enumerate(("region", "negative", "image_level")):
        if name not in streams:
            continue
        if counts[name] % hosts:
            raise ValueError(
                f"batch.{name}={counts[name]} is not a multiple of the {hosts} hosts"
            )
        make = makers[name]
        stream_seed = int(np.random.SeedSequence([*seed, number]).generate_state(1)[0])
        stream = (
            grain.MapDataset.source(_Rows(dataset, streams[name]))
            .seed(stream_seed)
            .shuffle()
            .repeat(EPOCHS)
            .random_map(lambda x, rng, make=make: make(x, rng, ranges))
            .batch(counts[name] // hosts, batch_fn=list)
        )
        datasets.append(stream[host : hosts * ENDLESS : hosts])
    joined = grain.experimental.ZipMapDataset(datasets)

    def to_batch(parts: Sequence[Any]) -> Batch:
        weak = _stack(parts[2]) if len(parts) == 3 else None
        return Batch(labelled=_stack([*parts[0], *parts[1]]), weak=weak)

    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=4)
    return iter(joined.map(to_batch)[start_step:].to_iter_dataset(options))


def evaluation_batches(
    dataset: Dataset, table: ImageTable, *, batch_size: int
) -> Iterator[np.ndarray]:
    """Every image once, unaugmented: f32[batch_size, side, side, 1]; the last batch is
    filled with air, the caller cuts it off."""
    side = dataset.side
    for start in range(0, len(table), batch_size):
        images = np.zeros((batch_size, side, side, 1), np.float32)
        stop = min(start + batch_size, len(table))
        for i in range(start, stop):
            record = dataset.read(table.split[i], table.position[i])
            images[i - start, ..., 0] = views.to_float(record.image)
        yield images
