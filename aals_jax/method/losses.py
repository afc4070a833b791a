"""Losses per image, and the one way a mean is taken: a global sum over a global count.

Everything is float32 and stays in logits. `valid` masks are 1 on film and 0 on padding.
"""

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import lax
from jax.scipy.special import logsumexp

OFF = -1e9  # a logit off film: no part of any sum of exponentials, and finite


@struct.dataclass
class Ratio:
    """Losses that are a mean over something else than images, such as boxes.

    Their mean over images is the ratio of two sums, not a mean of ratios.
    """

    total: jax.Array  # f32[B], sum over what is counted in each image
    count: jax.Array  # f32[B], how many there are in it


def image_mean(values: jax.Array, valid: jax.Array) -> jax.Array:
    """The mean over the valid pixels of each image.

    Args:
      values: f32[B, H, W].
      valid: f32[B, H, W] in {0, 1}.

    Returns:
      f32[B]; 0 for an image without a valid pixel.

    >>> image_mean(jnp.array([[[1.0, 3.0, 8.0]]]), jnp.array([[[1.0, 1.0, 0.0]]]))
    Array([2.], dtype=float32)
    """
    count = jnp.sum(valid, axis=(1, 2))
    return jnp.sum(values * valid, axis=(1, 2)) / jnp.maximum(count, 1.0)


def pixel_cross_entropy(
    logits: jax.Array, target: jax.Array, valid: jax.Array
) -> jax.Array:
    """Binary cross-entropy -q log p - (1 - q) log(1 - p), a mean over valid pixels.

    Args:
      logits: f32[B, H, W], logit(p).
      target: f32[B, H, W] in [0, 1], q.
      valid: f32[B, H, W] in {0, 1}.

    Returns:
      f32[B], in nats.
    """
    return image_mean(optax.sigmoid_binary_cross_entropy(logits, target), valid)


def pixel_kl(
    target_logits: jax.Array, logits: jax.Array, valid: jax.Array
) -> jax.Array:
    """KL(q || p) = q log(q / p) + (1 - q) log((1 - q) / (1 - p)), over valid pixels.

    Its gradient is that of cross-entropy with soft targets, since the two differ by
    the target's entropy alone. The target carries no gradient.

    Args:
      target_logits: f32[B, H, W], logit(q).
      logits: f32[B, H, W], logit(p), the student's.
      valid: f32[B, H, W] in {0, 1}.

    Returns:
      f32[B], the mean in nats, >= 0; 0 where q = p.
    """
    target_logits = lax.stop_gradient(target_logits)
    target = jax.nn.sigmoid(target_logits)
    positive = jax.nn.log_sigmoid(target_logits) - jax.nn.log_sigmoid(logits)
    negative = jax.nn.log_sigmoid(-target_logits) - jax.nn.log_sigmoid(-logits)
    return image_mean(target * positive + (1.0 - target) * negative, valid)


def pixel_squared_error(
    target_logits: jax.Array, logits: jax.Array, valid: jax.Array
) -> jax.Array:
    """(p - q)^2 of two maps' probabilities, a mean over valid pixels.

    Args:
      target_logits: f32[B, H, W], logit(q).
      logits: f32[B, H, W], logit(p).
      valid: f32[B, H, W] in {0, 1}.

    Returns:
      f32[B] in [0, 1]; the gradient reaches both maps.
    """
    difference = jax.nn.sigmoid(logits) - jax.nn.sigmoid(target_logits)
    return image_mean(jnp.square(difference), valid)


