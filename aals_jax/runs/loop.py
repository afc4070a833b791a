"""The loop of a stage: batches in, checkpoints and a history out; resumable anywhere.

A run is idempotent: state, batches and validation are functions of (seed, step), so a
stage that continues from its newest checkpoint ends where an undisturbed one does.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aals_jax import types
from aals_jax.evaluation import model_maps
from aals_jax.evaluation.model_maps import Predictor
from aals_jax.input import augment, pipeline, views
from aals_jax.input.dataset import Data, ImageTable
from aals_jax.metrics import peaks, roc
from aals_jax.runs import stages
from aals_jax.runs.checkpoints import Checkpoints
from aals_jax.runs.history import History, Window
from aals_jax.runs.stages import Stage
from aals_jax.runtime import devices, log
from aals_jax.types import TrainState

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
    checkpoints = Checkpoints(workdir / "checkpoints" / stage.name)
    try:
        latest = checkpoints.latest_step()
        if latest != stage.config.steps:
            _train(stage, data, config, workdir, predictor, checkpoints)
        best = checkpoints.best_step()
        log.info(
            "%s: best validation AUROC %.4f (%s) at step %d",
            stage.name,
            checkpoints.auroc(best),
            stage.selected_by,
            best,
        )
        return best, checkpoints.restore(best, stage.initial)
    finally:
        checkpoints.close()


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
        host=devices.host_index(),
        hosts=devices.host_count(),
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
    checkpoints: Checkpoints,
) -> None:
    start = checkpoints.latest_step() or 0
    state = checkpoints.restore(start, stage.initial) if start else stage.initial
    state = devices.replicate(state)
    if start:
        log.info("%s: going on after step %d", stage.name, start)
    last = stage.config.steps
    # compiled at its first call: doing so in a thread during an earlier stage would
    # gain 1.2 s of 8 minutes on two cores, which are busy training by then
    step_fn = devices.data_parallel(stage.step)
    if stage.has_boxes:
        region = data.train.select(data.streams.region)
        warn_of_narrow_boxes(region, stride=config.boxes.finest_stride)
    batches = _batches(stage, data, config, start)
    history = History(workdir, stage.name, step=start, writes=devices.is_primary())
    window = Window(stage.name)
    try:
        with log.progress(_TITLES[stage.name], done=start) as update:
            for number in range(start + 1, last + 1):
                with window.waiting():
                    batch = devices.shard(next(batches))
                state, metrics = step_fn(state, batch)
                window.add(metrics)
                values = {}
                if is_due(number, every=config.log_every, last=last):
                    values = window.close(number)
                    update(number, last)
                if is_due(number, every=stage.config.eval_every, last=last):
                    host_state = devices.to_host(state)
                    pooling = stages.pooling_of(config)
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
    """Validation AUROC of both networks, with image scores as in the evaluation, and
    what the peaks of their maps say.

    Args:
      state: on the host.
      data: its validation images are read.
      predictor: of the model.
      pooling: from a map to an image's score; one of detection.POOLINGS.

    Returns:
      Of each network `validation/auroc_*`, the median peak of positives and negatives,
      `median_peak/*`, and the share of boxed positives whose peak lies in a box,
      `peak_in_box/*`, where there are any.
    """
    values = {}
    truth = model_maps.truth_of(data.validation)
    boxed = truth.label & data.validation.boxed
    for name in types.NETWORKS:
        prediction = predictor.predict(
            getattr(state, name), data.dataset, data.validation
        )
        scores = prediction.image_scores(pooling)
        values[f"validation/auroc_{name}"] = float(roc.auroc(scores, truth.label))
        found = peaks.find_peaks(prediction.maps, truth, valid=prediction.valid)
        for kind, rows in (("positive", truth.label), ("negative", ~truth.label)):
            values[f"median_peak/{kind}_{name}"] = float(np.median(found.value[rows]))
        if boxed.any():
            values[f"peak_in_box/{name}"] = float(np.mean(found.in_box[boxed]))
    return values
