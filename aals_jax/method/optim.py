"""Optimisers and learning rates by name, and the ramp of a loss's weight."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def _kernels(params: Any) -> Any:
    """Weight decay is for kernels; biases and normalisation are left alone."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def make_optimizer(
    name: str,
    learning_rate: optax.ScalarOrSchedule,
    *,
    weight_decay: float,
    clip_norm: float,
) -> optax.GradientTransformation:
    """Adam (decay in the gradient, as PyTorch's Adam), AdamW (decoupled), or SGD.

    Args:
      name: "adam", "adamw" or "sgd" (momentum 0.9).
      learning_rate: a number or a schedule of the step.
      weight_decay: >= 0, on kernels.
      clip_norm: global gradient norm is clipped to it; 0 means no clipping.
    """
    decay = optax.add_decayed_weights(weight_decay, mask=_kernels)
    optimizers = {
        "adam": lambda: optax.chain(decay, optax.adam(learning_rate)),
        "adamw": lambda: optax.adamw(
            learning_rate, weight_decay=weight_decay, mask=_kernels
        ),
        "sgd": lambda: optax.chain(decay, optax.sgd(learning_rate, momentum=0.9)),
    }
    if name not in optimizers:
        raise ValueError(f"optimizer={name!r}: use one of {sorted(optimizers)}")
    clip = optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity()
    return optax.chain(clip, optimizers[name]())


def learning_rate(
    shape: str, *, peak: float, warmup_steps: int, steps: int
) -> optax.Schedule:
    """Linear warm-up to `peak`, then `constant` or `cosine` (to 0 at `steps`)."""
    if shape not in ("constant", "cosine"):
        raise ValueError(f"schedule={shape!r}: use 'constant' or 'cosine'")
    if shape == "cosine":
        return optax.warmup_cosine_decay_schedule(
            0.0 if warmup_steps else peak, peak, warmup_steps, max(steps, 1)
        )
    return optax.linear_schedule(0.0 if warmup_steps else peak, peak, warmup_steps)


def ramp_up(step: jax.Array, ramp_steps: int) -> jax.Array:
    """exp(-5 (1 - x)^2) with x = step / ramp_steps up to 1; 1 when there is no ramp."""
    x = jnp.clip(jnp.asarray(step, jnp.float32) / max(ramp_steps, 1), 0.0, 1.0)
    return jnp.where(ramp_steps > 0, jnp.exp(-5.0 * (1.0 - x) ** 2), 1.0)
