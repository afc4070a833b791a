"""The compared methods, one row each: what they learn from R and N, and what from P.

A method is data: a loss on R and N, and for P a guide (a row of GUIDES), a rule that
makes the guide's map the target, and a loss between target and student. All methods
share backbone, streams, augmentation, budget and evaluation. The table is METHODS, near
the end; `bind` gives a row its constants. docs/methods.md shows how to add a method.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.scipy.special import logit

from aals_jax.method import box_losses, ensemble, losses, sharpening
from aals_jax.types import Labelled, TrainState, Variables, Weak

# --- what a method is made of

# (logits f32[B, h, w] or what else the head gives, labelled) -> f32[B] or Ratio
LabelledLoss = Callable[[Any, Labelled], jax.Array | losses.Ratio]
# (what the guide says: mostly logits f32[B, h, w], weak) -> the target, of that kind
TargetRule = Callable[[Any, Weak], Any]
# (target, logits f32[B, h, w], weak) -> f32[B], with a gradient to the logits
WeakLoss = Callable[[Any, jax.Array, Weak], jax.Array]
# (variables, image f32[B, H, W, 1]) -> logits f32[B, h, w], by running statistics
Apply = Callable[[Variables, jax.Array], jax.Array]


class Configured:
    """A function whose constants are fields of `config.distill` or `config.boxes`.

    Args:
      function: its constants are keywords.
      *names: keywords that have the name of their field.
      **renamed: other keywords, each with the name of its field.
    """

    def __init__(self, function: Callable[..., Any], *names: str, **renamed: str):
        self.function = function
        self.field_of: Mapping[str, str] = {name: name for name in names} | renamed

    def bind(self, settings: Mapping[str, Any]) -> Callable[..., Any]:
        """The function with its constants taken from `settings`."""
        constants = {key: settings[field] for key, field in self.field_of.items()}
        return functools.partial(self.function, **constants)


@dataclasses.dataclass(frozen=True)
class Guide:
    """Where the targets on P come from; each of its functions is pure.

    Fields:
      look: (apply, state, weak) -> what the target is made from. None: the student's
        own map of the teacher's view, computed in the training step.
      memory: (student, *, images, side) -> what the state keeps from the start.
      remember: (memory, logits, weak, *, axis_name) -> the memory after a step.
    """

    look: Callable[[Apply, Any, Weak], Any] | None = None
    memory: Callable[..., Any] | None = None
    remember: Callable[..., Any] | Configured | None = None


# --- guides


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
    maps, in_view = ensemble.unaugmented(logits, weak, side=side)
    return ensemble.remember(
        memory, weak.row, maps, in_view, decay=decay, axis_name=axis_name
    )


GUIDES: Mapping[str, Guide] = {
    "average": Guide(look=_average),  # the moving average of the student
    "first_stage": Guide(look=_first_stage, memory=_copy),  # fixed
    "second_view": Guide(),  # the student itself
    "ensemble": Guide(
        look=_recall,
        memory=_empty,
        remember=Configured(_remember, decay="ensemble_decay"),
    ),
}


# --- losses on R and N


def dense(logits: jax.Array, labelled: Labelled) -> jax.Array:
    """Cross-entropy per pixel with the boxes filled with 1: f32[B], in nats."""
    return losses.pixel_cross_entropy(logits, labelled.target, labelled.valid)


def image_label(
    logits: jax.Array, labelled: Labelled, *, pool_sharpness: float
) -> jax.Array:
    """Cross-entropy of the pooled logit with the image's label; no box is read.

    Args:
      logits: f32[B, h, w].
      labelled: images of R and N; `label` and `valid` are read.
      pool_sharpness: r > 0 of `losses.pooled_logit`.

    Returns:
      f32[B], in nats; 0 for an image without film.
    """
    pooled = losses.pooled_logit(logits, labelled.valid, sharpness=pool_sharpness)
    return _image_cross_entropy(pooled, labelled.label, labelled.valid)


def mean_label(logits: jax.Array, labelled: Labelled) -> jax.Array:
    """`image_label` with the mean over film as the pooled logit: f32[B], in nats."""
    pooled = losses.image_mean(logits, labelled.valid)
    return _image_cross_entropy(pooled, labelled.label, labelled.valid)


def boxed_cells(
    logits: jax.Array, labelled: Labelled, *, cell: int, box_weight: float
) -> jax.Array:
    """-log of the likelihood of a grid of cells, those with a box being positive.

    With p the probability of a cell (expit of its mean logit), the likelihood is the
    product of p over cells that a box meets and of 1 - p over the others.

    Args:
      logits: f32[B, h, w].
      labelled: images of R and N; `target`, `valid` and `label` are read.
      cell: side of a cell in pixels of the map; divides h and w.
      box_weight: > 0, of an image of R; one of N weighs 1.

    Returns:
      f32[B], in nats, summed over the cells that hold film.

    Reference: Li et al., Thoracic Disease Identification and Localization with Limited
    Supervision, CVPR 2018.
    """
    z = _cells(logits, cell).mean(axis=-1)
    target = _cells(labelled.target, cell).max(axis=-1)
    valid = _cells(labelled.valid, cell).max(axis=-1)
    cross_entropy = optax.sigmoid_binary_cross_entropy(z, target) * valid
    weight = jnp.where(labelled.label > 0, box_weight, 1.0)
    return weight * jnp.sum(cross_entropy, axis=(1, 2))


# --- rules: from what the guide says to the target


def unchanged(guidance: Any, weak: Weak) -> Any:
    """What the guide says is the target."""
    return guidance


def hard(logits: jax.Array, weak: Weak) -> jax.Array:
    """1 where y' >= 1/2, else 0; see `sharpening.harden`."""
    return sharpening.harden(logits)


