"""Keyed pseudonyms: one for each patient, and no way back without the key.

A hash without a key is undone by hashing all record numbers; HMAC is not. The key lies
outside the dataset and is never logged. docs/privacy.md says how to keep it, and
`keys.py` makes another one.
"""

import hmac
import os
import secrets
import stat
from pathlib import Path

from data.cxr_registry.guard import atomic

_KEY_BYTES = 32
_SHOWN_BYTES = 16  # of 32: two collide among 2**64 patients, not before


def load_or_create_key(path: Path, *, needed_by: str = "") -> bytes:
    """Reads the key file, or makes one where no key is needed yet.

    Args:
        path: the key file, outside the dataset.
        needed_by: what was made with this key and would not fit a new one. With ""
            a missing key is made.

    Returns:
        32 bytes.

    Raises:
        FileNotFoundError: the key is missing and needed.
        PermissionError: others than the owner could read or replace it.
        ValueError: the file holds no key.
    """
    if not os.path.lexists(path):
        if needed_by:
            raise FileNotFoundError(
                f"the key file is missing, and needed by {needed_by}: restore it, or "
                "make a new one with python -m data.cxr_registry.keys new "
                "--key_file FILE; a new key means new pseudonyms"
            )
        create_key(path)
    return load_key(path)


def create_key(path: Path) -> None:
    """Makes a key that only its owner can read; keeps one that is there already."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(secrets.token_hex(_KEY_BYTES) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.link(draft, path)  # fails where another process was first
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def load_key(path: Path) -> bytes:
    """Reads a key and checks who else could read it; see `load_or_create_key`."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ValueError(
            "the key file is a link or not a regular file; give the path of the file "
            "itself"
        )
    folder = path.resolve().parent.stat().st_mode
    if folder & stat.S_IWOTH and not folder & stat.S_ISVTX:
        raise PermissionError(
            "the folder of the key file is writable by others, who could replace the "
            "key; chmod o-w it"
        )
    if path.stat().st_mode & 0o077:
        raise PermissionError("the key file is readable by others; chmod 600 it")
    try:
        key = bytes.fromhex(path.read_text().strip())
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ValueError(
            f"the key file does not hold {_KEY_BYTES} bytes as hexadecimal digits; "
            "give another path, or restore it: a new key means new pseudonyms"
        )
    return key


def pseudonym(key: bytes, kind: str, value: str) -> str:
    """HMAC-SHA256 of a value, 32 hexadecimal digits.

    Args:
        key: from `load_or_create_key`.
        kind: "patient", "image", ...; equal values of two kinds are unrelated.
        value: the identifier.
    """
    message = f"{kind}\0{value}".encode()
    return hmac.new(key, message, "sha256").hexdigest()[: 2 * _SHOWN_BYTES]


def check_key(path: Path, key: bytes) -> None:
    """Checks that a key is the one that the datasets here were made with.

    Args:
        path: file with a value made with the first key, from which the key can't be
            found; written where it is missing.
        key: of this build.

    Raises:
        ValueError: it is another key.
    """
    expected = pseudonym(key, "check", "")
    if not path.exists():
        with atomic.replacing(path) as draft:
            draft.write_text(expected + "\n")
    elif not hmac.compare_digest(path.read_text().strip(), expected):
        raise ValueError(
            "the key is not the one that the datasets in data_dir were made with: give "
            "that key_file, or another data_dir (docs/privacy.md on rotation)"
        )
