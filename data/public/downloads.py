"""A public download in its official layout, where a registry is asked for.

It is recognised by its official files and taken through its converter; the two tables
are written apart, so the download stays as it is. They are kept under a fingerprint of
what the converter reads: the same download is converted once, a changed one anew.
"""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from data.cxr_registry.guard import atomic, locks
from data.cxr_registry.tables import formats
from data.public import conversion, convert_command, nih_cxr14, vindr_cxr

FINISHED = "conversion.json"  # written last; hashes of the two tables
_WAITING = "another process converts this download: waiting for its end"


class Source(NamedTuple):
    """A public set that has a converter."""

    name: str
    module: str  # whose command converts it
    convert: Callable[..., conversion.Conversion]
    splits: str  # with which a run can train on boxes
    files: Sequence[Sequence[str]]  # patterns; it has one of each group
    tables: Sequence[str]  # patterns of the files that its converter reads
    images: Sequence[str]  # patterns of the folders of its images

    @property
    def command(self) -> str:
        """The command that writes the same tables beside the download."""
        default = convert_command.SPLITS[0]
        flag = f" --splits {self.splits}" if self.splits != default else ""
        return f"python -m {self.module} --download DIR{flag}"


SOURCES = (
    Source(
        "NIH ChestX-ray14",
        "data.public.nih_cxr14",
        nih_cxr14.convert,
        "parts",  # all boxes are in the official test part
        (nih_cxr14.ENTRIES, ("images", "images_*", nih_cxr14.BOXES)),
        tables=("*.csv", "*.txt"),
        images=("images", "images_*/images"),
    ),
    Source(
        "VinDr-CXR",
        "data.public.vindr_cxr",
        vindr_cxr.convert,
        "official",
        (("annotations/annotations_t*.csv", "annotations/image_labels_t*.csv"),),
        tables=("annotations/*.csv",),
        images=("train", "test"),
    ),
)


def recognise(folder: Path) -> Source | None:
    """The set whose official files lie in a folder without a studies table.

    Raises:
        FileNotFoundError: the set lies in a folder below; says which command to use.
    """
    if not folder.is_dir() or formats.has_table(folder, "studies"):
        return None
    for source in SOURCES:
        if _is_there(source, folder):
            return source
    below = (child for child in sorted(folder.iterdir()) if child.is_dir())
    for child in below:
        for source in SOURCES:
            if _is_there(source, child):
                raise FileNotFoundError(
                    f"{source.name} lies in a folder below this one: give that folder; "
                    f"its converter is {source.command}"
                )
    return None


class Tables(NamedTuple):
    """The two tables of a download."""

    folder: Path
    is_new: bool  # converted by this call, and not found


def tables_of(
    source: Source, folder: Path, home: Path, *, allow: Collection[str]
) -> Tables:
    """The tables of a download, converted where they are not at hand.

    A conversion that was killed has no FINISHED and is done again. Processes that ask
    at once wait for the first. A download that changed gets a folder of its own, so
    that nobody reads a table while it is written.

    Args:
        source: of `recognise`.
        folder: the download.
        home: below which the tables are kept, a folder for each fingerprint.
        allow: checks of a registry that may pass; those of a converter count.

    Raises:
        RegistryError: every problem of the official files.
    """
    allowed = sorted({*allow} & {*convert_command.ALLOWABLE})
    into = home / _fingerprint(source, folder, allowed)[:16]
    with locks.held(into, mode=0o700, notice=_WAITING):
        written = _read_finished(into)
        if written and written == _hashes(into):
            return Tables(into, is_new=False)
        made = source.convert(folder, splits=source.splits, allow=allowed)
        conversion.write(made, into)
        with atomic.replacing(into / FINISHED) as draft:
            draft.write_text(json.dumps(_hashes(into)))
            atomic.sync(draft)
    return Tables(into, is_new=True)


def _fingerprint(source: Source, folder: Path, allowed: Sequence[str]) -> str:
    """Of all that the tables depend on: files, names and sizes of images, the code."""
    seen = hashlib.sha256()
    facts = [conversion.VERSION, source.module, source.splits, allowed]
    seen.update(json.dumps(facts).encode())
    for path in _matching(folder, source.tables):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        seen.update(json.dumps([path.relative_to(folder).as_posix(), content]).encode())
    for images in _matching(folder, source.images):
        where = images.relative_to(folder).as_posix()
        with os.scandir(images) as entries:
            names = sorted((entry.name, entry.stat().st_size) for entry in entries)
        seen.update(json.dumps([where, names]).encode())
    return seen.hexdigest()


def _matching(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return sorted({path for pattern in patterns for path in folder.glob(pattern)})


def _hashes(folder: Path) -> dict[str, str]:
    """Table -> hash of its content, of those that are there."""
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in conversion.TABLES
        if (folder / name).is_file()
    }


def _read_finished(folder: Path) -> dict[str, str]:
    """What a finished conversion wrote; empty where none is finished."""
    try:
        return json.loads((folder / FINISHED).read_text())
    except (FileNotFoundError, ValueError):
        return {}


def _is_there(source: Source, folder: Path) -> bool:
    return all(
        any(any(folder.glob(pattern)) for pattern in group) for group in source.files
    )