def temperature(logits: jax.Array, weak: Weak, *, strength: float) -> jax.Array:
    """expit(a logit(y')) with a = `strength`; see `sharpening.sharpen_temperature`."""
    return sharpening.sharpen_temperature(logits, strength=strength)


def asymmetric(
    logits: jax.Array, weak: Weak, *, strength: float, center: float
) -> jax.Array:
    """AALS with one `strength` for all images; see `sharpening.sharpen_asymmetric`."""
    return sharpening.sharpen_asymmetric(logits, strength=strength, center=center)


def top_region(logits: jax.Array, weak: Weak, *, share: float) -> jax.Array:
    """y' in the top `share` of the film, 0 elsewhere; see `sharpening.top_region`."""
    return sharpening.top_region(logits, weak.valid, share=share)


def aals(
    logits: jax.Array,
    weak: Weak,
    *,
    max_strength: float,
    center: float,
    dead_zone: str,
    dead_zone_share: float,
    lesion_area: float,
) -> jax.Array:
    """The paper's operator, `sharpening.sharpen`; two options of ours may move t
    for each image.

    Args:
      logits: f32[B, h, w], the teacher's.
      weak: the images of P; `valid` and `lesions` are read.
      max_strength: a0 >= 1; 1 is plain distillation.
      center: t in (0, 1); `distill.dead_share`, ours too, has lowered it before.
      dead_zone: "leave" is the paper; "raise" moves t, see `sharpening.alive_center`.
      dead_zone_share: in (0, 1), of an image's peak; read for "raise".
      lesion_area: of one lesion, as a share of the film; above 0 it moves t, see
        `sharpening.top_center`. 0 is the paper.

    Returns:
      f32[B, h, w], the target's logits, never below `logits`.
    """
    center_logit = logit(center)
    if dead_zone == "raise":
        center_logit = sharpening.alive_center(
            logits, weak.valid, center_logit=center_logit, share=dead_zone_share
        )
    if lesion_area > 0:
        center_logit = sharpening.top_center(
            logits,
            weak.valid,
            weak.lesions,
            center_logit=center_logit,
            lesion_area=lesion_area,
        )
    return sharpening.sharpen_above(
        logits, center_logit, max_strength=max_strength, valid=weak.valid
    )


# --- losses on P


def divergence(target: jax.Array, logits: jax.Array, weak: Weak) -> jax.Array:
    """KL(target || student) per pixel: f32[B], in nats."""
    return losses.pixel_kl(target, logits, weak.valid)


def squared_error(target: jax.Array, logits: jax.Array, weak: Weak) -> jax.Array:
    """Squared difference per pixel of two views' probabilities: f32[B], in [0, 1]."""
    return losses.pixel_squared_error(target, logits, weak.valid)


