"""The plan of a build: records, splits, shards, and the dataset's name.

Any process makes the same plan from the same options: neither records nor the key have
to be sent to Beam's workers.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.cxr_registry.build import folds, shards, versions
from data.cxr_registry.build.options import BuildOptions
from data.cxr_registry.guard import privacy
from data.cxr_registry.tables import records


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """All that is known before the first image is read.

    It holds the key and patients' identifiers, so it is never written or sent.
    """

    source: records.Registry
    splits: tuple[str, ...]  # in the order in which they are written
    split_of: Mapping[int, str]  # row -> split
    parts: Mapping[str, int]  # pseudonym -> part; empty when the user brings splits
    options: BuildOptions
    facts: Mapping[str, Any]  # the options that the bytes depend on; no path
    shards: tuple[shards.Shard, ...]
    key: bytes
    name: str  # options to read, and a keyed fingerprint of all inputs


def make(options: BuildOptions, *, key_needed_by: str = "") -> Plan:
    """Reads the tables and decides everything that needs no image.

    Args:
        options: of the build.
        key_needed_by: what a new key would not fit; where it is given, no key is made.

    Raises:
        RegistryError: with every problem of the tables.
        ValueError: too few patients, or a parts_file of another key.
    """
    source = records.read_registry(
        options.registry,
        findings=options.findings,
        allow=options.allow,
        options=options.reading,
        workers=0 if options.beam else options.workers,  # Beam's workers start none
    )
    key = privacy.load_or_create_key(options.key_file, needed_by=key_needed_by)
    existing = folds.read_parts(options.parts_file) if options.parts_file else None
    split_of, parts = _splits(source, seed=options.seed, key=key, existing=existing)
    splits = _order(source, set(split_of.values()))
    facts = {  # the name of the dataset depends on their order too
        "format": versions.FORMAT,
        "findings": options.findings,
        "side": options.side,
        "bits": options.bits,
        "keep_burned_in": options.keep_burned_in,
        "seed": options.seed,
        # same_pixels is judged at the end, whatever was allowed before
        "allow": sorted({*options.allow} - {"same_pixels"}),
        "keep_non_acute": options.reading.keep_non_acute,
        "point_radius": options.reading.point_radius,
        **source.report_rules,
    }
    return Plan(
        source=source,
        splits=splits,
        split_of=split_of,
        parts=parts,
        options=options,
        facts=facts,
        shards=shards.cut(
            source.studies, split_of, splits, images=shards.max_images(options)
        ),
        key=key,
        name=_name(
            source,
            facts,
            parts,
            home=options.reading.tables or source.root,
            key=key,
        ),
    )


def _order(source: records.Registry, names: set[str]) -> tuple[str, ...]:
    if source.has_splits:
        return tuple(name for name in records.SPLITS if name in names)
    return tuple(sorted(names))


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
    kept = None
    if existing is not None:
        kept = {p: existing[name] for p, name in names.items() if name in existing}
        if not kept:
            raise ValueError("parts_file knows no patient; was it made with this key?")
    parts = folds.assign_parts(
        [study.patient for study in studies],
        [study.stratum for study in studies],
        seed=seed,
        existing=kept,
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


def _name(
    source: records.Registry,
    facts: Mapping[str, Any],
    parts: Mapping[str, int],
    *,
    home: Path,
    key: bytes,
) -> str:
    images = []
    for study in source.studies:
        stat = study.path.stat()
        images.append([study.image, stat.st_size, stat.st_mtime_ns])
    tables = [(home / file).read_bytes().hex() for file in source.files]
    everything = json.dumps([facts, sorted(parts.items()), images, tables])
    fingerprint = privacy.pseudonym(key, "build", everything)[:16]
    label = "_".join(re.sub(r"\W+", "_", name.lower()) for name in source.findings)
    return f"{label[:60]}-{facts['side']}px-{facts['bits']}bit-{fingerprint}"
