"""Which fields of a config decide what comes out: a run's identity."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

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
)


# Fields that the first runs did not have -> what they did, so that they go on. Their
# methods, aals and supervised, read none that is UNREAD.
UNREAD = object()


ADDED: Mapping[str, Any] = {
    "distill.ramp_share": UNREAD,
    "distill.ensemble_decay": UNREAD,
    "distill.ensemble_side": UNREAD,
    "distill.cell": UNREAD,
    "distill.box_weight": UNREAD,
    "distill.pool_sharpness": UNREAD,
    "distill.dead_zone": "leave",
    "distill.dead_zone_share": UNREAD,
    "distill.lesion_area": 0.0,
    "data.label_noise": 0.0,
    "data.keep_non_acute": False,
    "data.point_radius": 32.0,
    "data.reports.read": "auto",
    "data.reports.languages": ["en"],
    "data.reports.rules": None,
    "data.reports.silence": "negative",
}


def of(config: Any) -> dict[str, Any]:
    """The config without the fields that don't change what comes out."""
    fields = json.loads(config.to_json_best_effort())
    for name in MACHINE_FIELDS:
        section, field = name.split(".")
        fields[section].pop(field, None)  # a claimed config has none of them
    fields["registry"] = "registry" if config.registry else None
    return fields


def differences(there: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Fields of a run's identity that differ from those now, in words."""
    was, fields = flat(there), flat(now)
    was = {**{name: ADDED[name] for name in ADDED.keys() & fields.keys()}, **was}
    return sorted(
        f"{name}: {was.get(name)!r} there, {fields.get(name)!r} now"
        for name in was.keys() | fields.keys()
        if was.get(name) != fields.get(name) and was.get(name) is not UNREAD
    )


def digest(fields: Any) -> str:
    """A name for JSON-like fields: equal fields, equal name."""
    text = json.dumps(fields, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested fields by their dotted names."""
    made: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            made |= flat(value, f"{prefix}{name}.")
        else:
            made[prefix + name] = value
    return made
