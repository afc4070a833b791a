"""Laws of the steps, held with SGD: Adam's first step turns 1e-9 of noise into 1e-4."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aals_jax.method import ema, sharpening, steps
from aals_jax.models.detector import Detector
from aals_jax.runtime import devices
from tests.support import small

SIDE = 64
TX = optax.sgd(0.3)


def net(axis_name=None):
    return Detector("narrow", 8, 8, axis_name=axis_name)


@functools.cache
def fresh_state():
    """A state whose untrained maps lie near t, so that sharpening has work to do."""
    state = steps.init_state(net(), TX, jax.random.key(0), side=SIDE)
    params = state.student["params"]
    head = {
        "kernel": 20 * params["head"]["kernel"],
        "bias": jnp.zeros_like(params["head"]["bias"]),
    }
    return steps.restart(
        {
            "params": {**params, "head": head},
            "batch_stats": state.student["batch_stats"],
        },
        TX,
    )


make_batch = functools.partial(small.make_batch, side=SIDE)


def make_step(axis_name=None, method="aals", **changes):
    options = {"axis_name": axis_name, "max_strength": 4.0, **changes}
    return small.distill_step(method, net(axis_name), TX, **options)


@functools.cache
def distill_step(**changes):
    """The step on one device; compiled once for all tests that use it."""
    return jax.jit(make_step(**changes))


def largest_difference(a, b):
    differences = jax.tree.map(lambda x, y: np.abs(np.asarray(x) - y).max(), a, b)
    return max(jax.tree.leaves(differences))


def trained_on(num_devices, batch, num_steps=3):
    chosen = jax.devices()[:num_devices]
    step = devices.data_parallel(make_step(devices.AXIS), devices=chosen)
    state = devices.replicate(fresh_state(), devices=chosen)
    metrics = None
    for _ in range(num_steps):
        state, metrics = step(state, devices.shard(batch, devices=chosen))
    devices.assert_replicated(state)
    return devices.to_host(state), devices.to_host(metrics)


def test_four_devices_equal_one_device_with_the_whole_batch():
    batch = make_batch()
    one_state, one = trained_on(1, batch)
    four_state, four = trained_on(4, batch)
    assert largest_difference(one_state, four_state) < 2e-6
    for name in one:
        np.testing.assert_allclose(four[name], one[name], rtol=2e-5, err_msg=name)
    assert one["pseudo/share_raised_pixels"] > 0.01  # else sharpening did nothing


def test_the_order_of_the_images_over_devices_does_not_matter():
    batch = make_batch()
    turned = jax.tree.map(lambda x: np.roll(x, 3, axis=0), batch)
    assert largest_difference(trained_on(4, batch)[0], trained_on(4, turned)[0]) < 2e-6


def test_a_missing_reduction_raises_under_vmap():
    split = jax.tree.map(lambda x: x.reshape(4, -1, *x.shape[1:]), make_batch())

    def run(step):
        mapped = jax.vmap(step, axis_name="batch", in_axes=(None, 0), out_axes=None)
        return jax.eval_shape(mapped, fresh_state(), split)

    run(make_step("batch"))
    forgotten = small.distill_step("aals", net("batch"), TX, axis_name=None)
    with pytest.raises(ValueError, match="out_axes"):
        run(forgotten)


def test_distillation_gradient_reaches_the_student_and_not_the_teacher():
    state, batch = fresh_state(), make_batch()

    def total(student_params, teacher):
        changed = state.replace(
            student={**state.student, "params": student_params}, teacher=teacher
        )
        _, metrics = make_step()(changed, batch)
        return metrics["loss/distill_weighted"]

    to_student, to_teacher = jax.jit(jax.grad(total, argnums=(0, 1)))(
        state.student["params"], state.teacher
    )
    assert optax.tree.norm(to_student) > 1e-3
    assert all(np.all(np.asarray(g) == 0) for g in jax.tree.leaves(to_teacher))


def test_the_gradient_monitor_is_the_norm_at_the_students_logits():
    state, batch = fresh_state(), make_batch()
    _, metrics = distill_step()(state, batch)
    images = jnp.concatenate([batch.labelled.image, batch.weak.student_image])
    apply = jax.jit(net().apply, static_argnames=("train", "mutable"))
    logits = apply(state.student, images, train=True, mutable="batch_stats")[0]
    teacher = apply(state.teacher, batch.weak.image, train=False)
    target = sharpening.sharpen(
        teacher, max_strength=4.0, center=0.4, valid=batch.weak.valid
    )
    # closed form: d KL / d logit = student - target, over pixels and images
    film = batch.weak.valid.sum(axis=(1, 2), keepdims=True)
    pixels = np.maximum(film, 1.0) * len(target)
    difference = jax.nn.sigmoid(logits[16:]) - jax.nn.sigmoid(target)
    expected = 0.7 * jnp.linalg.norm(difference * batch.weak.valid / pixels)
    np.testing.assert_allclose(metrics["pseudo/distill_grad_norm"], expected, rtol=1e-4)


def test_total_is_supervised_plus_weighted_distillation():
    _, m = distill_step()(fresh_state(), make_batch())
    np.testing.assert_allclose(m["loss/distill_weighted"], 0.7 * m["loss/distill"])
    np.testing.assert_allclose(
        m["loss/total"], m["loss/supervised"] + m["loss/distill_weighted"], rtol=1e-6
    )


def test_the_weight_ramps_from_almost_nothing():
    _, first = distill_step(ramp_steps=10)(fresh_state(), make_batch())
    ratio = first["loss/distill_weighted"] / first["loss/distill"]
    np.testing.assert_allclose(ratio, 0.7 * np.exp(-5.0), rtol=1e-5)


def test_the_teacher_averages_params_and_batch_stats_and_is_never_normalised_by_p():
    state, batch = fresh_state(), make_batch()
    after, _ = distill_step()(state, batch)
    expected = ema.update(state.teacher, after.student, jnp.float32(0.1))
    assert largest_difference(after.teacher, expected) < 1e-6
    assert largest_difference(
        after.teacher["batch_stats"], state.teacher["batch_stats"]
    )
    # seven other images without film add nothing, so what the step says of the first
    # must be what it says of it alone: their pixels reach no statistic of the teacher
    alone = batch.replace(weak=jax.tree.map(lambda x: x[:1], batch.weak))
    blank = batch.weak.valid * (np.arange(8) == 0)[:, None, None]
    crowd = batch.replace(weak=batch.weak.replace(valid=blank.astype(np.float32)))
    one, eight = (distill_step()(state, b)[1] for b in (alone, crowd))
    for name in ("pseudo/mean_peak", "pseudo/mean_target"):
        np.testing.assert_allclose(8 * eight[name], one[name], rtol=1e-5)


def test_the_supervised_step_does_not_read_p():
    first, second = make_batch(seed=0), make_batch(seed=1)
    batch = first.replace(weak=second.weak)
    step = distill_step(method="supervised")
    a, _ = step(fresh_state(), first)
    b, _ = step(fresh_state(), batch)
    c, _ = step(fresh_state(), first.replace(weak=None))
    assert largest_difference(a, b) == 0.0
    assert largest_difference(a, c) == 0.0


def test_distillation_does_read_p():
    first, second = make_batch(seed=0), make_batch(seed=1)
    a, _ = distill_step()(fresh_state(), first)
    b, _ = distill_step()(fresh_state(), first.replace(weak=second.weak))
    assert largest_difference(a, b) > 1e-4


def test_strength_one_is_plain_distillation():
    """a0 = 1: target equals the teacher's map, so nothing is raised."""
    _, metrics = distill_step(max_strength=1.0)(fresh_state(), make_batch())
    assert metrics["pseudo/share_raised_pixels"] == 0.0
    assert metrics["loss/distill"] > 0.0


def test_eval_step_uses_running_statistics():
    state, batch = fresh_state(), make_batch()
    evaluate = jax.jit(steps.make_eval_step(net()))
    together = evaluate(state.student, batch.labelled.image)
    alone = evaluate(state.student, batch.labelled.image[:1])
    np.testing.assert_allclose(together[:1], alone, atol=1e-5)
    assert together.shape == (16, SIDE // 4, SIDE // 4)
