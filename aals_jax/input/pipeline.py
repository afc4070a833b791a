"""From the prepared dataset to batches, each a function of (seed, step).

Each batch holds fixed numbers of images of the three streams (R, P, N), so the mix
depends neither on prevalence nor on the number of devices. The global order is fixed
first and shared out to hosts afterwards, so it doesn't depend on them either.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import cv2
import grain
import jax
import numpy as np

from aals_jax.input import augment, views
from aals_jax.input.dataset import Dataset, ImageTable
from aals_jax.input.views import Radiograph
from aals_jax.types import Batch
from data.cxr_registry.guard import memory

# Grain zips streams of one length only, which must fit 63 bits: each stream is repeated
# for EPOCHS, then cut to ENDLESS batches.
EPOCHS, ENDLESS = 2**40, 2**30
STREAMS = ("region", "negative", "image_level")  # R, N, P: their order in a batch


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
    """Endless batches from `start_step` on; of each, this host's share.

    Element i of a stream, with its place in the shuffle and its augmentation, is a
    function of (seed, stream, i). Batch s holds the elements [s n, (s + 1) n) of each
    stream, n its count, and each host takes a contiguous share of them. So batches are
    the same after a restart, with any number of threads, and over any number of hosts.

    Args:
      dataset: where images are read.
      streams: the tables of "region", "negative" and, where P is used, "image_level".
      counts: images of each stream in a batch, over all hosts.
      seed: the run's seed and the number of the stage.
      ranges: of the augmentation.
      makers: what makes the examples of each stream, of `views.makers`.
      start_step: number of the first batch.
      host: number of this host, from 0.
      hosts: how many there are.
      num_threads: that read and augment.

    Raises:
      ValueError: a count is not a multiple of the hosts.
    """
    check_shares({name: counts[name] for name in streams}, hosts)
    cv2.setNumThreads(1)  # the threads are Grain's
    memory.keep()  # batches are of one size: a third less CPU time
    shares = []
    for number, name in enumerate(STREAMS):
        if name not in streams:
            continue
        make = makers[name]
        stream_seed = int(np.random.SeedSequence([*seed, number]).generate_state(1)[0])
        stream = (
            grain.MapDataset.source(_Radiographs(dataset, streams[name]))
            .seed(stream_seed)
            .shuffle()
            .repeat(EPOCHS)
            .random_map(lambda x, rng, make=make: make(x, rng, ranges))
            .batch(counts[name] // hosts, batch_fn=list)
        )
        shares.append(stream[host : hosts * ENDLESS : hosts])
    joined = grain.experimental.ZipMapDataset(shares)
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=4)
    return iter(joined.map(_to_batch)[start_step:].to_iter_dataset(options))


def check_shares(counts: Mapping[str, int], hosts: int, *, accumulate: int = 1) -> None:
    """Raises one ValueError for all streams that hosts can't share evenly.

    Args:
      counts: images of each stream in a batch, over all hosts.
      hosts: that share them.
      accumulate: micro-batches into which each host's share is split.
    """
    times = f" times batch.accumulate={accumulate}" if accumulate > 1 else ""
    uneven = [
        f"batch.{name}={count} is not a multiple of the {hosts} hosts{times}"
        for name, count in counts.items()
        if count % (hosts * accumulate)
    ]
    if uneven:
        whose = "micro-batch" if accumulate > 1 else "host's share"
        raise ValueError(
            f"{'; '.join(uneven)}: every {whose} has the same mix of images"
        )


def _to_batch(parts: Sequence[Any]) -> Batch:
    """Of the examples of R, N and, where it is used, P."""
    weak = _stack(parts[2]) if len(parts) == 3 else None
    return Batch(labelled=_stack([*parts[0], *parts[1]]), weak=weak)


def blank_batch(
    counts: Mapping[str, int],
    *,
    side: int,
    ranges: augment.Ranges,
    makers: Mapping[str, Callable[..., Any]],
    seed: int = 0,
) -> Batch:
    """A batch like those of `batches`, of grey films without a dataset.

    Args:
      counts: images of each stream.
      side: of the square images, px.
      ranges: of the augmentation.
      makers: what makes the examples of each stream, of `views.makers`.
      seed: of the augmentation.
    """
    film = Radiograph(
        np.full((side, side), 128, np.uint8),
        boxes=np.zeros((0, 4), np.float32),
        content=np.array([0, 0, side, side], np.float32),
        row=0,
    )
    rng = np.random.default_rng(seed)
    # one example for all: making them is not what one waits for
    return _to_batch(
        [
            [makers[name](film, rng, ranges)] * counts[name]
            for name in STREAMS
            if name in counts
        ]
    )


class _Radiographs:
    """The images of a stream, by their row, as Grain reads them."""

    def __init__(self, dataset: Dataset, table: ImageTable):
        self._dataset, self._table = dataset, table

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: int) -> Radiograph:
        table = self._table
        radiograph = self._dataset.read(table.split[index], table.position[index])
        lesions = int(table.count[index])
        if lesions < 1:  # P withholds the places of its boxes, not their number
            lesions = len(table.boxes[index]) or -1
        return dataclasses.replace(radiograph, row=index, lesions=lesions)


def _stack(examples: Sequence[Any]) -> Any:
    """One record of examples of a kind, with a leading axis B; None stays None."""
    return jax.tree.map(lambda *values: np.stack(values), *examples)


def evaluation_batches(
    dataset: Dataset,
    table: ImageTable,
    *,
    batch_size: int,
    host: int = 0,
    hosts: int = 1,
) -> Iterator[np.ndarray]:
    """Every image of a table once, in its order and without augmentation.

    Args:
      dataset: which is read.
      table: its images.
      batch_size: images of a batch.
      host, hosts: of so many hosts each has every so many-th batch, and all have as
        many. With all of them together the batches are those of one host.

    Yields:
      f32[batch_size, side, side, 1] in [0, 1]. The last batches are filled up with
      air, which the caller cuts off.
    """
    side = dataset.side
    rounds = -(-len(table) // (batch_size * hosts))
    for number in range(rounds):
        start = (number * hosts + host) * batch_size
        images = np.zeros((batch_size, side, side, 1), np.float32)
        stop = min(start + batch_size, len(table))
        for i in range(start, stop):
            record = dataset.read(table.split[i], table.position[i])
            images[i - start, ..., 0] = views.to_float(record.image)
        yield images
