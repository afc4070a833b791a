"""The compared methods, one row each: what they learn from R and N, and what from P.

A method is data: a loss on R and N, and for P a guide (`guides.GUIDES`), a rule that
makes the guide's map the target, and a loss between target and student. All share
backbone, streams, augmentation, budget and evaluation. docs/methods.md adds one.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.scipy.special import logit

from aals_jax.method import ensemble, losses, sharpening
from aals_jax.types import Labelled, TrainState, Variables, Weak


@dataclasses.dataclass(frozen=True)
class Constants:
    """What rules read: the fields of `config.distill` of these names, and as there."""

    max_strength: float
    center: float
    dead_zone: str
    dead_zone_share: float
    lesion_area: float
    ensemble_decay: float
    cell: int
    box_weight: float
    pool_sharpness: float

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Constants":
        """From `config.distill`."""
        return cls(**{f.name: settings[f.name] for f in dataclasses.fields(cls)})


# (logits f32[B, h, w], labelled, constants) -> f32[B]
LabelledLoss = Callable[[jax.Array, Labelled, Constants], jax.Array]
# (the guide's logits f32[B, h, w], weak, constants) -> the target's logits
TargetRule = Callable[[Any, Weak, Constants], Any]
# (target, logits f32[B, h, w], weak, constants) -> f32[B], gradient to the logits
WeakLoss = Callable[[Any, jax.Array, Weak, Constants], jax.Array]


# --- losses on R and N


def dense(logits: jax.Array, labelled: Labelled, constants: Constants) -> jax.Array:
    """Per-pixel cross-entropy; boxes are filled with 1."""
    return losses.pixel_cross_entropy(logits, labelled.target, labelled.valid)


def image_label(
    logits: jax.Array, labelled: Labelled, constants: Constants
) -> jax.Array:
    """Cross-entropy of the pooled logit with the image's label; no box is read."""
    return _image_loss(logits, labelled.label, labelled.valid, constants)


def _image_loss(
    logits: jax.Array, label: jax.Array, valid: jax.Array, constants: Constants
) -> jax.Array:
    pooled = losses.pooled_logit(logits, valid, sharpness=constants.pool_sharpness)
    loss = optax.sigmoid_binary_cross_entropy(pooled, label)
    return losses.on_film(loss, valid)


