"""From a registry, or the phantom, to a dataset that can be trained on."""

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from aals_jax.input.dataset import Data, Dataset, ImageTable, split_streams
from aals_jax.method.methods import METHODS
from aals_jax.runtime import log
from data.cxr_registry.build import builds, folds, intact
from data.cxr_registry.build.options import BuildOptions
from data.cxr_registry.tables import records
from data.phantom import registry as phantom
from data.public import downloads


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """Which images of a dataset are trained and tested on."""

    finding: str
    fold: int  # 0..4; a registry's own splits win over it
    region_images: int | None  # boxed training images that are R; None: all of them
    label_noise: float  # share of P that changes places with N, 0 to 1
    seed: int  # for the choice of R and for the noise


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataOptions:
    """What is built, and what a run takes of it."""

    build: BuildOptions
    phantom: phantom.PhantomOptions | None  # drawn into build.registry; None: nothing
    selection: Selection
    method: str  # a row of METHODS; says which images are needed

    @property
    def source(self) -> str:
        """`phantom`, or `registry` for real images."""
        return "registry" if self.phantom is None else "phantom"


def prepare_dataset(options: DataOptions) -> Path:
    """Builds the dataset, or finds it finished; returns its folder."""
    build = options.build
    if options.phantom is not None:
        _draw_phantom(build, options.phantom)
    reading = with_tables(
        build.reading, build.registry, build.data_dir / "tables", allow=build.allow
    )
    builds.warm_up()
    with log.progress("building the dataset") as update:
        return builds.build(
            dataclasses.replace(build, reading=reading), progress=update
        )


def with_tables(
    reading: records.ReadingOptions,
    registry: Path,
    into: Path,
    *,
    allow: Collection[str],
) -> records.ReadingOptions:
    """The options with the tables of a public download, where the registry is one.

    Args:
        reading: how the tables are read.
        registry: a registry, or a download in its official layout.
        into: folder below which the download's tables are kept; a second call finds
            those of an unchanged download.
        allow: checks that may pass.

    Raises:
        RegistryError: the download is not complete.
        FileNotFoundError: the download lies in a folder below.
    """
    source = None if reading.tables else downloads.recognise(registry)
    if source is None:
        return reading
    log.info(
        "%s, as downloaded; read as this command would convert it: %s",
        source.name,
        source.command,
    )
    tables = downloads.tables_of(source, registry, into, allow=allow)
    log.info("its tables: %s", "converted" if tables.is_new else "kept from before")
    return dataclasses.replace(reading, tables=tables.folder)


def _draw_phantom(build: BuildOptions, drawn: phantom.PhantomOptions) -> None:
    with log.progress("drawing the phantom") as update:
        phantom.generate(build.registry, drawn, workers=build.workers, progress=update)


def data_hash(path: Path) -> str:
    """The hash of a prepared dataset's pixels, labels, boxes and parts."""
    return builds.describe(path)["data_hash"]


def open_data(options: DataOptions) -> Data:
    """Prepares, opens and splits the data of a run.

    Raises:
        ValueError: training or testing would be empty, with every reason.
    """
    path = prepare_dataset(options)
    data = load_data(path, options.selection, source=options.source)
    check_counts(
        data.counts(), finding=options.selection.finding, method=options.method
    )
    if METHODS[options.method].withheld and not data.withheld:
        raise ValueError(
            f"method={options.method} learns from the boxes that P withholds, and no "
            "image of P has one: lower data.region_images, so that images with boxes "
            "join P, or choose another method"
        )
    return data


def load_data(path: Path, selection: Selection, *, source: str) -> Data:
    """Opens a prepared dataset and splits it.

    Raises:
        ValueError: a shard is missing or has another size than it was written with.
    """
    intact.check(path)
    dataset = Dataset(path, selection.finding, data_hash=data_hash(path))
    table = dataset.table
    labelled = table.select(np.flatnonzero(table.label >= 0))
    parts = {
        name: labelled.select(np.flatnonzero(np.isin(labelled.split, list(names))))
        for name, names in _fold_splits(labelled, selection.fold).items()
    }
    streams = split_streams(
        parts["train"],
        region_images=selection.region_images,
        seed=selection.seed,
        label_noise=selection.label_noise,
    )
    return Data(
        dataset=dataset,
        **parts,
        streams=streams,
        source=source,
        data_hash=data_hash(path),
    )


def _fold_splits(table: ImageTable, fold: int) -> dict[str, tuple[str, ...]]:
    """Train, validation, test -> TFDS splits; a registry's own splits win."""
    if set(np.unique(table.split)) <= set(records.SPLITS):
        return {name: (name,) for name in records.SPLITS}
    return {
        name: tuple(f"part_{part}" for part in parts)
        for name, parts in folds.fold_splits(fold).items()
    }


def check_counts(
    counts: Mapping[str, Mapping[str, int]], *, finding: str, method: str
) -> None:
    """Raises one ValueError with everything that makes training or testing empty."""
    problems = shortages(counts, finding=finding, method=method)
    if problems:
        raise ValueError("the data can't be trained on:\n- " + "\n- ".join(problems))


def shortages(
    counts: Mapping[str, Mapping[str, int]], *, finding: str, method: str
) -> list[str]:
    """Everything that makes training or testing empty, in words.

    Args:
        counts: split -> region, image_level, negative -> images.
        finding: what is detected.
        method: a row of METHODS.
    """
    train = counts["train"]
    problems = []
    if not any(c["region"] + c["image_level"] for c in counts.values()):
        problems.append(f"no image has the finding {finding!r}: check the labels")
    elif not train["region"]:
        problems.append(
            f"no training image has a {finding!r} box: stage 1 needs regions.csv"
        )
    elif not train["image_level"] and METHODS[method].weak is not None:
        problems.append(
            f"no training image is positive for {finding!r} without a box (P is "
            "empty): use --config.method=supervised, or lower data.region_images"
        )
    if not train["negative"]:
        problems.append(f"no training image is negative for {finding!r}")
    for split in ("validation", "test"):
        positive = counts[split]["region"] + counts[split]["image_level"]
        negative = counts[split]["negative"]
        for count, kind in ((positive, "positive"), (negative, "negative")):
            if not count:
                problems.append(
                    f"{split} has no {kind} image, so AUROC is undefined there: "
                    "choose another data.fold, or bring your own split column"
                )
    return problems
