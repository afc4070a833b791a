"""BatchNorm with ReLU, and its gradient written out.

Each way takes two sums over the pixels and one pass that is elementwise. Autodiff of
the same formulas takes more passes, and memory is what a CPU waits for.

Reference: Ioffe and Szegedy, Batch Normalization, ICML 2015.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from aals_jax.models import varying
from aals_jax.models.parts import Frozen


class BatchNorm(nn.Module):
    """`nn.BatchNorm` of the last axis, with the same variables, and ReLU on request.

    In training it normalises by the batch of all devices of `axis_name`: means and mean
    squares are averaged over devices, so the variance is E[var] + Var[mean].
    """

    use_running_average: bool  # else the batch's statistics, which update the running
    relu: bool = False  # max(0, .) of the result
    momentum: float = 0.9  # share of the running statistics that a batch leaves
    epsilon: float = 1e-5  # added to the variance
    axis_name: str | None = None  # of the devices that share statistics
    dtype: Any = jnp.float32  # of the result; sums and variables are float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """f[B, H, W, C] -> the same shape, in `dtype`."""
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        var = self.variable("batch_stats", "var", jnp.ones, channels)
        if self.use_running_average:
            inverse = lax.rsqrt(var.value + self.epsilon)
            y = _apply(x, *map(_channels, (scale, bias, mean.value, inverse)))
            return (nn.relu(y) if self.relu else y).astype(self.dtype)
        first = self.is_initializing()  # then there are no devices to ask
        y, batch_mean, batch_var = normalise(
            x.astype(self.dtype),
            scale,
            bias,
            epsilon=self.epsilon,
            axis_name=None if first else self.axis_name,
            relu=self.relu,
        )
        if not first:
            share = self.momentum
            mean.value = share * mean.value + (1 - share) * batch_mean
            var.value = share * var.value + (1 - share) * batch_var
        return y


def norms(frozen: Frozen, *, train: bool, **options: Any) -> Callable[[int], Any]:
    """Part of a net -> what makes its BatchNorm, see `parts`.

    Args:
      frozen: which parts keep their running statistics in training.
      train: normalise by the batch's statistics in all other parts.
      options: further fields of BatchNorm.
    """

    def of_part(part: int) -> Any:
        running = not train or frozen.keeps_statistics(part)
        return partial(BatchNorm, use_running_average=running, **options)

    return of_part


def normalise(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    *,
    epsilon: float,
    axis_name: str | None,
    relu: bool,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """scale (x - mean) / sqrt(var + epsilon) + bias, with the batch's mean and var.

    Args:
      x: f[B, H, W, C].
      scale: f32[C].
      bias: f32[C].
      epsilon: > 0.
      axis_name: of the devices whose pixels are one batch, or None.
      relu: max(0, .) of the result.

    Returns:
      The result, of x's shape and type, and mean and variance f32[C], through which no
      gradient flows.
    """
    scale, bias = (varying.alike(_channels(each), x) for each in (scale, bias))
    result: Any = _normalise(x, scale, bias, epsilon, axis_name, relu)
    y, mean, var = result
    return y, lax.stop_gradient(mean).reshape(-1), lax.stop_gradient(var).reshape(-1)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _normalise(x, scale, bias, epsilon, axis_name, relu):
    return _forward(x, scale, bias, epsilon, axis_name, relu)[0]


def _forward(x, scale, bias, epsilon, axis_name, relu):
    wide, pixels = _wide(x), x.size // x.shape[-1]
    sums = _sum(wide), _sum(wide * wide)
    mean, square = _over_devices(sums, pixels, axis_name)
    # rounding can make the difference negative where all pixels are equal
    var = jnp.maximum(0.0, square - mean * mean)
    inverse = lax.rsqrt(var + epsilon)
    y = _apply(x, scale, bias, mean, inverse)
    y = (jnp.maximum(y, 0.0) if relu else y).astype(x.dtype)
    return (y, mean, var), (x, scale, bias, mean, inverse)


def _backward(epsilon, axis_name, relu, saved, cotangents):
    x, scale, bias, mean, inverse = saved
    wide, pixels = _wide(x), x.size // x.shape[-1]
    gradient = _wide(cotangents[0])
    if relu:
        positive = _apply(x, scale, bias, mean, inverse) > 0
        gradient = jnp.where(positive, gradient, 0.0)
    d_bias = _sum(gradient)
    d_scale = (_sum(gradient * wide) - mean * d_bias) * inverse
    mean_bias, mean_scale = _over_devices((d_bias, d_scale), pixels, axis_name)
    factor = scale * inverse
    d_x = factor * (gradient - mean_bias)
    d_x -= (wide - mean) * (factor * inverse * mean_scale)
    return d_x.astype(x.dtype), d_scale, d_bias


_normalise.defvjp(_forward, _backward)


def _channels(values: jax.Array) -> jax.Array:
    """f[C] -> f[1, 1, 1, C]."""
    return values.reshape(1, 1, 1, -1)


def _sum(x: jax.Array) -> jax.Array:
    """Over the pixels: f[B, H, W, C] -> f[1, 1, 1, C]."""
    return jnp.sum(x, (0, 1, 2), keepdims=True)


def _apply(x, scale, bias, mean, inverse):
    return (_wide(x) - mean) * (inverse * scale) + bias


def _over_devices(sums, pixels: int, axis_name: str | None):
    """Means over the pixels of all devices, each of which has `pixels`."""
    means = jax.tree.map(lambda x: x / pixels, sums)
    return means if axis_name is None else lax.pmean(means, axis_name)


def _wide(x: jax.Array) -> jax.Array:
    """At least float32: sums of many pixels need it."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
