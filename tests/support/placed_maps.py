"""An evaluator whose maps peak where, and as high as, they are told to: no net, no
pixels."""

import dataclasses
import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aals_jax.evaluation import model_maps
from aals_jax.evaluation.evaluator import Evaluator
from aals_jax.input.dataset import GROUPS, Data, ImageTable, Streams, object_array
from aals_jax.metrics.draws import Bootstrap

SIDE = 32
BOX = np.array([[8.0, 8.0, 16.0, 16.0]], np.float32)  # px of the square


def table_of(label: Sequence[int], boxed: Sequence[int]) -> ImageTable:
    """Images "i0", "i1", ... of these labels, each of a patient; some have BOX."""
    n = len(label)
    return ImageTable(
        split=np.array(["part_0"] * n, str),
        position=np.arange(n),
        label=np.array(label, np.int8),
        count=np.full(n, -1),
        boxes=object_array([BOX[: int(b)] for b in boxed]),
        content=np.tile(np.float32([0, 0, SIDE, SIDE]), (n, 1)),
        patient=np.array([f"p{i}" for i in range(n)], str),
        image_id=np.array([f"i{i}" for i in range(n)], str),
        **{name: np.array([""] * n, str) for name in GROUPS},
    )


@dataclasses.dataclass(frozen=True)
class Placed(Evaluator):
    """Peaks lie in BOX for images of `hit`, beside it for others."""

    hit: set = dataclasses.field(default_factory=set)  # image ids
    # image id -> height; of others 0.8 for the model "teacher" and 0.2 for the rest
    peaks: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def predict_table(self, model, table, name):
        usual = 0.8 if model.name == "teacher" else 0.2
        maps = np.zeros((len(table), SIDE // 4, SIDE // 4), np.float32)
        for values, image in zip(maps, table.image_id, strict=True):
            place = (3, 3) if image in self.hit else (6, 6)
            values[place] = self.peaks.get(image, usual)
        return model_maps.Prediction(
            maps, model_maps.film(table.content, side=SIDE), None
        )

    def predict_together(self, model, table, name):
        pass


def evaluator_of(
    train: ImageTable,
    validation: ImageTable,
    image_level: Sequence[int] = (),
    **options: Any,
) -> Placed:
    """R is image 0 of `train`, P are `image_level`, N are 4 and 5.

    `options`: `hit` and `peaks`.
    """
    streams = Streams(np.array([0]), np.array(image_level, int), np.array([4, 5]))
    dataset: Any = types.SimpleNamespace(side=SIDE)
    unused: Any = None
    return Placed(
        data=Data(dataset, train, validation, validation, streams, "phantom", ""),
        predictor=unused,
        detecting=unused,
        bootstrap=Bootstrap(20, 0),
        cache=unused,
        **options,
    )
