"""A model's maps of a dataset's images, and the reading that is made of them."""

import dataclasses
from typing import Any

import numpy as np
from flax import linen as nn

from aals_jax.input import augment, pipeline, views
from aals_jax.input.dataset import GROUPS, Dataset, ImageTable
from aals_jax.method import steps
from aals_jax.metrics import detection, froc, readings
from aals_jax.runtime import devices
from aals_jax.types import Variables

HIT = readings.Hit()  # a local peak of the map lies in the box


class Predictor:
    """A model's evaluation step, compiled once for one batch size."""

    def __init__(self, model: nn.Module, *, batch_size: int):
        devices.check_divisible(
            {"evaluation.batch_size": batch_size}, devices.local_device_count()
        )
        self._batch_size = batch_size
        self._step = devices.data_parallel_map(steps.make_eval_step(model))

    def maps(
        self, variables: Variables, dataset: Dataset, table: ImageTable
    ) -> np.ndarray:
        """f32[n, side/4, side/4] probabilities, 0 on padding, every image once."""
        placed: Any = devices.replicate(variables)
        batches = pipeline.evaluation_batches(
            dataset, table, batch_size=self._batch_size
        )
        maps = [
            devices.gather(self._step(placed, devices.shard(images)))
            for images in batches
        ]
        return np.concatenate(maps)[: len(table)] * film(table, side=dataset.side)


def film(table: ImageTable, *, side: int) -> np.ndarray:
    """f32[n, side/4, side/4], 1 where a map's pixel lies on film."""
    return np.stack(
        [
            augment.draw_content(
                content,
                augment.identity(),
                side=side,
                map_side=side // views.MAP_STRIDE,
            )
            for content in table.content
        ]
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Detecting:
    """How detections and image scores are taken from a map; see configs/base.py."""

    min_distance: float  # between detections, share of the map's side
    threshold: float  # lowest probability of a detection, 0 .. 1
    max_detections: int  # per image
    pooling: str  # a key of detection.POOLINGS


def truth_of(table: ImageTable) -> readings.Truth:
    """What the maps of a table are measured against, lesions in pixels of the map."""
    return readings.Truth(
        label=table.label == 1,
        judged=(table.label == 0) | table.boxed,
        patient=table.patient,
        lesions=[boxes / views.MAP_STRIDE for boxes in table.boxes],
        groups={name: getattr(table, name) for name in GROUPS},
        unit=(views.MAP_STRIDE, "px of the square"),
    )


def read_maps(
    maps: np.ndarray, truth: readings.Truth, *, valid: np.ndarray, detecting: Detecting
) -> readings.Reading:
    """The reading of one model.

    Args:
        maps: f32[n, h, w] probabilities, 0 on padding.
        truth: of the n images.
        valid: f32[n, h, w], 1 on film.
        detecting: how detections and image scores are taken.
    """
    side = maps.shape[1]
    detections = [
        detection.find_detections(
            values,
            min_distance=max(1, round(detecting.min_distance * side)),
            threshold=detecting.threshold,
            max_detections=detecting.max_detections,
            valid=on_film > 0,
        ).rows()
        for values, on_film in zip(maps, valid, strict=True)
    ]
    rows = truth.judged_rows
    area = froc.area_data(
        maps[rows], [truth.lesions[i] for i in rows], valid=valid[rows] > 0
    )
    scores = image_scores(maps, valid=valid, pooling=detecting.pooling)
    return readings.read(truth, scores, detections, hit=HIT, area=area)


def image_scores(maps: np.ndarray, *, valid: np.ndarray, pooling: str) -> np.ndarray:
    """f64[n], one score per image: probabilities f32[n, h, w] pooled over the film."""
    pairs = zip(maps, valid > 0, strict=True)
    return np.array([detection.image_score(m, v, pooling=pooling) for m, v in pairs])
