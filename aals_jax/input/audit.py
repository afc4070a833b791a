"""Looks through a registry before anything is built: audit.json and a page.

Nothing is written into the registry, and rows are named by their number alone.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aals_jax.input import label_check, prepare
from aals_jax.report import audit_page, entries
from aals_jax.runtime import files, log, provenance
from data.cxr_registry.build import folds
from data.cxr_registry.dicom import reader
from data.cxr_registry.guard import checks
from data.cxr_registry.survey import duplicates, looks, pixel_survey, table_survey
from data.cxr_registry.tables import records

FORMAT = 2  # version of audit.json
TABLES = "tables"  # folder below `out` with those of a public download
_LOGGED = 20  # faults in the log; audit.json has all


@dataclasses.dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """What is to be audited, and how it is read."""

    registry: Path
    out: Path  # folder of audit.json and audit.html
    findings: tuple[str, ...] | None = None  # None: those that the table defines
    allow: tuple[str, ...] = ()  # checks that may pass
    pixels: bool = True  # whether the images are read
    seed: int = 0  # seed of the ten parts, as config.data.seed
    max_bad_share: float = 0.02  # most unusable images, as config.data.max_bad_share
    workers: int = 0  # processes for reports and images; 0: this one, without a limit
    timeout_s: float = 60.0  # that one file may take
    sample: int | None = None  # labels to draw for a person to judge; None: no sheet
    sample_seed: int = 0
    sample_columns: tuple[str, ...] | None = None  # shown; None: the report, if any
    sampled: Path | None = None  # a sheet that came back
    reading: records.ReadingOptions = dataclasses.field(
        default_factory=records.ReadingOptions
    )


def audit(options: AuditOptions) -> bool:
    """Reads everything, builds nothing; returns whether the registry has no fault.

    Raises:
        FileNotFoundError: there is no registry, or no studies table in it.
        ValueError: an unknown check, an `out` in the registry, unreadable reports, or
            a sheet that can't be written or read (`label_sheet.SheetError`).
        FileExistsError: `out` has another sheet, which may be filled in.
        RegistryError: a public download that is not complete.
    """
    root, out = options.registry.resolve(), options.out.resolve()
    if out == root or root in out.parents:
        raise ValueError("--out lies in the registry, which an audit leaves as it is")
    problems = checks.Problems(options.allow)
    log.info("reading the tables")
    reading = prepare.with_tables(
        options.reading, options.registry, out / TABLES, allow=options.allow
    )
    registry = records.scan_registry(
        options.registry,
        findings=options.findings,
        problems=problems,
        options=reading,
        workers=options.workers,
    )
    sample = sampled = None
    if options.sampled:
        sampled = label_check.take_back(options.sampled, registry)
    if options.sample:
        sample = label_check.hand_out(
            registry,
            reading.tables or options.registry,
            options.out,
            number=options.sample,
            seed=options.sample_seed,
            columns=options.sample_columns,
        )
    split_of = table_survey.split_of(registry, seed=options.seed)
    results = _look_at_images(registry, options) if options.pixels else []
    facts = {**table_survey.tables(registry), "sample": sample, "sampled": sampled}
    facts["splits"] = table_survey.splits(registry, split_of)
    facts["folds"] = _folds(registry, facts["splits"])
    facts["pixels"], pictures = None, []
    if options.pixels:
        facts["pixels"] = pixels = pixel_survey.pixels(
            registry,
            results,
            split_of=split_of,
            problems=problems,
            max_bad_share=options.max_bad_share,
        )
        pictures = galleries(registry, results, pixels)
    result = {**_head(registry, options, problems), **facts}
    options.out.mkdir(parents=True, exist_ok=True)
    html = audit_page.render(result=result, galleries=pictures)
    files.write_text(options.out / "audit.html", html)
    files.write_json(options.out / "audit.json", result)
    _log(result, options.out)
    return result["passed"]


def _head(
    registry: records.Registry, options: AuditOptions, problems: checks.Problems
) -> dict[str, Any]:
    """The beginning of audit.json: what was asked, and every fault."""
    faults = checks.RegistryError(problems.standing).problems  # in their order
    return {
        "kind": "audit",
        "format": FORMAT,
        "disclaimer": provenance.DISCLAIMER,
        "commit": provenance.commit(),
        "versions": provenance.versions(),
        "options": {
            "findings": list(registry.findings),
            "allow": sorted(options.allow),
            "pixels": options.pixels,
            "seed": options.seed,
            "max_bad_share": options.max_bad_share,
            "keep_non_acute": options.reading.keep_non_acute,
            "point_radius": options.reading.point_radius,
            "reports": options.reading.reports.read,
            "report_rules": dict(registry.report_rules),
        },
        "passed": not faults,
        "fault_counts": dict(collections.Counter(fault.check for fault in faults)),
        "faults": [fault._asdict() for fault in faults],
        "allowed": dict(problems.allowed),
    }


def _look_at_images(
    registry: records.Registry, options: AuditOptions
) -> list[looks.Look | looks.Refused]:
    total = len(registry.studies)
    results = []
    with log.progress("looking at the images") as update:
        for result in looks.look_at_all(
            registry.studies,
            modalities=reader.modalities(options.allow),
            workers=options.workers,
            timeout_s=options.timeout_s,
        ):
            results.append(result)
            update(len(results), total)
    return results


def _folds(
    registry: records.Registry, splits: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Of each fold: supervision in train, validation and test, and what is missing.

    A table with splits of its own is one fold.
    """
    if not splits:
        return []
    parts_of = [{name: [name] for name in records.SPLITS}]  # by fold
    if not registry.has_splits:
        parts_of = [
            {
                name: [f"part_{part}" for part in parts]
                for name, parts in folds.fold_splits(fold).items()
            }
            for fold in range(folds.NUM_FOLDS)
        ]
    return [
        {name: _fold(fold, splits, name) for name in registry.findings}
        for fold in parts_of
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
    table = result["table"]
    log.info(
        "%d rows, %d images of %d patients",
        *(table[name] for name in ("rows", "images", "patients")),
    )
    for name, counts in result["supervision"].items():
        words = ", ".join(f"{kind} {count}" for kind, count in counts.items())
        log.info("%s: %s", name, words)
    for name, compared in result["report_labels"].items():
        log.info(
            "%s: own labels of reports and the rules agree on %d of %d; %s",
            name,
            compared["alike"],
            compared["images"],
            ", ".join(
                f"rules {one['rules']} and own {one['own']}: {one['images']}"
                for one in compared["counts"]
            ),
        )
    if sample := result["sample"]:
        log.info(
            "%d labels to judge: %s; it has patient data and stays in the hospital",
            sample["labels"],
            out / sample["sheet"],
        )
    _log_sampled(result["sampled"])
    if pixels := result["pixels"]:
        log.info(
            "%d readable, %d unreadable; %d images repeat pixels, %d pairs within %d "
            "of %d bits",
            pixels["readable"],
            len(pixels["unreadable"]),
            pixels["same_pixels"]["images"],
            pixels["near_same"]["found"],
            duplicates.NEAR,
            duplicates.BITS,
        )
        for words, rows in (
            ("lateral, which a build leaves out", pixels["lateral_rows"]),
            (
                "of two views by its header, which a build leaves out",
                pixels["view_conflict_rows"],
            ),
            (
                "with another brightness than stated",
                pixels["brightness_corrected_rows"],
            ),
        ):
            if rows:
                shown = ", ".join(map(str, rows[:_LOGGED]))
                log.info("%d image(s) %s: row %s", len(rows), words, shown)
    faults = [checks.Problem(**fault) for fault in result["faults"]]
    for fault in faults[:_LOGGED]:
        log.error("%s", fault)
    if len(faults) > _LOGGED:
        log.error("... and %d more, all in audit.json", len(faults) - _LOGGED)
    log.info("%d fault(s); the audit: %s", len(faults), out)


def _log_sampled(sampled: Mapping[str, Any] | None) -> None:
    if not sampled:
        return
    log.info(
        "%d of %d labels were judged; %d lines are empty, %d are absent",
        *(sampled[name] for name in ("answered", "labels", "empty", "absent")),
    )
    for name, found in sampled["findings"].items():
        for label, word in (("1", "positive"), ("0", "negative")):
            log.info(
                "%s %s: precision %s, recall %s",
                name,
                word,
                entries.text(found["labels"][label]["precision"]),
                entries.text(found["labels"][label]["recall"]),
            )


RANDOM, EXTREMES, PAIRS = 12, 6, 6  # images, boxes of each extreme, pairs of a kind
_SIDE = 448  # pixels of a picture


def galleries(
    registry: records.Registry,
    results: Sequence[looks.Look | looks.Refused],
    pixels: Mapping[str, Any],
) -> list[audit_page.Gallery]:
    """A contact sheet, repeated images side by side, the smallest and largest boxes.

    Args:
        registry: of the audit.
        results: of `looks.look`, for each image.
        pixels: what `pixel_survey.pixels` counted.
    """
    random = pixel_survey.chosen_rows(results, number=RANDOM)
    pairs = _pairs(pixels)
    sizes = sorted(
        (side, row, place, name)
        for name in registry.findings
        for side, row, place in table_survey.box_sizes(registry, name)
    )
    extremes = [*sizes[:EXTREMES], *sizes[EXTREMES:][-EXTREMES:]]
    wanted = {*random, *(row for rows, _ in pairs for row in rows)}
    wanted |= {row for _, row, *_ in extremes}
    # in this process: each was read a moment ago, within the time limit
    pictures = (
        looks.picture(study, side=_SIDE)
        for study in registry.studies
        if study.row in wanted
    )
    picture_of = {picture.row: picture for picture in pictures if picture}
    return [
        audit_page.Gallery(
            "At random",
            "Is it bone bright and air dark, head up, the patient's left on the right?",
            _figures([((row,), _labels(registry, row)) for row in random], picture_of),
        ),
        audit_page.Gallery(
            "Repeated",
            "Same pixels of two patients first, then the nearest by perceptual hash.",
            _figures(pairs, picture_of),
        ),
        audit_page.Gallery(
            "Smallest and largest boxes",
            "A box off its lesion, or of another image's size, shows here first.",
            tuple(
                audit_page.Figure(
                    (_panel(picture_of[row], place),), _size(side, row, name)
                )
                for side, row, place, name in extremes
                if row in picture_of
            ),
        ),
    ]


def _pairs(pixels: Mapping[str, Any]) -> list[tuple[tuple[int, ...], str]]:
    """(rows, caption) of the pairs of images to show."""
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
    chosen: Sequence[tuple[tuple[int, ...], str]],
    picture_of: Mapping[int, looks.Picture],
) -> tuple[audit_page.Figure, ...]:
    """Figures of rows with a caption; those without a picture are left out."""
    return tuple(
        audit_page.Figure(
            tuple(_panel(picture_of[row]) for row in rows),
            f"{'row' if len(rows) == 1 else 'rows'} {' and '.join(map(str, rows))}: "
            f"{caption}",
        )
        for rows, caption in chosen
        if all(row in picture_of for row in rows)
    )


def _panel(picture: looks.Picture, place: int | None = None) -> audit_page.Panel:
    """The picture with all of its boxes, or with one."""
    boxes = picture.boxes if place is None else picture.boxes[place : place + 1]
    return audit_page.Panel(picture.pixels, np.asarray(boxes))


def _labels(registry: records.Registry, row: int) -> str:
    study = next(study for study in registry.studies if study.row == row)
    words = {1: "positive", -1: "unknown"}
    labels = [f"{name} {words[label]}" for name, label in study.labels.items() if label]
    return ", ".join(labels) or "negative"


def _size(side: float, row: int, finding: str) -> str:
    return f"row {row}: {finding}, {side:.0f} px a side"
