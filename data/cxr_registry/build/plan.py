"""From a request to the plan of a build: records, splits, shards, and its name.

Any process that plans the same request makes the same plan: Beam's workers need neither
the records nor the key sent to them.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.cxr_registry.build import encode, folds, shards
from data.cxr_registry.guard import privacy
from data.cxr_registry.labels import report_text
from data.cxr_registry.tables import records

FORMAT = 3  # of what is written; another number, another fingerprint
VERSION = "1.1.0"  # TFDS's, of the features; raise FORMAT with it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What a dataset is made from; see `build.prepare` for each field."""

    registry: Path
    findings: tuple[str, ...]
    side: int
    key_file: Path
    bits: int = 8
    seed: int = 0
    allow: tuple[str, ...] = ()
    parts_file: Path | None = None
    keep_non_acute: bool = False
    point_radius: float = 32.0
    reports: report_text.Options = report_text.AUTO
    key_needed_by: str = ""  # what a new key would not fit; then none is made

    def __post_init__(self):
        if not 16 <= self.side <= 4096:
            raise ValueError(f"side={self.side} is outside 16..4096 pixels")
        if self.bits not in (8, 16):
            raise ValueError(f"bits={self.bits} is neither 8 nor 16")
        if not all(re.fullmatch(r"[\w -]+", name) for name in self.findings):
            raise ValueError(f"findings={self.findings!r}: give a list of plain names")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """All that is known before the first image is read. Holds the key: stays here."""

    source: records.Registry
    splits: tuple[str, ...]  # in the order in which they are written
    split_of: Mapping[int, str]  # row -> split
    parts: Mapping[str, int]  # pseudonym -> part; empty when the user brings splits
    options: encode.Options
    facts: Mapping[str, Any]  # the request, without paths
    shards: tuple[shards.Shard, ...]
    key: bytes
    name: str  # readable options and a keyed fingerprint of all the bytes depend on


def make(request: Request) -> Plan:
    """Reads the tables and decides everything that needs no image.

    Raises:
        RegistryError: with every problem of the tables.
        ValueError: too few patients, or a parts_file of another key.
    """
    source = records.read_registry(
        request.registry,
        findings=request.findings,
        allow=request.allow,
        keep_non_acute=request.keep_non_acute,
        point_radius=request.point_radius,
        reports=request.reports,
    )
    key = privacy.load_or_create_key(request.key_file, needed_by=request.key_needed_by)
    existing = folds.read_parts(request.parts_file) if request.parts_file else None
    split_of, parts = _splits(source, seed=request.seed, key=key, existing=existing)
    splits = _order(source, set(split_of.values()))
    options = encode.Options(
        findings=source.findings,
        side=request.side,
        bits=request.bits,
        keep_burned_in="burned_in" in request.allow,
    )
    facts = {
        "format": FORMAT,
        **dataclasses.asdict(options),
        "seed": request.seed,
        # what it lets pass is judged at the end, whatever was allowed before
        "allow": sorted({*request.allow} - {"same_pixels"}),
        "keep_non_acute": request.keep_non_acute,
        "point_radius": request.point_radius,
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
            source.studies, split_of, splits, images=shards.images_of(options)
        ),
        key=key,
        name=_name(source, facts, parts, key=key),
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


def _name(
    source: records.Registry,
    facts: Mapping[str, Any],
    parts: Mapping[str, int],
    *,
    key: bytes,
) -> str:
    images = []
    for study in source.studies:
        stat = study.path.stat()
        images.append([study.image, stat.st_size, stat.st_mtime_ns])
    tables = [(source.root / file).read_bytes().hex() for file in source.files]
    everything = json.dumps([facts, sorted(parts.items()), images, tables])
    fingerprint = privacy.pseudonym(key, "build", everything)[:16]
    label = "_".join(re.sub(r"\W+", "_", name.lower()) for name in source.findings)
    return f"{label[:60]}-{facts['side']}px-{facts['bits']}bit-{fingerprint}"
