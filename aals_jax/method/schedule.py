"""Functions of the step: learning rate, weight ramp, and when something is due."""

import jax
import jax.numpy as jnp
import optax


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


def is_due(step: int, *, every: int, last: int) -> bool:
    """Whether something done each `every` steps is due after `step`, always at `last`.

    >>> [s for s in range(8) if is_due(s, every=3, last=7)]
    [3, 6, 7]
    """
    return step > 0 and (step % every == 0 or step == last)
