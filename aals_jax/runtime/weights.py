"""Files of weights: `.safetensors` and `.npz`, and no pickle.

A pickle is a program: reading one runs it. So one is refused by its name, and converted
where PyTorch is at hand.
"""

import dataclasses
import functools
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from aals_jax.runtime import files

KINDS = (".safetensors", ".npz")
CONVERSION = """\
python -c "import sys, torch, safetensors.torch as s; s.save_file({k: v.contiguous() \
for k, v in torch.load(sys.argv[1], 'cpu', weights_only=True).items()}, sys.argv[2])" \
IN.pth OUT.safetensors"""


@dataclasses.dataclass(frozen=True)
class Origin:
    """Which weights a file holds, wherever it lies."""

    sha256: str  # of the whole file, 64 hex digits
    source: str  # as the file's metadata say it; "" where they don't
    license: str  # likewise
    metadata: Mapping[str, str]  # all of them


def check_kind(path: Path) -> None:
    """Raises ValueError for a name that is of no file of weights, or of none here."""
    if path.suffix.lower() not in KINDS:
        raise ValueError(
            f"{path}: weights are read from {' and '.join(KINDS)}; pickles (.pth, .pt, "
            ".bin, .ckpt, .pkl, .npy) are programs and are not opened. Convert the "
            f"file where PyTorch is at hand (docs/pretrained.md):\n{CONVERSION}"
        )
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")


def origin(path: Path) -> Origin:
    """What identifies a file of weights.

    Of safetensors, source and licence are the metadata `source` and `license`.

    Raises:
      ValueError: as `read`.
    """
    check_kind(path)
    status = path.stat()
    return _origin(path.absolute(), status.st_size, status.st_mtime_ns)


@functools.lru_cache
def _origin(path: Path, size: int, changed_ns: int) -> Origin:
    """Hashed once for each state of the file."""
    said: dict[str, str] = {}
    if path.suffix.lower() == ".safetensors":
        try:
            with safetensors.safe_open(path, framework="numpy") as file:
                said = file.metadata() or {}
        except safetensors.SafetensorError as error:
            raise _damaged(path, error) from None
    source, license = said.get("source", ""), said.get("license", "")
    return Origin(files.sha256(path), source, license, said)


def shapes(path: Path) -> Mapping[str, tuple[int, ...]]:
    """The shapes of a file's arrays by their names; of safetensors no array is read.

    Raises:
      ValueError: as `read`.
    """
    check_kind(path)
    if path.suffix.lower() != ".safetensors":
        return {name: array.shape for name, array in read(path).items()}
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            names = file.keys()
            return {name: tuple(file.get_slice(name).get_shape()) for name in names}
    except safetensors.SafetensorError as error:
        raise _damaged(path, error) from None


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by their names, in the file's types.

    Raises:
      ValueError: a name of another kind, no file, a damaged one, or one with objects.
    """
    check_kind(path)
    try:
        if path.suffix.lower() == ".safetensors":
            with safetensors.safe_open(path, framework="numpy") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        # opened here: NumPy leaves a file open that it can't read
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (safetensors.SafetensorError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, error) from None
    except (ValueError, EOFError, OSError, TypeError, AttributeError) as error:
        # NumPy's own words for objects, for what is no archive and for one cut short
        raise _damaged(path, error) from None
    strange = [n for n, array in arrays.items() if not isinstance(array, np.ndarray)]
    if strange:
        raise ValueError(
            f"{path}: not an archive of NumPy's arrays, {len(strange)} of its "
            f"{len(arrays)} members are something else; a renamed .pth is refused as "
            f"such. Convert it where PyTorch is at hand (docs/pretrained.md):\n"
            f"{CONVERSION}"
        )
    return arrays


def write(
    path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Writes a `.safetensors` file, whole or not at all: same arrays, same bytes.

    Args:
      path: of the file.
      arrays: by name.
      metadata: texts, such as `source` and `license`, which `origin` reads.
    """
    plain = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    content = safetensors.numpy.save(plain)
    # the library writes metadata in the order of a hash, which differs between calls
    (size,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + size])
    said = {name: metadata[name] for name in sorted(metadata)}
    text = json.dumps({"__metadata__": said, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # arrays begin at a multiple of 8
    files.write_bytes(path, struct.pack("<Q", len(text)) + text + content[8 + size :])


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path}: can't be read as {path.suffix.lower()}: damaged, of another kind, or "
        f"with objects in it ({' '.join(str(error).split())})"
    )
