"""Losses per image, and the one way a mean is taken: a global sum over a global count.

Everything is float32 and stays in logits. `valid` masks are 1 on film and 0 on padding.
"""

import jax
import jax.numpy as jnp
import optax
from jax import lax


def image_mean(values: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean over the valid pixels of each image: f32[B, H, W] -> f32[B].

    An image without a valid pixel gives 0.
    """
    count = jnp.sum(valid, axis=(1, 2))
    return jnp.sum(values * valid, axis=(1, 2)) / jnp.maximum(count, 1.0)


def pixel_cross_entropy(
    logits: jax.Array, target: jax.Array, valid: jax.Array
) -> jax.Array:
    """Dense binary cross-entropy of each image, f32[B], in nats a pixel.

    Args:
      logits: f32[B, H, W].
      target: f32[B, H, W] in [0, 1].
      valid: f32[B, H, W] in {0, 1}.
    """
    return image_mean(optax.sigmoid_binary_cross_entropy(logits, target), valid)


def pixel_kl(
    target_logits: jax.Array, logits: jax.Array, valid: jax.Array
) -> jax.Array:
    """KL(target || student) of each image, f32[B], in nats a pixel; 0 when they agree.

    Its gradient is that of cross-entropy with soft targets, since the two differ by
    the target's entropy alone. The target carries no gradient.
    """
    target_logits = lax.stop_gradient(target_logits)
    target = jax.nn.sigmoid(target_logits)
    positive = jax.nn.log_sigmoid(target_logits) - jax.nn.log_sigmoid(logits)
    negative = jax.nn.log_sigmoid(-target_logits) - jax.nn.log_sigmoid(-logits)
    return image_mean(target * positive + (1.0 - target) * negative, valid)


def global_sum(value: jax.Array, axis_name: str | None) -> jax.Array:
    """Sum over all devices of the named axis; the value itself where there is none."""
    return value if axis_name is None else lax.psum(value, axis_name)


def global_mean(values: jax.Array, axis_name: str | None) -> jax.Array:
    """Mean of per-image values over all images of all devices; 0 for an empty set.

    The reduction sits inside the loss, so that the same step gives the same numbers
    under vmap, pmap and shard_map, whatever each device holds.
    """
    count = jnp.asarray(values.size, jnp.float32)
    total, count = (global_sum(x, axis_name) for x in (jnp.sum(values), count))
    return total / jnp.maximum(count, 1.0)
