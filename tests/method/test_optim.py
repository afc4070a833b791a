"""Laws of the optimisers, the learning rates and the ramp.

What is decayed, what is clipped and by which rule; closed forms of the schedules.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aals_jax.method import optim

PARAMS = {
    "conv": {"kernel": jnp.full((2, 3), 2.0), "bias": jnp.full(3, 2.0)},
    "norm": {"scale": jnp.full(3, 2.0)},
}
ZERO = jax.tree.map(jnp.zeros_like, PARAMS)


def updates(name, gradients, *, weight_decay=0.0, clip_norm=0.0, num_steps=1):
    tx = optim.make_optimizer(name, 0.1, weight_decay=weight_decay, clip_norm=clip_norm)
    state, each_update = tx.init(PARAMS), []
    for _ in range(num_steps):
        update, state = tx.update(gradients, state, PARAMS)
        each_update.append(update)
    return each_update


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_weight_decay_pulls_kernels_and_leaves_the_rest(name):
    (update,) = updates(name, ZERO, weight_decay=0.5)
    assert np.all(update["conv"]["kernel"] < 0)
    assert np.all(np.asarray(update["conv"]["bias"]) == 0)
    assert np.all(np.asarray(update["norm"]["scale"]) == 0)


def test_decay_is_decoupled_in_adamw_and_in_the_gradient_elsewhere():
    step = {
        name: float(updates(name, ZERO, weight_decay=0.5)[0]["conv"]["kernel"][0, 0])
        for name in ("adam", "adamw", "sgd")
    }
    # rate * decay * weight; Adam normalises it away to the rate
    np.testing.assert_allclose(step["adamw"], -0.1 * 0.5 * 2.0, rtol=1e-6)
    np.testing.assert_allclose(step["sgd"], -0.1 * 0.5 * 2.0, rtol=1e-6)
    np.testing.assert_allclose(step["adam"], -0.1, rtol=1e-5)


def test_sgd_has_momentum_nine_tenths():
    gradients = jax.tree.map(jnp.ones_like, PARAMS)
    sizes = [
        float(update["norm"]["scale"][0])
        for update in updates("sgd", gradients, num_steps=3)
    ]
    np.testing.assert_allclose(sizes, [-0.1, -0.19, -0.271], rtol=1e-6)


@pytest.mark.parametrize("length, expected", [(8.0, 0.5), (0.25, 0.25)])
def test_only_a_gradient_longer_than_the_clip_is_shortened(length, expected):
    ones = jax.tree.map(jnp.ones_like, PARAMS)
    gradients = jax.tree.map(lambda g: g * (length / optax.tree.norm(ones)), ones)
    (update,) = updates("sgd", gradients, clip_norm=0.5)
    np.testing.assert_allclose(optax.tree.norm(update), 0.1 * expected, rtol=1e-5)


def test_the_gradient_is_clipped_before_the_decay_is_added():
    (update,) = updates("sgd", ZERO, weight_decay=0.5, clip_norm=1e-3)
    np.testing.assert_allclose(update["conv"]["kernel"], -0.1, rtol=1e-6)


def test_no_clip_norm_clips_nothing():
    gradients = jax.tree.map(lambda p: 1e6 * jnp.ones_like(p), PARAMS)
    (update,) = updates("sgd", gradients)
    np.testing.assert_allclose(update["norm"]["scale"], -1e5, rtol=1e-6)


def test_the_rate_may_be_a_schedule_of_the_step():
    tx = optim.make_optimizer(
        "sgd", optax.linear_schedule(0.0, 1.0, 10), weight_decay=0.0, clip_norm=0.0
    )
    update, _ = tx.update(jax.tree.map(jnp.ones_like, PARAMS), tx.init(PARAMS), PARAMS)
    assert np.all(np.asarray(update["norm"]["scale"]) == 0)


def test_an_unknown_name_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"'lion'.*\['adam', 'adamw', 'sgd'\]"):
        updates("lion", ZERO)


# --- schedules


def rates(shape, steps, **changes):
    options = {"peak": 0.3, "warmup_steps": 10, "steps": 50} | changes
    rate = optim.learning_rate(shape, **options)
    return np.array([rate(step) for step in steps])


@pytest.mark.parametrize("shape", ["constant", "cosine"])
def test_warm_up_is_a_line_from_zero_to_the_peak(shape):
    np.testing.assert_allclose(
        rates(shape, range(11)), 0.3 * np.arange(11) / 10, rtol=1e-6
    )


@pytest.mark.parametrize("shape", ["constant", "cosine"])
def test_without_warm_up_the_first_step_has_the_peak(shape):
    np.testing.assert_allclose(rates(shape, [0], warmup_steps=0), 0.3, rtol=1e-6)


def test_constant_stays_at_the_peak():
    np.testing.assert_allclose(rates("constant", [10, 49, 500]), 0.3, rtol=1e-6)


def test_cosine_falls_as_half_a_wave_to_zero_at_the_last_step():
    steps = np.arange(10, 51)
    expected = 0.15 * (1 + np.cos(np.pi * (steps - 10) / 40))
    np.testing.assert_allclose(rates("cosine", steps), expected, atol=1e-7)
    assert rates("cosine", [50])[0] == 0.0


def test_an_unknown_shape_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"'linear'.*'constant' or 'cosine'"):
        rates("linear", [0])


@pytest.mark.parametrize("step", [0, 1, 7, 20, 21, 1_000])
def test_ramp_up_is_the_formula_and_then_one(step):
    expected = np.exp(-5 * (1 - min(step / 20, 1)) ** 2)
    np.testing.assert_allclose(optim.ramp_up(jnp.int32(step), 20), expected, rtol=1e-6)


def test_no_ramp_is_full_weight_at_once():
    assert optim.ramp_up(jnp.int32(0), 0) == 1.0


# --- parts of a net

NET = {
    "backbone": {
        name: {"kernel": jnp.full((2, 3), 2.0)}
        for name in ("conv1", "layer1_0", "layer2_0", "layer4_0")
    },
    "fpn": {"kernel": jnp.full((2, 3), 2.0)},
}


def part_updates(num_steps=1, name="sgd", **rates):
    tx = optim.make_optimizer(
        name,
        0.1,
        weight_decay=0.5,
        clip_norm=0.0,
        part_rates=optim.PartRates(**rates),
    )
    state, found = tx.init(NET), []
    for _ in range(num_steps):
        update, state = tx.update(jax.tree.map(jnp.ones_like, NET), state, NET)
        leaves = {"fpn": update["fpn"], **update["backbone"]}
        found.append({n: float(leaf["kernel"][0, 0]) for n, leaf in leaves.items()})
    return found


def test_each_part_has_its_factor():
    """The stem has the decay to the fourth power, the last stage none of it."""
    (plain,) = part_updates()
    (slow,) = part_updates(backbone=0.5, layer_decay=0.1)
    factors = {n: slow[n] / plain[n] for n in plain}
    expected = {"fpn": 1, "layer4_0": 0.5, "layer2_0": 0.005, "layer1_0": 5e-4}
    for part, factor in (expected | {"conv1": 5e-5}).items():
        np.testing.assert_allclose(factors[part], factor, rtol=1e-5)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_what_is_frozen_gets_no_update_not_even_decay(name):
    for update in part_updates(3, name, frozen_stages=1):
        moved = {part for part, value in update.items() if value}
        assert moved == {"fpn", "layer2_0", "layer4_0"}


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_the_head_alone_moves_in_its_first_steps_and_then_all_as_if_always(name):
    """The head as without; the backbone afterwards too: its moments were gathered."""
    plain, warmed = part_updates(4, name), part_updates(4, name, head_steps=2)
    for step, (a, b) in enumerate(zip(plain, warmed, strict=True)):
        for part, value in a.items():
            expected = 0.0 if part != "fpn" and step < 2 else value
            np.testing.assert_allclose(b[part], expected, rtol=1e-6)


def test_equal_rates_are_the_optimiser_itself():
    """No state more, so that checkpoints stay what they were."""
    states = [
        optim.make_optimizer(
            "adam", 0.1, weight_decay=0.0, clip_norm=0.0, **options
        ).init(NET)
        for options in ({}, {"part_rates": optim.PartRates()})
    ]
    assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])
    assert len(states[0]) == 2
