"""The table of a dataset's images as a file beside it: its records are read once.

A run needs what each record says but its pixels. Reading 65,845 records would take half
a minute at every start, on every host.
"""

import contextlib
import io
from pathlib import Path

import numpy as np

from aals_jax.runtime import digest, files

_VERSION = 1  # of what a table holds
_KEY, _DIGEST, _LENGTHS = "key", "digest", "box_counts"


def path_of(folder: Path, finding: str) -> Path:
    """Where the table of a finding lies, beside a dataset's shards."""
    return folder / f".table-{finding}.npz"


def write(path: Path, columns: dict[str, np.ndarray], *, data_hash: str) -> None:
    """Writes columns; leaves it where the folder can't be written to.

    Args:
      path: see `path_of`.
      columns: arrays of n; `boxes` is an object[n] of f32[k, 4].
      data_hash: of the dataset.
    """
    boxes = columns["boxes"]
    arrays = columns | {
        "boxes": np.concatenate([np.zeros((0, 4), np.float32), *boxes]),
        _LENGTHS: np.array([len(of_image) for of_image in boxes], np.int64),
        _KEY: np.array(_key(data_hash)),
    }
    arrays[_DIGEST] = np.array(digest.of_tree(arrays))
    with contextlib.suppress(OSError):  # a dataset may be read-only
        files.write_npz(path, arrays)


def read(path: Path, *, data_hash: str) -> dict[str, np.ndarray] | None:
    """The columns of `write`; None: there are none, they are damaged, or they belong to
    other data."""
    try:
        with np.load(io.BytesIO(path.read_bytes())) as stored:
            arrays = {name: stored[name] for name in stored.files}
        if str(arrays.pop(_DIGEST)) != digest.of_tree(arrays):
            return None
        if str(arrays.pop(_KEY)) != _key(data_hash):
            return None
        starts = np.cumsum(arrays.pop(_LENGTHS))[:-1]
    except Exception:  # a damaged archive raises whatever the flipped bit suggests
        return None
    split = np.split(arrays["boxes"], starts) if len(arrays["label"]) else []
    boxes = np.empty(len(split), object)
    for i, of_image in enumerate(split):
        boxes[i] = of_image
    return arrays | {"boxes": boxes}


def _key(data_hash: str) -> str:
    return f"{_VERSION} {data_hash}"
