"""Losses per image, and the one way a mean is taken: a global sum over a global count.

Everything is float32 and stays in logits. `valid` masks are 1 on film and 0 on padding.
"""

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.scipy.special import logsumexp

OFF = -1e9  # a logit off film: no part of any sum of exponentials, and finite


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


def pixel_squared_error(
    target_logits: jax.Array, logits: jax.Array, valid: jax.Array
) -> jax.Array:
    """Mean squared difference of two maps' probabilities: f32[B], in [0, 1]."""
    difference = jax.nn.sigmoid(logits) - jax.nn.sigmoid(target_logits)
    return image_mean(jnp.square(difference), valid)


def on_film(values: jax.Array, valid: jax.Array) -> jax.Array:
    """f32[B] as it is; 0 for an image without a valid pixel."""
    return values * jnp.any(valid > 0, axis=(1, 2))


def pooled_logit(logits: jax.Array, valid: jax.Array, *, sharpness: float) -> jax.Array:
    r"""Log-sum-exp of each map over film: log(mean(exp(r z))) / r, f32[B].

    Between the mean (r -> 0) and the maximum (r -> infinity). Without film: very
    negative, and finite.

    Reference: Pinheiro and Collobert, From Image-Level to Pixel-Level Labeling with
    Convolutional Networks, CVPR 2015.
    """
    count = jnp.maximum(jnp.sum(valid, axis=(1, 2)), 1.0)
    total = logsumexp(jnp.where(valid > 0, sharpness * logits, OFF), axis=(1, 2))
    return (total - jnp.log(count)) / sharpness


def log_any(logits: jax.Array, valid: jax.Array) -> jax.Array:
    r"""Noisy-OR of each map in log space: log(1 - prod_j (1 - p_j)), f32[B] <= 0.

    With s = sum_j softplus(z_j) it is log(1 - exp(-s)); where s is too small for that
    in float32, 1 - exp(-s) = sum_j p_j. Finite without film too.
    """
    total = jnp.sum(valid * jax.nn.softplus(logits), axis=(1, 2))
    tiny = total < 1e-6
    # a branch not taken must have a finite gradient as well
    usual = jnp.log(-jnp.expm1(-jnp.where(tiny, 1.0, total)))
    each = jnp.where(valid > 0, jax.nn.log_sigmoid(logits), OFF)
    return jnp.where(tiny, logsumexp(each, axis=(1, 2)), usual)


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
