"""Laws of the convolution: XLA's own result, and XLA's own program off the CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from aals_jax.models.convolution import Conv, convolve

NHWC = ("NHWC", "HWIO", "NHWC")


def arrays(height, width, channels, window):
    x = jax.random.normal(jax.random.key(0), (4, height, width, channels))
    return x, jax.random.normal(jax.random.key(1), (window, window, channels, 6))


def both(stride, padding, **options):
    """Ours and XLA's, for the same arguments."""
    options = {"dimension_numbers": NHWC, **options}
    return [
        lambda x, k, f=f: f(x, k, (stride, stride), padding, **options)
        for f in (convolve, lax.conv_general_dilated)
    ]


def value_and_gradients(convolution, x, kernel):
    y, back = jax.vjp(convolution, x, kernel)
    return y, *back(jnp.cos(y))


def assert_close(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert np.abs(np.asarray(a) - b).max() <= 1e-5 * np.abs(b).max()


def has_own_form(convolution, *arguments):
    return "platform_index" in str(jax.make_jaxpr(convolution)(*arguments))


@pytest.mark.parametrize("height, width, channels, window, stride, pad", [
    (16, 24, 1, 7, 2, 3),  # the first of a network
    (12, 16, 3, 7, 2, 3),
    (12, 12, 2, 3, 2, 1),
    (18, 12, 1, 5, 3, 2),
    (16, 16, 1, 2, 2, 0),
    (12, 12, 5, 1, 1, 0),  # 1 x 1
    (13, 12, 5, 1, 2, 0),
])  # fmt: skip
def test_each_form_is_the_convolution(height, width, channels, window, stride, pad):
    x, kernel = arrays(height, width, channels, window)
    ours, usual = both(stride, ((pad, pad), (pad, pad)))
    assert has_own_form(ours, x, kernel)
    found, expected = (
        jax.jit(lambda x, k, f=f: value_and_gradients(f, x, k))(x, kernel)
        for f in (ours, usual)
    )
    assert_close(found, expected)


@pytest.mark.parametrize("height, width, channels, window, stride, pad", [
    (15, 16, 1, 7, 2, 3),  # an odd side
    (16, 14, 1, 7, 2, 3),  # half a block
    (12, 16, 1, 7, 2, 2),  # fewer results than blocks
    (12, 12, 8, 3, 2, 1),  # more than a few channels
    (12, 12, 1, 3, 1, 1),  # no stride
    (12, 12, 5, 1, 2, 1),  # 1 x 1 with padding
])  # fmt: skip
def test_what_does_not_fit_is_left_to_xla(height, width, channels, window, stride, pad):
    x, kernel = arrays(height, width, channels, window)
    ours, usual = both(stride, ((pad, pad), (pad, pad)))
    assert not has_own_form(ours, x, kernel)
    assert str(jax.make_jaxpr(ours)(x, kernel)) == str(jax.make_jaxpr(usual)(x, kernel))


@pytest.mark.parametrize("options", [
    {"lhs_dilation": (2, 2)},
    {"rhs_dilation": (2, 1)},
    {"feature_group_count": 2},
    {"precision": "highest"},
    {"dimension_numbers": ("CHWN", "HWIO", "NHWC")},
], ids=str)  # fmt: skip
def test_what_is_more_than_strides_and_padding_is_left_to_xla(options):
    x, kernel = arrays(16, 16, 4, 1)
    ours, _ = both(2, ((0, 0), (0, 0)), **options)
    kernel = kernel[:, :, : 4 // options.get("feature_group_count", 1)]
    assert not has_own_form(ours, x, kernel)


def test_the_layer_has_flax_s_variables():
    x, _ = arrays(16, 16, 1, 7)
    options = {"features": 4, "kernel_size": (7, 7), "strides": 2, "padding": 3}
    trees = [
        jax.jit(kind(**options).init)(jax.random.key(0), x) for kind in (Conv, nn.Conv)
    ]
    jax.tree.map(np.testing.assert_array_equal, *trees)


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@pytest.mark.parametrize("window, pad", [(7, 3), (1, 0)])
def test_other_platforms_get_the_convolution_as_it_is(platform, window, pad):
    """Lowered here for there, forward and backward: the same text as XLA's own."""
    arguments = arrays(16, 16, 1, window)

    def program(convolution):
        def loss(x, kernel):
            return jnp.sum(jnp.sin(convolution(x, kernel)))

        whole = jax.jit(jax.grad(loss, argnums=(0, 1)))
        return jax.export.export(whole, platforms=[platform])(*arguments).mlir_module()

    ours, usual = both(2, ((pad, pad), (pad, pad)))
    for name in ("stablehlo.convolution", "stablehlo.dot_general"):
        assert program(ours).count(name) == program(usual).count(name)


@pytest.mark.parametrize("window, pad", [(7, 3), (1, 0)])
def test_a_shared_kernel_s_gradient_is_summed_over_devices(window, pad):
    """Under shard_map's check of what differs between devices."""
    x, kernel = arrays(8, 8, 1, window)
    ours, usual = both(2, ((pad, pad), (pad, pad)))

    def gradient(x, kernel):
        loss = lambda k: lax.psum(jnp.sum(jnp.sin(ours(x, k))), "batch")  # noqa: E731
        return jax.grad(loss)(kernel)

    split, whole = PartitionSpec("batch"), PartitionSpec()
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    mapped = jax.shard_map(
        gradient, mesh=mesh, in_specs=(split, whole), out_specs=whole
    )
    expected = jax.jit(jax.grad(lambda k: jnp.sum(jnp.sin(usual(x, k)))))(kernel)
    assert_close([jax.jit(mapped)(x, kernel)], [expected])
