"""Laws of BatchNorm: flax's numbers, float64's gradient, one batch on all devices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import Mesh, PartitionSpec

from aals_jax.models.norm import BatchNorm, normalise

MEANS = jnp.array([0.0, 2.0, -9.0]).reshape(1, 1, 1, 3)
X = 1.5 * jax.random.normal(jax.random.key(0), (8, 6, 5, 3)) + MEANS
WEIGHT = jax.random.normal(jax.random.key(1), X.shape)
SCALE, BIAS = jnp.array([1.0, -0.5, 2.0]), jnp.array([0.1, 0.0, -1.0])
EPSILON = 1e-5


normalised = jax.jit(normalise, static_argnames=("epsilon", "axis_name", "relu"))


def weighted(x, scale, bias, *, weight=WEIGHT, axis_name=None, relu=True):
    """A loss of all devices' pixels, from the written gradient's function."""
    y, _, _ = normalise(x, scale, bias, epsilon=EPSILON, axis_name=axis_name, relu=relu)
    loss = jnp.sum(jnp.sin(y) * weight)
    return loss if axis_name is None else jax.lax.psum(loss, axis_name)


def by_hand(x, relu):
    """Result, statistics and gradients of `weighted`, in NumPy's float64."""
    x, scale, bias = (np.asarray(a, np.float64) for a in (x, SCALE, BIAS))
    weight = np.asarray(WEIGHT, np.float64)
    axes = (0, 1, 2)
    mean, var = x.mean(axes), x.var(axes)
    normal = (x - mean) / np.sqrt(var + EPSILON)
    y = scale * normal + bias
    g = weight * np.cos(np.maximum(y, 0) if relu else y)
    g = np.where(y > 0, g, 0) if relu else g
    d_normal = g * scale
    # Ioffe and Szegedy's chain rule, with the variance of N pixels
    d_x = d_normal - d_normal.mean(axes) - normal * (d_normal * normal).mean(axes)
    d_x /= np.sqrt(var + EPSILON)
    y = np.maximum(y, 0) if relu else y
    return (y, mean, var), (d_x, (g * normal).sum(axes), g.sum(axes))


def assert_close(found, expected, tolerance=1e-5):
    for a, b in zip(found, expected, strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b)
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


@pytest.mark.parametrize("relu", [False, True])
def test_result_statistics_and_gradient_are_float64_s(relu):
    result, gradient = by_hand(X, relu)
    normal = normalised(X, SCALE, BIAS, epsilon=EPSILON, axis_name=None, relu=relu)
    assert_close(normal, result)
    gradients = jax.grad(partial(weighted, relu=relu), argnums=(0, 1, 2))
    found = jax.jit(gradients)(X, SCALE, BIAS)
    assert_close(found, gradient)


@pytest.mark.parametrize("train", [False, True])
def test_variables_and_numbers_are_flax_s(train):
    ours, theirs = BatchNorm(not train), nn.BatchNorm(not train, momentum=0.9)
    variables = theirs.init(jax.random.key(0), X)
    assert jax.tree.structure(variables) == jax.tree.structure(
        ours.init(jax.random.key(0), X)
    )
    variables = jax.tree.map(lambda a: a + jnp.array([0.5, 0.1, 2.0]), variables)
    pair = (
        jax.jit(partial(m.apply, mutable=["batch_stats"]))(variables, X)
        for m in (ours, theirs)
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), *pair
    )


def test_relu_is_that_of_the_result_in_testing_too():
    variables = BatchNorm(True).init(jax.random.key(0), X)
    expected = jnp.maximum(jnp.asarray(BatchNorm(True).apply(variables, X)), 0.0)
    np.testing.assert_array_equal(
        BatchNorm(True, relu=True).apply(variables, X), expected
    )


@pytest.mark.parametrize("check", [False, True])
def test_devices_with_different_pixels_are_one_batch(check):
    """Gradients too, with and without shard_map's check of what differs between
    devices; without it, autodiff leaves a sum over devices to its caller."""
    mesh, split = Mesh(np.array(jax.devices()), ("batch",)), PartitionSpec("batch")

    def gradient(x, weight, scale, bias):
        found = jax.grad(weighted, argnums=(0, 1, 2))(
            x, scale, bias, weight=weight, axis_name="batch"
        )
        if check:
            return found
        # each device has its share of the sum of four equal losses
        return found[0] / 4, *jax.lax.pmean(found[1:], "batch")

    whole = PartitionSpec()
    found = jax.jit(
        jax.shard_map(
            gradient,
            mesh=mesh,
            in_specs=(split, split, whole, whole),
            out_specs=(split, whole, whole),
            check_vma=check,
        )
    )(X, WEIGHT, SCALE, BIAS)
    assert_close(found, by_hand(X, True)[1])


def test_bfloat16_is_summed_in_float32():
    """10,000 times 1 + 1/128 has no sum in bfloat16, whose steps there are of 64."""
    x = jnp.full((1, 100, 100, 3), 1 + 1 / 128, jnp.bfloat16)
    x = x.at[:, ::2].multiply(-1)
    y, mean, var = normalised(
        x, SCALE, BIAS, epsilon=EPSILON, axis_name=None, relu=False
    )
    assert y.dtype == jnp.bfloat16 and mean.dtype == var.dtype == jnp.float32
    np.testing.assert_allclose(mean, 0.0, atol=1e-6)
    np.testing.assert_allclose(var, (1 + 1 / 128) ** 2, rtol=1e-6)

    def total(scale):
        y, _, _ = normalise(x, scale, BIAS, epsilon=EPSILON, axis_name=None, relu=False)
        return y[:, ::2].astype(jnp.float32).sum()

    gradient = jax.jit(jax.grad(total))(SCALE)
    np.testing.assert_allclose(gradient, -5000.0, rtol=1e-5)


def test_equal_pixels_have_no_variance_and_a_finite_gradient():
    x = jnp.full((4, 8, 8, 3), 0.1)
    _, _, var = normalised(x, SCALE, BIAS, epsilon=EPSILON, axis_name=None, relu=False)
    assert (np.asarray(var) >= 0).all()
    gradient = jax.jit(jax.grad(weighted))(x, SCALE, BIAS, weight=jnp.ones_like(x))
    assert np.isfinite(gradient).all()