def squared_error_unaugmented(
    target: ensemble.Ensemble, logits: jax.Array, weak: Weak
) -> jax.Array:
    """`squared_error` between the student's map and the running one: f32[B].

    The student's map is first brought back to the un-augmented frame, in which the
    running one is kept. An image that was never predicted has no target and gives 0.
    """
    maps, in_view = ensemble.unaugmented(logits, weak, side=target.total.shape[1])
    compared = in_view * (target.weight > 0)
    return losses.image_mean(jnp.square(maps - target.mean), compared)


def image_positive(
    target: None, logits: jax.Array, weak: Weak, *, pool_sharpness: float
) -> jax.Array:
    """`image_label` with what the record says of an image of P: it is positive."""
    pooled = losses.pooled_logit(logits, weak.valid, sharpness=pool_sharpness)
    return _image_cross_entropy(pooled, jnp.ones_like(pooled), weak.valid)


def pooled_positive(
    target: None,
    logits: jax.Array,
    weak: Weak,
    *,
    pool_sharpness: float,
    pooled_weight: float,
) -> jax.Array:
    """`image_positive` times `pooled_weight`: f32[B].

    Beside a dense loss it is to say that something is there, not to redraw the map, so
    its weight is small.
    """
    return pooled_weight * image_positive(
        target, logits, weak, pool_sharpness=pool_sharpness
    )


def mean_positive(target: None, logits: jax.Array, weak: Weak) -> jax.Array:
    """`mean_label` with what the record says of an image of P: f32[B], in nats."""
    pooled = losses.image_mean(logits, weak.valid)
    return _image_cross_entropy(pooled, jnp.ones_like(pooled), weak.valid)


def any_cell(target: None, logits: jax.Array, weak: Weak, *, cell: int) -> jax.Array:
    """-log(1 - product of 1 - p over cells): at least one of them has the lesion.

    Args:
      target: none.
      logits: f32[B, h, w].
      weak: images of P; `valid` is read.
      cell: side of a cell in pixels of the map, as in `boxed_cells`.

    Returns:
      f32[B], in nats; 0 for an image without film.
    """
    z = _cells(logits, cell).mean(axis=-1)
    valid = _cells(weak.valid, cell).max(axis=-1)
    return losses.on_film(-losses.log_any(z, valid), valid)


def _image_cross_entropy(
    pooled: jax.Array, label: jax.Array, valid: jax.Array
) -> jax.Array:
    loss = optax.sigmoid_binary_cross_entropy(pooled, label)
    return losses.on_film(loss, valid)


def quality_focal(
    target: jax.Array, logits: jax.Array, weak: Weak, *, focus: float
) -> jax.Array:
    """Quality focal loss, see `losses.pixel_quality_focal`: f32[B], in nats."""
    return losses.pixel_quality_focal(target, logits, weak.valid, focus=focus)


def withheld_boxes(target: None, logits: jax.Array, weak: Weak) -> jax.Array:
    """`dense` on P by the boxes that it withholds, for the oracle: f32[B], in nats."""
    assert weak.withheld is not None, "the oracle's batches have the withheld boxes"
    return losses.pixel_cross_entropy(logits, weak.withheld.target, weak.valid)


