"""Which films are asked for: files, folders, or the DICOMDIR of a disc.

Names of files may name patients: they are shown in the table of `files.csv` alone,
which stays with its owner.
"""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pydicom

from data.cxr_registry.dicom import headers
from data.cxr_registry.guard import atomic

_DICOMDIR = "DICOMDIR"
_MAX_DIRECTORY = 64 << 20  # bytes; a disc of 10,000 images has some 5 MiB
_HEAD = ("film", "file")


class Source(NamedTuple):
    """A file that may be a film."""

    path: Path
    is_named: bool  # by whoever asks, or by a DICOMDIR; else found in a folder
    problem: str = ""  # why it can't be read, where that is known already


def find(asked: Sequence[Path]) -> list[Source]:
    """Every file once, in the order asked for, those of a folder by their names.

    In a folder, files whose names begin with a dot and its DICOMDIR are passed over,
    and files that lead out of it are told.

    Args:
        asked: files, folders, DICOMDIRs.

    Raises:
        FileNotFoundError: with all of them that don't exist.
        ValueError: a DICOMDIR can't be read.
    """
    missing = [str(path) for path in asked if not path.exists()]
    if missing:
        raise FileNotFoundError(f"--input: there is no {', no '.join(missing)}")
    found: dict[Path, Source] = {}
    for path in asked:
        if path.is_dir():
            sources = _below(path)
        elif path.name.upper() == _DICOMDIR:
            sources = _of_directory(path)
        else:
            sources = iter([Source(path, is_named=True)])
        for source in sources:
            found.setdefault(_place(source.path), source)
    return list(found.values())


def _place(path: Path) -> Path:
    """Where a path leads, links followed; of a loop of links the path itself."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # their text holds the path
        return Path(os.path.abspath(path))


def _below(root: Path) -> Iterator[Source]:
    whole = root.resolve()
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder) / name
            if name.startswith(".") or name.upper() == _DICOMDIR:
                continue
            told = ""
            if not _place(path).is_relative_to(whole):
                told = "is a link out of the folder; name the file itself"
            elif not path.is_file():
                told = "is no file, or a link that leads nowhere; take it away"
            yield Source(path, is_named=False, problem=told)


def _of_directory(path: Path) -> Iterator[Source]:
    """The images that a DICOMDIR lists, which lie below its folder."""
    root = path.parent.resolve()
    for names in _listed(path):
        file = _match(path.parent, names)
        if file is None or not file.is_file():
            told = "is listed in the DICOMDIR and is not there; copy the whole disc"
            yield Source(path.parent.joinpath(*names), is_named=True, problem=told)
        elif not _place(file).is_relative_to(root):
            told = "is listed in the DICOMDIR and lies outside of its folder"
            yield Source(file, is_named=True, problem=told)
        else:
            yield Source(file, is_named=True)


def _listed(path: Path) -> list[list[str]]:
    """Parts of the path of each image; no other field of the records is kept."""
    if path.stat().st_size > _MAX_DIRECTORY:
        raise ValueError(f"{path} is too large for a DICOMDIR: give its folder instead")
    with headers.quiet_pydicom():
        try:
            records = pydicom.dcmread(path).DirectoryRecordSequence
            listed = []
            for record in records:
                if str(record.get("DirectoryRecordType")) != "IMAGE":
                    continue
                parts = record.ReferencedFileID
                parts = [parts] if isinstance(parts, str) else parts
                listed.append([str(part) for part in parts])
        except Exception as error:  # a hostile file raises anything
            raise ValueError(
                f"{path} is no DICOMDIR that can be read ({type(error).__name__}): "
                "give its folder instead"
            ) from None
    return listed


def _match(root: Path, names: Sequence[str]) -> Path | None:
    """The file of that path, whatever the case of its letters; None: there is none."""
    place = root
    for name in names:
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            return None
        if not place.is_dir():
            return None
        near = {entry.name.upper(): entry for entry in sorted(place.iterdir())}
        exact = place / name
        found = exact if exact.exists() else near.get(name.upper())
        if found is None:
            return None
        place = found
    return place


def numbered(
    sources: Sequence[Source], table: Path
) -> tuple[dict[int, Source], dict[int, str]]:
    """Gives each film a number, and keeps those that a table has given before.

    Args:
        sources: of `find`.
        table: of `write_table`; it may be missing.

    Returns:
        Number -> film; and the numbers of the table with paths, old and new.

    Raises:
        ValueError: the table is damaged.
    """
    known = _read_table(table)
    numbers = {path: number for number, path in known.items()}
    films: dict[int, Source] = {}
    following = max(known, default=0) + 1
    for source in sources:
        path = str(_place(source.path))
        if path not in numbers:
            numbers[path], following = following, following + 1
        films[numbers[path]] = source
    return dict(sorted(films.items())), {n: path for path, n in numbers.items()}


def write_table(table: Path, paths: Mapping[int, str]) -> None:
    """Writes number and path of each film, for the owner's eyes alone."""
    with atomic.replacing(table) as draft:
        draft.touch(mode=0o600)
        with draft.open(
            "w", newline="", encoding="utf-8", errors="surrogateescape"
        ) as f:
            writer = csv.writer(f)
            writer.writerow(_HEAD)
            # resolved paths begin with /, so that no spreadsheet runs them as formulas
            writer.writerows((number, paths[number]) for number in sorted(paths))


def _read_table(table: Path) -> dict[int, str]:
    if not table.exists():
        return {}
    try:
        with table.open(newline="", encoding="utf-8", errors="surrogateescape") as f:
            head, *rows = csv.reader(f)
            if tuple(head) != _HEAD:
                raise ValueError
            return {int(number): path for number, path in rows}
    except ValueError:
        raise ValueError(
            f"{table} is damaged: choose another --out, or delete this one"
        ) from None
