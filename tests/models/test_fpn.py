"""The pyramid written out: sums from coarse to fine, then levels beyond those."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from aals_jax.models.fpn import STRIDES, FeaturePyramid

SIDE = 64  # px


def by_hand(params, levels, strides):
    def conv(x, name, stride=1):
        kernel, bias = params[name]["kernel"], params[name]["bias"]
        pad = (len(kernel) // 2,) * 2
        numbers = ("NHWC", "HWIO", "NHWC")
        convolved = lax.conv_general_dilated(
            x, kernel, (stride, stride), (pad, pad), dimension_numbers=numbers
        )
        return convolved + bias.reshape(1, 1, 1, -1)

    tops, found = {}, {}
    for i in reversed(range(4)):
        if STRIDES[i] >= min(strides):
            coarser = tops[i + 1].repeat(2, axis=1).repeat(2, axis=2) if i < 3 else 0.0
            tops[i] = conv(levels[i], f"inner_{i}") + coarser
    for stride in strides:
        if stride in STRIDES:
            i = STRIDES.index(stride)
            found[stride] = conv(tops[i], f"layer_{i}")
        else:  # ReLU between two of the levels that are added
            finer = found[stride // 2]
            finer = jnp.maximum(finer, 0.0) if stride // 2 > STRIDES[-1] else finer
            found[stride] = conv(finer, f"stride_{stride}", stride=2)
    return [found[stride] for stride in strides]


@pytest.mark.parametrize("strides", [(4,), (8, 16, 32, 64), (4, 8, 16, 32, 64, 128)])
def test_each_level_is_the_sum_of_all_coarser_ones(strides):
    keys = jax.random.split(jax.random.key(0), 4)
    levels = [
        jax.random.normal(key, (2, SIDE // stride, SIDE // stride, channels))
        for key, stride, channels in zip(keys, STRIDES, (3, 4, 5, 6), strict=True)
    ]
    pyramid = FeaturePyramid(2, strides=strides)
    params = jax.jit(pyramid.init)(jax.random.key(1), levels)["params"]
    params = jax.tree.map(lambda x: x + 0.1, params)  # biases too
    found = jax.jit(pyramid.apply)({"params": params}, levels)
    expected = jax.jit(partial(by_hand, strides=strides))(params, levels)
    for level, wanted, stride in zip(found, expected, strides, strict=True):
        assert level.shape[1] == max(SIDE // stride, 1)
        np.testing.assert_allclose(level, wanted, rtol=1e-4, atol=1e-4)
