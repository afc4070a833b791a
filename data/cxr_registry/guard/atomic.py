"""Files that are whole or absent, whenever the process is killed."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to; at the end it is renamed to `path`.

    The draft's name is hidden and its own: of two processes that write the same file
    at once, the last one wins with a whole file. After an exception the draft is
    removed and `path` is what it was.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def sync(*paths: Path) -> None:
    """Waits until files and folders are on the disk.

    To be called before a rename: a power cut must not leave a named but empty file.
    """
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
