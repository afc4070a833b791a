"""The loop of a stage: batches in, checkpoints and a history out; resumable anywhere.

A run is idempotent: state, batches and validation are functions of (seed, step), so a
stage that continues from its newest checkpoint ends where an undisturbed one does.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aals_jax import types
from aals_jax.evaluation import model_maps
from aals_jax.evaluation.model_maps import Prediction, Predictor
from aals_jax.input import augment, pipeline, views
from aals_jax.input.dataset import Data, ImageTable
from aals_jax.metrics import peaks, roc
from aals_jax.runs import stages
from aals_jax.runs.checkpoints import Checkpoints
from aals_jax.runs.history import History, Window
from aals_jax.runs.stages import Stage
from aals_jax.runtime import devices, digest, hosts, log, profiling, stopping
from aals_jax.types import TrainState

SAVE_S = 600  # for host 0 to write a checkpoint
_TITLES = {"pretrain": "stage 1: pre-training", "distill": "stage 2: distillation"}


def is_due(step: int, *, every: int, last: int) -> bool:
    """Whether something done each `every` steps is due after `step`, always at `last`.

    >>> [s for s in range(8) if is_due(s, every=3, last=7)]
    [3, 6, 7]
    """
    return step > 0 and (step % every == 0 or step == last)


def run_stage(
    stage: Stage, data: Data, config: Any, workdir: Path, predictor: Predictor
) -> tuple[int, TrainState]:
    """Trains what is left of a stage.

    Args:
      stage: see `stages`.
      data: its training and validation images.
      config: of the run.
      workdir: where checkpoints and history are, and are continued.
      predictor: of the model, for validation.

    Returns:
      The step of the checkpoint that validation chose, and its state on the host.
    """
    with _checkpoints(workdir / "checkpoints" / stage.name) as checkpoints:
        start = hosts.from_primary(lambda: _start(checkpoints))
        if not _is_over(start, stage):
            _train(stage, data, config, workdir, predictor, checkpoints, start)
        best = hosts.from_primary(lambda: _host_0s(checkpoints).best_step())
        log.info(
            "%s: best validation AUROC %.4f (%s) at step %d",
            stage.name,
            hosts.from_primary(lambda: _host_0s(checkpoints).auroc(best)),
            stage.selected_by,
            best,
        )
        return best, _restore(best, stage, checkpoints)


@contextlib.contextmanager
def _checkpoints(folder: Path) -> Iterator[Checkpoints | None]:
    """Those of a stage, on host 0; None on the others, which hear of them from it."""
    if not hosts.is_primary():
        yield None
        return
    with contextlib.closing(Checkpoints(folder, repairs=True)) as checkpoints:
        yield checkpoints


def _host_0s(checkpoints: Checkpoints | None) -> Checkpoints:
    assert checkpoints is not None, "only host 0 has them"
    return checkpoints


def _start(checkpoints: Checkpoints | None) -> dict[str, Any]:
    """The record of the checkpoint from which a stage goes on; step 0 without any."""
    latest = _host_0s(checkpoints).latest()
    return {"step": 0} if latest is None else dataclasses.asdict(latest)


def _is_over(start: dict[str, Any], stage: Stage) -> bool:
    return start["step"] == stage.config.steps and start["auroc"] is not None


def _restore(step: int, stage: Stage, checkpoints: Checkpoints | None) -> TrainState:
    """The state that host 0 kept, on all hosts; checked to be the same there."""
    state = hosts.tree_from_primary(
        lambda: _host_0s(checkpoints).restore(step, stage.initial), stage.initial
    )
    _check_same(state, f"the weights of step {step}, restored")
    return state


def _check_same(state: TrainState, what: str) -> None:
    """Raises Disagreement where a state of the host differs from another host's."""
    if hosts.count() > 1:
        facts = {what: digest.of_tree(state)[:12]}
        hosts.agree(facts, {what: "a device or a network failed; start again"})


def _batches(
    stage: Stage, data: Data, config: Any, start: int
) -> Iterator[types.Batch]:
    """This host's batches from step `start` on; the same ones at every call."""
    streams = {
        name: data.train.select(getattr(data.streams, name)) for name in stage.counts
    }
    return pipeline.batches(
        data.dataset,
        streams,
        stage.counts,
        seed=(config.seed, stage.number),
        ranges=augment.Ranges(**config.augment),
        makers=views.makers(_extras(stage, streams["region"])),
        start_step=start,
        host=hosts.index(),
        hosts=hosts.count(),
        num_threads=config.data.threads,
    )


def _extras(stage: Stage, region: ImageTable) -> views.Extras:
    most = most_boxes(region) if stage.has_boxes else None
    return dataclasses.replace(stage.extras, max_boxes=most)


def most_boxes(region: ImageTable) -> int:
    """K, the boxes of the image of R that has most: no box of R is left out."""
    return max(len(boxes) for boxes in region.boxes)


def warn_of_narrow_boxes(region: ImageTable, *, stride: int) -> None:
    """Says how many boxes of R have a side below `stride` px of the square.

    There is room for such a box between two locations of the finest level.
    """
    boxes = np.concatenate(region.boxes)
    narrow = np.sum((boxes[:, 2:] - boxes[:, :2]).min(axis=1) < stride)
    if narrow:
        log.warning(
            "%d of the %d boxes of R are narrower than boxes.finest_stride=%d px of "
            "the square and may lie between its locations: a larger data.side mends "
            "that",
            narrow,
            len(boxes),
            stride,
        )


