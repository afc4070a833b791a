"""Losses of the heads of boxes: closed forms, their counts, and what they reach."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, logit

from aals_jax.method import box_losses, losses
from aals_jax.models import boxes, heads
from aals_jax.types import Labelled
from tests.support import small

SIDE = 64
BOX = (20.0, 20.0, 32.0, 32.0)  # found by nine locations of stride 4
HEADS = ["fcos", "retinanet"]
ALPHA, GAMMA = 0.25, 2.0


def labelled(*found, film=1.0) -> Labelled:
    """One image with these boxes; `film` f32[16, 16] or its value everywhere."""
    pixels = (1, SIDE // 4, SIDE // 4)
    return Labelled(
        image=jnp.zeros((1, SIDE, SIDE, 1)),
        target=jnp.zeros(pixels),
        valid=jnp.broadcast_to(jnp.asarray(film, jnp.float32), pixels),
        label=jnp.ones(1),
        boxes=jnp.array([[*found, (0.0,) * 4, (0.0,) * 4][:2]]),
        keep=None,
    )


def anchors_of(head):
    return jnp.array(heads.HEADS[head].anchors((SIDE, SIDE), finest=4, scale=4.0))


def outputs_of(head, *, logits=-2.0, box=None):
    """The same logit everywhere; offsets to `box` where it can be reached."""
    anchors = anchors_of(head)
    offsets = jnp.zeros((1, len(anchors), 4))
    if box is not None and head == "fcos":
        edges = boxes.distances(anchors, jnp.array([box]))
        offsets = jnp.log(jnp.maximum(edges, 0.01))[None]
    elif box is not None:
        offsets = boxes.deltas(anchors, jnp.array([box]))[None]
    flat = jnp.full((1, len(anchors)), logits)
    centerness = jnp.zeros_like(flat) if head == "fcos" else None
    return heads.BoxOutputs(flat, offsets, centerness)


@functools.cache
def compiled(head):
    """The row's loss, and the gradient of its sum to the outputs."""
    of_row = small.bound(head, finest_stride=4).labelled
    total = jax.grad(lambda *arguments: of_row(*arguments).total.sum())
    return jax.jit(of_row), jax.jit(total)


def loss(head, outputs, images):
    return compiled(head)[0](outputs, images)


def gradient_of(head, outputs, images):
    return compiled(head)[1](outputs, images)


def test_focal_loss_in_closed_form():
    p = np.array([0.1, 0.5, 0.9, 0.9])
    target = np.array([1.0, 1.0, 0.0, 1.0])
    p_t = np.where(target, p, 1 - p)
    expected = -np.where(target, 0.25, 0.75) * (1 - p_t) ** 2 * np.log(p_t)
    z = jnp.array(logit(p), jnp.float32)
    got = box_losses.focal(z, jnp.array(target), alpha=ALPHA, gamma=GAMMA)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    # gamma = 0: half of cross-entropy
    got = box_losses.focal(z, jnp.array(target), alpha=0.5, gamma=0.0)
    np.testing.assert_allclose(got, -0.5 * np.log(p_t), rtol=1e-5)
    # far logits: finite, and their gradients too
    far = jnp.array([-200.0, 200.0])

    def total(z):
        return box_losses.focal(z, jnp.ones(2), alpha=ALPHA, gamma=GAMMA).sum()

    assert np.all(np.isfinite(jax.grad(total)(far)))


def test_smooth_l1_and_centerness_in_closed_form():
    got = box_losses.smooth_l1(jnp.array([0.0, 1 / 18, -1 / 9, 1.0]))
    np.testing.assert_allclose(got, [0, 1 / 72, 1 / 18, 17 / 18], rtol=1e-5)
    edges = jnp.array([[2.0, 3, 2, 3], [1, 3, 4, 3], [1, 1, 4, 4]])
    np.testing.assert_allclose(box_losses.centerness(edges), [1, 0.5, 0.25])


def test_fcos_by_hand():
    """Nine locations with the box, perfect offsets, logit -2, centre-ness 1/2."""
    images = labelled(BOX)
    got = loss("fcos", outputs_of("fcos", box=BOX), images)
    p = expit(-2.0)
    positive = 9 * 0.25 * (1 - p) ** 2 * -np.log(p)
    negative = (len(anchors_of("fcos")) - 9) * 0.75 * p**2 * -np.log(1 - p)
    # at logit 0 cross-entropy is log 2 whatever its target
    expected = positive + negative + 9 * np.log(2)
    np.testing.assert_allclose(got.count, [9])
    np.testing.assert_allclose(got.total, [expected], rtol=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_offsets_that_fit_cost_nothing_and_others_do(head):
    images = labelled(BOX)
    fitting = loss(head, outputs_of(head, box=BOX), images)
    shifted = loss(head, outputs_of(head, box=(22.0, 20.0, 32.0, 32.0)), images)
    assert fitting.count == shifted.count > 0
    assert shifted.total > fitting.total + 0.1
    # GIoU of boxes one in the other is their IoU, 10 / 12
    if head == "fcos":
        difference = 9 * (1 - 10 / 12)
        got = shifted.total - fitting.total
        # the locations at x = 22 lie on the shifted box's edge: clipped at 0.01 strides
        np.testing.assert_allclose(got, difference, rtol=0.02)


@pytest.mark.parametrize("head", HEADS)
def test_padding_carries_no_loss(head):
    """Without film no loss and no count; outputs there get no gradient."""
    nothing = loss(head, outputs_of(head), labelled(BOX, film=0.0))
    assert nothing.total == nothing.count == 0.0
    film = np.zeros((16, 16), np.float32)
    film[:, 4:] = 1.0
    gradient = gradient_of(head, outputs_of(head), labelled(BOX, film=film))
    x = np.asarray(boxes.centers(anchors_of(head))[:, 0])
    assert not np.any(gradient.logits[0, x < 15.9])
    assert np.mean(gradient.logits[0, x > 16.1] != 0) > 0.9  # all but the ignored


@pytest.mark.parametrize("head", HEADS)
def test_gradients_reach_what_they_must(head):
    """Background moves logits alone; a box moves its own anchors' offsets."""
    with_box, without = (
        gradient_of(head, outputs_of(head), images)
        for images in (labelled(BOX), labelled())
    )
    for g in (without.offsets, without.centerness):
        assert g is None or not np.any(g)
    assert np.all(without.logits > 0)  # each goes down
    up = with_box.logits[0] < 0
    assert 0 < up.sum() == loss(head, outputs_of(head), labelled(BOX)).count
    moved = np.any(with_box.offsets[0] != 0, axis=-1)
    np.testing.assert_array_equal(moved, up)
    if head == "fcos":
        # at the middle of the box the target is 1, so the logit goes up
        np.testing.assert_array_equal(with_box.centerness[0] != 0, up)


@pytest.mark.parametrize("head", HEADS)
def test_the_loss_is_per_anchor_with_a_box_over_all_images(head):
    """An image of N adds to the sum and not to the count; N alone is divided by 1."""
    one, none = labelled(BOX), labelled()
    outputs = outputs_of(head)
    both = jax.tree.map(lambda *x: jnp.concatenate(x), one, none)
    twice = jax.tree.map(lambda *x: jnp.concatenate(x), outputs, outputs)
    single, empty = loss(head, outputs, one), loss(head, outputs, none)
    got = losses.global_mean(loss(head, twice, both), None)
    expected = (single.total + empty.total) / single.count
    np.testing.assert_allclose(got, expected[0], rtol=1e-5)
    np.testing.assert_allclose(losses.global_mean(empty, None), empty.total[0])
