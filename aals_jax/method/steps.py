"""Pure steps: `state, batch -> state, metrics`, made by factories that bind constants.

Here teacher and student meet. No step draws random numbers: augmentation belongs to the
batch, a function of (seed, step), so the same batch gives the same update on any number
of devices.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from aals_jax.method import ema, losses, monitors, optim
from aals_jax.method.methods import BoundMethod, LabelledLoss, dense
from aals_jax.models.parts import BACKBONE
from aals_jax.runtime import devices
from aals_jax.types import Batch, MemoryState, Metrics, TrainState, Variables

# (state, batch, and the variables of a frozen encoder where the net has one)
Step = Callable[..., tuple[TrainState, Metrics]]
_TRAINED = ("params", "batch_stats")  # collections that a state holds


@dataclasses.dataclass(frozen=True)
class _Learnt:
    """What a batch, or a micro-batch, says of the student."""

    gradients: Any  # of the loss, by the params
    batch_stats: Variables  # after it
    terms: Metrics  # the loss and its parts
    # of images of P, leading axis B: gradients of the loss by the student's logits
    probe: Any = None
    # likewise: the logits, what the guide says and the target
    maps: Any = None


jax.tree_util.register_dataclass(_Learnt)
_Learn = Callable[[TrainState, Batch], _Learnt]


def init_state(
    model: nn.Module, tx: optax.GradientTransformation, key: jax.Array, *, side: int
) -> TrainState:
    """A state at step 0 with random weights; the teacher starts as a copy.

    Args:
      model: of one channel in.
      tx: the optimiser.
      key: of the random weights.
      side: of the square images, px.
    """
    image = jnp.zeros((1, side, side, 1), jnp.float32)
    # compiled: otherwise each initial convolution is compiled and run by itself
    init = devices.jit_for_one_call(
        lambda key, image: _trained(model.init(key, image, train=False))
    )
    return restart(init(key, image), tx)


def restart(
    student: Variables, tx: optax.GradientTransformation, *, memory: Any = None
) -> TrainState:
    """A state at step 0 from given weights, as stage 2 starts; the teacher is a copy.

    Args:
      student: params and, of a net that has any, batch_stats, float32 leaves; of a
        frozen encoder nothing stays.
      tx: the optimiser.
      memory: what the method keeps beside the weights, of `methods.initial_memory`.

    Returns:
      A MemoryState where there is a memory, else a TrainState.
    """
    student = _trained(student)
    fields: dict[str, Any] = {
        "step": jnp.zeros((), jnp.int32),
        "student": jax.tree.map(jnp.copy, student),
        # own buffers: the state is donated, an alias would be freed twice
        "teacher": jax.tree.map(jnp.copy, student),
        "opt_state": tx.init(student["params"]),
    }
    if memory is None:
        return TrainState(**fields)
    return MemoryState(**fields, memory=memory)


def _trained(variables: Variables) -> Variables:
    return {kind: variables[kind] for kind in _TRAINED if kind in variables}


def _with(state: TrainState, frozen: Variables | None) -> TrainState:
    """The state as a step looks at it: its student is a whole net."""
    if frozen is None:
        return state
    return dataclasses.replace(state, student={**state.student, **frozen})


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
    return dataclasses.replace(
        state,
        step=state.step + 1,
        student=student,
        teacher=ema.update(state.teacher, student, decay),
        opt_state=opt_state,
    )


def _student_pass(
    model: nn.Module,
    params: optax.Params,
    state: TrainState,
    *parts: tuple[jax.Array, jax.Array | None],
) -> tuple[Any, Variables]:
    """What the student says of images, each part with its factors of dropout."""
    images, keeps = zip(*parts, strict=True)
    dropout: Any = {} if keeps[0] is None else {"keep": jnp.concatenate(keeps)}
    variables: Any = {**state.student, "params": params}
    images = jnp.concatenate(images)
    mutable = ["batch_stats"]
    return model.apply(variables, images, train=True, mutable=mutable, **dropout)  # pyright: ignore[reportReturnType]


def make_pretrain_step(
    model: nn.Module,
    tx: optax.GradientTransformation,
    *,
    ema_decay: float,
    axis_name: str | None,
    labelled_loss: LabelledLoss = dense,
    accumulate: int = 1,
) -> Step:
    """Stage 1, and methods without P: a loss on R and N alone.

    Args:
      model: the detector; called with `train=True`.
      tx: the optimiser.
      ema_decay: final decay of the average, in [0, 1).
      axis_name: of the devices, or None.
      labelled_loss: dense cross-entropy, or that of a head of boxes.
      accumulate: micro-batches of a step, see `_in_turns`.
    """

    def loss_fn(params, state, batch):
        labelled = batch.labelled
        part = labelled.image, labelled.keep
        outputs, stats = _student_pass(model, params, state, part)
        loss = labelled_loss(outputs, labelled)
        return losses.global_mean(loss, axis_name), stats

    def learn(state: TrainState, batch: Batch) -> _Learnt:
        (loss, stats), gradients = jax.value_and_grad(loss_fn, has_aux=True)(
            state.student["params"], state, batch
        )
        return _Learnt(gradients, stats, {"loss/supervised": loss, "loss/total": loss})

    learn_all = _in_turns(learn, accumulate)

    def step(
        state: TrainState, batch: Batch, frozen: Variables | None = None
    ) -> tuple[TrainState, Metrics]:
        learnt = learn_all(_with(state, frozen), batch)
        gradients = _mean_over_devices(learnt.gradients, axis_name)
        metrics = {
            **learnt.terms,
            "grad_norm": optax.tree.norm(gradients),
            "ema_decay": ema.warmed_decay(state.step, ema_decay),
            "images/labelled": _count(batch.labelled.image, axis_name),
        }
        stats = learnt.batch_stats
        return _advance(state, gradients, stats, tx, ema_decay), metrics

    return step


def make_distill_step(
    method: BoundMethod,
    model: nn.Module,
    tx: optax.GradientTransformation,
    *,
    center: float,
    distill_weight: float,
    ramp_steps: int,
    ema_decay: float,
    axis_name: str | None,
    image_weights: bool = False,
    accumulate: int = 1,
) -> Step:
    """Stage 2: the method's loss on P joins its loss on R and N.

    The guide of an averaged or fixed teacher runs on P alone, with running statistics;
    the student sees R, N and P in one pass. A method that does not use P gets the
    supervised step, which never touches it.

    Args:
      method: a row of METHODS with its constants, of `methods.bind`.
      model: the detector.
      tx: the optimiser.
      center: t in (0, 1), below which the monitors count an image's peak as dead; of
        every method, so that the monitors of all compare.
      distill_weight: lambda >= 0, of the loss on P.
      ramp_steps: steps over which that weight rises; 0: full from the start.
      ema_decay: final decay of the average, in [0, 1).
      axis_name: of the devices, or None.
      image_weights: lambda is of an image of P against one of R or N; else of the mean
        over P against the mean over R and N, however many images each has.
      accumulate: micro-batches of a step, see `_in_turns`; of a method whose losses are
        means over images.
    """
    if method.weak is None:
        return make_pretrain_step(
            model,
            tx,
            ema_decay=ema_decay,
            axis_name=axis_name,
            labelled_loss=method.labelled,
            accumulate=accumulate,
        )
    look = method.guide.look if method.guide else None
    remember = method.guide.remember if method.guide else None
    loss_fn = _make_distill_loss(method, model, axis_name, image_weights)
    gradient_of = jax.grad(loss_fn, argnums=(0, 1), has_aux=True)

    def learn(state: TrainState, batch: Batch) -> _Learnt:
        assert batch.weak is not None, "the method needs images of P"
        # everybody's encoder
        frozen = {k: v for k, v in state.student.items() if k not in _TRAINED}

        def apply(variables: Variables, image: jax.Array) -> Any:
            return model.apply({**variables, **frozen}, image, train=False)

        weak, params = batch.weak, state.student["params"]
        guidance = look(apply, state, weak) if look else None
        target = lax.stop_gradient(method.target(guidance, weak)) if look else None
        weight = distill_weight * optim.ramp_up(state.step, ramp_steps)
        gradients, (stats, terms, logits) = gradient_of(
            params, jnp.zeros_like(weak.valid), state, batch, target, weight
        )
        maps = (logits, guidance, target)
        return _Learnt(gradients[0], stats, terms, probe=gradients[1], maps=maps)

    learn_all = _in_turns(learn, accumulate)

    def step(
        state: TrainState, batch: Batch, frozen: Variables | None = None
    ) -> tuple[TrainState, Metrics]:
        learnt = learn_all(_with(state, frozen), batch)
        weak: Any = batch.weak
        logits, guidance, target = learnt.maps
        grads = _mean_over_devices(learnt.gradients, axis_name)
        metrics = {
            **learnt.terms,
            **monitors.of_targets(
                guidance, target, weak, center=center, axis_name=axis_name
            ),
            "pseudo/distill_grad_norm": _sharded_norm(learnt.probe, axis_name),
            "grad_norm": optax.tree.norm(grads),
            "ema_decay": ema.warmed_decay(state.step, ema_decay),
            "images/labelled": _count(batch.labelled.image, axis_name),
            "images/image_level": losses.global_sum(
                jnp.sum(method.counted(weak)), axis_name
            ),
        }
        after = _advance(state, grads, learnt.batch_stats, tx, ema_decay)
        if callable(remember) and isinstance(after, MemoryState):
            memory = remember(after.memory, logits, weak, axis_name=axis_name)
            after = dataclasses.replace(after, memory=memory)
        return after, metrics

    return step


def _in_turns(learn: _Learn, count: int) -> _Learn:
    """`learn` from `count` equal micro-batches, one after the other in one memory.

    A loss is a mean over images, so its gradient is the mean of the micro-batches'
    gradients. All of them meet the same weights. BatchNorm normalises each by its own
    statistics, and the running ones go through them in order.

    Each device splits its own images: micro-batch i has those at i, i + count, ... So
    it has the mix of the batch, and over all devices the same images whatever their
    number.

    Args:
      learn: from a batch.
      count: a divisor of a device's images of R and N, and of those of P; 1 is `learn`.
    """
    if count == 1:
        return learn

    def split(x: jax.Array) -> jax.Array:
        return x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1)

    def joined(x: jax.Array) -> jax.Array:
        """The inverse."""
        return x.swapaxes(0, 1).reshape(-1, *x.shape[2:])

    def learn_in_turns(state: TrainState, batch: Batch) -> _Learnt:
        def turn(before: Any, part: Batch) -> tuple[Any, _Learnt]:
            total, stats = before
            now = dataclasses.replace(state, student={**state.student, **stats})
            learnt = learn(now, part)
            total = jax.tree.map(jnp.add, total, learnt.gradients)
            rest = dataclasses.replace(learnt, gradients=None, batch_stats={})
            return (total, learnt.batch_stats), rest

        nothing = jax.tree.map(jnp.zeros_like, state.student["params"])
        stats = {k: v for k, v in state.student.items() if k == "batch_stats"}
        parts = jax.tree.map(split, batch)
        (total, stats), each = lax.scan(turn, (nothing, stats), parts)
        return _Learnt(
            gradients=jax.tree.map(lambda x: x / count, total),
            batch_stats=stats,
            terms=jax.tree.map(lambda x: jnp.mean(x, axis=0), each.terms),
            # a micro-batch's loss gives each of its images `count` times the weight
            probe=jax.tree.map(lambda x: joined(x) / count, each.probe),
            maps=jax.tree.map(joined, each.maps),
        )

    return learn_in_turns


def _make_distill_loss(
    method: BoundMethod, model: nn.Module, axis_name: str | None, image_weights: bool
) -> Callable[..., Any]:
    """(params, probe, state, batch, target, weight) -> total, (batch_stats, terms,
    the student's logits on P)."""
    assert method.weak is not None
    weak_loss = method.weak
    # a guide without `look` is the student itself: its second view runs in the same
    # pass
    has_second_view = method.guide is not None and method.guide.look is None
    mean = partial(losses.global_mean, axis_name=axis_name)

    def loss_fn(params, probe, state, batch, target, weight):
        labelled, weak = batch.labelled, batch.weak
        keeps = (None, None) if weak.keep is None else jnp.unstack(weak.keep, axis=1)
        parts = [(labelled.image, labelled.keep), (weak.student_image, keeps[0])]
        parts += [(weak.image, keeps[1])] if has_second_view else []
        logits, stats = _student_pass(model, params, state, *parts)
        split, end = len(labelled.image), len(labelled.image) + len(weak.image)
        # `probe` is zero; its gradient is that of the term on P at the logits
        weak_logits = logits[split:end] + probe
        if has_second_view:
            target = method.target(logits[end:], weak)
        supervised = mean(method.labelled(logits[:split], labelled))
        counted = method.counted(weak)
        loss = weak_loss(target, weak_logits, weak)
        distill = mean(losses.Ratio(loss * counted, counted))
        if image_weights:
            on_p = losses.global_sum(jnp.sum(counted), axis_name)
            weight = weight * on_p / _count(labelled.image, axis_name)
        total = supervised + weight * distill
        terms = {
            "loss/supervised": supervised,
            "loss/distill": distill,
            "loss/distill_weighted": weight * distill,
            "loss/total": total,
        }
        return total, (stats, terms, weak_logits)

    return loss_fn


def make_eval_step(
    model: nn.Module, detect: Callable[..., jax.Array] | None = None
) -> Callable[[Variables, jax.Array], jax.Array]:
    """What a model says of images, by its running statistics.

    Args:
      model: the detector; called with `train=False`.
      detect: of a model with a head of boxes: (outputs, (H, W)) -> f32[B, k, 5], see
        `heads.detect`.

    Returns:
      (variables, image f32[B, H, W, 1]) -> probabilities f32[B, H/4, W/4], or what
      `detect` returns; pure.
    """

    def step(variables: Variables, image: jax.Array) -> jax.Array:
        outputs: Any = model.apply(variables, image, train=False)
        if detect is not None:
            return detect(outputs, image.shape[1:3])
        return jax.nn.sigmoid(outputs)

    return step


def make_features_step(
    model: nn.Module,
) -> Callable[[Variables, jax.Array], jax.Array]:
    """What a backbone says of images as a whole, to tell films that are alike.

    Args:
      model: the detector; called with `train=False`.

    Returns:
      (variables, image f32[B, H, W, 1]) -> f32[B, C], the means of the backbone's last
      features; pure.
    """

    def step(variables: Variables, image: jax.Array) -> jax.Array:
        _, seen = model.apply(
            variables,
            image,
            train=False,
            capture_intermediates=lambda module, _: module.name == BACKBONE,
            mutable=["intermediates"],
        )
        last = jax.tree.leaves(seen["intermediates"][BACKBONE])[-1]
        return jnp.mean(last.astype(jnp.float32), axis=(1, 2))

    return step


def _mean_over_devices(
    gradients: optax.Updates, axis_name: str | None
) -> optax.Updates:
    # The loss is already global, so each device's gradient is its own share times the
    # number of devices (the transpose of psum is psum); the mean undoes that.
    return gradients if axis_name is None else lax.pmean(gradients, axis_name)


def _sharded_norm(gradient: jax.Array, axis_name: str | None) -> jax.Array:
    """The norm of a gradient f32[B, h, w] whose images are split over devices."""
    devices = losses.global_sum(jnp.ones(()), axis_name)
    return (
        jnp.sqrt(losses.global_sum(jnp.sum(jnp.square(gradient)), axis_name)) / devices
    )


def _count(images: jax.Array, axis_name: str | None) -> jax.Array:
    return losses.global_sum(jnp.asarray(len(images), jnp.float32), axis_name)
