"""Max pooling by pairs, and its gradient written out.

The gradient of a windowed reduction takes about eight times as long on a CPU.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax


def max_pool(x: jax.Array, *, relu: bool = False) -> jax.Array:
    """3 x 3 maximum with stride 2 and padding 1: f[B, H, W, C] -> f[B, H/2, W/2, C].

    Odd sides are rounded up. One axis after the other: an output is the maximum of an
    odd input and of the pair behind it. Where inputs tie, the gradient is that of
    `jnp.maximum(jnp.maximum(first, second), third)`: each maximum halves it.

    Args:
      x: finite.
      relu: max(0, .) of the result.
    """
    x = _pool_axis(x, 1)
    # before the last maximum: XLA would compute a result of max(0, .) alone once for
    # each of its readers
    return _pool_axis(nn.relu(x) if relu else x, 2)


def _pool_axis(x: jax.Array, axis: int) -> jax.Array:
    if x.shape[axis] % 2:
        x = _pad(x, axis, (0, 1), -jnp.inf)
    return _pool_pairs(x, axis)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _pool_pairs(x: jax.Array, axis: int) -> jax.Array:
    before, even, odd = _windows(x, axis)
    return jnp.maximum(jnp.maximum(before, even), odd)


def _forward(x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    return _pool_pairs(x, axis), x


def _backward(axis: int, x: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    before, even, odd = _windows(x, axis)
    to_odd = _share(odd, jnp.maximum(before, even))
    to_even = (1 - to_odd) * _share(even, before)
    to_before = (1 - to_odd) - to_even
    # an odd input closes its own window and opens the next one
    odds = gradient * to_odd + _pad(gradient * to_before, axis, (-1, 1), 0.0)
    return (_interleave(gradient * to_even, odds, axis).reshape(x.shape),)


_pool_pairs.defvjp(_forward, _backward)


def _windows(x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Inputs 2a - 1, 2a and 2a + 1 of each output a; -inf before the first."""
    pairs = x.reshape(*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :])
    even = lax.index_in_dim(pairs, 0, axis + 1, keepdims=False)
    odd = lax.index_in_dim(pairs, 1, axis + 1, keepdims=False)
    return _pad(odd, axis, (1, -1), -jnp.inf), even, odd


def _interleave(evens: jax.Array, odds: jax.Array, axis: int) -> jax.Array:
    """Both along a new axis of two, behind `axis`."""
    if axis == 1:  # whole rows, which are copied
        return jnp.stack((evens, odds), axis + 1)
    # copies of single pixels take five times as long as selecting them
    evens, odds = (jnp.expand_dims(a, axis + 1) for a in (evens, odds))
    number = lax.broadcasted_iota(jnp.int32, (1,) * axis + (1, 2, 1), axis + 1)
    return jnp.where(number == 0, evens, odds)


def _share(a: jax.Array, b: jax.Array) -> jax.Array:
    """Of the gradient of max(a, b), what a gets; half of it where they tie."""
    return jnp.where(a > b, 1.0, jnp.where(a == b, 0.5, 0.0)).astype(a.dtype)


def _pad(x: jax.Array, axis: int, by: tuple[int, int], value: float) -> jax.Array:
    """Adds to both ends of an axis; a negative number takes away."""
    widths = [(0, 0, 0)] * x.ndim
    widths[axis] = (*by, 0)
    return lax.pad(x, jnp.asarray(value, x.dtype), widths)
