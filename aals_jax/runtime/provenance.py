"""Which code and which packages made a result."""

import contextlib
import hashlib
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

DISCLAIMER = "Research only, not a medical device."


PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "tensorflow-datasets",
    "array-record",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "pydicom",
    "ml-collections",
)


def versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in PACKAGES}


def versions_of(packages: Sequence[str]) -> dict[str, str]:
    """Package -> its version, of those that are installed."""
    found = {}
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def commit() -> str:
    """The code's commit, with `+changes` where the tree differs from it."""
    root = Path(__file__).parents[2]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    try:
        head = git("rev-parse", "HEAD")
        return head + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def code_digest() -> str:
    """Of the project's own Python files, as they are on disk; 12 hex digits."""
    root = Path(__file__).parents[2]
    sha = hashlib.sha256()
    for folder in ("aals_jax", "configs", "data"):
        for path in sorted((root / folder).rglob("*.py")):
            sha.update(f"{path.relative_to(root)}".encode())
            sha.update(path.read_bytes())
    return sha.hexdigest()[:12]
