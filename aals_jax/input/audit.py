"""A registry looked through before anything is built: audit.json and a page.

Nothing is written into the registry, and rows are named by their number alone.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aals_jax.input import prepare
from aals_jax.report import audit_page
from aals_jax.runtime import files, log, provenance
from data.cxr_registry.build import folds
from data.cxr_registry.guard import problems
from data.cxr_registry.survey import duplicates, looks, pixel_survey, table_survey
from data.cxr_registry.tables import records

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
    split_of = table_survey.split_of(registry, seed=request.seed)
    seen = _look(registry, request) if request.pixels else []
    facts = table_survey.tables(registry)
    facts["splits"] = table_survey.splits(registry, split_of)
    facts["folds"] = _folds(registry, facts["splits"])
    facts["pixels"], pictures = None, []
    if request.pixels:
        facts["pixels"] = pixels = pixel_survey.pixels(
            registry,
            seen,
            split_of=split_of,
            audit=found,
            max_bad_share=request.max_bad_share,
        )
        pictures = galleries(registry, seen, pixels)
    result = {**_head(registry, request, found), **facts}
    request.out.mkdir(parents=True, exist_ok=True)
    html = audit_page.render(result=result, galleries=pictures)
    files.write_text(request.out / "audit.html", html)
    files.write_json(request.out / "audit.json", result)
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
        "disclaimer": provenance.DISCLAIMER,
        "commit": provenance.commit(),
        "versions": provenance.versions(),
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
            for kind in table_survey.SUPERVISION
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


RANDOM, EXTREMES, PAIRS = 12, 6, 6  # images, boxes at each end, pairs of a kind
_SIDE = 448  # pixels of a picture


def galleries(
    registry: records.Registry,
    seen: Sequence[looks.Look | looks.Refused],
    pixels: Mapping[str, Any],
) -> list[audit_page.Gallery]:
    """A contact sheet, repeated images side by side, the smallest and largest boxes.

    Args:
        registry: of the audit.
        seen: a look at each image.
        pixels: what `pixel_survey.pixels` counted.
    """
    random = pixel_survey.chosen_rows(registry, seen, number=RANDOM)
    pairs = _pairs(pixels)
    sizes = sorted(
        (side, row, place, name)
        for name in registry.findings
        for side, row, place in table_survey.box_sizes(registry, name)
    )
    ends = [*sizes[:EXTREMES], *sizes[EXTREMES:][-EXTREMES:]]
    wanted = {*random, *(row for rows, _ in pairs for row in rows)}
    wanted |= {row for _, row, *_ in ends}
    # in this process: each was read a moment ago, within the time limit
    pictures = (
        looks.picture(study, side=_SIDE)
        for study in registry.studies
        if study.row in wanted
    )
    shown = {picture.row: picture for picture in pictures if picture}
    return [
        audit_page.Gallery(
            "At random",
            "Is it bone bright and air dark, head up, the patient's left on the right?",
            _figures([((row,), _labels(registry, row)) for row in random], shown),
        ),
        audit_page.Gallery(
            "Repeated",
            "Same pixels of two patients first, then the nearest by perceptual hash.",
            _figures(pairs, shown),
        ),
        audit_page.Gallery(
            "Smallest and largest boxes",
            "A box off its lesion, or of another image's size, shows here first.",
            tuple(
                audit_page.Figure((_panel(shown[row], place),), _size(side, row, name))
                for side, row, place, name in ends
                if row in shown
            ),
        ),
    ]


def _pairs(pixels: Mapping[str, Any]) -> list[tuple[tuple[int, ...], str]]:
    """(rows, caption) of pairs to show."""
    same = [
        (tuple(group["rows"][:2]), "same pixels, two patients")
        for group in pixels["same_pixels"]["groups"]
        if not group["one_patient"]
    ]
    near = [
        (
            tuple(pair["rows"]),
            f"{pair['distance']} of {pixels['near_same']['bits']} bits differ, "
            + ("one patient" if pair["one_patient"] else "two patients"),
        )
        for pair in pixels["near_same"]["pairs"]
    ]
    return same[:PAIRS] + near[:PAIRS]


def _figures(
    chosen: Sequence[tuple[tuple[int, ...], str]], shown: Mapping[int, looks.Picture]
) -> tuple[audit_page.Figure, ...]:
    """Rows without a picture are left out: unreadable, or flagged."""
    return tuple(
        audit_page.Figure(
            tuple(_panel(shown[row]) for row in rows),
            f"{'row' if len(rows) == 1 else 'rows'} {' and '.join(map(str, rows))}: "
            f"{says}",
        )
        for rows, says in chosen
        if all(row in shown for row in rows)
    )


def _panel(picture: looks.Picture, place: int | None = None) -> audit_page.Panel:
    """The picture with all of its boxes, or with one."""
    boxes = picture.boxes if place is None else picture.boxes[place : place + 1]
    return audit_page.Panel(picture.pixels, np.asarray(boxes))


def _labels(registry: records.Registry, row: int) -> str:
    study = next(study for study in registry.studies if study.row == row)
    words = {1: "positive", -1: "unknown"}
    said = [f"{name} {words[label]}" for name, label in study.labels.items() if label]
    return ", ".join(said) or "negative"


def _size(side: float, row: int, finding: str) -> str:
    return f"row {row}: {finding}, {side:.0f} px a side"
