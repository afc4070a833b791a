"""The folder of a model that is handed over: what is in it, and whether it is whole.

manifest.json is written last and holds a SHA-256 of every other file. Loading checks
all of them first, and tells all that is wrong at once.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flax import traverse_util

from aals_jax.handover import preprocessing
from aals_jax.handover.preprocessing import Preprocessing
from aals_jax.metrics.sigmoid import Sigmoid
from aals_jax.runs import identity
from aals_jax.runtime import files, log, provenance, weights
from aals_jax.types import Variables

FORMAT = 1  # of the folder; raised when a file changes its meaning or goes
MANIFEST = "manifest.json"
CARD = "README.md"
WEIGHTS = "weights.safetensors"
CONFIG = "config.json"
PREPROCESSING = "preprocessing.json"
POINTS = "operating_points.json"
CALIBRATION = "calibration.json"
METRICS = "metrics.json"
DATA = "data.json"
_NEEDED = (
    CARD, WEIGHTS, CONFIG, PREPROCESSING, POINTS, CALIBRATION, METRICS, DATA
)  # fmt: skip
_AGAIN = "fetch the folder again from where it came, or export the run again"


class NotWhole(ValueError):
    """A folder that holds no model, another one than its manifest says, or one of
    another version."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """A model that was handed over and found whole."""

    name: str  # a key of types.MODELS
    digest: str  # SHA-256 of the manifest, in hex: it stands for all that is in there
    config: Any  # of the run it came from
    variables: Variables
    preprocessing: Preprocessing
    points: Sequence[Mapping[str, Any]]  # as result.json has them
    calibration: Sigmoid | None
    calibration_reason: str  # why there is none; "" where there is one

    @property
    def finding(self) -> str:
        return self.config.finding

    @property
    def title(self) -> str:
        """What it is called where there is room for some words."""
        return f"{self.finding}, {self.config.method} {self.name}"


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Seals the folder: versions, and a digest of every file that is in it.

    Args:
        folder: with all other files.
        facts: what else it says, by name.
    """
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.name != MANIFEST
    )
    files.write_json(
        folder / MANIFEST,
        {
            "format": FORMAT,
            "disclaimer": provenance.DISCLAIMER,
            "run_version": identity.VERSION,
            "versions": provenance.versions(),
            "commit": provenance.commit(),
            "files": {
                name: {
                    "sha256": files.sha256(folder / name),
                    "bytes": (folder / name).stat().st_size,
                }
                for name in names
            },
            **facts,
        },
    )


def check(folder: Path) -> dict[str, Any]:
    """The manifest of a folder that is whole.

    Raises:
        NotWhole: with everything that is wrong, and what to do.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise NotWhole(
            f"{folder} holds no model: it has no {MANIFEST}; make one with "
            "--mode=export --workdir RUN --out MODEL"
        )
    try:
        manifest = json.loads(path.read_text())
        format_, listed = manifest["format"], manifest["files"]
        digests = {name: entry["sha256"] for name, entry in listed.items()}
        run_version, versions = manifest["run_version"], dict(manifest["versions"])
        if not isinstance(manifest["model"], str):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise NotWhole(f"{path} is damaged: {_AGAIN}") from None
    if format_ != FORMAT:
        raise NotWhole(
            f"{folder} is of format {format_}, and this version reads {FORMAT}: use "
            "the version that its manifest.json names, or export the run again"
        )
    problems = [
        f"{name}: is not in the manifest" for name in _NEEDED if name not in digests
    ]
    for name, expected in digests.items():
        file = folder / name
        if not file.resolve().is_relative_to(folder.resolve()):
            problems.append("a name in the manifest leads out of the folder")
        elif not file.is_file():
            problems.append(f"{name}: is missing")
        elif files.sha256(file) != expected:
            problems.append(f"{name}: is not what was exported (SHA-256 differs)")
    if problems:
        raise NotWhole(f"{folder} is not whole; {_AGAIN}:\n- " + "\n- ".join(problems))
    if run_version != identity.VERSION:
        raise NotWhole(
            f"{folder} computes by version {run_version} of the run, and this is "
            f"{identity.VERSION}: the maps would not be those that were measured. Use "
            f"the commit {manifest.get('commit')}, or export a run of this version"
        )
    _compare_versions(versions)
    return manifest


def _compare_versions(made_with: Mapping[str, str]) -> None:
    """Says which packages differ that could change a map."""
    here = provenance.versions()
    differing = [
        f"{name} {made_with[name]} there, {here[name]} here"
        for name in ("jax", "jaxlib", "flax", "opencv-python-headless", "numpy")
        if name in made_with and made_with[name] != here[name]
    ]
    if differing:
        log.warning(
            "the model was exported with other versions, so that maps may differ in "
            "their last digits: %s",
            "; ".join(differing),
        )


def load(folder: Path, *, load_config: Callable[[dict], Any]) -> Model:
    """The model of a folder, checked first.

    Args:
        folder: of `export.export`.
        load_config: what makes a config of a nested dict.

    Raises:
        NotWhole: as `check`.
    """
    manifest = check(folder)

    def read(name: str) -> Any:
        return json.loads((folder / name).read_text())

    calibration = read(CALIBRATION)
    fitted = calibration["fitted"]
    return Model(
        name=manifest["model"],
        digest=files.sha256(folder / MANIFEST),
        config=load_config(read(CONFIG)),
        variables=unflatten(weights.read(folder / WEIGHTS)),
        preprocessing=preprocessing.of_json(read(PREPROCESSING)),
        points=read(POINTS),
        calibration=None if fitted is None else Sigmoid(**fitted),
        calibration_reason=calibration.get("reason", ""),
    )


def flatten(variables: Variables) -> dict[str, Any]:
    """Arrays by names such as `params/backbone/stem/conv/kernel`."""
    return traverse_util.flatten_dict(variables, sep="/")


def unflatten(arrays: Mapping[str, Any]) -> Variables:
    """The inverse of `flatten`."""
    return traverse_util.unflatten_dict(dict(arrays), sep="/")
