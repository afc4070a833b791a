"""The two stages of a run: model, optimiser, step, first state and data of each."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from aals_jax.input import views
from aals_jax.method import ensemble, methods, optim, steps
from aals_jax.method.methods import METHODS
from aals_jax.models.detector import Detector
from aals_jax.runtime import devices
from aals_jax.types import TrainState


@dataclasses.dataclass(frozen=True)
class Stage:
    """What differs between the two stages."""

    name: str  # "pretrain" or "distill"
    number: int  # 1 or 2; makes its data order its own
    config: Any  # config.pretrain or config.distill
    step: steps.Step
    initial: TrainState  # on the host
    counts: Mapping[str, int]  # global images a batch, by stream
    jitter_teacher: bool  # whether the teacher's view of P has photometry too
    selected_by: str  # "student" or "teacher", whose validation AUROC chooses


def make_model(config: Any, *, axis_name: str | None) -> Detector:
    return Detector(
        backbone=config.model.backbone,
        width=config.model.width,
        fpn_channels=config.model.fpn_channels,
        stem_channels=config.model.stem_channels,
        dtype=jnp.dtype(config.model.dtype),
        axis_name=axis_name,
        cell=config.distill.cell if METHODS[config.method].cells else 1,
    )


def make_tx(stage_config: Any) -> optax.GradientTransformation:
    return optim.make_optimizer(
        stage_config.optimizer,
        optim.learning_rate(
            stage_config.schedule,
            peak=stage_config.learning_rate,
            warmup_steps=stage_config.warmup_steps,
            steps=stage_config.steps,
        ),
        weight_decay=stage_config.weight_decay,
        clip_norm=stage_config.clip_norm,
    )


def initial_state(config: Any, side: int) -> TrainState:
    """Random weights of the config's seed, without running anything on devices."""
    model = make_model(config, axis_name=None)
    key = jax.random.key(config.seed)
    return steps.init_state(model, make_tx(config.pretrain), key, side=side)


def make_pretrain(config: Any, *, axis_name: str | None) -> steps.Step:
    return steps.make_pretrain_step(
        make_model(config, axis_name=axis_name),
        make_tx(config.pretrain),
        ema_decay=config.ema_decay,
        axis_name=axis_name,
    )


def make_distill(
    config: Any, *, axis_name: str | None, stage: str = "distill"
) -> steps.Step:
    """The method's step on R, N and P, with the optimiser of that stage."""
    return steps.make_distill_step(
        methods.bind(config.method, config.distill.to_dict()),
        make_model(config, axis_name=axis_name),
        make_tx(config[stage]),
        center=config.distill.center,
        distill_weight=config.distill.weight,
        ramp_steps=ramp_steps(config),
        ema_decay=config.ema_decay,
        axis_name=axis_name,
    )


def ramp_steps(config: Any) -> int:
    """Steps in which the weight of the loss on P rises: `distill.ramp_steps` if above
    0, else `ramp_share` of stage 2 for a method that ramps and 0 for the others."""
    usual = max(1, round(config.distill.ramp_share * config.distill.steps))
    ramps = METHODS[config.method].ramps
    return config.distill.ramp_steps or (usual if ramps else 0)


def pretrain_stage(config: Any, side: int) -> Stage:
    """Stage 1: dense cross-entropy on R and N; where the method needs no teacher, its
    own losses on R, N and P."""
    everything = METHODS[config.method].from_start
    make = partial(make_distill, stage="pretrain") if everything else make_pretrain
    return Stage(
        name="pretrain",
        number=1,
        config=config.pretrain,
        step=make(config, axis_name=devices.AXIS),
        initial=initial_state(config, side),
        counts=_counts(config, uses_p=everything),
        jitter_teacher=False,
        selected_by="student",
    )


def distill_stage(config: Any, student: Any, *, images: int, side: int) -> Stage:
    """Stage 2 from stage 1's best student: the method's loss on P joins in.

    Args:
      config: of the run.
      student: variables.
      images: of P.
      side: of an image, px.
    """
    method = METHODS[config.method]
    map_side = side // views.MAP_STRIDE
    memory = methods.initial_memory(
        config.method,
        student,
        images=images,
        side=ensemble.memory_side(map_side, limit=config.distill.ensemble_side),
    )
    return Stage(
        name="distill",
        number=2,
        config=config.distill,
        step=make_distill(config, axis_name=devices.AXIS),
        initial=steps.restart(student, make_tx(config.distill), memory=memory),
        counts=_counts(config, uses_p=method.weak is not None),
        jitter_teacher=method.jitter_teacher,
        selected_by="teacher",
    )


def _counts(config: Any, *, uses_p: bool) -> dict[str, int]:
    names = ("region", "negative", *(["image_level"] if uses_p else []))
    return {name: config.batch[name] for name in names}
