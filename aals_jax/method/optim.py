"""Optimisers and learning rates by name, for the whole net and by its parts, and the
ramp of a loss's weight."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from aals_jax.models import parts


@dataclasses.dataclass(frozen=True)
class PartRates:
    """How a backbone learns beside the head; by default like it."""

    backbone: float = 1.0  # factor of the backbone's updates
    # a further factor for each stage from the last one to the image: the stem has it to
    # the fourth power
    layer_decay: float = 1.0
    head_steps: int = 0  # first updates, in which the head alone moves
    frozen_stages: int = 0  # as parts.Frozen.stages

    def factor(self, part: int) -> float:
        """Of the updates of a part, after the first `head_steps`."""
        if part == parts.HEAD:
            return 1.0
        if parts.Frozen(self.frozen_stages).holds(part):
            return 0.0
        return self.backbone * self.layer_decay ** (parts.STAGES - part)


EQUAL_RATES = PartRates()


def make_optimizer(
    name: str,
    learning_rate: optax.ScalarOrSchedule,
    *,
    weight_decay: float,
    clip_norm: float,
    part_rates: PartRates = EQUAL_RATES,
) -> optax.GradientTransformation:
    """Adam (decay in the gradient, as PyTorch's Adam), AdamW (decoupled), or SGD.

    The gradient is clipped before the decay is added, and an update gets the factor of
    its part when all else is done: moments are gathered in `head_steps` too.

    Args:
      name: "adam", "adamw" or "sgd" (momentum 0.9).
      learning_rate: a number or a schedule of the step.
      weight_decay: >= 0, on kernels alone.
      clip_norm: the highest global norm that a gradient keeps; 0: no clipping.
      part_rates: of the parts of the net.

    Raises:
      ValueError: there is no optimiser of that name.
    """
    decay = optax.add_decayed_weights(weight_decay, mask=_is_kernel)
    optimizers = {
        "adam": lambda: optax.chain(decay, optax.adam(learning_rate)),
        "adamw": lambda: optax.adamw(
            learning_rate, weight_decay=weight_decay, mask=_is_kernel
        ),
        "sgd": lambda: optax.chain(decay, optax.sgd(learning_rate, momentum=0.9)),
    }
    if name not in optimizers:
        raise ValueError(f"optimizer={name!r}: use one of {sorted(optimizers)}")
    clip = optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity()
    chain = optax.chain(clip, optimizers[name]())
    if part_rates == EQUAL_RATES:
        return chain
    return optax.chain(chain, _scale_by_part(part_rates))


def _scale_by_part(rates: PartRates) -> optax.GradientTransformation:
    def scale(part: int) -> optax.GradientTransformation:
        factor = rates.factor(part)
        if not factor:
            return optax.set_to_zero()
        first = rates.head_steps if part != parts.HEAD else 0
        return optax.scale_by_schedule(
            lambda count: jnp.where(jnp.asarray(count) < first, 0.0, factor)
        )

    def labels(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: parts.part_of([key.key for key in path]), params
        )

    return optax.partition(
        {part: scale(part) for part in range(parts.HEAD + 1)}, labels
    )


def _is_kernel(params: Any) -> Any:
    """True for kernels, which decay; False for biases and normalisation."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def learning_rate(
    shape: str, *, peak: float, warmup_steps: int, steps: int
) -> optax.Schedule:
    """A linear warm-up from 0, then a constant rate or half a cosine down to 0.

    Args:
      shape: "constant" or "cosine".
      peak: > 0, the rate at the end of the warm-up.
      warmup_steps: >= 0; 0: the first step has the peak.
      steps: of the whole stage; the cosine ends there.

    Returns:
      A function of the number of completed steps.

    Raises:
      ValueError: there is no schedule of that shape.

    >>> rate = learning_rate("cosine", peak=0.5, warmup_steps=10, steps=50)
    >>> [round(float(rate(step)), 4) for step in (0, 5, 10, 30, 50)]
    [0.0, 0.25, 0.5, 0.25, 0.0]
    """
    if shape not in ("constant", "cosine"):
        raise ValueError(f"schedule={shape!r}: use 'constant' or 'cosine'")
    start = 0.0 if warmup_steps else peak
    if shape == "cosine":
        return optax.warmup_cosine_decay_schedule(
            start, peak, warmup_steps, max(steps, 1)
        )
    return optax.linear_schedule(start, peak, warmup_steps)


def ramp_up(step: jax.Array, ramp_steps: int) -> jax.Array:
    """exp(-5 (1 - x)^2) with x = min(step / ramp_steps, 1): almost 0, then 1.

    Args:
      step: i32[], >= 0, completed updates.
      ramp_steps: >= 0; 0: no ramp, always 1.

    Returns:
      f32[] in [exp(-5), 1].

    Reference: Laine and Aila, Temporal Ensembling for Semi-Supervised Learning, ICLR
    2017.

    >>> [round(float(ramp_up(step, 20)), 4) for step in (0, 10, 20, 30)]
    [0.0067, 0.2865, 1.0, 1.0]
    """
    x = jnp.clip(jnp.asarray(step, jnp.float32) / max(ramp_steps, 1), 0.0, 1.0)
    return jnp.where(ramp_steps > 0, jnp.exp(-5.0 * (1.0 - x) ** 2), 1.0)
