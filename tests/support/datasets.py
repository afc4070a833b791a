"""Small datasets built from the registries of the tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from data.cxr_registry.build import builds
from data.cxr_registry.build.options import BuildOptions


def options(root: Path, folder: Path, **changes: Any) -> BuildOptions:
    """Options for ribs at 64 pixels in this process; data and key lie in `folder`."""
    defaults = {
        "data_dir": folder / "data",
        "key_file": folder / "key",
        "findings": ("rib",),
        "side": 64,
        "workers": 0,
    }
    return BuildOptions(registry=root, **(defaults | changes))


def build(
    root: Path,
    folder: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
    **changes: Any,
) -> Path:
    """The dataset of these options."""
    return builds.build(options(root, folder, **changes), progress=progress)


def contents(folder: Path) -> dict[str, bytes]:
    """Path below the folder -> bytes, of all files."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
