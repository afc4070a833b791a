"""XLA's own count of a step's operations: nothing is computed twice."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aals_jax.method import steps
from aals_jax.models.detector import Detector
from benchmarks import convolutions
from tests.support.small import distill_step, make_batch

SIDE, LABELLED, WEAK = 64, 6, 4
NET = Detector("narrow", 16, 16)


def flops(function, *arguments) -> float:
    compiled = jax.jit(function).lower(*arguments).compile()
    return compiled.cost_analysis()["flops"]


@pytest.fixture(scope="module")
def state():
    return steps.init_state(NET, optax.adam(1e-3), jax.random.key(0), side=SIDE)


@pytest.fixture(scope="module")
def forward(state):
    """Of one image, without anything but the net."""
    images = jnp.zeros((WEAK, SIDE, SIDE, 1))
    count = flops(lambda v, x: NET.apply(v, x, train=False), state.student, images)
    return count / WEAK


# passes over (R + N, P) in units of a forward pass; backward takes two
@pytest.mark.parametrize("method, labelled, weak", [
    ("supervised", 3, 0),
    ("aals", 3, 3 + 1),
])  # fmt: skip
def test_a_step_costs_three_passes_of_the_student_and_one_of_the_teacher(
    state, forward, method, labelled, weak
):
    step = distill_step(method, NET, optax.adam(1e-3), ema_decay=0.99)
    count = flops(step, state, make_batch(LABELLED, WEAK, side=SIDE))
    bound = forward * (labelled * LABELLED + weak * WEAK)
    assert 0.8 * bound < count <= 1.05 * bound, count / bound


def test_the_count_is_of_convolutions():
    """A 3 x 3 convolution, 8 to 8 channels, on 16 x 16: 2 x 9 x 8 x 8 each pixel."""
    image, kernel = np.ones((1, 16, 16, 8), "f"), np.ones((3, 3, 8, 8), "f")
    convolve = lambda x, k: jax.lax.conv_general_dilated(  # noqa: E731
        x, k, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    assert flops(convolve, image, kernel) == 2 * 9 * 8 * 8 * 14 * 14


def test_the_benchmark_of_convolutions_still_lowers_the_step():
    assert "stablehlo.convolution" in convolutions.lowered().as_text()
