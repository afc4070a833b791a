"""The teacher: an exponential moving average of the student's whole variables tree.

The average covers params *and* batch statistics. Averaging params alone, or
normalising the teacher by its own batch, is how several known teachers collapsed.
"""

import jax
import jax.numpy as jnp

from aals_jax.types import Variables


def warmed_decay(step: jax.Array, decay: float) -> jax.Array:
    """min(decay, (1 + t) / (10 + t)) after t completed updates: short memory first.

    Args:
      step: i32[], t >= 0.
      decay: final decay in [0, 1).

    Returns:
      f32[].
    """
    step = jnp.asarray(step, jnp.float32)
    return jnp.minimum(decay, (1.0 + step) / (10.0 + step))


def update(teacher: Variables, student: Variables, decay: jax.Array) -> Variables:
    """teacher <- decay * teacher + (1 - decay) * student, leaf by leaf, in float32."""
    return jax.tree.map(lambda t, s: t + (1.0 - decay) * (s - t), teacher, student)
