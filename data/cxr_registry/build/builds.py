"""Builds the dataset from a registry: checked, de-identified, atomic, repeatable.

    python -m data.cxr_registry.build --registry DIR --data_dir DIR \\
        --findings rib,clavicle --side 512 --key_file FILE

A build killed anywhere leaves no dataset and keeps its finished shards: run again, it
goes on after them and gives the same bytes. A finished one with the same tables, images
and options is found and returned.
"""

import contextlib
import functools
import itertools
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from data.cxr_registry.build import encode_pool, ledger, plan, shards, staging
from data.cxr_registry.guard import privacy
from data.cxr_registry.labels import report_text

_NAME = "cxr_registry"

Progress = Callable[[int, int], None]


def prepare(
    registry: Path,
    *,
    data_dir: Path,
    findings: Sequence[str],
    side: int,
    key_file: Path,
    bits: int = 8,
    seed: int = 0,
    max_bad_share: float = 0.02,
    workers: int = 2,
    allow: Collection[str] = (),
    parts_file: Path | None = None,
    keep_non_acute: bool = False,
    point_radius: float = 32.0,
    reports: report_text.Options = report_text.AUTO,
    timeout_s: float = 60.0,
    memory_gib: float = 4.0,
    beam: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Builds the dataset, or finds it finished.

    Args:
        registry: the folder of the contract, see README.md.
        data_dir: TFDS's root; the dataset goes to a folder of its own below.
        findings: what is to be detected.
        side: of the square images, in pixels.
        key_file: secret of the pseudonyms, made when missing; not among the datasets.
        bits: 8 or 16 a pixel.
        seed: of the parts.
        max_bad_share: of images that may go to the quarantine.
        workers: processes; the bytes do not depend on it. 0 works in this process,
            without bounds on a file's time and memory.
        allow: checks that may pass, keys of `audit.CHECKS`.
        parts_file: a parts.csv whose patients keep their part; needs the same key.
        keep_non_acute: whether codes of later encounters and sequelae count.
        point_radius: half side of the box around a point annotation, stored pixels.
        reports: whether and how the `report` column gives labels.
        timeout_s: for one file.
        memory_gib: for one process of the build, beyond its start.
        beam: Apache Beam's pipeline options; the shards are made by its runner.
        progress: called with (images done, images in all).

    Returns:
        The folder that `tfds.builder_from_directory` reads.

    Raises:
        RegistryError: with every problem of the tables.
        ValueError: an option out of range, or too many unreadable images.
    """
    if isinstance(findings, str):
        raise ValueError(f"findings={findings!r}: give a list of plain names")
    if not 0 <= max_bad_share <= 1:
        raise ValueError(f"max_bad_share={max_bad_share} is outside 0..1")
    home = data_dir / _NAME
    if key_file.resolve().is_relative_to(home.resolve()):
        raise ValueError("key_file lies among the datasets; keep the key apart")
    request = plan.Request(
        registry=registry,
        findings=tuple(findings),
        side=side,
        key_file=key_file,
        bits=bits,
        seed=seed,
        allow=tuple(allow),
        parts_file=parts_file,
        keep_non_acute=keep_non_acute,
        point_radius=point_radius,
        reports=reports,
        key_needed_by=_key_is_needed_by(data_dir, parts_file),
    )
    bounds = encode_pool.Bounds(timeout_s, memory_gib)
    planned = plan.make(request)
    final = home / planned.name / plan.VERSION
    judge = functools.partial(
        ledger.judge,
        table=planned.source.table,
        allow=allow,
        max_bad_share=max_bad_share,
    )
    with staging.lock(home):
        privacy.check_key(home / ".key_check", planned.key)
        staging.remove_old(home)
        if (final / ledger.BUILD_FILE).exists():
            judge(final)
        else:
            # shards of other packages are not gone on with: their pixels may differ
            draft = staging.folder(home, f"{planned.name}-{ledger.versions_digest()}")
            missing = shards.missing(draft, planned.shards)
            if beam is not None:
                from data.cxr_registry.build import beam_shards  # an extra dependency

                beam_shards.make(request, planned, draft, missing, beam, bounds=bounds)
                missing = []
            book = ledger.Ledger(planned, max_bad_share=max_bad_share)
            _make_shards(
                planned,
                draft,
                missing,
                book,
                progress,
                workers=workers,
                bounds=bounds,
            )
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

    One of earlier features is not found: it lacks what is read now.
    """
    for file in sorted(data_dir.glob(f"{_NAME}/*/{plan.VERSION}/{ledger.BUILD_FILE}")):
        if describe(file.parent)["data_hash"] == data_hash:
            return file.parent
    raise FileNotFoundError(
        f"no dataset of data_hash {data_hash[:12]} and version {plan.VERSION} below "
        f"{data_dir}: give --data_dir, or build it again from the same registry with "
        "the same key"
    )


def _key_is_needed_by(data_dir: Path, parts_file: Path | None) -> str:
    """What a new key would not fit."""
    if parts_file is not None:
        return "parts_file"
    has_datasets = any(data_dir.glob(f"{_NAME}/*/*/{ledger.BUILD_FILE}"))
    return "the datasets in data_dir" if has_datasets else ""


def _make_shards(
    planned: plan.Plan,
    draft: Path,
    missing: Sequence[shards.Shard],
    book: ledger.Ledger,
    progress: Progress | None,
    *,
    workers: int,
    bounds: encode_pool.Bounds,
) -> None:
    """Makes the missing shards, in order, and accounts for all."""
    total = len(planned.source.studies)
    done = total - sum(len(shard.studies) for shard in missing)
    serialise = encode_pool.serialiser(planned.options)
    with contextlib.closing(
        encode_pool.encode_all(
            planned,
            itertools.chain.from_iterable(shard.studies for shard in missing),
            processes=workers,
            bounds=bounds,
        )
    ) as results:
        counted = _count(results, progress, done, total)
        for shard in planned.shards:
            if shard in missing:
                shards.write(draft, shard, counted, serialise)
            book.add(shard, shards.read_report(draft, shard))


def _count(
    results: Iterator[Any], progress: Progress | None, done: int, total: int
) -> Iterator[Any]:
    if progress:
        progress(done, total)
    for number, result in enumerate(results, start=done + 1):
        if progress:  # before: nobody asks for what follows the last one
            progress(number, total)
        yield result


def _assemble(planned: plan.Plan, draft: Path, book: ledger.Ledger) -> Path:
    """Finished shards to TFDS's folder below the draft, with tables and card."""
    import tensorflow_datasets as tfds

    from data.cxr_registry import cxr_registry_dataset_builder as builders

    home = draft / "assembled"
    shutil.rmtree(home, ignore_errors=True)  # of a killed build
    options = planned.options
    config = builders.CxrRegistryConfig(
        name=planned.name,
        findings=options.findings,
        side=options.side,
        bits=options.bits,
    )
    found: dict[str, list[tuple[Path, int]]] = {name: [] for name in planned.splits}
    for shard in planned.shards:
        written = shards.read_report(draft, shard).written
        found[shard.split].append((draft / shard.file, len(written)))
    tfds.disable_progress_bar()  # `progress` is the one shown
    with staging.quiet_tfds():
        builder = builders.Builder(
            shards=found, config=config, data_dir=home, file_format="array_record"
        )
        builder.download_and_prepare(download_dir=home / "downloads")
    built = home / _NAME / planned.name / plan.VERSION
    book.write(built)
    staging.sync(*built.iterdir(), built)
    return built
