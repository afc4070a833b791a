"""Pure steps: `state, batch -> state, metrics`, made by factories that bind constants.

No step draws random numbers: augmentation belongs to the batch, a function of (seed,
step), so the same batch gives the same update on any number of devices.
"""

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax
from jax.scipy.special import logit

from aals_jax import ema, losses, schedule
from aals_jax.sharpening import sharpen
from aals_jax.types import Batch, Labelled, Metrics, TrainState, Variables, Weak

Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
TargetRule = Callable[..., jax.Array]

# What the teacher's map on P becomes before the student learns from it. A rule takes
# (teacher_logits, valid, *, max_strength, center) and returns the target's logits;
# None means that P is not used at all.
METHODS: Mapping[str, TargetRule | None] = {
    "supervised": None,
    "aals": lambda logits, valid, **constants: sharpen(
        logits, valid=valid, **constants
    ),
}


def init_state(
    model: nn.Module, tx: optax.GradientTransformation, key: jax.Array, *, side: int
) -> TrainState:
    """A fresh state for images of `side` x `side`; the teacher starts as a copy."""
    image = jnp.zeros((1, side, side, 1), jnp.float32)
    # jitted: otherwise each initial convolution is compiled and run by itself
    variables = jax.jit(partial(model.init, train=False))(key, image)
    return restart(variables, tx)


def restart(student: Variables, tx: optax.GradientTransformation) -> TrainState:
    """State at step 0 from given weights, as at the start of the second stage."""
    student = {"params": student["params"], "batch_stats": student["batch_stats"]}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        student=jax.tree.map(jnp.copy, student),
        # own buffers: the state is donated, an alias would be freed twice
        teacher=jax.tree.map(jnp.copy, student),
        opt_state=tx.init(student["params"]),
    )


def _advance(
    state: TrainState,
    gradients: optax.Updates,
    batch_stats: Variables,
    tx: optax.GradientTransformation,
    ema_decay: float,
) -> TrainState:
    params = state.student["params"]
    updates, opt_state = tx.update(gradients, state.opt_state, params)
    student = {"params": optax.apply_updates(params, updates), **batch_stats}
    decay = ema.warmed_decay(state.step, ema_decay)
    return TrainState(
        step=state.step + 1,
        student=student,
        teacher=ema.update(state.teacher, student, decay),
        opt_state=opt_state,
    )


def _student_pass(
    model: nn.Module, params: optax.Params, state: TrainState, image: jax.Array
) -> tuple[jax.Array, Variables]:
    variables = {**state.student, "params": params}
    return model.apply(variables, image, train=True, mutable=["batch_stats"])  # pyright: ignore[reportReturnType]


def _supervised_loss(
    logits: jax.Array, labelled: Labelled, axis_name: str | None
) -> jax.Array:
    return losses.global_mean(
        losses.pixel_cross_entropy(logits, labelled.target, labelled.valid), axis_name
    )


def make_pretrain_step(
    model: nn.Module,
    tx: optax.GradientTransformation,
    *,
    ema_decay: float,
    axis_name: str | None,
) -> Step:
    """Stage 1, and the supervised baseline: dense cross-entropy on R and N alone."""

    def loss_fn(params, state, batch):
        logits, stats = _student_pass(model, params, state, batch.labelled.image)
        loss = _supervised_loss(logits, batch.labelled, axis_name)
        return loss, stats

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        (loss, stats), gradients = jax.value_and_grad(loss_fn, has_aux=True)(
            state.student["params"], state, batch
        )
        gradients = _mean_over_devices(gradients, axis_name)
        metrics = {
            "loss/supervised": loss,
            "loss/total": loss,
            "grad_norm": optax.tree.norm(gradients),
            "ema_decay": ema.warmed_decay(state.step, ema_decay),
            "images/labelled": _count(batch.labelled.image, axis_name),
        }
        return _advance(state, gradients, stats, tx, ema_decay), metrics

    return step


