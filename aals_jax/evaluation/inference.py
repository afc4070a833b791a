"""Maps of a model for every image of a table, on this host's devices."""

from typing import Any

import numpy as np
from flax import linen as nn

from aals_jax.input import augment, views
from aals_jax.input import batches as pipeline
from aals_jax.method import steps
from aals_jax.runtime import devices
from aals_jax.types import Variables


class Predictor:
    """A model's evaluation step, compiled once for one batch size."""

    def __init__(self, model: nn.Module, *, batch_size: int):
        devices.check_divisible(
            {"evaluation.batch_size": batch_size}, devices.local_device_count()
        )
        self._batch_size = batch_size
        self._step = devices.data_parallel_map(steps.make_eval_step(model))

    def maps(
        self, variables: Variables, dataset: pipeline.Dataset, table: pipeline.Table
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


def film(table: pipeline.Table, *, side: int) -> np.ndarray:
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