def _train(
    stage: Stage,
    data: Data,
    config: Any,
    workdir: Path,
    predictor: Predictor,
    checkpoints: Checkpoints | None,
    start: dict[str, Any],
) -> None:
    first, last = start["step"], stage.config.steps
    host_state = _restore(first, stage, checkpoints) if first else stage.initial
    if first:
        log.info("%s: going on after step %d", stage.name, first)
    # compiled at its first call: doing so in a thread during an earlier stage would
    # gain 1.2 s of 8 minutes on two cores, which are busy training by then
    constants = [devices.replicate(tree) for tree in stage.constants]
    step_fn = devices.data_parallel(stage.step, constants=len(constants))
    if stage.has_boxes:
        region = data.train.select(data.streams.region)
        warn_of_narrow_boxes(region, stride=config.boxes.finest_stride)
    state = devices.replicate(host_state)
    batches = _batches(stage, data, config, first)
    window = Window(stage.name)
    # a signal may have come between a step and what is due after it
    owes = first > 0 and start["auroc"] is None
    if owes:
        window.resume(start["window"])

    def save(
        step: int,
        host_state: TrainState,
        auroc: float | None,
        part: dict[str, Any] | None,
    ) -> None:
        """The state that all hosts have; host 0 writes and the others wait."""
        devices.assert_replicated(state)
        _check_same(host_state, f"the weights after step {step}")
        if checkpoints is not None:
            checkpoints.save(step, host_state, auroc=auroc, window=part)
        hosts.wait("saved", limit_s=SAVE_S)

    with (
        contextlib.closing(
            History(workdir, stage.name, step=first, writes=hosts.is_primary())
        ) as history,
        log.progress(_TITLES[stage.name], done=first) as update,
        _profile(config, workdir, stage) as profile,
        stopping.at_boundaries(),
    ):
        for number in range(first if owes else first + 1, last + 1):
            if number > first:
                with _told_what_fits(stage, config):
                    profile.before(number, state)
                    with window.waiting():
                        batch = devices.shard(next(batches))
                    state, metrics = step_fn(state, batch, *constants)
                    window.add(metrics)
                    profile.after(number, state)
            part = None
            try:
                stopping.check()
                values = {}
                if is_due(number, every=config.log_every, last=last):
                    with _told_what_fits(stage, config):
                        part = window.open_part()
                        values = {**window.close(number), **stage.found}
                    update(number, last)
                if is_due(number, every=stage.config.eval_every, last=last):
                    pooling = stages.pooling_of(config)
                    host_state = devices.to_host(state)
                    values |= validate(
                        host_state, data, predictor, pooling, stage.frozen
                    )
                    auroc = values[f"validation/auroc_{stage.selected_by}"]
                    # the history first: a checkpoint never lacks its own rows
                    history.write(number, values)
                    save(number, host_state, auroc, None)
                    window.restart()
                elif values:
                    history.write(number, values)
            except stopping.Stopped:
                part = part or window.open_part()
                save(number, devices.to_host(state), None, part)
                log.info("%s: saved after step %d", stage.name, number)
                raise


def _profile(config: Any, workdir: Path, stage: Stage) -> profiling.Profile:
    """Of the stage's steps that the config names; on host 0 alone."""
    wanted = config.profile if hosts.is_primary() else {"first": 0, "last": 0}
    folder = workdir / "profile" / stage.name
    return profiling.Profile(folder, first=wanted["first"], last=wanted["last"])


@contextlib.contextmanager
def _told_what_fits(stage: Stage, config: Any) -> Iterator[None]:
    """Says what to change where a device's memory is too small for a step.

    Raises:
      MemoryError: in the place of JAX's error; the stage, its batch and the fields.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not devices.is_out_of_memory(error):
            raise
        batch, model = config.batch, config.model
        images = ", ".join(f"batch.{name}={n}" for name, n in stage.counts.items())
        raise MemoryError(
            f"{stage.name}: a step does not fit into the memory of "
            f"{devices.hardware()} with {images}, batch.accumulate={batch.accumulate}, "
            f"model.remat={model.remat} and model.dtype={model.dtype}. Less batch.*, "
            "more batch.accumulate, model.remat=True and model.dtype=bfloat16 take "
            "less; --mode=plan says how much"
        ) from error


def validate(
    state: TrainState,
    data: Data,
    predictor: Predictor,
    pooling: str,
    frozen: types.Variables,
) -> dict[str, float]:
    """Validation AUROC of both networks, with image scores as in the evaluation, and
    what the peaks of their maps say.

    Args:
      state: on the host.
      data: its validation images are read.
      predictor: of the model.
      pooling: from a map to an image's score; one of detection.POOLINGS.
      frozen: variables that both networks share.

    Returns:
      Of each network `validation/auroc_*`, the median peak of positives and negatives,
      `median_peak/*`, and the share of boxed positives whose peak lies in a box,
      `peak_in_box/*`, where there are any.
    """
    values = {}
    for name in types.NETWORKS:
        prediction = predictor.predict(
            {**getattr(state, name), **frozen},
            data.dataset,
            data.validation,
            together=True,
        )
        values |= hosts.from_primary(
            lambda name=name, prediction=prediction: _validation_values(
                name, prediction, data.validation, pooling
            )
        )
    return values


def _validation_values(
    name: str, prediction: Prediction, table: ImageTable, pooling: str
) -> dict[str, float]:
    """`validate` of one network."""
    truth = model_maps.truth_of(table)
    scores = prediction.image_scores(pooling)
    values = {f"validation/auroc_{name}": float(roc.auroc(scores, truth.label))}
    found = peaks.find_peaks(prediction.maps, truth, valid=prediction.valid)
    for kind, rows in (("positive", truth.label), ("negative", ~truth.label)):
        values[f"median_peak/{kind}_{name}"] = float(np.median(found.value[rows]))
    boxed = truth.label & table.boxed
    if boxed.any():
        values[f"peak_in_box/{name}"] = float(np.mean(found.in_box[boxed]))
    return values
