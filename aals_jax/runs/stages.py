"""A stage of training: batches in, checkpoints and a history out, resumable anywhere.

A run is idempotent: state, batches and validation are functions of (seed, step), so a
stage that continues from its newest checkpoint ends where an undisturbed one does.
"""

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from aals_jax.evaluation import model_maps
from aals_jax.input import augment, batches as pipeline, views
from aals_jax.method import ensemble, optim, schedule, steps
from aals_jax.metrics import roc
from aals_jax.runs import monitors
from aals_jax.runtime import devices, log
from aals_jax.runs.checkpoints import Checkpoints
from aals_jax.evaluation.inference import Predictor, film
from aals_jax.method.methods import Constants, METHODS
from aals_jax.models.detector import Detector
from aals_jax.input.prepare import Data
from aals_jax.types import TrainState

# A model that is measured -> the stage and the field of its state that it is.
MODELS: Mapping[str, tuple[str, str]] = {
    "pretrained": ("pretrain", "student"),
    "pretrained_average": ("pretrain", "teacher"),
    "student": ("distill", "student"),
    "teacher": ("distill", "teacher"),
}


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
        schedule.learning_rate(
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
        config.method,
        make_model(config, axis_name=axis_name),
        make_tx(config[stage]),
        constants=Constants.of(config.distill),
        distill_weight=config.distill.weight,
        ramp_steps=ramp_steps(config),
        ema_decay=config.ema_decay,
        axis_name=axis_name,
    )


def ramp_steps(config: Any) -> int:
    """Steps in which the weight of the term on P rises: as set, else the method's."""
    usual = max(1, round(config.distill.ramp_share * config.distill.steps))
    ramps = METHODS[config.method].ramps
    return config.distill.ramp_steps or (usual if ramps else 0)


def pretrain_stage(config: Any, side: int) -> Stage:
    """Stage 1: dense cross-entropy on R and N; or all that the method has, where it
    needs no teacher."""
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
    kept = ensemble.memory_side(map_side, limit=config.distill.ensemble_side)
    memory = steps.initial_memory(config.method, student, images=images, side=kept)
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


def run_stage(
    stage: Stage, data: Data, config: Any, workdir: Path, predictor: Predictor
) -> tuple[int, TrainState]:
    """Trains to the last step; the best checkpoint's step and its state (host)."""
    checkpoints = Checkpoints(workdir / "checkpoints" / stage.name)
    try:
        latest = checkpoints.latest_step()
        if latest != stage.config.steps:
            _train(stage, data, config, workdir, predictor, checkpoints)
        best = checkpoints.best_step()
        log.log.info(
            "%s: best validation AUROC %.4f (%s) at step %d",
            stage.name,
            checkpoints.auroc(best),
            stage.selected_by,
            best,
        )
        return best, checkpoints.restore(best, stage.initial)
    finally:
        checkpoints.close()


def _batches(stage: Stage, data: Data, config: Any, start: int):
    streams = {
        name: data.train.select(getattr(data.streams, name)) for name in stage.counts
    }
    return pipeline.batches(
        data.dataset,
        streams,
        stage.counts,
        seed=(config.seed, stage.number),
        ranges=augment.Ranges(**config.augment),
        makers=views.makers(jitter_teacher=stage.jitter_teacher),
        start_step=start,
        host=devices.host_index(),
        hosts=devices.host_count(),
        num_threads=config.data.threads,
    )


def _train(
    stage: Stage,
    data: Data,
    config: Any,
    workdir: Path,
    predictor: Predictor,
    checkpoints: Checkpoints,
) -> None:
    start = checkpoints.latest_step() or 0
    state = checkpoints.restore(start, stage.initial) if start else stage.initial
    state = devices.replicate(state)
    if start:
        log.log.info("%s: going on after step %d", stage.name, start)
    last = stage.config.steps
    step_fn = devices.data_parallel(stage.step)
    batches = _batches(stage, data, config, start)
    history = log.History(
        workdir, stage.name, step=start, writes=devices.is_primary()
    )
    window = monitors.Window(stage.name)
    title = {"pretrain": "stage 1: pre-training", "distill": "stage 2: distillation"}
    try:
        with log.progress(title[stage.name], done=start) as update:
            for number in range(start + 1, last + 1):
                with window.waiting():
                    batch = devices.shard(next(batches))
                state, metrics = step_fn(state, batch)
                window.add(metrics)
                values = {}
                if schedule.is_due(number, every=config.log_every, last=last):
                    values = window.close(number)
                    update(number, last)
                if schedule.is_due(number, every=stage.config.eval_every, last=last):
                    host_state = devices.to_host(state)
                    pooling = config.evaluation.pooling
                    values |= validate(host_state, data, predictor, pooling)
                    auroc = values[f"validation/auroc_{stage.selected_by}"]
                    # the history first: a checkpoint never lacks its own rows
                    history.write(number, values)
                    checkpoints.save(number, host_state, auroc=auroc)
                    window.restart()
                elif values:
                    history.write(number, values)
    finally:
        history.close()


def validate(
    state: TrainState, data: Data, predictor: Predictor, pooling: str
) -> dict[str, float]:
    """Validation AUROC of student and teacher, image scores as in the evaluation."""
    values = {}
    valid = film(data.validation, side=data.dataset.side)
    for name in ("student", "teacher"):
        maps = predictor.maps(getattr(state, name), data.dataset, data.validation)
        scores = model_maps.image_scores(maps, valid=valid, pooling=pooling)
        auroc = roc.auroc(scores, data.validation.label == 1)
        values[f"validation/auroc_{name}"] = float(auroc)
    return values
