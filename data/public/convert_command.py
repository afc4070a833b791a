"""The command line of all converters: flags in, two tables and counts out."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data.cxr_registry.build.options import split_names
from data.cxr_registry.guard import checks, failures
from data.cxr_registry.survey import table_survey
from data.cxr_registry.tables import records
from data.public import conversion

# Checks of the registry that a converter can let pass too, with the same effect.
ALLOWABLE = (
    "bad_value", "unreadable", "duplicate_image", "unknown_site", "box_outside",
    "box_without_study",
)  # fmt: skip
SPLITS = ("official", "parts")  # the first is the default


def parser(module: str, *, description: str) -> argparse.ArgumentParser:
    """A parser with the flags that all converters have."""
    flags = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        epilog="Images are neither copied nor changed, and nothing is downloaded. "
        "Checks for --allow: "
        + "; ".join(f"{name} ({checks.CHECKS[name]})" for name in ALLOWABLE),
    )
    add = flags.add_argument
    add(
        "--download",
        type=Path,
        required=True,
        help="folder of your download, in its official layout",
    )
    add(
        "--out",
        type=Path,
        help="folder for the two tables (that of the download). Their image paths are "
        "relative to the download, so a build needs them there",
    )
    add(
        "--splits",
        choices=SPLITS,
        default=SPLITS[0],
        help="official: the official split, with a validation set taken out of its "
        "training set; parts: no split, the build makes ten patient-disjoint parts "
        "(official)",
    )
    add(
        "--validation_share",
        type=float,
        default=0.1,
        help="share of the official training patients that validate (0.1)",
    )
    add(
        "--seed",
        type=int,
        default=0,
        help="seed of the choice of validation patients (0)",
    )
    add("--allow", type=split_names, default=(), help="checks that may pass, see below")
    return flags


def run(convert: Callable[..., conversion.Conversion], flags: dict[str, Any]) -> None:
    """Converts, writes both tables, prints the counts."""
    folder = flags.pop("out") or flags["download"]
    try:
        if barred := set(flags["allow"]) - set(ALLOWABLE):
            names = ", ".join(sorted(barred))
            raise ValueError(f"--allow {names}: not a converter's check; see --help")
        root = flags.pop("download")
        if not root.is_dir():
            raise ValueError("the folder of --download does not exist")
        if not 0 <= flags["validation_share"] < 1:
            raise ValueError("--validation_share is not in [0, 1)")
        converted = convert(root, **flags)
        conversion.write(converted, folder)
    except Exception as error:
        sys.exit(f"error: {failures.message(error)}")
    print(report(converted))


def report(converted: conversion.Conversion) -> str:
    """Text: counts by finding, and what was decided on the way."""
    patients = len({study.patient for study in converted.studies})
    lines = [f"{len(converted.studies)} images, {patients} patients"]
    used = {study.split for study in converted.studies}
    splits = [name for name in records.SPLITS if name in used]
    for name, images in converted.counts().items():
        parts = []
        for kind in table_survey.SUPERVISION:
            by_split = [images[split, kind] for split in splits]
            total = sum(n for (_, of), n in images.items() if of == kind)
            detail = f" ({'/'.join(map(str, by_split))})" if splits and total else ""
            parts.append(f"{kind} {total:,}{detail}")
        lines.append(f"{name}: {', '.join(parts)}")
    lines.append(
        "R positive with a box, P positive without, N negative"
        + (f"; in brackets {'/'.join(splits)}" if splits else "")
    )
    lines += [f"{what}: {number}" for what, number in converted.notes.items() if number]
    return "\n".join(lines)
