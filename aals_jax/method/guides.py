"""Who guides the student on P: where a method's target comes from, before its rule."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from aals_jax.method import ensemble
from aals_jax.types import TrainState, Variables, Weak

Apply = Callable[[Variables, jax.Array], jax.Array]  # by running statistics
MakeMemory = Callable[..., Any]
Remember = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Guide:
    """One way to a target; every part is pure.

    look: (apply, state, weak) -> what the target is made of. The second view has none:
      it is the student's own map of the teacher's view, in the student's pass.
    memory: (student, *, images, side) -> what the state keeps from the start.
    remember: (memory, logits, weak, *, decay, axis_name) -> the memory after a step.
    """

    look: Callable[[Apply, Any, Weak], Any] | None = None
    memory: MakeMemory | None = None
    remember: Remember | None = None


def _average(apply: Apply, state: TrainState, weak: Weak) -> jax.Array:
    return apply(state.teacher, weak.image)


def _first_stage(apply: Apply, state: Any, weak: Weak) -> jax.Array:
    return apply(state.memory, weak.image)


def _copy(student: Variables, *, images: int, side: int) -> Variables:
    # own buffers: the state is donated, an alias would be freed twice
    return jax.tree.map(jnp.copy, student)


def _recall(apply: Apply, state: Any, weak: Weak) -> ensemble.Ensemble:
    return ensemble.recall(state.memory, weak.row)


def _empty(student: Variables, *, images: int, side: int) -> ensemble.Ensemble:
    return ensemble.empty(images, side)


def _remember(
    memory: ensemble.Ensemble,
    logits: jax.Array,
    weak: Weak,
    *,
    decay: float,
    axis_name: str | None,
) -> ensemble.Ensemble:
    side = memory.total.shape[1]
    maps, seen = ensemble.unaugmented(logits, weak, side=side)
    return ensemble.remember(
        memory, weak.row, maps, seen, decay=decay, axis_name=axis_name
    )


GUIDES: Mapping[str, Guide] = {
    "average": Guide(look=_average),  # of the student's weights
    "first_stage": Guide(look=_first_stage, memory=_copy),  # fixed
    "second_view": Guide(),  # the student itself
    "ensemble": Guide(look=_recall, memory=_empty, remember=_remember),
}
