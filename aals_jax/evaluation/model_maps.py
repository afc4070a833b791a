"""A model's maps or boxes of a dataset's images, and the reading made of them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from flax import linen as nn

from aals_jax.input import augment, pipeline, views
from aals_jax.input.dataset import GROUPS, Dataset, ImageTable
from aals_jax.method import steps
from aals_jax.metrics import detection, froc, readings
from aals_jax.runtime import devices, hosts, stopping
from aals_jax.types import Variables

HIT = readings.Hit()  # a local peak, or the centre of a box, lies in the lesion's box


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model says of n images; coordinates are pixels of the map."""

    maps: np.ndarray  # f32[n, h, w], probabilities, 0 on padding
    valid: np.ndarray  # f32[n, h, w], 1 on film
    # n of f32[k, 5], (x0, y0, x1, y1, score), score descending; None: its head is a map
    boxes: Sequence[np.ndarray] | None

    def image_scores(self, pooling: str) -> np.ndarray:
        """f64[n], one score per image: its best box's, 0 without any; without boxes,
        the map pooled over the film (`pooling` is of detection.POOLINGS)."""
        if self.boxes is not None:
            scores = [rows[:, 4].max(initial=0.0) for rows in self.boxes]
        else:
            pairs = zip(self.maps, self.valid > 0, strict=True)
            scores = [detection.image_score(m, v, pooling=pooling) for m, v in pairs]
        return np.array(scores, np.float64)


class Predictor:
    """A model's evaluation step, compiled once for one batch size.

    Args:
        model: the detector.
        batch_size: images of a batch, over this host's devices.
        detect: of a model with a head of boxes, see `steps.make_eval_step`.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        batch_size: int,
        detect: Callable[..., Any] | None = None,
    ):
        devices.check_divisible(
            {"evaluation.batch_size": batch_size}, devices.local_device_count()
        )
        self.batch_size = batch_size
        self.has_boxes = detect is not None
        self._step = devices.data_parallel_map(steps.make_eval_step(model, detect))

    def predict(
        self,
        variables: Variables,
        dataset: Dataset,
        table: ImageTable,
        *,
        together: bool = False,
    ) -> Prediction:
        """What the model with these weights says of a table's images; see `outputs`."""
        outputs = self.outputs(variables, dataset, table, together=together)
        return self.prediction(outputs, table.content, side=dataset.side)

    def outputs(
        self,
        variables: Variables,
        dataset: Dataset,
        table: ImageTable,
        *,
        together: bool = False,
    ) -> np.ndarray:
        """f32[n, h, w] probabilities, on padding too, or f32[n, k, 5] boxes in px of
        the square, zeros where there are fewer; every image once.

        Args:
            variables: the weights.
            dataset: which is read.
            table: its images that are asked for.
            together: all hosts ask, each computes a share of the batches, and each has
                the whole in the end. Batches and bits are those of one host.
        """
        share, hosts_ = (hosts.index(), hosts.count()) if together else (0, 1)
        batches = pipeline.evaluation_batches(
            dataset,
            table,
            batch_size=self.batch_size,
            host=share,
            hosts=hosts_,
        )
        placed = self.place(variables)
        rounds = []
        for images in batches:
            stopping.check()
            own = self.batch(placed, images)
            rounds.append(hosts.gather(own) if together else own[None])
        outputs = np.concatenate([batch for several in rounds for batch in several])
        return outputs[: len(table)]

    def place(self, variables: Variables) -> Any:
        """The weights on this host's devices, for `batch`."""
        return devices.replicate(variables)

    def batch(self, placed: Any, images: np.ndarray) -> np.ndarray:
        """What `outputs` says of one batch.

        Args:
            placed: of `place`.
            images: f32[batch_size, side, side, 1] in [0, 1].
        """
        return devices.gather(self._step(placed, devices.shard(images)))

    def prediction(
        self, outputs: np.ndarray, content: np.ndarray, *, side: int
    ) -> Prediction:
        """The record of `outputs`; of boxes, those whose centre is on film.

        Args:
            outputs: of n images.
            content: f32[n, 4] (x0, y0, x1, y1), their film, px of the square.
            side: of the square, px.
        """
        valid = film(content, side=side)
        if not self.has_boxes:
            return Prediction(outputs * valid, valid, None)
        boxes = [_on_film(*pair) for pair in zip(outputs, valid, strict=True)]
        maps = [paint(rows, valid.shape[1:]) for rows in boxes]
        return Prediction(np.stack(maps) * valid, valid, boxes)