def _cells(maps: jax.Array, cell: int) -> jax.Array:
    """f32[B, h, w] -> f32[B, h/cell, w/cell, cell^2]."""
    batch, height, width = maps.shape
    blocks = maps.reshape(batch, height // cell, cell, width // cell, cell)
    return blocks.swapaxes(2, 3).reshape(*blocks.shape[:2], -1, cell**2)


# --- the table


@dataclasses.dataclass(frozen=True)
class Method:
    """A row of the table; the defaults are those of the supervised baseline.

    A function that has constants is wrapped in Configured, which names their fields.
    """

    labelled: LabelledLoss | Configured = dense  # on R and N
    guide: str | None = None  # on P, of GUIDES
    target: TargetRule | Configured = unchanged
    weak: WeakLoss | Configured | None = None  # on P; None: P is not even read
    ramps: bool = False  # the weight of the term on P rises from almost nothing
    jitter_teacher: bool = False  # the guide's view has photometry of its own
    sharpens: bool = False  # a target may exceed the guide's map
    # stage 1 already trains with this method's losses, on P too
    from_start: bool = False
    cells: bool = False  # logits are averaged over cells distill.cell pixels wide
    head: str = "map"  # of the net, of heads.HEADS
    # untrained probability; about that of a positive image where an image has one logit
    prior: float = 0.01
    # P shows the boxes that it withholds; only its images that have one carry a loss
    withheld: bool = False
    classifier: bool = False  # the net is a DenseNet with class activation maps
    # from a map to the image's score, of detection.POOLINGS; None: evaluation.pooling
    pooling: str | None = None


METHODS: Mapping[str, Method] = {
    "supervised": Method(),
    "image_level": Method(
        labelled=Configured(image_label, "pool_sharpness"),
        weak=Configured(image_positive, "pool_sharpness"),
        from_start=True,
        cells=True,
        prior=0.5,
    ),
    "mil": Method(
        labelled=Configured(boxed_cells, "cell", "box_weight"),
        weak=Configured(any_cell, "cell"),
        from_start=True,
        cells=True,
    ),
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
    "pseudo_label": Method(
        guide="average", target=hard, weak=divergence, sharpens=True
    ),
    "temperature": Method(
        guide="average",
        target=Configured(temperature, strength="max_strength"),
        weak=divergence,
        sharpens=True,
    ),
    "asymmetric": Method(
        guide="average",
        target=Configured(asymmetric, "center", strength="max_strength"),
        weak=divergence,
        sharpens=True,
    ),
    "aals": Method(
        guide="average",
        target=Configured(
            aals,
            "max_strength",
            "center",
            "dead_zone",
            "dead_zone_share",
            "lesion_area",
        ),
        weak=divergence,
        sharpens=True,
    ),
    "dense_teacher": Method(
        guide="average",
        target=Configured(top_region, share="region_share"),
        weak=Configured(quality_focal, focus="focus"),
    ),
    "pooled_label": Method(
        weak=Configured(pooled_positive, "pool_sharpness", "pooled_weight")
    ),
    "chexnet": Method(
        labelled=mean_label,
        weak=mean_positive,
        from_start=True,
        classifier=True,
        pooling="mean_logit",
    ),
    "oracle": Method(weak=withheld_boxes, withheld=True),
    "fcos": Method(
        labelled=Configured(
            box_losses.fcos,
            "finest_stride",
            "center_radius",
            "size_limit",
            "focal_alpha",
            "focal_gamma",
        ),
        from_start=True,
        head="fcos",
    ),
    "retinanet": Method(
        labelled=Configured(
            box_losses.retinanet,
            "finest_stride",
            "anchor_scale",
            "focal_alpha",
            "focal_gamma",
        ),
        from_start=True,
        head="retinanet",
    ),
}


# --- a row at work


@dataclasses.dataclass(frozen=True)
class BoundMethod:
    """What a step needs of a row: its functions, with their constants bound."""

    labelled: LabelledLoss
    guide: Guide | None
    target: TargetRule
    weak: WeakLoss | None
    withheld: bool

    def counted(self, weak: Weak) -> jax.Array:
        """f32[B], 1 for images of P that carry the loss: all, but for the oracle."""
        if not self.withheld:
            return jnp.ones(len(weak.image), jnp.float32)
        assert weak.withheld is not None, "the oracle's batches have withheld boxes"
        return weak.withheld.boxed


def has_center(name: str) -> bool:
    """Whether a row's targets have a center t, the field `center` of config.distill."""
    target = METHODS[name].target
    return isinstance(target, Configured) and "center" in target.field_of.values()


def bind(name: str, settings: Mapping[str, Any]) -> BoundMethod:
    """A row of METHODS with its constants.

    Args:
      name: of the row.
      settings: plain values by name, the fields of `config.distill` and `config.boxes`.

    Raises:
      KeyError: there is no such row, or no such field as one that the row names.
    """

    def bound(function: Any) -> Any:
        is_configured = isinstance(function, Configured)
        return function.bind(settings) if is_configured else function

    row = METHODS[name]
    guide = GUIDES[row.guide] if row.guide else None
    if guide:
        guide = dataclasses.replace(guide, remember=bound(guide.remember))
    return BoundMethod(
        labelled=bound(row.labelled),
        guide=guide,
        target=bound(row.target),
        weak=bound(row.weak),
        withheld=row.withheld,
    )


def initial_memory(name: str, student: Variables, *, images: int, side: int) -> Any:
    """What a method's guide keeps from the start; None for most.

    Args:
      name: a row of METHODS.
      student: the weights that the stage starts from.
      images: of P.
      side: of the maps kept; see `ensemble.memory_side`.
    """
    guide = METHODS[name].guide
    make = GUIDES[guide].memory if guide else None
    return make(student, images=images, side=side) if make else None
