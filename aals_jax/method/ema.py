"""The teacher: an exponential moving average of the student's whole variables tree.

The average covers params *and* batch statistics. Averaging params alone, or
normalising the teacher by its own batch, is how several known teachers collapsed.

Reference: Tarvainen and Valpola, Mean teachers are better role models, NeurIPS 2017.
"""

import jax
import jax.numpy as jnp

from aals_jax.types import Variables


def warmed_decay(step: jax.Array, decay: float) -> jax.Array:
    """min(decay, (1 + step) / (10 + step)): a short memory first.

    Args:
      step: i32[], >= 0, completed updates.
      decay: the final decay, in [0, 1).

    Returns:
      f32[] in [0, decay].

    >>> [round(float(warmed_decay(step, 0.99)), 3) for step in (0, 10, 10_000)]
    [0.1, 0.55, 0.99]
    """
    step = jnp.asarray(step, jnp.float32)
    return jnp.minimum(decay, (1.0 + step) / (10.0 + step))


def update(teacher: Variables, student: Variables, decay: jax.Array) -> Variables:
    """decay * teacher + (1 - decay) * student, leaf by leaf.

    It is computed as teacher + (1 - decay) (student - teacher), so that a small
    difference is not lost in float32.

    Args:
      teacher: float32 leaves.
      student: a tree of the same kind and shapes.
      decay: f32[] in [0, 1].

    Returns:
      The next teacher, a tree of the same kind.
    """
    return jax.tree.map(lambda t, s: t + (1.0 - decay) * (s - t), teacher, student)