def pixel_quality_focal(
    target_logits: jax.Array, logits: jax.Array, valid: jax.Array, *, focus: float
) -> jax.Array:
    """Quality focal loss: |q - p|^g times the cross-entropy of q and p.

    Summed over film and divided by the sum of q there, so that it is a loss for each
    pixel that counts as lesion; by 1 where that sum is less. The target carries no
    gradient.

    Args:
      target_logits: f32[B, H, W], logit(q); -OFF or below is q = 0.
      logits: f32[B, H, W], logit(p), the student's.
      valid: f32[B, H, W] in {0, 1}.
      focus: g >= 0; 0 is the cross-entropy itself.

    Returns:
      f32[B] >= 0, in nats.

    Reference: Li et al., Generalized Focal Loss, NeurIPS 2020.
    """
    target = lax.stop_gradient(jax.nn.sigmoid(target_logits))
    cross_entropy = optax.sigmoid_binary_cross_entropy(logits, target)
    distance = jnp.abs(target - jax.nn.sigmoid(logits))
    # a power has no finite gradient at 0 where g < 1; its base there is a constant
    is_apart = distance > 0
    factor = jnp.where(is_apart, distance, 1.0) ** focus if focus else 1.0
    terms = jnp.where(is_apart, factor * cross_entropy, 0.0 if focus else cross_entropy)
    mass = jnp.sum(target * valid, axis=(1, 2))
    return jnp.sum(terms * valid, axis=(1, 2)) / jnp.maximum(mass, 1.0)


def on_film(values: jax.Array, valid: jax.Array) -> jax.Array:
    """f32[B] of images unchanged, but 0 for an image without a valid pixel."""
    return values * jnp.any(valid > 0, axis=(1, 2))


def pooled_logit(logits: jax.Array, valid: jax.Array, *, sharpness: float) -> jax.Array:
    """Log-sum-exp pooling of each map over film: log(mean(exp(r z))) / r.

    It lies between the mean (r -> 0) and the maximum (r -> infinity).

    Args:
      logits: f32[B, H, W], z.
      valid: f32[B, H, W] in {0, 1}.
      sharpness: r > 0.

    Returns:
      f32[B]; very negative, and finite, for an image without film.

    Reference: Pinheiro and Collobert, From Image-Level to Pixel-Level Labeling with
    Convolutional Networks, CVPR 2015.
    """
    count = jnp.maximum(jnp.sum(valid, axis=(1, 2)), 1.0)
    total = logsumexp(jnp.where(valid > 0, sharpness * logits, OFF), axis=(1, 2))
    return (total - jnp.log(count)) / sharpness


def log_any(logits: jax.Array, valid: jax.Array) -> jax.Array:
    """Noisy-OR of each map in log space: log(1 - prod_j (1 - p_j)), j over film.

    With s = sum_j softplus(z_j) it is log(1 - exp(-s)). Where s is too small for that
    in float32, 1 - exp(-s) is sum_j p_j.

    Args:
      logits: f32[B, H, W], z_j = logit(p_j).
      valid: f32[B, H, W] in {0, 1}.

    Returns:
      f32[B] <= 0; finite for an image without film too.
    """
    total = jnp.sum(valid * jax.nn.softplus(logits), axis=(1, 2))
    is_tiny = total < 1e-6
    # a branch not taken must have a finite gradient as well
    exact = jnp.log(-jnp.expm1(-jnp.where(is_tiny, 1.0, total)))
    log_probability = jnp.where(valid > 0, jax.nn.log_sigmoid(logits), OFF)
    return jnp.where(is_tiny, logsumexp(log_probability, axis=(1, 2)), exact)


def global_sum(value: jax.Array, axis_name: str | None) -> jax.Array:
    """The sum over all devices of the named axis; `value` itself where there is none.

    Args:
      value: f32 of any shape.
      axis_name: of the devices, or None.

    Returns:
      f32 of that shape, the same on all devices.
    """
    return value if axis_name is None else lax.psum(value, axis_name)


def global_mean(values: jax.Array | Ratio, axis_name: str | None) -> jax.Array:
    """The mean over all images of all devices, or over what is counted in them.

    The reduction sits inside the loss, so that the same step gives the same numbers
    under vmap, pmap and shard_map, whatever each device holds.

    Args:
      values: f32[B], one for each image of this device; B may be 0.
      axis_name: of the devices, or None.

    Returns:
      f32[], the same on all devices; 0 where no device has an image. Without anything
      counted, the sum itself.
    """
    if isinstance(values, Ratio):
        total, count = jnp.sum(values.total), jnp.sum(values.count)
    else:
        total, count = jnp.sum(values), jnp.asarray(values.size, jnp.float32)
    total, count = (global_sum(x, axis_name) for x in (total, count))
    return total / jnp.maximum(count, 1.0)
