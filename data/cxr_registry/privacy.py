"""Keyed pseudonyms: the same patient the same name, and no way back without the key.

An unkeyed hash of a record number is undone by hashing all record numbers; HMAC is
not. The key lives outside the dataset and is never logged.
"""

import hmac
import os
import secrets
from pathlib import Path

_KEY_BYTES = 32
_SHOWN_BYTES = 16  # of the 32: 2**64 patients before two are expected to collide


def load_or_create_key(path: Path) -> bytes:
    """Reads the key file, or makes one that only its owner can read.

    Args:
        path: the key file, outside the dataset.

    Returns:
        32 bytes.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as stream:
            stream.write(secrets.token_hex(_KEY_BYTES) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(draft, path)  # fails where another process was first
        except FileExistsError:
            pass
        finally:
            draft.unlink()
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
