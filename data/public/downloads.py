"""A public download in its official layout, where a registry is asked for.

It is recognised by its official files and taken through its converter; the two tables
are written apart, so the download stays as it is.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from data.cxr_registry.tables import formats
from data.public import conversion, convert_command, nih_cxr14, vindr_cxr


class Source(NamedTuple):
    """A public set that has a converter."""

    name: str
    module: str  # whose command converts it
    convert: Callable[..., conversion.Conversion]
    splits: str  # with which a run can train on boxes
    files: Sequence[Sequence[str]]  # patterns; it has one of each group

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
    ),
    Source(
        "VinDr-CXR",
        "data.public.vindr_cxr",
        vindr_cxr.convert,
        "official",
        (("annotations/annotations_t*.csv", "annotations/image_labels_t*.csv"),),
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


def convert(
    source: Source, folder: Path, into: Path, *, allow: Collection[str]
) -> None:
    """Writes the tables of a download to a folder of their own.

    Args:
        source: of `recognise`.
        folder: the download.
        into: the folder of the tables.
        allow: checks of a registry that may pass; those of a converter count.

    Raises:
        RegistryError: every problem of the official files.
    """
    allowed = sorted({*allow} & {*convert_command.ALLOWABLE})
    made = source.convert(folder, splits=source.splits, allow=allowed)
    conversion.write(made, into)


def _is_there(source: Source, folder: Path) -> bool:
    return all(
        any(any(folder.glob(pattern)) for pattern in group) for group in source.files
    )
