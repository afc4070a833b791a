"""Files of JSON, text, arrays and bytes: whole or absent, whenever a kill comes."""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aals_jax.runtime import log
from data.cxr_registry.guard import atomic


def write_json(path: Path, value: Any) -> None:
    """Indented, keys sorted; a file that is there is replaced as a whole."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """As `write_bytes`, in UTF-8; line ends are kept as they are."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes aside, then renames: the file is whole, or what it was before."""
    with atomic.replacing(path) as draft:
        draft.write_bytes(content)


def write_npy(path: Path, array: np.ndarray) -> None:
    """As `write_bytes`: an array in NumPy's own format."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_bytes(path, buffer.getvalue())


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """As `write_bytes`: a compressed archive of arrays by name; same arrays and order,
    same bytes."""
    buffer = io.BytesIO()
    keywords: dict[str, Any] = dict(arrays)
    np.savez_compressed(buffer, **keywords)
    write_bytes(path, buffer.getvalue())


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file; a line that a kill cut off, or that is damaged, is left
    out, with a warning."""
    rows = []
    text = path.read_text(errors="replace") if path.exists() else ""
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            log.warning("%s: line %d is cut or damaged: left out", path.name, number)
    return rows
