"""Which fields of a config decide what comes out: a run's identity.

A workdir belongs to one identity, and a trial of a sweep is named by a digest of it.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flax import traverse_util

from aals_jax.method.methods import METHODS
from aals_jax.models import vit, vit_weights
from aals_jax.models.encoders import ENCODERS
from aals_jax.runtime import weights

# Version of the computation. Raise it whenever the same config gives other bytes, such
# as other last bits of the initial weights: no run is then continued in a workdir that
# another version began. 2: see runtime.devices.jit_for_one_call. 3: the faster step.
# 4: augmentation's noise by `augment.normal_numbers`.
VERSION = 4

# Fields that say where and how fast, not what: they may differ between two calls.
MACHINE_FIELDS = (
    "data.dir",
    "data.key_file",
    "data.parts_file",  # what it says is in the dataset's hash
    "data.workers",
    "data.timeout_s",
    "data.memory_gib",
    "data.beam",
    "data.threads",
    "model.pretrained",  # what is in the file counts: its hash
    "profile.first",
    "profile.last",
)


def of(config: Any) -> dict[str, Any]:
    """The config as nested dicts, without the fields that don't change what comes out.

    Idempotent: a ConfigDict built from an identity has that same identity.

    Args:
      config: a ConfigDict. The file of initial weights that it names is hashed.

    Raises:
      ValueError: that file can't be read, or is another one than the config says.
    """
    fields = json.loads(config.to_json_best_effort())
    model = fields["model"]
    if model.get("pretrained"):
        origin = _origin(model)
        model |= _initial_weights(model, origin)
        if is_frozen(config):
            fields["vit"] = _vit(model, fields["vit"], origin.metadata)
    if not is_frozen(config):
        fields.pop("vit", None)
    # absent already when the config was loaded from config.json
    for name in MACHINE_FIELDS:
        section, field = name.split(".")
        fields.get(section, {}).pop(field, None)
        if not fields.get(section, True):  # nothing in it decides what comes out
            del fields[section]
    if config.method in METHODS and METHODS[config.method].head == "map":
        fields.pop("boxes", None)  # read by heads of boxes alone
    fields["registry"] = "registry" if config.registry else None
    return fields


def is_frozen(config: Any) -> bool:
    """Whether the net's encoder comes from a file and never learns."""
    row = ENCODERS.get(config.model.backbone)
    return row is not None and row.frozen


def _origin(model: Mapping[str, Any]) -> weights.Origin:
    """Of the file that the section names; checked to be the one that it means."""
    origin = weights.origin(Path(model["pretrained"]))
    expected = model["pretrained_sha256"]
    if expected not in ("", origin.sha256):
        raise ValueError(
            f"{model['pretrained']} has the SHA-256 {origin.sha256}, and "
            f"model.pretrained_sha256 is {expected}: it is another file"
        )
    return origin


def _initial_weights(
    model: Mapping[str, Any], origin: weights.Origin
) -> dict[str, str]:
    """The fields of the section that say which weights a run starts from.

    Where the config says nothing of source and licence, the file's metadata do.
    """
    return {
        "pretrained_sha256": origin.sha256,
        "pretrained_source": model["pretrained_source"] or origin.source,
        "pretrained_license": model["pretrained_license"] or origin.license,
    }


def _vit(
    model: Mapping[str, Any], section: Mapping[str, Any], metadata: Mapping[str, str]
) -> dict[str, Any]:
    """What the ViT of a file is, for the config; see `vit.Architecture`."""
    path = model["pretrained"]
    try:
        colours = {
            name: tuple(section[name]) or _colours(metadata, f"image_{name}")
            for name in ("mean", "std")
        }
        given = {name: values for name, values in colours.items() if values}
        return vit_weights.architecture(
            weights.shapes(Path(path)), heads=section["heads"], **given
        ).as_json()
    except ValueError as error:
        raise ValueError(f"model.pretrained={path}: {error}") from None


def _colours(metadata: Mapping[str, str], name: str) -> tuple[float, ...]:
    """Three numbers of a file's metadata; none where it does not say them."""
    if name not in metadata:
        return ()
    try:
        values = tuple(float(value) for value in json.loads(metadata[name]))
    except (ValueError, TypeError):
        values = ()
    if not vit.are_colours(values, positive=name == "image_std"):
        raise ValueError(
            f"the file's metadata {name} are not [number, number, number]"
            f"{' above 0' if name == 'image_std' else ''}: say vit.{name[6:]}"
        )
    return values


def differences(there: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The fields in which two identities differ, in words, sorted.

    Args:
      there: the identity that a workdir belongs to.
      now: the identity asked for.
    """
    fields_there, fields_now = LATER | flat(there), LATER | flat(now)
    return sorted(
        f"{name}: {_shown(name, fields_there)} there, {_shown(name, fields_now)} now"
        for name in fields_there.keys() | fields_now.keys()
        if _shown(name, fields_there) != _shown(name, fields_now)
    )


def _shown(name: str, fields: dict[str, Any]) -> str:
    return repr(fields[name]) if name in fields else "no such field"


# Fields that came later, each with the value at which a run is what it was before: a
# digest leaves them out there, so that the names of finished trials stay.
LATER = {
    "data.reports.labels": None,
    "phantom.region_images": None,
    "batch.accumulate": 1,
    "model.remat": False,
    "model.dropout": 0.0,
    "model.densenet": "narrow",
    "augment.gamma": 0.0,
    "augment.erase": 0.0,
    "distill.balance": "term",
    "distill.start": "student",
    "distill.teacher_view": "method",
    "distill.pooled_weight": 0.1,
    "distill.region_share": 0.01,
    "distill.focus": 2.0,
    "distill.dead_share": 0.0,
    "model.pretrained_sha256": "",
    "model.pretrained_source": "",
    "model.pretrained_license": "",
    "model.frozen_stages": 0,
    "model.frozen_norm": False,
    "pretrain.backbone_rate": 1.0,
    "pretrain.layer_decay": 1.0,
    "pretrain.head_steps": 0,
    "distill.backbone_rate": 1.0,
    "distill.layer_decay": 1.0,
    "distill.head_steps": 0,
    "evaluation.detections": "peaks",
}


def digest(fields: Any) -> str:
    """A name for JSON-like fields, 12 hex digits: equal fields, equal name."""
    text = json.dumps(_settled(fields), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _settled(fields: Any, prefix: str = "") -> Any:
    """Nested or flat fields without those of LATER that change nothing."""
    if not isinstance(fields, dict):
        return fields
    return {
        name: _settled(value, f"{prefix}{name}.")
        for name, value in fields.items()
        if f"{prefix}{name}" not in LATER or value != LATER[f"{prefix}{name}"]
    }


def completed(fields: dict[str, Any]) -> dict[str, Any]:
    """The nested fields of a run, with those of LATER that it was begun without."""
    return traverse_util.unflatten_dict(LATER | flat(fields), sep=".")


def flat(fields: dict[str, Any]) -> dict[str, Any]:
    """Nested fields by their dotted names.

    >>> flat({"seed": 0, "data": {"side": 192, "reports": {"read": "auto"}}})
    {'seed': 0, 'data.side': 192, 'data.reports.read': 'auto'}
    """
    return traverse_util.flatten_dict(fields, sep=".")
