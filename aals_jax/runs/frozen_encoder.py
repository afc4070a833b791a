"""A run's frozen encoder: its file, the copy in the workdir, its variables.

Its weights are in no state and in no checkpoint. A run keeps one copy of the file, so
that its models can be evaluated and exported without the path.
"""

import functools
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aals_jax.method.methods import METHODS
from aals_jax.models import encoders, vit, vit_weights
from aals_jax.models.pretrained import Report
from aals_jax.models.vit import Architecture
from aals_jax.runs import identity
from aals_jax.runtime import weights
from aals_jax.types import Variables
from data.cxr_registry.guard import atomic

_NAME = "encoder"  # of the copy, before the file's own suffix
# fields that say how an encoder learns, each with the value that says nothing
_UNREAD = {
    "model.stem_channels": 1,
    "model.frozen_stages": 0,
    "model.frozen_norm": False,
    "model.remat": False,
    **{
        f"{stage}.{name}": value
        for stage in ("pretrain", "distill")
        for name, value in {
            "backbone_rate": 1.0,
            "layer_decay": 1.0,
            "head_steps": 0,
        }.items()
    },
}


def architecture(config: Any) -> Architecture | None:
    """What the frozen encoder of a config is; None: its encoder learns.

    Raises:
      ValueError: its file can't be read, or is of no such encoder.
    """
    if not identity.is_frozen(config):
        return None
    return Architecture.of_json(identity.of(config)["vit"])


def variables(config: Any) -> Variables:
    """The collection of frozen variables, from `model.pretrained`; {}: none are.

    Raises:
      ValueError: the file can't be read, is another one than the config says, or does
        not fit; one error with all that does not.
    """
    return _load(config)[0] if identity.is_frozen(config) else {}


def report(config: Any) -> Report:
    """Which array of the file went where; of a config with a frozen encoder."""
    return _load(config)[1]


def _load(config: Any) -> tuple[Variables, Report]:
    return _loaded(Path(config.model.pretrained), identity.of(config))


def keep(config: Any, workdir: Path) -> None:
    """Copies the file of a frozen encoder into the workdir, where it is not yet."""
    if not identity.is_frozen(config):
        return
    path = Path(config.model.pretrained)
    copy = workdir / f"{_NAME}{path.suffix.lower()}"
    if copy.is_file() and weights.origin(copy).sha256 == weights.origin(path).sha256:
        return
    with atomic.replacing(copy) as draft:
        shutil.copyfile(path, draft)


def kept(fields: Mapping[str, Any], workdir: Path) -> Variables:
    """The collection of frozen variables of a run that was begun; {}: none are.

    Args:
      fields: the run's identity.
      workdir: of the run.

    Raises:
      ValueError: the copy is gone, or another file.
    """
    if "vit" not in fields:
        return {}
    for suffix in weights.KINDS:
        path = workdir / f"{_NAME}{suffix}"
        if path.is_file():
            return _loaded(path, fields)[0]
    raise ValueError(
        f"{workdir} has no copy of its frozen encoder, {_NAME}.safetensors or .npz: "
        f"put the file with the SHA-256 {fields['model']['pretrained_sha256']} there"
    )


def _loaded(path: Path, fields: Mapping[str, Any]) -> tuple[Variables, Report]:
    found = weights.origin(path).sha256
    expected = fields["model"]["pretrained_sha256"]
    if found != expected:
        raise ValueError(
            f"{path} has the SHA-256 {found}, and the run's encoder has {expected}: it "
            "is another file"
        )
    return _read(path, found, Architecture.of_json(fields["vit"]))


@functools.lru_cache(maxsize=1)  # read once for both stages
def _read(path: Path, sha256: str, of: Architecture) -> tuple[Variables, Report]:
    try:
        placed, said = vit_weights.place(weights.read(path), of)
    except ValueError as error:
        raise ValueError(f"model.pretrained={path}: {error}") from None
    return encoders.frozen_variables(placed), said


def warnings(config: Any) -> Iterator[str]:
    """What is allowed and may be an oversight, for the log."""
    found = architecture(config)
    if found is None:
        return
    for name, values in (("mean", found.mean), ("std", found.std)):
        if values == getattr(Architecture, name) and not tuple(config.vit[name]):
            yield (
                f"neither vit.{name} nor the file says how bright the encoder's images "
                f"were: ImageNet's {name} {values} is taken"
            )


def problems(config: Any) -> Iterator[str]:
    """What can't work in the fields of a frozen encoder; its file is not read."""
    if not identity.is_frozen(config):
        return
    name, section = config.model.backbone, config.vit
    if not config.model.pretrained:
        yield (
            f"model.backbone={name!r}: its weights never learn and come from a file; "
            "name it with model.pretrained"
        )
    method = METHODS.get(config.method)
    if method and method.classifier:
        yield (
            f"model.backbone={name!r}: method={config.method!r} has a net of its own "
            "(model.densenet); leave model.backbone as it is"
        )
    changed = [
        field
        for field, default in _UNREAD.items()
        if functools.reduce(lambda part, key: part[key], field.split("."), config)
        != default
    ]
    if changed:
        yield (
            f"model.backbone={name!r} never learns and gets three channels, so that "
            f"{', '.join(changed)} can do nothing: leave out"
        )
    if section.heads < 0:
        yield f"vit.heads={section.heads}: must be >= 1, or 0 for width / 64"
    for field in ("mean", "std"):
        values = tuple(section[field])
        if values and not vit.are_colours(values, positive=field == "std"):
            yield (
                f"vit.{field}={values}: must be three numbers"
                f"{' above 0' if field == 'std' else ''}, or () for the file's own"
            )
