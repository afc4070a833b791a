"""Shards: the unit of a build that is finished or not there, on any machine.

A shard is an array_record file and a report beside it. It is written aside and renamed,
the file last: where the file is, its report is, and nothing of it is done again.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from array_record.python.array_record_module import ArrayRecordWriter

from data.cxr_registry.build import encode, staging
from data.cxr_registry.tables import records

_BYTES = 1 << 28  # of raw pixels a shard, about 130 MB as PNG
_MOST, _LEAST = 512, 16  # images: what a kill costs, and what a file is worth


class Shard(NamedTuple):
    """Some studies of one split, in the order in which they are written."""

    number: int  # over all splits
    split: str
    studies: tuple[records.Study, ...]

    @property
    def file(self) -> str:
        return f"{self.number:05d}.array_record"


class Written(NamedTuple):
    """What the account keeps of an example."""

    row: int
    digest: str  # of what a model can learn from, see encode.digest
    pixels: str  # SHA-256 of the PNG
    source: str  # what set the brightness, see grayscale.Table
    modality: str
    view: str
    sex: str
    age_band: str


class Report(NamedTuple):
    """The account of one shard."""

    written: list[Written]
    refused: list[encode.Refused]


def images_of(options: encode.Options) -> int:
    """Images a shard."""
    image_bytes = options.side * options.side * options.bits // 8
    return min(_MOST, max(_LEAST, _BYTES // image_bytes))


def cut(
    studies: Iterable[records.Study],
    split_of: Mapping[int, str],
    splits: Sequence[str],
    *,
    images: int,
) -> tuple[Shard, ...]:
    """The studies, split after split in the order of their rows, in shards.

    Args:
        studies: of the registry.
        split_of: row -> split.
        splits: their order.
        images: a shard at most.
    """
    by_split: dict[str, list[records.Study]] = {name: [] for name in splits}
    for study in sorted(studies, key=lambda study: study.row):
        by_split[split_of[study.row]].append(study)
    pieces = [
        (name, tuple(found[start : start + images]))
        for name, found in by_split.items()
        for start in range(0, len(found), images)
    ]
    return tuple(Shard(number, *piece) for number, piece in enumerate(pieces))


def missing(folder: Path, shards: Iterable[Shard]) -> list[Shard]:
    """Those to make: not there, or with a study whose process was lost before."""
    return [
        shard
        for shard in shards
        if not is_finished(folder, shard)
        or any(one.is_lost for one in read_report(folder, shard).refused)
    ]


def is_finished(folder: Path, shard: Shard) -> bool:
    return (folder / shard.file).exists()


def write(
    folder: Path,
    shard: Shard,
    results: Iterator[encode.Encoded | encode.Refused],
    serialise: Callable[[Mapping[str, Any]], bytes],
) -> None:
    """Takes the shard's results off the iterator and writes file and report.

    Args:
        folder: of all shards.
        shard: the one to write.
        results: of its studies, in order, and perhaps of further ones.
        serialise: an example to the bytes of its record.
    """
    report = Report([], [])
    file = folder / shard.file
    folder.mkdir(parents=True, exist_ok=True)
    # two workers may race for a shard: both write the same bytes, each its own draft
    draft = folder / f".{shard.file}.{secrets.token_hex(4)}"
    writer = ArrayRecordWriter(str(draft), "group_size:1")
    for _ in shard.studies:
        result = next(results)
        if isinstance(result, encode.Refused):
            report.refused.append(result)
        else:
            writer.write(serialise(result.example))
            report.written.append(_account(result, shard.split))
    writer.close()
    aside = draft.with_suffix(".json")
    aside.write_text(json.dumps(report._asdict()))
    staging.sync(draft, aside)
    os.replace(aside, _report_file(file))
    os.replace(draft, file)


def read_report(folder: Path, shard: Shard) -> Report:
    """The account of a finished shard."""
    lines = json.loads(_report_file(folder / shard.file).read_text())
    return Report(
        [Written(*line) for line in lines["written"]],
        [encode.Refused(*line) for line in lines["refused"]],
    )


def _report_file(file: Path) -> Path:
    return file.with_suffix(".json")


def _account(result: encode.Encoded, split: str) -> Written:
    example = result.example
    return Written(
        row=example["row"],
        digest=encode.digest(example, split),
        pixels=hashlib.sha256(example["image"]).hexdigest(),
        source=result.source,
        modality=result.modality,
        view=example["view"],
        sex=example["sex"],
        age_band=example["age_band"],
    )
