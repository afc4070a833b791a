"""The command line of a build: flags in, the path of the dataset out."""

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rich.console
import rich.progress

from data.cxr_registry.build import builds
from data.cxr_registry.build.options import BuildOptions, split_names
from data.cxr_registry.guard import checks, failures
from data.cxr_registry.labels import report_text
from data.cxr_registry.tables import records


def main(arguments: list[str] | None = None) -> None:
    """Parses flags, builds, prints the dataset's folder and its counts."""
    builds.warm_up()
    flags = _parser().parse_args(arguments)
    console = rich.console.Console(stderr=True)
    columns = (
        *rich.progress.Progress.get_default_columns(),
        rich.progress.MofNCompleteColumn(),
    )
    try:
        with rich.progress.Progress(*columns, console=console) as bar:
            task = bar.add_task("images", total=None)
            path = builds.build(
                _options(flags),
                progress=lambda done, total: bar.update(
                    task, completed=done, total=total
                ),
            )
    except Exception as error:
        sys.exit(f"error: {failures.message(error)}")
    facts = builds.describe(path)
    console.print(
        f"{facts['images']} images of {facts['patients']} patients, "
        f"{facts['quarantined']} in the quarantine"
    )
    for name, counts in facts["counts"].items():
        console.print(f"{name}: " + ", ".join(f"{n} {k}" for k, n in counts.items()))
    print(path)


def _options(flags: argparse.Namespace) -> BuildOptions:
    reports = report_text.ReportOptions(
        read=flags.reports,
        languages=flags.report_languages,
        rules=flags.report_rules,
        labels=flags.report_labels,
        silence=flags.report_silence,
    )
    return BuildOptions(
        registry=flags.registry,
        data_dir=flags.data_dir,
        key_file=flags.key_file,
        findings=flags.findings,
        side=flags.side,
        bits=flags.bits,
        seed=flags.seed,
        allow=flags.allow,
        max_bad_share=flags.max_bad_share,
        parts_file=flags.parts_file,
        reading=records.ReadingOptions(
            keep_non_acute=flags.keep_non_acute,
            point_radius=flags.point_radius,
            reports=reports,
        ),
        workers=flags.workers,
        timeout_s=flags.timeout_s,
        memory_gib=flags.memory_gib,
        beam=None if flags.beam is None else tuple(flags.beam),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data.cxr_registry.build",
        description="Builds the TFDS dataset of a registry folder. A finished dataset "
        "of the same input and options is found and returned.",
        epilog="Checks for --allow, and what happens to what they find: "
        + "; ".join(f"{name} ({effect})" for name, effect in checks.CHECKS.items()),
    )
    _add_input(parser.add_argument)
    _add_reports(parser.add_argument)
    _add_machine(parser.add_argument)
    return parser


def _add_input(add: Callable[..., Any]) -> None:
    add("--registry", type=Path, required=True, help="folder with studies and images")
    add("--data_dir", type=Path, required=True, help="folder of all datasets")
    add(
        "--findings",
        type=split_names,
        required=True,
        help="what is to be detected, comma-separated: rib, clavicle, or names of "
        "columns",
    )
    add(
        "--key_file",
        type=Path,
        required=True,
        help="secret key of the pseudonyms; made where none is needed yet",
    )
    add("--side", type=int, default=512, help="side of the images in pixels (512)")
    add(
        "--bits",
        type=int,
        default=BuildOptions.bits,
        choices=(8, 16),
        help="bits per pixel (%(default)s)",
    )
    add(
        "--seed",
        type=int,
        default=BuildOptions.seed,
        help="seed of the assignment of patients to the ten parts (%(default)s)",
    )
    add(
        "--max_bad_share",
        type=float,
        default=BuildOptions.max_bad_share,
        help="share of unusable images that may be left out (%(default)s)",
    )
    add("--allow", type=split_names, default=(), help="checks that may pass, see below")
    add(
        "--parts_file",
        type=Path,
        help="parts.csv of an earlier dataset, whose patients keep their part",
    )
    add(
        "--keep_non_acute",
        action="store_true",
        help="count codes of later encounters and sequelae as positive",
    )
    add(
        "--point_radius",
        type=float,
        default=records.ReadingOptions.point_radius,
        help="half side of the box around a point annotation, in stored pixels "
        "(%(default)g)",
    )


def _add_reports(add: Callable[..., Any]) -> None:
    add(
        "--reports",
        choices=report_text.READ,
        default=report_text.ReportOptions.read,
        help="labels from the column report (auto: where nothing else gives them)",
    )
    add(
        "--report_languages",
        type=split_names,
        default=report_text.ReportOptions.languages,
        help="languages of the reports, comma-separated: en, de, zh (en)",
    )
    add(
        "--report_rules",
        type=Path,
        help="a table of patterns of your own, beside the built-in one",
    )
    add(
        "--report_labels",
        type=Path,
        help="a table of your own labels of the reports: image, finding, label",
    )
    add(
        "--report_silence",
        choices=report_text.SILENCE,
        default=report_text.ReportOptions.silence,
        help="what a report on the image means that does not mention the finding "
        "(%(default)s)",
    )


def _add_machine(add: Callable[..., Any]) -> None:
    add(
        "--workers",
        type=int,
        default=BuildOptions.workers,
        help="processes; 0: this one, without the two limits below (%(default)s)",
    )
    add(
        "--timeout_s",
        type=float,
        default=BuildOptions.timeout_s,
        help="seconds for one file (%(default)g)",
    )
    add(
        "--memory_gib",
        type=float,
        default=BuildOptions.memory_gib,
        help="GiB for one process (%(default)g)",
    )
    add(
        "--beam",
        type=shlex.split,
        metavar="OPTIONS",
        help="make the shards with Apache Beam; its pipeline options in one string, "
        "such as '--runner=DirectRunner --direct_num_workers=2'",
    )


if __name__ == "__main__":
    failures.guard()
    main()
