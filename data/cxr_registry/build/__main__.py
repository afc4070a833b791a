"""The command line of `build`: flags in, one dataset path out."""

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rich.console
import rich.progress

from data.cxr_registry.build import builds
from data.cxr_registry.guard import failures, problems
from data.cxr_registry.labels import report_text


def main(arguments: list[str] | None = None) -> None:
    """Parses flags, builds, prints the dataset's folder and its counts."""
    builds.warm_up()
    flags = vars(_parser().parse_args(arguments))
    reports = _reports(flags)
    console = rich.console.Console(stderr=True)
    columns = (
        *rich.progress.Progress.get_default_columns(),
        rich.progress.MofNCompleteColumn(),
    )
    try:
        with rich.progress.Progress(*columns, console=console) as bar:
            task = bar.add_task("images", total=None)
            path = builds.prepare(
                **flags,
                reports=reports,
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data.cxr_registry.build",
        description="Builds the TFDS dataset of a registry folder. A finished build "
        "with the same input and options is found and returned.",
        epilog="Checks for --allow: "
        + "; ".join(f"{name} ({effect})" for name, effect in problems.CHECKS.items()),
    )
    add = parser.add_argument
    add("--registry", type=Path, required=True, help="folder with studies and images")
    add("--data_dir", type=Path, required=True, help="where datasets are kept")
    add(
        "--findings",
        type=_names,
        required=True,
        help="comma-separated: rib, clavicle, or a column's name",
    )
    add("--key_file", type=Path, required=True, help="pseudonym key; made if missing")
    add("--side", type=int, default=512, help="side of the images in pixels (512)")
    add("--bits", type=int, default=8, choices=(8, 16), help="bits a pixel (8)")
    add("--seed", type=int, default=0, help="of the ten parts (0)")
    add("--max_bad_share", type=float, default=0.02, help="of unusable images (0.02)")
    add("--workers", type=int, default=2, help="processes; 0: in this one (2)")
    add(
        "--beam",
        type=shlex.split,
        metavar="OPTIONS",
        help="make the shards with Apache Beam, by its pipeline options in one string, "
        "such as '--runner=DirectRunner --direct_num_workers=2'",
    )
    add("--allow", type=_names, default=[], help="checks that may pass, see below")
    add("--parts_file", type=Path, help="an earlier parts.csv to keep")
    add(
        "--keep_non_acute",
        action="store_true",
        help="count codes of later encounters and sequelae as positive",
    )
    add("--point_radius", type=float, default=32.0, help="stored pixels (32)")
    add("--timeout_s", type=float, default=60.0, help="seconds for one file (60)")
    add("--memory_gib", type=float, default=4.0, help="for one process (4)")
    _add_reports(add)
    return parser


def _add_reports(add: Callable[..., Any]) -> None:
    add(
        "--reports",
        choices=report_text.READ,
        default="auto",
        help="labels from the column report (auto: where nothing else gives them)",
    )
    add("--report_languages", type=_names, default=["en"], help="en, de (en)")
    add("--report_rules", type=Path, help="a table of patterns beside the built-in one")
    add(
        "--report_silence",
        choices=report_text.SILENCE,
        default="negative",
        help="what a report on the image that names nothing means (negative)",
    )


def _reports(flags: dict[str, Any]) -> report_text.Options:
    """Takes the flags of the reports out of all flags."""
    return report_text.Options(
        read=flags.pop("reports"),
        languages=tuple(flags.pop("report_languages")),
        rules=flags.pop("report_rules"),
        silence=flags.pop("report_silence"),
    )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


if __name__ == "__main__":
    failures.guard()
    main()
