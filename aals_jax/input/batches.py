"""From the prepared dataset to batches, each a function of (seed, step).

Three streams (R, P, N) are drawn in fixed counts a batch, so the mix depends neither on
prevalence nor on the number of devices. The global order is fixed first and split over
hosts after, so it doesn't depend on them either.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import grain
import numpy as np
import tensorflow_datasets as tfds

from aals_jax.input import augment, views
from aals_jax.input.views import Radiograph
from aals_jax.types import Batch
from data.cxr_registry.guard import pool

# Grain zips only streams of one length, which must fit 63 bits
EPOCHS, ENDLESS = 2**40, 2**30  # of a stream; batches of each
GROUPS = ("view", "sex", "age_band")  # columns of the table to report apart
CACHE_BYTES = 2 * 2**30  # decoded squares up to this size are kept in memory


@dataclasses.dataclass(frozen=True)
class Table:
    """What is known of each record without its pixels; arrays of one length."""

    split: np.ndarray  # str[n], TFDS split
    position: np.ndarray  # i64[n], index within the split
    label: np.ndarray  # i8[n], 1, 0 or -1 (unknown)
    count: np.ndarray  # i64[n], lesions that the record names; -1 unknown
    boxes: np.ndarray  # object[n] of f32[k, 4], (x0, y0, x1, y1), px of the square
    content: np.ndarray  # f32[n, 4], the film, px of the square
    patient: np.ndarray  # str[n], pseudonyms
    image_id: np.ndarray  # str[n], pseudonyms
    view: np.ndarray  # str[n], "PA", "AP", ...; "" unknown
    sex: np.ndarray  # str[n], "M", "F", "O"; "" unknown
    age_band: np.ndarray  # str[n], "30-39", ..., "90+"; "" unknown

    @property
    def boxed(self) -> np.ndarray:
        """bool[n], whether the finding has a box."""
        return np.array([len(boxes) > 0 for boxes in self.boxes], bool)

    def select(self, rows: np.ndarray) -> "Table":
        columns = {
            f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)
        }
        return Table(**columns)

    def __len__(self) -> int:
        return len(self.label)


def object_array(items: Sequence[Any]) -> np.ndarray:
    """object[n] that holds the items as they are, whatever their shapes."""
    array = np.empty(len(items), object)
    for i, item in enumerate(items):  # a slice would unpack items of one shape
        array[i] = item
    return array


class Dataset:
    """A prepared TFDS dataset, seen for one finding; random access, no TensorFlow."""

    def __init__(self, path: Path, finding: str):
        self.finding = finding
        self._builder: Any = tfds.builder_from_directory(str(path))
        self.side = int(self._builder.info.features["image"].shape[0])
        names = list(self._builder.info.splits)
        skip = {"image": tfds.decode.SkipDecoding()}  # OpenCV alone is faster
        self._sources: dict[str, Any] = {
            name: self._builder.as_data_source(split=name, decoders=skip)
            for name in names
        }
        self.table = self._read_table()
        self._cacheable = len(self.table) * self.side**2 <= CACHE_BYTES
        self._cache: dict[tuple[str, int], Radiograph] = {}

    def _read_table(self) -> Table:
        columns: dict[str, list] = {f.name: [] for f in dataclasses.fields(Table)}
        for split, source in self._sources.items():
            for position, record in enumerate(source):
                columns["split"].append(split)
                columns["position"].append(position)
                columns["label"].append(int(record["labels"][self.finding]))
                columns["count"].append(int(record["lesion_counts"][self.finding]))
                columns["boxes"].append(self._boxes(record))
                columns["content"].append(self._to_pixels(record["content"]))
                for name in ("patient", "image_id", *GROUPS):
                    columns[name].append(record[name].decode())
        boxes = object_array(columns.pop("boxes"))
        arrays = {name: np.array(values) for name, values in columns.items()}
        return Table(boxes=boxes, **arrays)

    def _boxes(self, record: Mapping[str, Any]) -> np.ndarray:
        boxes = np.reshape(record["objects"]["bbox"], (-1, 4))
        sites = [s.decode() for s in np.ravel(record["objects"]["site"])]
        return self._to_pixels(boxes[[s == self.finding for s in sites]])

    def _to_pixels(self, boxes: Any) -> np.ndarray:
        """TFDS's normalised (y0, x0, y1, x1) -> (x0, y0, x1, y1) in pixels."""
        boxes = np.asarray(boxes, np.float32) * self.side
        return boxes[..., [1, 0, 3, 2]]

    def read(self, split: str, position: int) -> Radiograph:
        """The decoded record; kept in memory when the whole dataset fits."""
        key = (str(split), int(position))
        if key in self._cache:
            return self._cache[key]
        record = self._sources[key[0]][key[1]]
        png = np.frombuffer(record["image"], np.uint8)
        image = cv2.imdecode(png, cv2.IMREAD_UNCHANGED)
        assert image is not None, "array_record checks the bytes that the build wrote"
        radiograph = Radiograph(
            image=image,
            boxes=self._boxes(record),
            content=self._to_pixels(record["content"]),
        )
        if self._cacheable:
            self._cache[key] = radiograph
        return radiograph


@dataclasses.dataclass(frozen=True)
class Streams:
    """Rows of the table for each stream of training."""

    region: np.ndarray  # R
    image_level: np.ndarray  # P
    negative: np.ndarray  # N


def split_streams(
    table: Table, *, region_images: int | None, seed: int, label_noise: float = 0.0
) -> Streams:
    """R, P and N of a training table.

    Args:
      table: the training split.
      region_images: at most so many boxed positives are R, the rest join P without
        their boxes; a smaller set is contained in a larger one. None: all.
      seed: of that choice; not the run's seed, so that runs share one R.
      label_noise: for studies, the share of P whose record is made wrong: so many
        images of P change places with as many of N. R keeps what experts saw.

    Raises:
      ValueError: N has too few images to change places.
    """
    positive = np.flatnonzero(table.label == 1)
    boxed = positive[table.boxed[positive]]
    order = np.random.default_rng([seed, 0]).permutation(boxed)
    region = np.sort(order[:region_images])
    image_level = np.setdiff1d(positive, region)
    negative = np.flatnonzero(table.label == 0)
    wrong = round(label_noise * len(image_level))
    if wrong > len(negative):
        raise ValueError(
            f"label_noise={label_noise}: N has {len(negative)} images only"
        )
    rng = np.random.default_rng([seed, 1])  # more noise keeps the wrong ones of less
    missed = rng.permutation(image_level)[:wrong]
    invented = rng.permutation(negative)[:wrong]
    return Streams(
        region=region,
        image_level=np.union1d(np.setdiff1d(image_level, missed), invented),
        negative=np.union1d(np.setdiff1d(negative, invented), missed),
    )


class _Rows:
    """A stream as a random-access source for Grain."""

    def __init__(self, dataset: Dataset, table: Table):
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
    streams: Mapping[str, Table],
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
    dataset: Dataset, table: Table, *, batch_size: int
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
