"""What a config may say, and which of it decides what comes out."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from aals_jax import detection, parallel, steps, train
from aals_jax.models import resnet
from data.cxr_registry import text

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

# field -> (what must hold, in words)
LIMITS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "log_every": (lambda v: v >= 1, ">= 1"),
    "ema_decay": (lambda v: 0 <= v < 1, "at least 0, below 1"),
    "data.side": (lambda v: v >= 32 and v % 32 == 0, "a multiple of 32"),
    "data.bits": (lambda v: v in (8, 16), "8 or 16"),
    "data.workers": (lambda v: v >= 0, ">= 0"),
    "data.timeout_s": (lambda v: v > 0, "> 0"),
    "data.memory_gib": (lambda v: v > 0, "> 0"),
    "data.fold": (lambda v: 0 <= v < 5, "0 to 4"),
    "model.dtype": (lambda v: v in ("float32", "bfloat16"), "float32 or bfloat16"),
    "augment.scale": (lambda v: 0 < v[0] <= v[1], "two factors > 0, ascending"),
    "batch.region": (lambda v: v >= 1, ">= 1"),
    "batch.negative": (lambda v: v >= 1, ">= 1"),
    "batch.image_level": (lambda v: v >= 1, ">= 1"),
    "distill.max_strength": (lambda v: v >= 1, ">= 1"),
    "distill.center": (lambda v: 0 < v < 1, "between 0 and 1"),
    "distill.weight": (lambda v: v >= 0, ">= 0"),
    "evaluation.batch_size": (lambda v: v >= 1, ">= 1"),
    "evaluation.replicates": (lambda v: v >= 1, ">= 1"),
    "evaluation.threshold": (lambda v: 0 <= v < 1, "at least 0, below 1"),
    "evaluation.min_distance": (lambda v: 0 < v < 1, "between 0 and 1"),
    "evaluation.max_detections": (lambda v: v >= 1, ">= 1"),
}
CHOICES: Mapping[str, Collection[str]] = {
    "method": steps.METHODS,
    "data.reports.read": text.READ,
    "data.reports.silence": text.SILENCE,
    "model.backbone": resnet.DEPTHS,
    "evaluation.pooling": detection.POOLINGS,
}


def check_config(config: Any) -> None:
    """Raises one ValueError for settings that can't work together."""
    fields = flat(json.loads(config.to_json_best_effort()))
    problems = [
        f"{name}={fields[name]!r}: use one of {sorted(choices)}"
        for name, choices in CHOICES.items()
        if fields[name] not in choices
    ]
    problems += [
        f"{name}={fields[name]!r}: {words}"
        for name, (holds, words) in LIMITS.items()
        if not holds(fields[name])
    ]
    for name in ("pretrain", "distill"):
        problems += [f"{name}.{text}" for text in _stage_problems(config, name)]
    if problems:
        raise ValueError("the config can't be run:\n- " + "\n- ".join(problems))
    labelled = config.batch.region + config.batch.negative
    parallel.check_divisible(
        {
            "batch.region + batch.negative": labelled,
            "batch.image_level": config.batch.image_level,
        }
    )
    parallel.check_divisible(
        {"evaluation.batch_size": config.evaluation.batch_size},
        parallel.local_device_count(),
    )


def _stage_problems(config: Any, name: str) -> Iterator[str]:
    stage = config[name]
    if stage.steps < 1:
        yield f"steps={stage.steps}: >= 1"
    elif not 0 <= stage.warmup_steps < stage.steps:
        yield f"warmup_steps={stage.warmup_steps}: below its steps"
    if stage.learning_rate <= 0:
        yield f"learning_rate={stage.learning_rate}: > 0"
    if config.log_every < 1:
        return  # told already
    if stage.eval_every < 1 or stage.eval_every % config.log_every:
        text = f"a multiple of log_every={config.log_every}"
        yield f"eval_every={stage.eval_every}: {text}"
    try:
        train.make_tx(stage)
    except ValueError as error:
        yield str(error)


def identity(config: Any) -> dict[str, Any]:
    """The config without the fields that don't change what comes out."""
    fields = json.loads(config.to_json_best_effort())
    for name in MACHINE_FIELDS:
        section, field = name.split(".")
        fields[section].pop(field, None)  # a claimed config has none of them
    fields["registry"] = "registry" if config.registry else None
    return fields


def flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested fields by their dotted names."""
    made: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            made |= flat(value, f"{prefix}{name}.")
        else:
            made[prefix + name] = value
    return made
