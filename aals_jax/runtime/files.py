"""Files of JSON, text and bytes that are whole or absent, whenever a kill comes."""

import contextlib
import json
from pathlib import Path
from typing import Any

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


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file; a line cut off by a kill is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows
