"""Shards: the pieces of a dataset, each of them finished or absent.

A shard is an array_record file with its account beside it. Both are written aside and
renamed, the account first: where the file exists, the shard is finished and is not made
again.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from array_record.python.array_record_module import ArrayRecordWriter

from data.cxr_registry.build import encode
from data.cxr_registry.build.options import BuildOptions
from data.cxr_registry.guard import atomic
from data.cxr_registry.tables import records

_BYTES = 1 << 28  # of raw pixels in a shard, about 130 MB as PNG
# A killed build loses one shard's work at most; fewer images are not worth a file.
_MAX_IMAGES, _MIN_IMAGES = 512, 16


class Shard(NamedTuple):
    """Some studies of one split, in the order in which they are written."""

    number: int  # counted over all splits
    split: str
    studies: tuple[records.Study, ...]

    @property
    def file(self) -> str:
        return f"{self.number:05d}.array_record"


class Written(NamedTuple):
    """What the account keeps of a written example."""

    row: int
    digest: str  # of what a model can learn from, see encode.digest
    pixels: str  # SHA-256 of the PNG
    source: str  # what set the brightness, see grayscale.BrightnessTable
    modality: str
    view: str
    sex: str
    age_band: str


class Account(NamedTuple):
    """What became of the studies of one shard."""

    written: list[Written]
    refused: list[encode.Refused]


def max_images(options: BuildOptions) -> int:
    """How many images a shard holds at most."""
    image_bytes = options.side * options.side * options.bits // 8
    return min(_MAX_IMAGES, max(_MIN_IMAGES, _BYTES // image_bytes))


def cut(
    studies: Iterable[records.Study],
    split_of: Mapping[int, str],
    splits: Sequence[str],
    *,
    images: int,
) -> tuple[Shard, ...]:
    """Cuts the studies into shards: split after split, rows ascending in each.

    Args:
        studies: of the registry.
        split_of: row -> split.
        splits: their order.
        images: that a shard holds at most.
    """
    by_split: dict[str, list[records.Study]] = {name: [] for name in splits}
    for study in sorted(studies, key=lambda study: study.row):
        by_split[split_of[study.row]].append(study)
    pieces = [
        (name, tuple(members[start : start + images]))
        for name, members in by_split.items()
        for start in range(0, len(members), images)
    ]
    return tuple(Shard(number, *piece) for number, piece in enumerate(pieces))


def missing(folder: Path, shards: Iterable[Shard]) -> list[Shard]:
    """The shards to make: those absent, or with a study whose process was lost."""
    return [
        shard
        for shard in shards
        if not is_finished(folder, shard)
        or any(study.is_lost for study in read_account(folder, shard).refused)
    ]


def is_finished(folder: Path, shard: Shard) -> bool:
    return (folder / shard.file).exists()


def write(
    folder: Path,
    shard: Shard,
    results: Iterator[encode.Encoded | encode.Refused],
    serialize: Callable[[Mapping[str, Any]], bytes],
) -> None:
    """Takes the shard's results off the iterator and writes its file and account.

    Args:
        folder: of all shards.
        shard: the one to write.
        results: of its studies, in order; those of later shards may follow.
        serialize: an example to the bytes of its record.
    """
    account = Account([], [])
    file = folder / shard.file
    folder.mkdir(parents=True, exist_ok=True)
    # two workers may race for a shard: both write the same bytes, each its own draft
    with atomic.replacing(file) as draft:
        writer = ArrayRecordWriter(str(draft), "group_size:1")
        for _ in shard.studies:
            result = next(results)
            if isinstance(result, encode.Refused):
                account.refused.append(result)
            else:
                writer.write(serialize(result.example))
                account.written.append(_describe(result, shard.split))
        writer.close()
        with atomic.replacing(_account_file(file)) as account_draft:
            account_draft.write_text(json.dumps(account._asdict()))
            atomic.sync(draft, account_draft)


def read_account(folder: Path, shard: Shard) -> Account:
    """The account of a finished shard."""
    lines = json.loads(_account_file(folder / shard.file).read_text())
    return Account(
        [Written(*line) for line in lines["written"]],
        [encode.Refused(*line) for line in lines["refused"]],
    )


def _account_file(file: Path) -> Path:
    return file.with_suffix(".json")


def _describe(result: encode.Encoded, split: str) -> Written:
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
