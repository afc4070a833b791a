"""Laws of max pooling: the windowed reduction's maxima, halved gradients at ties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from aals_jax.models import pooling


def windowed(x):
    window, strides, pads = (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, pads)


def shifted(x):
    """Maxima of shifted views, row by row, then column by column: autodiff's ties."""
    for axis in (1, 2):
        widths = [(0, 0)] * 4
        widths[axis] = (1, 1)
        padded = jnp.pad(x, widths, constant_values=-jnp.inf)
        end = x.shape[axis]
        views = [
            jax.lax.slice_in_dim(padded, i, i + end, stride=2, axis=axis)
            for i in range(3)
        ]
        x = jnp.maximum(jnp.maximum(views[0], views[1]), views[2])
    return x


def value_and_gradient(pool, x):
    """With another weight for each maximum."""

    @jax.jit
    def both(x):
        y, back = jax.vjp(pool, x)
        return y, *back(jnp.arange(1.0, 1.0 + y.size).reshape(y.shape))

    return both(x)


def assert_same(new, old, x):
    jax.tree.map(
        np.testing.assert_array_equal,
        value_and_gradient(new, x),
        value_and_gradient(old, x),
    )


@pytest.mark.parametrize("shape", [(2, 12, 16, 3), (1, 7, 9, 2), (2, 1, 2, 1)])
def test_maxima_and_gradient_are_the_windowed_reduction_s(shape):
    """Without ties, which the two share out differently."""
    x = jax.random.permutation(jax.random.key(0), np.prod(shape)).reshape(shape) * 0.5
    assert_same(pooling.max_pool, windowed, x)


@pytest.mark.parametrize("relu", [False, True])
def test_ties_are_halved_as_by_maximum(relu):
    """With ReLU after pooling as with ReLU before it, where most windows tie at 0."""
    x = jax.random.randint(jax.random.key(1), (3, 8, 10, 2), -2, 3).astype("f4")
    old = lambda x: shifted(nn.relu(x) if relu else x)  # noqa: E731
    new = lambda x: pooling.max_pool(x, relu=relu)  # noqa: E731
    assert_same(new, old, x)


def test_a_tied_window_by_hand():
    """Equal inputs of one row: the last of a window gets half, the others a quarter."""
    x = jnp.ones((1, 1, 6, 1))
    _, back = jax.vjp(jax.jit(pooling.max_pool), x)
    found = back(jnp.ones((1, 1, 3, 1)))[0][0, 0, :, 0]
    # windows (-, 0, 1), (1, 2, 3), (3, 4, 5)
    np.testing.assert_array_equal(found, [0.5, 0.75, 0.25, 0.75, 0.25, 0.5])