def make_distill_step(
    method: str,
    model: nn.Module,
    tx: optax.GradientTransformation,
    *,
    max_strength: float,
    center: float,
    distill_weight: float,
    ramp_steps: int,
    ema_decay: float,
    axis_name: str | None,
) -> Step:
    """Stage 2: the teacher's sharpened maps on P join the supervised loss on R and N.

    The teacher runs on P alone, with its running statistics; the student sees R, N and
    P in one pass. `method` names a row of METHODS; one whose rule is None gets the
    supervised step, which never touches P.
    """
    rule = METHODS[method]
    if rule is None:
        return make_pretrain_step(model, tx, ema_decay=ema_decay, axis_name=axis_name)

    def loss_fn(params, probe, state, batch, target_logits):
        split = len(batch.labelled.image)
        image = jnp.concatenate([batch.labelled.image, batch.weak.student_image])
        logits, stats = _student_pass(model, params, state, image)
        # `probe` is zero; its gradient is that of the distillation term at the logits
        weak_logits = logits[split:] + probe
        supervised = _supervised_loss(logits[:split], batch.labelled, axis_name)
        divergence = losses.pixel_kl(target_logits, weak_logits, batch.weak.valid)
        distill = losses.global_mean(divergence, axis_name)
        weight = distill_weight * schedule.ramp_up(state.step, ramp_steps)
        total = supervised + weight * distill
        terms = {
            "loss/supervised": supervised,
            "loss/distill": distill,
            "loss/distill_weighted": weight * distill,
            "loss/total": total,
        }
        return total, (stats, terms)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        assert batch.weak is not None, "stage 2 needs images of P"
        weak = batch.weak
        teacher_logits = model.apply(state.teacher, weak.image, train=False)
        assert isinstance(teacher_logits, jax.Array)
        target = rule(
            teacher_logits, weak.valid, max_strength=max_strength, center=center
        )
        gradients, (stats, terms) = jax.grad(loss_fn, argnums=(0, 1), has_aux=True)(
            state.student["params"],
            jnp.zeros_like(teacher_logits),
            state,
            batch,
            target,
        )
        grads = _mean_over_devices(gradients[0], axis_name)
        metrics = {
            **terms,
            **_pseudo_label_monitors(teacher_logits, target, weak, center, axis_name),
            "pseudo/distill_grad_norm": _sharded_norm(gradients[1], axis_name),
            "grad_norm": optax.tree.norm(grads),
            "ema_decay": ema.warmed_decay(state.step, ema_decay),
            "images/labelled": _count(batch.labelled.image, axis_name),
            "images/image_level": _count(weak.image, axis_name),
        }
        return _advance(state, grads, stats, tx, ema_decay), metrics

    return step


def make_eval_step(model: nn.Module) -> Callable[[Variables, jax.Array], jax.Array]:
    """`variables, image f32[B, H, W, 1] -> probabilities f32[B, H/4, W/4]`, by running
    statistics; pure, no batch statistics involved."""

    def step(variables: Variables, image: jax.Array) -> jax.Array:
        logits = model.apply(variables, image, train=False)
        assert isinstance(logits, jax.Array)
        return jax.nn.sigmoid(logits)

    return step


def _pseudo_label_monitors(
    teacher_logits: jax.Array,
    target_logits: jax.Array,
    weak: Weak,
    center: float,
    axis_name: str | None,
) -> Metrics:
    """What sharpening finds and does on P; dead images have their peak below t."""
    film = jnp.where(weak.valid > 0, teacher_logits, -jnp.inf)
    peak = jnp.max(film, axis=(1, 2))
    raised = (target_logits > teacher_logits).astype(jnp.float32)
    mean = partial(losses.global_mean, axis_name=axis_name)
    return {
        "pseudo/mean_peak": mean(jax.nn.sigmoid(peak)),
        "pseudo/share_dead": mean((peak < logit(center)).astype(jnp.float32)),
        "pseudo/share_raised_pixels": mean(losses.image_mean(raised, weak.valid)),
        "pseudo/mean_target": mean(
            losses.image_mean(jax.nn.sigmoid(target_logits), weak.valid)
        ),
    }


def _mean_over_devices(
    gradients: optax.Updates, axis_name: str | None
) -> optax.Updates:
    # The loss is already global, so each device's gradient is its own share times the
    # number of devices (the transpose of psum is psum); the mean undoes that.
    return gradients if axis_name is None else lax.pmean(gradients, axis_name)


def _sharded_norm(gradient: jax.Array, axis_name: str | None) -> jax.Array:
    """Norm of a gradient whose leading axis is split over devices."""
    devices = losses.global_sum(jnp.ones(()), axis_name)
    return (
        jnp.sqrt(losses.global_sum(jnp.sum(jnp.square(gradient)), axis_name)) / devices
    )


def _count(images: jax.Array, axis_name: str | None) -> jax.Array:
    return losses.global_sum(jnp.asarray(len(images), jnp.float32), axis_name)
