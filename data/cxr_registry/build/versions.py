"""Versions that the bytes of a dataset depend on: of its form and of the packages."""

import hashlib
import importlib.metadata
import json
import platform

FEATURES = "1.1.0"  # TFDS's version of the features; raise FORMAT with it
FORMAT = 7  # of the bytes of a dataset; another number gives it another name

_PACKAGES = (
    "imagecodecs",
    "numpy",
    "opencv-python-headless",
    "pydicom",
    "tensorflow-datasets",
    "array_record",
)


def of_packages() -> dict[str, str]:
    """Name -> version, of Python and of the packages that the bytes depend on."""
    packages = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **packages}


def digest() -> str:
    """Eight hexadecimal digits that change with any of these versions."""
    return hashlib.sha256(json.dumps(of_packages()).encode()).hexdigest()[:8]
