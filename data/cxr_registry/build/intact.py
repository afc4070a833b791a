"""Whether the shards of a finished dataset are as the build wrote them.

Names and sizes are compared before any work: a disk that filled up or a copy that broke
off loses whole files or their ends. A changed bit is found by array_record's own sums
when its record is read.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


def check(path: Path) -> None:
    """Compares the shards with what the dataset's info says of them; reads no record.

    Args:
        path: folder of the dataset.

    Raises:
        ValueError: with every shard that is missing or has another size.
    """
    import tensorflow_datasets as tfds  # seconds, which a command's help needs not

    info = tfds.builder_from_directory(str(path)).info
    faults = [fault for split in info.splits.values() for fault in _faults(split)]
    if faults:
        raise ValueError(
            "the dataset is damaged:\n- " + "\n- ".join(faults) + f"\n{_remedy(path)}"
        )


def unreadable(path: Path, split: Any, position: int) -> ValueError:
    """The error of a record that can't be read, with its shard and what to do.

    Args:
        path: folder of the dataset.
        split: TFDS's SplitInfo.
        position: of the record within the split, from 0.
    """
    ends = np.cumsum(split.shard_lengths)
    shard = int(np.searchsorted(ends, position, side="right"))
    record = position - int(ends[shard]) + split.shard_lengths[shard]
    return ValueError(
        f"record {record} (from 0) of {_files(split)[shard].name} can't be read, the "
        f"file is damaged or gone: {_remedy(path)}"
    )


def _faults(split: Any) -> Iterator[str]:
    files = _files(split)
    present = [file for file in files if file.is_file()]
    yield from (f"{file.name} is missing" for file in files if file not in present)
    # the info has one number for all shards of a split
    written, found = int(split.num_bytes), sum(f.stat().st_size for f in present)
    if len(present) < len(files) or found == written:
        return
    cut = [
        file.name
        for file, records in zip(files, split.shard_lengths, strict=True)
        if _records(file) != records
    ]
    names = ", ".join(cut) or f"one of {files[0].name} to {files[-1].name}"
    yield f"{names}: {found} bytes in split {split.name}, {written} were written"


def _records(file: Path) -> int:
    """How many records a shard holds; -1: it can't be opened."""
    from array_record.python.array_record_module import ArrayRecordReader

    try:
        reader = ArrayRecordReader(str(file))
        records = reader.num_records()
        reader.close()
    except (RuntimeError, ValueError):  # cut off within its index
        return -1
    return records


def _files(split: Any) -> list[Path]:
    return [Path(file) for file in split.filepaths]


def _remedy(path: Path) -> str:
    return f"delete the folder {path} and build the dataset again"
