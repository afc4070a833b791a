"""Laws of temporal ensembling's memory: one frame, closed-form averages, any order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aals_jax.input import augment, views
from aals_jax.method import ensemble
from tests.support import small
from tests.support.small import make_batch

SIDE = 64
RANGES = augment.Ranges(20.0, (0.85, 1.2), 0.11, True, 0.0, 0.0, 0.0)


def pooled(image):
    """A net that follows every geometry: the mean of each 4 x 4 pixels, as logits."""
    blocks = image.reshape(len(image), SIDE // 4, 4, SIDE // 4, 4)
    return np.log(blocks.mean(axis=(2, 4)) + 0.1)


def smooth_radiograph():
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    image = 128 + 60 * np.sin(5 * x + 1) + 60 * np.cos(4 * y)  # no symmetry
    # film ends before the image does, so that no map pixel mixes it with air
    film = np.float32([6, 6, SIDE - 6, SIDE - 6])
    return views.Radiograph(image.astype(np.uint8), np.zeros((0, 4)), film)


def augmented(count=6):
    """Views of one radiograph, as a batch of P."""
    make = views.makers(views.Extras())["image_level"]
    rng = np.random.default_rng(0)
    examples = [make(smooth_radiograph(), rng, RANGES) for _ in range(count)]
    return jax.tree.map(lambda *x: np.stack(x), *examples)


def test_maps_of_any_view_come_back_to_the_same_place():
    """Targets compared in different frames would miss by far."""
    weak = augmented()
    plain = jax.nn.sigmoid(pooled(views.to_float(smooth_radiograph().image)[None]))
    logits = jnp.array(pooled(weak.image[..., 0]))
    maps, in_view = ensemble.unaugmented(logits, weak, side=SIDE // 4)
    assert np.asarray(in_view).mean() > 0.5
    back = np.abs(maps - plain)[np.asarray(in_view) > 0]
    left = np.abs(jax.nn.sigmoid(logits) - plain)[weak.valid > 0]
    assert back.max() < 0.01 < 0.05 < left.mean()
    # one pixel off would be seen too
    assert back.mean() < 0.1 * np.abs(np.diff(np.asarray(plain), axis=1)).mean()


def test_the_method_compares_and_remembers_in_one_frame():
    """A net that follows every geometry agrees with its memory of any other view."""
    method = small.bound("temporal_ensembling", ensemble_decay=0.6)
    weak = augmented()
    weak = weak.replace(row=np.zeros(len(weak.row), np.int32))
    views_of = [jax.tree.map(lambda x, i=i: x[i : i + 1], weak) for i in range(6)]
    logits = [jnp.array(pooled(view.image[..., 0])) for view in views_of]
    memory = method.guide.memory(None, images=1, side=SIDE // 4)
    for i, (view, own) in enumerate(zip(views_of, logits, strict=True)):
        target = ensemble.recall(memory, view.row)
        loss = float(method.weak(target, own, view)[0])
        # the same maps, compared as they lie in their views
        moved = float(jnp.mean((jax.nn.sigmoid(own) - jax.nn.sigmoid(logits[0])) ** 2))
        assert loss < 2e-5 and (i == 0 or loss < moved / 100)
        memory = method.guide.remember(memory, own, view, axis_name=None)
    assert float(jnp.mean(memory.weight > 0)) > 0.5  # most of the film


def test_an_image_that_was_not_moved_is_left_as_it_is():
    weak = make_batch(side=SIDE).weak
    logits = jax.random.normal(jax.random.key(0), weak.valid.shape)
    maps, in_view = ensemble.unaugmented(logits, weak, side=16)
    np.testing.assert_array_equal(in_view, weak.valid)
    np.testing.assert_array_equal(maps * in_view, jax.nn.sigmoid(logits) * weak.valid)


def test_smaller_maps_are_means_over_what_is_seen():
    weak = make_batch(weak=1, side=16).weak
    valid = np.array([[[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 0]]])
    weak = weak.replace(valid=valid.astype(np.float32))
    logits = jax.random.normal(jax.random.key(0), (1, 4, 4))
    maps, in_view = ensemble.unaugmented(logits, weak, side=2)
    p = np.asarray(jax.nn.sigmoid(logits))[0]
    np.testing.assert_array_equal(in_view[0], [[1, 0], [1, 1]])  # more than half
    np.testing.assert_allclose(maps[0, 0, 0], p[:2, :2].mean(), rtol=1e-6)
    expected = (p[2, 2] + p[2, 3] + p[3, 2]) / 3
    np.testing.assert_allclose(maps[0, 1, 1], expected, rtol=1e-6)


@pytest.mark.parametrize("limit, side", [(64, 48), (48, 48), (47, 24), (20, 16)])
def test_the_side_of_the_memory_divides_the_maps(limit, side):
    assert ensemble.memory_side(48, limit=limit) == side


def remember(memory, row, maps, in_view=None, axis_name=None):
    in_view = jnp.ones_like(maps) if in_view is None else in_view
    return ensemble.remember(
        memory, jnp.array(row), maps, in_view, decay=0.6, axis_name=axis_name
    )


def test_the_average_is_the_closed_form_and_its_bias_is_corrected():
    values, memory = [0.2, 0.8, 0.5], ensemble.empty(3, 2)
    assert not np.any(memory.mean)
    for value in values:
        memory = remember(memory, [1], jnp.full((1, 2, 2), value))
    weights = 0.4 * 0.6 ** np.arange(3)[::-1]
    expected = weights @ values / (1 - 0.6**3)
    np.testing.assert_allclose(memory.mean[1], np.full((2, 2), expected), rtol=1e-6)
    np.testing.assert_allclose(memory.weight[1, 0, 0], 1 - 0.6**3, rtol=1e-6)
    assert not np.any(memory.weight[0]) and not np.any(memory.weight[2])


def test_a_constant_prediction_is_its_own_average_from_the_first_time():
    memory = remember(ensemble.empty(1, 2), [0], jnp.full((1, 2, 2), 0.3))
    np.testing.assert_allclose(memory.mean[0], np.full((2, 2), 0.3), rtol=1e-6)


def test_pixels_out_of_view_keep_what_they_had():
    memory = remember(ensemble.empty(1, 2), [0], jnp.full((1, 2, 2), 0.3))
    in_view = jnp.array([[[1.0, 0.0], [0.0, 0.0]]])
    after = remember(memory, [0], jnp.full((1, 2, 2), 0.9), in_view)
    assert after.mean[0, 0, 0] > 0.5
    np.testing.assert_array_equal(after.total[0, 1], memory.total[0, 1])
    np.testing.assert_array_equal(after.weight[0, 1], memory.weight[0, 1])


def test_an_image_twice_in_a_batch_counts_once_by_its_mean():
    maps = jnp.stack([jnp.full((2, 2), v) for v in (0.2, 0.9, 0.6)])
    together = remember(ensemble.empty(2, 2), [1, 0, 1], maps)
    mean = jnp.stack([jnp.full((2, 2), v) for v in (0.4, 0.9)])
    expected = remember(ensemble.empty(2, 2), [1, 0], mean)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), together, expected
    )


def test_every_device_remembers_what_all_have_seen():
    maps = jax.random.uniform(jax.random.key(0), (8, 2, 2))
    row = np.array([3, 1, 7, 0, 5, 2, 6, 3])
    whole = remember(ensemble.empty(8, 2), row, maps)
    split = jax.vmap(
        lambda r, m: remember(ensemble.empty(8, 2), r, m, axis_name="batch"),
        axis_name="batch",
        out_axes=None,
    )(row.reshape(4, 2), maps.reshape(4, 2, 2, 2))
    jax.tree.map(np.testing.assert_array_equal, whole, split)
