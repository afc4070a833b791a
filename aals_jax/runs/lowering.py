"""The programs of a run, lowered for a topology from shapes alone.

Both training steps and the evaluation's forward pass are those that run: made by
`stages` and spread by `devices.data_parallel`. States and batches are shapes, the
batches' those of examples that the run's own makers made.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from aals_jax.input import augment, pipeline, views
from aals_jax.method import steps
from aals_jax.runs import stages
from aals_jax.runs.stages import Stage
from aals_jax.runtime import devices
from aals_jax.runtime.devices import Topology
from aals_jax.types import Batch


class Lowering:
    """What lowers the programs of one config for one topology.

    Args:
      config: of a run.
      topology: where.
      images_of_p: number of images of P; None: the method need not know.
      most_boxes: of an image of R; None: the method predicts none.

    Raises:
      ValueError: the method needs one of these numbers.
    """

    def __init__(
        self,
        config: Any,
        topology: Topology,
        *,
        images_of_p: int | None = None,
        most_boxes: int | None = None,
    ):
        self._config, self._topology = config, topology
        self.stages = traced_stages(config, images_of_p)
        self._makers = {
            stage.name: _makers(stage, config, most_boxes) for stage in self.stages
        }

    def step(self, stage: Stage, labelled: int, image_level: int) -> Any:
        """A training step, jax.stages.Lowered.

        Args:
          stage: of `stages`.
          labelled: images of R and N in a batch, over all devices.
          image_level: likewise, of P; not read by a stage without P.
        """
        example = self.batch(stage, dict.fromkeys(stage.counts, 1))
        batch = Batch(
            labelled=_shapes(example.labelled, labelled),
            weak=_shapes(example.weak, image_level),
        )
        chips = self._topology.chips
        constants = [_shapes(tree) for tree in stage.constants]
        parallel = devices.data_parallel(
            stage.step, constants=len(constants), devices=chips
        )
        return devices.lower(
            parallel, _shapes(stage.initial), batch, *constants, devices=chips
        )

    def evaluation(self) -> Any:
        """The forward pass of one host's devices, jax.stages.Lowered."""
        config, chips = self._config, self._topology.of_one_host
        model = stages.make_model(config, axis_name=None)
        step = steps.make_eval_step(model, stages.make_detect(config))
        side, images = config.data.side, config.evaluation.batch_size
        last = self.stages[-1]
        return devices.lower(
            devices.data_parallel_map(step, devices=chips),
            _shapes(last.whole(last.initial.student)),
            jax.ShapeDtypeStruct((images, side, side, 1), np.float32),
            devices=chips,
        )

    def batch(self, stage: Stage, counts: Mapping[str, int]) -> Batch:
        """A batch of grey films, with `counts` images of each stream."""
        return pipeline.blank_batch(
            counts,
            side=self._config.data.side,
            ranges=augment.Ranges(**self._config.augment),
            makers=self._makers[stage.name],
        )


def images_of(counts: Mapping[str, int]) -> tuple[int, int]:
    """Of a batch over all devices: those of R and N, and those of P."""
    return counts["region"] + counts["negative"], counts.get("image_level", 0)


def make_stages(config: Any, images_of_p: int | None) -> tuple[Stage, Stage]:
    """Both stages of a run, the second from the first's random weights.

    Raises:
      ValueError: the method keeps something of each image of P, and nobody said how
        many there are.
    """
    first = stages.pretrain_stage(config, config.data.side)
    return first, _second(config, first.initial, images_of_p)


def traced_stages(config: Any, images_of_p: int | None) -> tuple[Stage, Stage]:
    """As `make_stages`, with shapes in the place of the first states: nothing runs."""
    first = _traced(partial(stages.pretrain_stage, config, config.data.side))
    make_second = partial(_second, config, images_of_p=images_of_p)
    return first, _traced(make_second, first.initial)


def _second(config: Any, pretrained: Any, images_of_p: int | None) -> Stage:
    def make(images: int) -> Stage:
        side = config.data.side
        return stages.distill_stage(config, pretrained, images=images, side=side)

    if images_of_p is not None:
        return make(images_of_p)
    stage = make(1)
    if _sizes(stage.initial) != _sizes(make(2).initial):
        raise ValueError(
            f"method={config.method!r} keeps something of each image of P: say how "
            "many there are with --images_of_p"
        )
    return stage


def _sizes(tree: Any) -> list[Any]:
    return [leaf.shape for leaf in jax.tree.leaves(tree)]


def _traced(make: Callable[..., Stage], *states: Any) -> Stage:
    made: list[Stage] = []

    def initial(*states: Any) -> Any:
        made.append(make(*states))
        return made[-1].initial

    shapes: Any = jax.eval_shape(initial, *states)
    return dataclasses.replace(made[-1], initial=shapes)


def _makers(
    stage: Stage, config: Any, most_boxes: int | None
) -> Mapping[str, Callable[..., Any]]:
    """What makes the stage's examples, see `views.makers`."""
    if stage.has_boxes and most_boxes is None:
        raise ValueError(
            f"method={config.method!r} predicts boxes: say how many the image with "
            "most of them has, with --most_boxes"
        )
    boxes = most_boxes if stage.has_boxes else None
    return views.makers(dataclasses.replace(stage.extras, max_boxes=boxes))


def _shapes(tree: Any, images: int | None = None) -> Any:
    """The shapes of a tree's arrays, with so many images where they have an axis B."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(
            x.shape if images is None else (images, *x.shape[1:]), x.dtype
        ),
        tree,
    )
