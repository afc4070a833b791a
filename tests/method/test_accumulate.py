"""Laws of micro-batches: the update of the whole batch, on any number of devices."""

import functools

import jax
import numpy as np
import optax
import pytest

from aals_jax.method import methods, steps
from aals_jax.runtime import devices
from tests.support import small

SIDE, LABELLED, WEAK = 32, 16, 8
TX = optax.sgd(0.3)
BATCH = small.make_batch(LABELLED, WEAK, side=SIDE)


def initial(method):
    state = steps.init_state(small.Net(), TX, jax.random.key(0), side=SIDE)
    memory = methods.initial_memory(method, state.student, images=WEAK, side=4)
    return steps.restart(state.student, TX, memory=memory)


@functools.cache
def after_a_step(method, *, accumulate, by_batch=False, count=1, **options):
    """State and metrics after a step on so many devices, on the host."""
    chosen, net = jax.devices()[:count], small.Net(devices.AXIS, by_batch=by_batch)
    options |= {"axis_name": devices.AXIS, "accumulate": accumulate}
    step = small.distill_step(method, net, TX, **options)
    state, metrics = devices.data_parallel(step, devices=chosen)(
        devices.replicate(initial(method), devices=chosen),
        devices.shard(BATCH, devices=chosen),
    )
    devices.assert_replicated(state)
    return devices.to_host(state), devices.to_host(metrics)


def assert_same(found, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        found,
        expected,
    )


@pytest.mark.parametrize("method", [
    "supervised", "aals", "pi_model", "temporal_ensembling", "self_training", "mil"
])  # fmt: skip
def test_micro_batches_give_the_update_and_the_metrics_of_the_whole(method):
    """The memory of temporal ensembling and all monitors too."""
    whole = after_a_step(method, accumulate=1)
    assert_same(after_a_step(method, accumulate=2), whole)
    assert whole[1]["grad_norm"] > 1e-3


def test_so_does_lambda_of_an_image():
    one, four = (after_a_step("aals", accumulate=n, image_weights=True) for n in (1, 4))
    assert_same(four, one)
    assert one[1]["loss/total"] != after_a_step("aals", accumulate=1)[1]["loss/total"]


def test_micro_batches_are_the_same_images_on_any_number_of_devices():
    """Though BatchNorm makes it matter which images are together."""
    one, four = (
        after_a_step("aals", accumulate=2, by_batch=True, count=n) for n in (1, 4)
    )
    assert_same(four, one)
    whole, _ = after_a_step("aals", accumulate=1, by_batch=True)
    assert abs(optax.tree.norm(whole.student) - optax.tree.norm(one[0].student)) > 1e-5


def test_running_statistics_go_through_the_micro_batches_in_order():
    net, state = small.Net(), initial("supervised")
    make = functools.partial(
        steps.make_pretrain_step, net, TX, ema_decay=0.9, axis_name=None
    )
    found, _ = jax.jit(make(accumulate=2))(state, BATCH)
    variables = state.student
    for first in (0, 1):  # every other image: each has the mix of the batch
        images = BATCH.labelled.image[first::2]
        assert BATCH.labelled.label[first::2].mean() == 0.5
        _, stats = net.apply(variables, images, train=True, mutable=["batch_stats"])
        variables = {**variables, **stats}
    assert_same(found.student["batch_stats"], variables["batch_stats"])
    whole, _ = jax.jit(make())(state, BATCH)
    (mean, _), (other, _) = (
        jax.tree.leaves(x.student["batch_stats"]) for x in (found, whole)
    )
    assert np.abs(mean - other).max() > 1e-4
