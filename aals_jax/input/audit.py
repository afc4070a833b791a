"""A registry looked through before anything is built: audit.json and a page.

Nothing is written into the registry, and rows are named by their number alone.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aals_jax import report
from aals_jax.input import audit_pictures, prepare
from aals_jax.runtime import log
from data.cxr_registry.build import folds
from data.cxr_registry.guard import problems
from data.cxr_registry.survey import (
    counts as survey,
)
from data.cxr_registry.survey import (
    duplicates,
    looks,
)
from data.cxr_registry.survey import (
    pixels as pixel_survey,
)
from data.cxr_registry.tables import registry as records

FORMAT = 1  # of audit.json
_LOGGED = 20  # faults in the log


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be audited, and how it is read."""

    registry: Path
    out: Path  # folder of audit.json and audit.html
    findings: tuple[str, ...] | None = None  # None: those that the table defines
    allow: tuple[str, ...] = ()  # checks that may pass
    pixels: bool = True  # whether the images are read
    seed: int = 0  # of the ten parts, as config.data.seed
    max_bad_share: float = 0.02  # of unusable images, as config.data.max_bad_share
    timeout_s: float = 60.0  # for one file
    reading: records.Options = dataclasses.field(default_factory=records.Options)


def audit(request: Request) -> bool:
    """Reads all, builds nothing; returns whether no fault stands.

    Raises:
        FileNotFoundError: there is no registry, or no studies table in it.
        ValueError: an option that can't be, or reports that can't be read.
    """
    root, out = request.registry.resolve(), request.out.resolve()
    if out == root or root in out.parents:
        raise ValueError("--out lies in the registry, which an audit leaves as it is")
    found = problems.Audit(request.allow)
    log.log.info("reading the tables")
    registry = records.scan_registry(
        request.registry,
        findings=request.findings,
        audit=found,
        options=request.reading,
    )
    split_of = survey.split_of(registry, seed=request.seed)
    seen = _look(registry, request) if request.pixels else []
    facts = survey.tables(registry)
    facts["splits"] = survey.splits(registry, split_of)
    facts["folds"] = _folds(registry, facts["splits"])
    facts["pixels"], galleries = None, []
    if request.pixels:
        facts["pixels"] = pixels = pixel_survey.pixels(
            registry,
            seen,
            split_of=split_of,
            audit=found,
            max_bad_share=request.max_bad_share,
        )
        galleries = audit_pictures.galleries(registry, seen, pixels)
    result = {**_head(registry, request, found), **facts}
    request.out.mkdir(parents=True, exist_ok=True)
    report.write_audit(request.out / "audit.html", result=result, galleries=galleries)
    log.write_json(request.out / "audit.json", result)
    _log(result, request.out)
    return result["passed"]


def _head(
    registry: records.Registry, request: Request, found: problems.Audit
) -> dict[str, Any]:
    """What was asked, and every fault."""
    faults = problems.RegistryError(found.problems).problems  # in their order
    return {
        "kind": "audit",
        "format": FORMAT,
        "disclaimer": log.DISCLAIMER,
        "commit": log.commit(),
        "versions": log.versions(),
        "options": {
            "findings": list(registry.findings),
            "allow": sorted(request.allow),
            "pixels": request.pixels,
            "seed": request.seed,
            "max_bad_share": request.max_bad_share,
            "keep_non_acute": request.reading.keep_non_acute,
            "point_radius": request.reading.point_radius,
            "reports": request.reading.reports.read,
            "report_rules": dict(registry.report_rules),
        },
        "passed": not faults,
        "fault_counts": dict(collections.Counter(fault.check for fault in faults)),
        "faults": [fault._asdict() for fault in faults],
        "allowed": dict(found.allowed),
    }


def _look(
    registry: records.Registry, request: Request
) -> list[looks.Look | looks.Refused]:
    total = len(registry.studies)
    seen = []
    with log.progress("looking at the images") as update:
        for one in looks.look_at_all(
            registry.studies,
            workers=request.reading.workers,
            timeout_s=request.timeout_s,
        ):
            seen.append(one)
            update(len(seen), total)
    return seen


def _folds(
    registry: records.Registry, splits: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Supervision in train, validation and test of each fold, and what is too little.

    A table with splits of its own is one fold.
    """
    if not splits:
        return []
    names = [{name: [name] for name in records.SPLITS}]
    if not registry.has_splits:
        names = [
            {
                name: [f"part_{part}" for part in parts]
                for name, parts in folds.fold_splits(fold).items()
            }
            for fold in range(folds.NUM_FOLDS)
        ]
    return [
        {name: _fold(fold, splits, name) for name in registry.findings}
        for fold in names
    ]


def _fold(
    fold: Mapping[str, Sequence[str]],
    splits: Mapping[str, Mapping[str, Any]],
    finding: str,
) -> dict[str, Any]:
    counts = {
        name: {
            kind: sum(splits[part][finding][kind] for part in parts if part in splits)
            for kind in survey.SUPERVISION
        }
        for name, parts in fold.items()
    }
    streams = {"region": "R", "image_level": "P", "negative": "N"}
    return {
        **counts,
        "shortages": prepare.shortages(
            {
                name: {stream: count[kind] for stream, kind in streams.items()}
                for name, count in counts.items()
            },
            finding=finding,
            method="aals",
        ),
    }


def _log(result: Mapping[str, Any], out: Path) -> None:
    say = log.log
    table = result["table"]
    say.info(
        "%d rows, %d images of %d patients",
        *(table[name] for name in ("rows", "images", "patients")),
    )
    for name, counts in result["supervision"].items():
        said = ", ".join(f"{kind} {count}" for kind, count in counts.items())
        say.info("%s: %s", name, said)
    if pixels := result["pixels"]:
        say.info(
            "%d readable, %d unreadable; %d images repeat pixels, %d pairs within %d "
            "of %d bits",
            pixels["readable"],
            len(pixels["unreadable"]),
            pixels["same_pixels"]["images"],
            pixels["near_same"]["found"],
            duplicates.NEAR,
            duplicates.BITS,
        )
    faults = [problems.Problem(**fault) for fault in result["faults"]]
    for fault in faults[:_LOGGED]:
        say.error("%s", fault)
    if len(faults) > _LOGGED:
        say.error("... and %d more, all in audit.json", len(faults) - _LOGGED)
    say.info("%d fault(s); the audit: %s", len(faults), out)
