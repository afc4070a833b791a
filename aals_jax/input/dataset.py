"""A prepared dataset seen for one finding: its images, their table, and what a run of
one fold reads of them."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds

from aals_jax.input import table_file
from aals_jax.input.views import Radiograph
from data.cxr_registry.build import intact

GROUPS = ("view", "sex", "age_band")  # columns whose values are reported apart
# A dataset up to this size is kept in memory once decoded. Counted as one byte a
# pixel; at 16 bits it takes twice that.
CACHE_BYTES = 2 * 2**30


@dataclasses.dataclass(frozen=True)
class ImageTable:
    """What is known of n images without their pixels: one array of n per column."""

    split: np.ndarray  # str[n], of TFDS
    position: np.ndarray  # i64[n], within the split, from 0
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
        """bool[n], whether the finding has a box in the image."""
        return np.array([len(boxes) > 0 for boxes in self.boxes], bool)

    def select(self, rows: np.ndarray) -> "ImageTable":
        """The table of these rows, i64[m] or bool[n]; indices keep their order."""
        columns = {
            f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)
        }
        return ImageTable(**columns)

    def __len__(self) -> int:
        return len(self.label)


def object_array(items: Sequence[Any]) -> np.ndarray:
    """object[n] that holds the items as they are, whatever their shapes."""
    array = np.empty(len(items), object)
    for i, item in enumerate(items):  # a slice would unpack items of one shape
        array[i] = item
    return array


class Dataset:
    """A prepared TFDS dataset, seen for one finding; random access, no TensorFlow.

    Args:
      path: its folder.
      finding: a column of its labels.
      data_hash: of the dataset; with it the table is kept beside the shards, and read
        from there the next time.

    Fields:
      finding: a column of its labels.
      side: of its square images, px.
      table: ImageTable of all its images, in the order of splits and positions.
    """

    def __init__(self, path: Path, finding: str, *, data_hash: str | None = None):
        self.finding = finding
        self._path = path
        self._builder: Any = tfds.builder_from_directory(str(path))
        self.side = int(self._builder.info.features["image"].shape[0])
        names = list(self._builder.info.splits)
        skip = {"image": tfds.decode.SkipDecoding()}  # OpenCV alone is faster
        self._sources: dict[str, Any] = {
            name: self._builder.as_data_source(split=name, decoders=skip)
            for name in names
        }
        self.table = self._table(path, data_hash)
        self._cacheable = len(self.table) * self.side**2 <= CACHE_BYTES
        self._cache: dict[tuple[str, int], Radiograph] = {}

    def _table(self, path: Path, data_hash: str | None) -> ImageTable:
        if data_hash is None:
            return self._read_table()
        file = table_file.path_of(path, self.finding)
        columns = table_file.read(file, data_hash=data_hash)
        if columns is not None:
            return ImageTable(**columns)
        table = self._read_table()
        columns = {f.name: getattr(table, f.name) for f in dataclasses.fields(table)}
        table_file.write(file, columns, data_hash=data_hash)
        return table

    def _read_table(self) -> ImageTable:
        columns: dict[str, list] = {f.name: [] for f in dataclasses.fields(ImageTable)}
        for split, source in self._sources.items():
            for position in range(len(source)):
                record = self._record(split, position)
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
        return ImageTable(boxes=boxes, **arrays)

    def _boxes(self, record: Mapping[str, Any]) -> np.ndarray:
        boxes = np.reshape(record["objects"]["bbox"], (-1, 4))
        sites = [s.decode() for s in np.ravel(record["objects"]["site"])]
        return self._to_pixels(boxes[[s == self.finding for s in sites]])

    def _to_pixels(self, boxes: Any) -> np.ndarray:
        """TFDS's normalised (y0, x0, y1, x1) -> (x0, y0, x1, y1) in pixels."""
        boxes = np.asarray(boxes, np.float32) * self.side
        return boxes[..., [1, 0, 3, 2]]

    def read(self, split: str, position: int) -> Radiograph:
        """The decoded record at a position of a split; kept where the dataset fits.

        Raises:
          ValueError: the record can't be read; names its shard.
        """
        key = (str(split), int(position))
        if key in self._cache:
            return self._cache[key]
        record = self._record(*key)
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

    def registry_row(self, split: str, position: int) -> int:
        """The row of the registry's studies table, for the table's owner."""
        return int(self._record(str(split), int(position))["row"])

    def _record(self, split: str, position: int) -> Mapping[str, Any]:
        try:
            return self._sources[split][position]
        except (RuntimeError, ValueError) as error:  # of array_record; of an empty one
            info = self._builder.info.splits[split]
            raise intact.unreadable(self._path, info, position) from error


@dataclasses.dataclass(frozen=True)
class Streams:
    """Rows of the training table for each stream, ascending."""

    region: np.ndarray  # i64[.], R
    image_level: np.ndarray  # i64[.], P
    negative: np.ndarray  # i64[.], N


def split_streams(
    table: ImageTable, *, region_images: int | None, seed: int, label_noise: float = 0.0
) -> Streams:
    """R, P and N of a training table.

    Args:
      table: the training split.
      region_images: the most images with boxes that R takes; the others join P without
        their boxes. A smaller R is contained in a larger one. None: all.
      seed: of that choice and of the noise; not the run's seed, so that runs share R.
      label_noise: in [0, 1], for studies: this share of P changes places with as many
        images of N, as if their record were wrong. R keeps what experts saw.

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
    # images that are wrong at a low noise stay wrong at a higher one
    rng = np.random.default_rng([seed, 1])
    missed = rng.permutation(image_level)[:wrong]
    invented = rng.permutation(negative)[:wrong]
    return Streams(
        region=region,
        image_level=np.union1d(np.setdiff1d(image_level, missed), invented),
        negative=np.union1d(np.setdiff1d(negative, invented), missed),
    )


@dataclasses.dataclass(frozen=True)
class Data:
    """An opened dataset and the tables of this run's fold."""

    dataset: Dataset
    train: ImageTable
    validation: ImageTable
    test: ImageTable
    streams: Streams  # rows of `train`
    source: str  # "phantom" or "registry"; never a path
    data_hash: str

    @property
    def withheld(self) -> int:
        """How many images of P have a box, which all methods but the oracle ignore."""
        return int(np.sum(self.train.boxed[self.streams.image_level]))

    def counts(self) -> dict[str, dict[str, int]]:
        """Number of images by split and stream; those of unknown label are in none."""
        train = {name: len(rows) for name, rows in vars(self.streams).items()}
        counts = {"train": train}
        for name in ("validation", "test"):
            table = getattr(self, name)
            counts[name] = {
                "region": int(np.sum((table.label == 1) & table.boxed)),
                "image_level": int(np.sum((table.label == 1) & ~table.boxed)),
                "negative": int(np.sum(table.label == 0)),
            }
        return counts
