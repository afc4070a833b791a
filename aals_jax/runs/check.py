"""What a config may say: a limit or a choice for each field, checked before a run."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any

from aals_jax import types
from aals_jax.input import pipeline, views
from aals_jax.method.methods import METHODS, has_center
from aals_jax.metrics import detection
from aals_jax.models import densenet, encoders, fpn
from aals_jax.models.intensity import SIDE_MULTIPLE
from aals_jax.models.parts import STAGES
from aals_jax.runs import frozen_encoder, identity, pretrained, stages
from aals_jax.runtime import devices, hosts
from data.cxr_registry.build.folds import NUM_FOLDS
from data.cxr_registry.labels import report_text

# field -> what must hold, and the same in words, after "must be"
LIMITS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "log_every": (lambda v: v >= 1, ">= 1"),
    "ema_decay": (lambda v: 0 <= v < 1, "at least 0, below 1"),
    "data.side": (
        lambda v: v >= SIDE_MULTIPLE and v % SIDE_MULTIPLE == 0,
        f"a multiple of {SIDE_MULTIPLE}",
    ),
    "data.bits": (lambda v: v in (8, 16), "8 or 16"),
    "data.workers": (lambda v: v >= 0, ">= 0"),
    "data.timeout_s": (lambda v: v > 0, "> 0"),
    "data.memory_gib": (lambda v: v > 0, "> 0"),
    "data.region_images": (lambda v: v is None or v >= 1, ">= 1, or None for all"),
    "data.label_noise": (lambda v: 0 <= v <= 1, "between 0 and 1"),
    "data.fold": (lambda v: 0 <= v < NUM_FOLDS, f"0 to {NUM_FOLDS - 1}"),
    "phantom.region_images": (lambda v: v is None or v >= 1, ">= 1, or None for all"),
    "phantom.prevalence": (lambda v: 0 < v < 1, "above 0, below 1"),
    "model.dtype": (lambda v: v in ("float32", "bfloat16"), "float32 or bfloat16"),
    "model.stem_channels": (lambda v: v in (1, 3), "1 or 3"),
    "model.frozen_stages": (lambda v: 0 <= v <= STAGES, f"0 to {STAGES}"),
    "model.dropout": (lambda v: 0 <= v < 1, "at least 0, below 1"),
    "augment.gamma": (lambda v: v >= 0, ">= 0"),
    "augment.erase": (lambda v: 0 <= v < 1, "at least 0, below 1"),
    "augment.scale": (lambda v: 0 < v[0] <= v[1], "two factors > 0, ascending"),
    "batch.region": (lambda v: v >= 1, ">= 1"),
    "batch.negative": (lambda v: v >= 1, ">= 1"),
    "batch.image_level": (lambda v: v >= 1, ">= 1"),
    "batch.accumulate": (lambda v: v >= 1, ">= 1"),
    "distill.max_strength": (lambda v: v >= 1, ">= 1"),
    "distill.center": (lambda v: 0 < v < 1, "between 0 and 1"),
    "distill.weight": (lambda v: v >= 0, ">= 0"),
    "distill.ramp_steps": (lambda v: v >= 0, ">= 0"),
    "distill.ramp_share": (lambda v: 0 < v <= 1, "above 0, at most 1"),
    "distill.dead_zone_share": (lambda v: 0 < v < 1, "between 0 and 1"),
    "distill.lesion_area": (lambda v: 0 <= v < 1, "at least 0, below 1"),
    "distill.dead_share": (lambda v: 0 <= v < 1, "at least 0, below 1"),
    "distill.ensemble_decay": (lambda v: 0 <= v < 1, "at least 0, below 1"),
    "distill.ensemble_side": (lambda v: v >= 1, ">= 1"),
    "distill.cell": (lambda v: v >= 1, ">= 1"),
    "distill.box_weight": (lambda v: v > 0, "> 0"),
    "distill.pool_sharpness": (lambda v: v > 0, "> 0"),
    "boxes.convs": (lambda v: v >= 1, ">= 1"),
    "boxes.center_radius": (lambda v: v > 0, "> 0"),
    "boxes.size_limit": (lambda v: v > 0, "> 0"),
    "boxes.anchor_scale": (lambda v: v > 0, "> 0"),
    "boxes.focal_alpha": (lambda v: 0 <= v <= 1, "between 0 and 1"),
    "boxes.focal_gamma": (lambda v: v >= 0, ">= 0"),
    "boxes.top_k": (lambda v: v >= 1, ">= 1"),
    "boxes.nms_iou": (lambda v: 0 <= v < 1, "at least 0, below 1"),
    "distill.pooled_weight": (lambda v: v > 0, "> 0"),
    "distill.region_share": (lambda v: 0 < v <= 1, "above 0, at most 1"),
    "distill.focus": (lambda v: v >= 0, ">= 0"),
    "evaluation.batch_size": (lambda v: v >= 1, ">= 1"),
    "evaluation.replicates": (lambda v: v >= 1, ">= 1"),
    "evaluation.threshold": (lambda v: 0 <= v < 1, "at least 0, below 1"),
    "evaluation.min_distance": (lambda v: 0 < v < 1, "between 0 and 1"),
    "evaluation.max_detections": (lambda v: v >= 1, ">= 1"),
}
CHOICES: Mapping[str, Collection[Any]] = {
    "method": METHODS,
    "data.reports.read": report_text.READ,
    "data.reports.silence": report_text.SILENCE,
    "distill.dead_zone": ("leave", "raise"),
    "boxes.finest_stride": fpn.STRIDES,
    "distill.balance": ("term", "image"),
    "distill.start": stages.STARTS,
    "distill.teacher_view": ("method", *stages.TEACHER_VIEWS),
    "model.backbone": encoders.ENCODERS,
    "model.densenet": densenet.SHAPES,
    "evaluation.pooling": detection.POOLINGS,
    "evaluation.detections": detection.FINDERS,
}


def check_config(config: Any) -> None:
    """Raises ValueError for settings that can't work, together or on these devices."""
    check_fields(config)
    check_divisible(config)


