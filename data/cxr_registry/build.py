"""Builds the dataset from a registry: checked, de-identified, atomic, repeatable.

    python -m data.cxr_registry.build --registry DIR --data_dir DIR \\
        --findings rib,clavicle --side 512 --key_file FILE

A build killed anywhere leaves no dataset; run it again and it gives the same bytes.
A finished one with the same tables, images and options is found and returned.
"""

import contextlib
import dataclasses
import functools
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.cxr_registry import (
    encode,
    folds,
    ledger,
    privacy,
    records,
    staging,
)
from data.cxr_registry import (
    text as texts,
)
from data.cxr_registry import (
    workers as pools,
)

FORMAT = 1  # of what is written; another number, another fingerprint
_NAME = "cxr_registry"


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
    reports: texts.Options = texts.AUTO,
    timeout_s: float = 60.0,
    progress: Callable[[int, int], None] | None = None,
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
        workers: processes; the bytes do not depend on it. 1 has no time limit a file.
        allow: checks that may pass, keys of `audit.CHECKS`.
        parts_file: a parts.csv whose patients keep their part; needs the same key.
        keep_non_acute: whether codes of later encounters and sequelae count.
        point_radius: half side of the box around a point annotation, stored pixels.
        reports: whether and how the `report` column gives labels.
        timeout_s: for one file.
        progress: called with (images done, images in all).

    Returns:
        The folder that `tfds.builder_from_directory` reads.

    Raises:
        RegistryError: with every problem of the tables.
        ValueError: an option out of range, or too many unreadable images.
    """
    _check_options(side=side, bits=bits, findings=findings, max_bad_share=max_bad_share)
    if key_file.resolve().is_relative_to((data_dir / _NAME).resolve()):
        raise ValueError("key_file lies among the datasets; keep the key apart")
    source = records.read_registry(
        registry,
        findings=findings,
        allow=allow,
        keep_non_acute=keep_non_acute,
        point_radius=point_radius,
        reports=reports,
    )
    key = privacy.load_or_create_key(key_file)
    existing = folds.read_parts(parts_file) if parts_file else None
    split_of, parts = _splits(source, seed=seed, key=key, existing=existing)
    options = encode.Options(
        findings=source.findings,
        side=side,
        bits=bits,
        keep_burned_in="burned_in" in allow,
    )
    facts = {
        "format": FORMAT,
        **dataclasses.asdict(options),
        "seed": seed,
        "max_bad_share": max_bad_share,
        "allow": sorted(allow),
        "keep_non_acute": keep_non_acute,
        "point_radius": point_radius,
        **source.report_rules,
    }
    name = _config_name(source, facts, parts, key=key)
    home = data_dir / _NAME
    final = home / name / "1.0.0"
    with staging.lock(home):
        staging.remove_leftovers(home)
        if (final / ledger.BUILD_FILE).exists():
            return final
        draft = staging.folder(home, name)
        book = ledger.Ledger(source, split_of, allow=allow, max_bad_share=max_bad_share)
        stream = pools.map_in_order(
            functools.partial(encode.attempt, options=options, key=key),
            book.ordered,
            workers=workers,
            timeout_s=timeout_s,
            on_timeout=functools.partial(_late, timeout_s=timeout_s),
        )
        try:
            with contextlib.closing(stream):
                built = _write(draft, name, options, book, stream, progress)
            book.finish(built, options=facts, parts=parts)
            staging.sync(built)
            os.replace(built.parent, final.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return final


def describe(path: Path) -> dict[str, Any]:
    """The build.json of a prepared dataset."""
    file = path / ledger.BUILD_FILE
    if not file.exists():
        raise FileNotFoundError(f"{ledger.BUILD_FILE} is missing: no finished dataset")
    return json.loads(file.read_text())


def find(data_dir: Path, data_hash: str) -> Path:
    """The prepared dataset of that hash below a data_dir; needs no registry, no key."""
    for file in sorted(data_dir.glob(f"{_NAME}/*/*/{ledger.BUILD_FILE}")):
        if describe(file.parent)["data_hash"] == data_hash:
            return file.parent
    raise FileNotFoundError(
        f"no dataset of data_hash {data_hash[:12]} below {data_dir}: give --data_dir, "
        "or build it again from the same registry with the same key"
    )


def _check_options(
    *, side: int, bits: int, findings: Sequence[str], max_bad_share: float
) -> None:
    if not 16 <= side <= 4096:
        raise ValueError(f"side={side} is outside 16..4096 pixels")
    if bits not in (8, 16):
        raise ValueError(f"bits={bits} is neither 8 nor 16")
    if not 0 <= max_bad_share <= 1:
        raise ValueError(f"max_bad_share={max_bad_share} is outside 0..1")
    if isinstance(findings, str) or not all(
        re.fullmatch(r"[\w -]+", n) for n in findings
    ):
        raise ValueError(f"findings={findings!r}: give a list of plain names")


def _splits(
    source: records.Registry,
    *,
    seed: int,
    key: bytes,
    existing: Mapping[str, int] | None,
) -> tuple[dict[int, str], dict[str, int]]:
    """Row -> split, and pseudonym -> part (empty when the user brings splits)."""
    studies = source.studies
    if source.has_splits:
        return {study.row: study.split or "" for study in studies}, {}
    names = {s.patient: privacy.pseudonym(key, "patient", s.patient) for s in studies}
    known = None
    if existing is not None:
        known = {p: existing[name] for p, name in names.items() if name in existing}
        if not known:
            raise ValueError("parts_file knows no patient; was it made with this key?")
    parts = folds.assign_parts(
        [study.patient for study in studies],
        [study.stratum for study in studies],
        seed=seed,
        existing=known,
    )
    if missing := set(range(folds.NUM_PARTS)) - set(parts.values()):
        raise ValueError(
            f"{len(names)} patients leave {len(missing)} of the ten parts empty; "
            "give more patients, or a split column"
        )
    split_of = {study.row: f"part_{parts[study.patient]}" for study in studies}
    # patients of an earlier registry keep their place in the table
    table = {**(existing or {}), **{names[p]: part for p, part in parts.items()}}
    return split_of, table


def _config_name(
    source: records.Registry,
    facts: Mapping[str, Any],
    parts: Mapping[str, int],
    *,
    key: bytes,
) -> str:
    """Readable options and a keyed fingerprint of all that the bytes depend on."""
    images = []
    for study in source.studies:
        stat = study.path.stat()
        images.append([study.image, stat.st_size, stat.st_mtime_ns])
    tables = [(source.root / file).read_bytes().hex() for file in source.files]
    everything = json.dumps([facts, sorted(parts.items()), images, tables])
    fingerprint = privacy.pseudonym(key, "build", everything)[:16]
    label = "_".join(re.sub(r"\W+", "_", name.lower()) for name in source.findings)
    return f"{label[:60]}-{facts['side']}px-{facts['bits']}bit-{fingerprint}"


def _write(
    draft: Path,
    name: str,
    options: encode.Options,
    book: ledger.Ledger,
    stream: Iterator[encode.Encoded | encode.Refused],
    progress: Callable[[int, int], None] | None,
) -> Path:
    """Runs TFDS below the staging folder; returns the dataset's folder there."""
    import tensorflow_datasets as tfds  # seconds to import: spared the workers

    from data.cxr_registry import cxr_registry_dataset_builder as builders

    tfds.disable_progress_bar()  # `progress` is the one shown
    config = builders.CxrRegistryConfig(
        name=name,
        findings=options.findings,
        side=options.side,
        bits=options.bits,
        splits=book.splits,
    )
    with staging.quiet_tfds():
        builder = builders.Builder(
            examples=functools.partial(book.examples, stream, progress),
            config=config,
            data_dir=draft,
            file_format="array_record",
        )
        builder.download_and_prepare(download_dir=draft / "downloads")
    return draft / _NAME / name / "1.0.0"


def _late(study: records.Study, *, timeout_s: float) -> encode.Refused:
    reason = f"took longer than {timeout_s:g} s or crashed its decoder; convert it"
    return encode.Refused(study.row, reason)


if __name__ == "__main__":
    from data.cxr_registry import build_command

    build_command.main()
