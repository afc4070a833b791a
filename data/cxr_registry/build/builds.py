"""Builds the dataset of a registry: checked, de-identified, atomic, repeatable.

    python -m data.cxr_registry.build --registry DIR --data_dir DIR \\
        --findings rib,clavicle --side 512 --key_file FILE

A killed build leaves no dataset, but its finished shards: run again, it continues after
them and gives the same bytes. A finished dataset of the same tables, images and options
is found and returned.
"""

import contextlib
import functools
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from data.cxr_registry.build import (
    encode,
    intact,
    ledger,
    plan,
    shards,
    staging,
    versions,
)
from data.cxr_registry.build import options as build_options
from data.cxr_registry.build.options import BuildOptions
from data.cxr_registry.guard import atomic, privacy

Progress = Callable[[int, int], None]


def build(options: BuildOptions, *, progress: Progress | None = None) -> Path:
    """Builds the dataset, or finds it finished.

    Args:
        options: what it is built from, and how.
        progress: called with (images done, images in all).

    Returns:
        The folder that `tfds.builder_from_directory` reads.

    Raises:
        RegistryError: with every problem of the tables.
        ValueError: too many images are unusable, or a finished dataset is damaged.
    """
    home = options.home
    planned = plan.make(options, key_needed_by=_key_is_needed_by(options))
    final = home / planned.name / versions.FEATURES
    judge = functools.partial(
        ledger.judge,
        table=planned.source.table,
        allow=options.allow,
        max_bad_share=options.max_bad_share,
    )
    with staging.lock(home):
        privacy.check_key(home / ".key_check", planned.key)
        staging.remove_old(home)
        if (final / ledger.BUILD_FILE).exists():
            judge(final)
            intact.check(final)
        else:
            # shards made by other packages are not used: their pixels may differ
            draft = staging.folder(home, f"{planned.name}-{versions.digest()}")
            missing = shards.missing(draft, planned.shards)
            if options.beam is not None:
                from data.cxr_registry.build import beam_shards  # an extra dependency

                beam_shards.make(planned, draft, missing)
                missing = []
            book = ledger.Ledger(planned)
            _make_shards(planned, draft, missing, book, progress)
            built = _assemble(planned, draft, book)
            judge(built)
            os.replace(built.parent, final.parent)
            shutil.rmtree(draft)
    return final


def warm_up() -> None:
    """Imports TFDS, to be called before a progress bar starts its thread.

    While TFDS imports its parts it patches Python's import, and whatever a thread
    imports meanwhile fails.
    """
    from data.cxr_registry import cxr_registry_dataset_builder

    del cxr_registry_dataset_builder


def describe(path: Path) -> dict[str, Any]:
    """The build.json of a prepared dataset."""
    file = path / ledger.BUILD_FILE
    if not file.exists():
        raise FileNotFoundError(f"{ledger.BUILD_FILE} is missing: no finished dataset")
    return json.loads(file.read_text())


def find(data_dir: Path, data_hash: str) -> Path:
    """The prepared dataset of that hash below a data_dir; needs no registry, no key.

    Datasets with features of an earlier version are passed over: they lack what is read
    now.
    """
    pattern = f"{build_options.HOME}/*/{versions.FEATURES}/{ledger.BUILD_FILE}"
    for file in sorted(data_dir.glob(pattern)):
        if describe(file.parent)["data_hash"] == data_hash:
            return file.parent
    raise FileNotFoundError(
        f"no dataset of data_hash {data_hash[:12]} and version {versions.FEATURES} "
        f"below {data_dir}: give --data_dir, or build it again from the same registry "
        "with the same key"
    )


def _key_is_needed_by(options: BuildOptions) -> str:
    """What a new key would not fit; "" for nothing."""
    if options.parts_file is not None:
        return "parts_file"
    has_datasets = any(options.home.glob(f"*/*/{ledger.BUILD_FILE}"))
    return "the datasets in data_dir" if has_datasets else ""


def _make_shards(
    planned: plan.Plan,
    draft: Path,
    missing: Sequence[shards.Shard],
    book: ledger.Ledger,
    progress: Progress | None,
) -> None:
    """Makes the missing shards, in order, and enters all shards into the ledger."""
    total = len(planned.source.studies)
    finished = total - sum(len(shard.studies) for shard in missing)
    serialize = encode.serializer(planned.options)
    with contextlib.closing(
        encode.encode_all(
            itertools.chain.from_iterable(shard.studies for shard in missing),
            options=planned.options,
            key=planned.key,
            workers=planned.options.workers,
        )
    ) as results:
        counted = _count(results, progress, finished, total)
        for shard in planned.shards:
            if shard in missing:
                shards.write(draft, shard, counted, serialize)
            book.add(shard, shards.read_account(draft, shard))


def _count(
    results: Iterator[Any], progress: Progress | None, finished: int, total: int
) -> Iterator[Any]:
    if progress:
        progress(finished, total)
    for number, result in enumerate(results, start=finished + 1):
        if progress:  # before the yield: nobody asks for what follows the last result
            progress(number, total)
        yield result


def _assemble(planned: plan.Plan, draft: Path, book: ledger.Ledger) -> Path:
    """Finished shards to TFDS's folder below the draft, with tables and data card."""
    import tensorflow_datasets as tfds

    from data.cxr_registry import cxr_registry_dataset_builder as builders

    assembled = draft / "assembled"
    shutil.rmtree(assembled, ignore_errors=True)  # what a killed build left
    options = planned.options
    config = builders.CxrRegistryConfig(
        name=planned.name,
        findings=options.findings,
        side=options.side,
        bits=options.bits,
    )
    files: dict[str, list[tuple[Path, int]]] = {name: [] for name in planned.splits}
    for shard in planned.shards:
        written = shards.read_account(draft, shard).written
        files[shard.split].append((draft / shard.file, len(written)))
    tfds.disable_progress_bar()  # `progress` is the one shown
    with staging.quiet_tfds():
        builder = builders.Builder(
            shards=files, config=config, data_dir=assembled, file_format="array_record"
        )
        builder.download_and_prepare(download_dir=assembled / "downloads")
    built = assembled / build_options.HOME / planned.name / versions.FEATURES
    book.write(built)
    atomic.sync(*built.iterdir(), built)
    return built
