"""Shapes and dtypes of the method's functions, as their docstrings give them.

One table: what goes in, what comes out. Dimensions of one name are equal within a row.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array, Float32, jaxtyped

from aals_jax.method import ema, ensemble, losses, methods, optim, sharpening, steps
from tests.support import small

BATCH = small.make_batch(labelled=6, weak=3)
LABELLED, WEAK = BATCH.labelled, BATCH.weak
MAP = jax.random.normal(jax.random.key(0), WEAK.valid.shape)
VALID = jnp.asarray(WEAK.valid)
MEMORY = ensemble.empty(5, 4)
TX = optax.sgd(0.1)

Scalar = Float32[Array, ""]
Images = Float32[Array, "B"]
Maps = Float32[Array, "B h w"]
Peaks = Float32[Array, "B 1 1"]
Small = Float32[Array, "B s s"]

CALLS = {
    "ema.warmed_decay": (lambda: ema.warmed_decay(jnp.int32(3), 0.9), Scalar),
    "optim.ramp_up": (lambda: optim.ramp_up(jnp.int32(3), 10), Scalar),
    "sharpen": (
        lambda: sharpening.sharpen(MAP, max_strength=4.0, center=0.4, valid=VALID),
        Maps,
    ),
    "sharpen_above, a center for each image": (
        lambda: sharpening.sharpen_above(MAP, jnp.zeros((3, 1, 1)), max_strength=4.0),
        Maps,
    ),
    "sharpen_asymmetric": (
        lambda: sharpening.sharpen_asymmetric(MAP, strength=4.0, center=0.4),
        Maps,
    ),
    "sharpen_temperature": (
        lambda: sharpening.sharpen_temperature(MAP, strength=4.0),
        Maps,
    ),
    "harden": (lambda: sharpening.harden(MAP), Maps),
    "peak": (lambda: sharpening.peak(MAP, VALID), Peaks),
    "alive_center": (
        lambda: sharpening.alive_center(
            MAP, VALID, center_logit=jnp.float32(-0.4), share=0.5
        ),
        Peaks,
    ),
    "top_center": (
        lambda: sharpening.top_center(
            MAP,
            VALID,
            jnp.array([-1, 1, 2]),
            center_logit=jnp.float32(-0.4),
            lesion_area=0.1,
        ),
        Peaks,
    ),
    "image_mean": (lambda: losses.image_mean(MAP, VALID), Images),
    "pixel_cross_entropy": (
        lambda: losses.pixel_cross_entropy(MAP, VALID, VALID),
        Images,
    ),
    "pixel_kl": (lambda: losses.pixel_kl(MAP, MAP, VALID), Images),
    "pixel_squared_error": (
        lambda: losses.pixel_squared_error(MAP, MAP, VALID),
        Images,
    ),
    "top_region": (lambda: sharpening.top_region(MAP, VALID, share=0.1), Maps),
    "pixel_quality_focal": (
        lambda: losses.pixel_quality_focal(MAP, MAP, VALID, focus=2.0),
        Images,
    ),
    "pooled_logit": (lambda: losses.pooled_logit(MAP, VALID, sharpness=5.0), Images),
    "log_any": (lambda: losses.log_any(MAP, VALID), Images),
    "on_film": (lambda: losses.on_film(jnp.ones(3), VALID), Images),
    "global_sum": (lambda: losses.global_sum(MAP, None), Maps),
    "global_mean": (lambda: losses.global_mean(jnp.ones(3), None), Scalar),
    "unaugmented": (lambda: ensemble.unaugmented(MAP, WEAK, side=4), (Small, Small)),
    "recall": (lambda: _fields(ensemble.recall(MEMORY, WEAK.row)), (Small,) * 3),
}


def _fields(memory: ensemble.Ensemble):
    return memory.total, memory.weight, memory.mean


@jaxtyped(typechecker=None)
def check(values, kinds) -> None:
    """Values of one call, in which a dimension's name has one size."""
    assert isinstance(MAP, Maps)
    pairs = zip(values, kinds, strict=True)
    for value, kind in pairs:
        assert isinstance(value, kind), f"{value.dtype}{value.shape} is no {kind}"


@pytest.mark.parametrize("name", CALLS)
def test_a_function_returns_what_its_docstring_says(name):
    call, kinds = CALLS[name]
    values = call()
    check(*((values, kinds) if isinstance(kinds, tuple) else ((values,), (kinds,))))


@pytest.mark.parametrize("method", methods.METHODS)
def test_every_row_maps_outputs_to_a_value_an_image(method):
    functions = small.bound(method)
    target = functions.target(_guidance(functions), WEAK)
    if isinstance(target, jax.Array):
        check((target,), (Maps,))
    if functions.weak:
        check((functions.weak(target, MAP, WEAK),), (Images,))
    net = small.Net(head=methods.METHODS[method].head)
    start = partial(net.init_with_output, jax.random.key(0), train=False)
    outputs, _ = jax.eval_shape(start, LABELLED.image)
    values = jax.eval_shape(functions.labelled, outputs, LABELLED)
    assert {leaf.shape for leaf in jax.tree.leaves(values)} == {(6,)}


def _guidance(functions: methods.BoundMethod):
    """A map, or what a memory has of the batch, or nothing where there is no guide."""
    if functions.guide is None:
        return None
    return ensemble.recall(MEMORY, WEAK.row) if functions.guide.remember else MAP


def test_a_memory_keeps_its_shape():
    maps, in_view = ensemble.unaugmented(MAP, WEAK, side=4)
    after = ensemble.remember(
        MEMORY, jnp.asarray(WEAK.row), maps, in_view, decay=0.6, axis_name=None
    )
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, MEMORY)


def test_a_step_keeps_every_shape_and_says_scalars():
    state = steps.init_state(small.Net(), TX, jax.random.key(0), side=32)
    step = small.distill_step("aals", small.Net(), TX)
    after, metrics = jax.eval_shape(step, state, BATCH)

    def kind(x):
        return x.shape, np.dtype(x.dtype).name

    assert jax.tree.map(kind, after) == jax.tree.map(kind, state)
    assert {kind(x) for x in metrics.values()} == {((), "float32")}
    evaluate = steps.make_eval_step(small.Net())
    maps = jax.eval_shape(evaluate, state.student, BATCH.labelled.image)
    assert kind(maps) == ((6, 8, 8), "float32")


def test_the_checker_refuses_another_shape():
    with pytest.raises(AssertionError, match="is no"):
        check((jnp.ones(4),), (Images,))  # three images in a batch of MAP
    with pytest.raises(AssertionError, match="is no"):
        check((jnp.ones((3, 2, 3)),), (Small,))