def check_fields(config: Any) -> None:
    """Raises one ValueError with every setting that can't work; starts no device."""
    fields = identity.flat(json.loads(config.to_json_best_effort()))
    problems = [
        f"{name}={fields[name]!r}: use one of {sorted(choices)}"
        for name, choices in CHOICES.items()
        if fields[name] not in choices
    ]
    problems += [
        f"{name}={fields[name]!r}: must be {words}"
        for name, (holds, words) in LIMITS.items()
        if not holds(fields[name])
    ]
    for name in types.STAGES:
        problems += [f"{name}.{words}" for words in _stage_problems(config, name)]
    problems += _cell_problems(config)
    problems += _pooling_problems(config)
    problems += _center_problems(config)
    problems += _accumulate_problems(config)
    problems += _profile_problems(config)
    problems += pretrained.problems(config)
    problems += frozen_encoder.problems(config)
    if problems:
        raise ValueError("the config can't be run:\n- " + "\n- ".join(problems))


def check_divisible(config: Any, topology: devices.Topology | None = None) -> None:
    """Raises one ValueError for all batches that don't split evenly over hosts and over
    devices, all there are or a topology's, and there into micro-batches."""
    accumulate = config.batch.accumulate
    labelled = config.batch.region + config.batch.negative
    checks = (
        partial(
            pipeline.check_shares,
            {name: config.batch[name] for name in pipeline.STREAMS},
            topology.hosts if topology else hosts.count(),
            accumulate=accumulate,
        ),
        partial(
            devices.check_divisible,
            {
                "batch.region + batch.negative": labelled,
                "batch.image_level": config.batch.image_level,
            },
            topology.count if topology else devices.device_count(),
            accumulate=accumulate,
        ),
        partial(
            devices.check_divisible,
            {"evaluation.batch_size": config.evaluation.batch_size},
            len(topology.of_one_host) if topology else devices.local_device_count(),
        ),
    )
    problems = []
    for check in checks:
        try:
            check()
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("\n".join(problems))


def _cell_problems(config: Any) -> Iterator[str]:
    method, cell = METHODS.get(config.method), config.distill.cell
    map_side = config.data.side // views.MAP_STRIDE
    if method and method.cells and cell >= 1 and map_side % cell:
        yield f"distill.cell={cell}: must divide {map_side}, the map's side"


def _pooling_problems(config: Any) -> Iterator[str]:
    method, pooling = METHODS.get(config.method), config.evaluation.pooling
    if method and method.head != "map" and pooling != "max":
        yield (
            f"evaluation.pooling={pooling!r}: an image's score is its best box's with "
            f"method={config.method!r}; use 'max'"
        )


def _center_problems(config: Any) -> Iterator[str]:
    name, share = config.method, config.distill.dead_share
    if name in METHODS and share and not has_center(name):
        having = [repr(other) for other in sorted(METHODS) if has_center(other)]
        yield (
            f"distill.dead_share={share}: must be 0 with method={name!r}, which has no "
            f"t to lower; {' and '.join(having)} have one"
        )


def _accumulate_problems(config: Any) -> Iterator[str]:
    method, times = METHODS.get(config.method), config.batch.accumulate
    if method and times > 1 and (method.withheld or method.head != "map"):
        yield (
            f"batch.accumulate={times}: must be 1 with method={config.method!r}, whose "
            "loss is a mean over boxes: micro-batches have unequal numbers of them"
        )


def _profile_problems(config: Any) -> Iterator[str]:
    first, last = config.profile.first, config.profile.last
    if (first, last) != (0, 0) and not 1 <= first <= last:
        yield (
            f"profile.first={first}, profile.last={last}: must be two steps from 1 on, "
            "ascending, or 0 and 0"
        )


def _stage_problems(config: Any, name: str) -> Iterator[str]:
    stage = config[name]
    if stage.steps < 1:
        yield f"steps={stage.steps}: must be >= 1"
    elif not 0 <= stage.warmup_steps < stage.steps:
        yield (
            f"warmup_steps={stage.warmup_steps}: must be at least 0 and below the "
            f"stage's {stage.steps} steps"
        )
    if stage.learning_rate <= 0:
        yield f"learning_rate={stage.learning_rate}: must be > 0"
    if stage.backbone_rate <= 0:
        yield (
            f"backbone_rate={stage.backbone_rate}: must be > 0; "
            "model.frozen_stages keeps stages as they are"
        )
    if not 0 < stage.layer_decay <= 1:
        yield f"layer_decay={stage.layer_decay}: must be above 0, at most 1"
    if not 0 <= stage.head_steps < max(stage.steps, 1):
        yield (
            f"head_steps={stage.head_steps}: must be at least 0 and below the stage's "
            f"{stage.steps} steps"
        )
    if config.log_every < 1:
        return  # LIMITS reports that
    if stage.eval_every < 1 or stage.eval_every % config.log_every:
        multiple = f"must be a multiple of log_every={config.log_every}"
        yield f"eval_every={stage.eval_every}: {multiple}"
    if not 0 <= stage.warmup_steps < stage.steps:
        return  # told above; a schedule would only say it again
    try:
        stages.make_tx(stage)
    except ValueError as error:
        yield str(error)