def _on_film(boxes: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """f32[k, 5] in px of the square -> f32[m, 5] in pixels of the map."""
    boxes = boxes[boxes[:, 4] > 0] / np.array([views.MAP_STRIDE] * 4 + [1], np.float32)
    column, row = _middle(boxes, valid.shape)
    return boxes[valid[row, column] > 0]


def _middle(boxes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """i64[2, k], column and row of the pixels that hold the centres of boxes."""
    center = (boxes[:, :2] + boxes[:, 2:4]) / 2
    return np.minimum(center, np.array(shape[::-1]) - 1).astype(int).T


def paint(boxes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A map of boxes: each pixel has the highest score of those that cover it.

    A box covers the pixels whose centres lie in it, and the one that holds its centre.

    Args:
        boxes: f32[k, 5], (x0, y0, x1, y1, score) in pixels of the map, score
            descending.
        shape: (h, w) of the map.

    Returns:
        f32[h, w]; 0 where no box is.

    >>> paint(np.array([[1, 0, 3, 1, 0.5], [0, 0, 2, 1, 0.2]]), (1, 4))
    array([[0.2, 0.5, 0.5, 0. ]], dtype=float32)
    """
    values = np.zeros(shape, np.float32)
    corners = np.ceil(boxes[:, :4] - 0.5).clip(0).astype(int)
    for (x0, y0, x1, y1), (column, row), score in zip(
        corners[::-1], _middle(boxes, shape).T[::-1], boxes[::-1, 4], strict=True
    ):
        values[y0:y1, x0:x1] = score
        values[row, column] = score
    return values


def film(content: np.ndarray, *, side: int) -> np.ndarray:
    """f32[n, side/4, side/4], 1 where a map's pixel lies on film.

    Args:
        content: f32[n, 4] (x0, y0, x1, y1), px of the square.
        side: of the square, px.
    """
    return np.stack(
        [
            augment.draw_content(
                rectangle,
                augment.identity(),
                side=side,
                map_side=side // views.MAP_STRIDE,
            )
            for rectangle in content
        ]
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Detecting:
    """How detections and image scores are taken; see configs/base.py."""

    detections: str  # of a map: a key of detection.FINDERS
    min_distance: float  # between two of a map, share of its side
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


def read_prediction(
    prediction: Prediction, truth: readings.Truth, *, detecting: Detecting
) -> readings.Reading:
    """The reading of one model.

    Args:
        prediction: of n images.
        truth: of the same images.
        detecting: how detections and image scores are taken.
    """
    rows, maps = truth.judged_rows, prediction.maps
    area = froc.area_data(
        maps[rows],
        [truth.lesions[i] for i in rows],
        valid=prediction.valid[rows] > 0,
    )
    return readings.read(
        truth,
        prediction.image_scores(detecting.pooling),
        detections(prediction, detecting),
        hit=HIT,
        area=area,
    )


def detections(prediction: Prediction, detecting: Detecting) -> list[np.ndarray]:
    """n of f[k, 5] boxes, as they are; or f[k, 3] points, those of the map."""
    if prediction.boxes is not None:
        return [
            rows[rows[:, 4] >= detecting.threshold][: detecting.max_detections]
            for rows in prediction.boxes
        ]
    distance = max(1.0, detecting.min_distance * prediction.maps.shape[1])
    find = detection.FINDERS[detecting.detections]
    return [
        find(
            values,
            min_distance=distance,
            threshold=detecting.threshold,
            max_detections=detecting.max_detections,
            valid=on_film > 0,
        ).rows()
        for values, on_film in zip(prediction.maps, prediction.valid, strict=True)
    ]


def boxes(prediction: Prediction, detecting: Detecting) -> list[np.ndarray]:
    """n of f64[k, 5], (x0, y0, x1, y1, score) in px of the square, score descending.

    The boxes of a head of boxes; of a map, those round its peaks (`peak_boxes`): one a
    hill, also where `detecting` counts several detections on it.
    """
    found = detections(prediction, dataclasses.replace(detecting, detections="peaks"))
    made = []
    for rows, values in zip(found, prediction.maps, strict=True):
        if prediction.boxes is None:
            around = detection.peak_boxes(values, rows)
            rows = np.concatenate([around, rows[:, 2:]], axis=1)
        scale = np.array([views.MAP_STRIDE] * 4 + [1.0])
        made.append(rows.astype(np.float64) * scale)
    return made
