"""Makes keys of the pseudonyms, and converts a table of parts to a new key.

    python -m data.cxr_registry.keys new --key_file FILE
    python -m data.cxr_registry.keys rotate --registry DIR --parts_file parts.csv \\
        --key_file OLD --new_key_file NEW --out new_parts.csv

See docs/privacy.md for when and how.
"""

import argparse
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from data.cxr_registry.build import folds
from data.cxr_registry.guard import checks, failures, privacy
from data.cxr_registry.tables import formats


def rekey(
    parts: Mapping[str, int], patients: Collection[str], *, old: bytes, new: bytes
) -> dict[str, int]:
    """Converts a table of parts to a new key.

    Args:
        parts: pseudonym -> part, under the old key.
        patients: the hospital's identifiers.
        old: the key that `parts` was made with.
        new: another key.

    Returns:
        Pseudonym -> part under the new key, of the given patients that are in `parts`.

    Raises:
        ValueError: none of them is.
    """
    kept = {
        privacy.pseudonym(new, "patient", patient): parts[name]
        for patient in patients
        if (name := privacy.pseudonym(old, "patient", patient)) in parts
    }
    if not kept:
        raise ValueError("parts_file knows no patient; was it made with the old key?")
    return kept


def rotate(
    registry: Path, parts_file: Path, *, key_file: Path, new_key_file: Path, out: Path
) -> tuple[int, int]:
    """Writes the table for the new key; returns how many patients it has and lacks."""
    problems = checks.Problems()
    table = formats.open_table(registry, "studies", problems)
    problems.raise_if_any()
    if table is None:
        raise FileNotFoundError("the registry has no studies table")
    if "patient_id" not in table.columns:
        raise ValueError(f"{table.name}: no column patient_id")
    parts = folds.read_parts(parts_file)
    kept = rekey(
        parts,
        {row["patient_id"] for _, row in table.numbered()},
        old=privacy.load_or_create_key(key_file, needed_by="parts_file"),
        new=privacy.load_or_create_key(new_key_file),
    )
    folds.write_parts(out, kept)
    return len(kept), len(parts) - len(kept)


def main(arguments: list[str] | None = None) -> None:
    """The command line; errors in one line."""
    flags = _parser().parse_args(arguments)
    try:
        if flags.action == "new":
            if flags.key_file.exists():
                raise FileExistsError("the key file exists; it is not overwritten")
            privacy.create_key(flags.key_file)
            return
        kept, left_out = rotate(
            flags.registry,
            flags.parts_file,
            key_file=flags.key_file,
            new_key_file=flags.new_key_file,
            out=flags.out,
        )
    except Exception as error:
        sys.exit(f"error: {failures.message(error)}")
    print(f"{kept} patients keep their part; {left_out} are not in the registry")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data.cxr_registry.keys",
        description="Keys of the pseudonyms; docs/privacy.md says when and how.",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    new = actions.add_parser("new", help="make a key that only you can read")
    rotate = actions.add_parser("rotate", help="convert a table of parts to a new key")
    for action in (new, rotate):
        action.add_argument("--key_file", type=Path, required=True)
    for name in ("--registry", "--parts_file", "--new_key_file", "--out"):
        rotate.add_argument(name, type=Path, required=True)
    return parser


if __name__ == "__main__":
    main()