def _cells(x: jax.Array, cell: int) -> jax.Array:
    """f32[B, h, w] -> f32[B, h/cell, w/cell, cell^2]."""
    batch, height, width = x.shape
    blocks = x.reshape(batch, height // cell, cell, width // cell, cell)
    return blocks.swapaxes(2, 3).reshape(*blocks.shape[:2], -1, cell**2)


def boxed_cells(
    logits: jax.Array, labelled: Labelled, constants: Constants
) -> jax.Array:
    """-log of the product of p in cells that a box meets and 1 - p in the others.

    With boxes it weighs `box_weight` times as much. Reference: Li et al., Thoracic
    Disease Identification and Localization with Limited Supervision, CVPR 2018.
    """
    cell = constants.cell
    z = _cells(logits, cell).mean(axis=-1)
    target = _cells(labelled.target, cell).max(axis=-1)
    valid = _cells(labelled.valid, cell).max(axis=-1)
    each = optax.sigmoid_binary_cross_entropy(z, target) * valid
    weight = jnp.where(labelled.label > 0, constants.box_weight, 1.0)
    return weight * jnp.sum(each, axis=(1, 2))


# --- rules that make a target


def unchanged(guide: Any, weak: Weak, constants: Constants) -> Any:
    return guide


def aals(logits: jax.Array, weak: Weak, constants: Constants) -> jax.Array:
    """The paper's operator; both options that move its center are ours, and off."""
    center = logit(constants.center)
    if constants.dead_zone == "raise":
        center = sharpening.alive_center(
            logits, weak.valid, center=center, share=constants.dead_zone_share
        )
    if constants.lesion_area > 0:
        center = sharpening.top_center(
            logits,
            weak.valid,
            weak.lesions,
            center=center,
            lesion_area=constants.lesion_area,
        )
    return sharpening.sharpen_above(
        logits, center, max_strength=constants.max_strength, valid=weak.valid
    )


def asymmetric(logits: jax.Array, weak: Weak, constants: Constants) -> jax.Array:
    return sharpening.sharpen_asymmetric(
        logits, strength=constants.max_strength, center=constants.center
    )


def temperature(logits: jax.Array, weak: Weak, constants: Constants) -> jax.Array:
    return sharpening.sharpen_temperature(logits, strength=constants.max_strength)


def hard(logits: jax.Array, weak: Weak, constants: Constants) -> jax.Array:
    return sharpening.harden(logits)


# --- losses on P


def divergence(
    target: jax.Array, logits: jax.Array, weak: Weak, constants: Constants
) -> jax.Array:
    """KL(target || student) per pixel."""
    return losses.pixel_kl(target, logits, weak.valid)


def squared_error(
    target: jax.Array, logits: jax.Array, weak: Weak, constants: Constants
) -> jax.Array:
    """Between the probabilities of two views of one geometry."""
    return losses.pixel_squared_error(target, logits, weak.valid)


def squared_error_unaugmented(
    target: ensemble.Ensemble, logits: jax.Array, weak: Weak, constants: Constants
) -> jax.Array:
    """Between the student's map brought back to the un-augmented frame and the running
    one; an image's first time has no target and gives 0."""
    maps, seen = ensemble.unaugmented(logits, weak, side=target.total.shape[1])
    known = seen * (target.weight > 0)
    return losses.image_mean(jnp.square(maps - target.mean), known)


def image_positive(
    target: None, logits: jax.Array, weak: Weak, constants: Constants
) -> jax.Array:
    """Cross-entropy of the pooled logit with what the record says: positive."""
    positive = jnp.ones(len(logits), jnp.float32)
    return _image_loss(logits, positive, weak.valid, constants)


def any_cell(
    target: None, logits: jax.Array, weak: Weak, constants: Constants
) -> jax.Array:
    """-log of the noisy-OR over cells: one of them, at least, has the lesion."""
    z = _cells(logits, constants.cell).mean(axis=-1)
    valid = _cells(weak.valid, constants.cell).max(axis=-1)
    return losses.on_film(-losses.log_any(z, valid), valid)


@dataclasses.dataclass(frozen=True)
class Method:
    """A row of the table; the defaults are those of the supervised baseline."""

    labelled: LabelledLoss = dense  # on R and N
    guide: str | None = None  # on P, of guides.GUIDES
    target: TargetRule = unchanged
    weak: WeakLoss | None = None  # on P; None: P is not even read
    ramps: bool = False  # the weight of the term on P rises from almost nothing
    jitter_teacher: bool = False  # the guide's view has photometry of its own
    from_start: bool = False  # no teacher needed: P and the same losses in stage 1 too
    cells: bool = False  # the map is one of grid cells


METHODS: Mapping[str, Method] = {
    "supervised": Method(),
    "image_level": Method(labelled=image_label, weak=image_positive, from_start=True),
    "mil": Method(labelled=boxed_cells, weak=any_cell, from_start=True, cells=True),
    "pi_model": Method(
        guide="second_view", weak=squared_error, ramps=True, jitter_teacher=True
    ),
    "temporal_ensembling": Method(
        guide="ensemble", weak=squared_error_unaugmented, ramps=True
    ),
    "mean_teacher": Method(
        guide="average", weak=squared_error, ramps=True, jitter_teacher=True
    ),
    "self_training": Method(guide="first_stage", weak=divergence),
    "pseudo_label": Method(guide="average", target=hard, weak=divergence),
    "temperature": Method(guide="average", target=temperature, weak=divergence),
    "asymmetric": Method(guide="average", target=asymmetric, weak=divergence),
    "aals": Method(guide="average", target=aals, weak=divergence),
}


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
