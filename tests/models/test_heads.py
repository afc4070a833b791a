"""Anchors by hand, and detections of outputs whose boxes are known."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aals_jax.models import boxes, heads
from aals_jax.models.detector import Detector
from aals_jax.models.heads import HEADS, PRIOR
from aals_jax.runtime import devices
from tests.support.small import Net

OF_BOXES = [name for name, row in HEADS.items() if row.anchors]
SHAPE = (64, 96)  # px, height and width
DETECT = {
    "finest_stride": 4,
    "anchor_scale": 4.0,
    "top_k": 1_000,
    "nms_iou": 0.5,
    "max_detections": 5,
}


def anchors_of(head, finest=4):
    return HEADS[head].anchors(SHAPE, finest=finest, scale=4.0)


def test_locations_are_the_middles_of_their_pixels_level_by_level():
    squares = anchors_of("fcos")
    sizes = heads.level_sizes(SHAPE, finest=4, each=1)
    assert sizes == (16 * 24, 8 * 12, 4 * 6, 2 * 3, 1 * 2)
    assert len(squares) == sum(sizes)
    np.testing.assert_array_equal(squares[0], [0, 0, 4, 4])
    np.testing.assert_array_equal(squares[1], [4, 0, 8, 4])  # along the row first
    np.testing.assert_array_equal(squares[24], [0, 4, 4, 8])
    np.testing.assert_array_equal(squares[16 * 24], [0, 0, 8, 8])
    np.testing.assert_array_equal(squares[-1], [64, 0, 128, 64])
    assert len(anchors_of("fcos", finest=16)) == 24 + 6 + 2


def test_rectangles_are_three_sizes_of_three_shapes_about_each_location():
    nine = anchors_of("retinanet").reshape(-1, 9, 4)
    assert len(nine) == len(anchors_of("fcos"))
    np.testing.assert_allclose(
        (nine[..., :2] + nine[..., 2:]) / 2,
        np.tile((anchors_of("fcos")[:, None, :2] + anchors_of("fcos")[:, None, 2:]) / 2,
                (1, 9, 1)),
        atol=1e-4,
    )  # fmt: skip
    width, height = (nine[0, :, 2:] - nine[0, :, :2]).T
    expected = np.tile(16 * 2 ** (np.arange(3) / 3), 3)
    np.testing.assert_allclose(np.sqrt(width * height), expected, rtol=1e-5)
    np.testing.assert_allclose(height / width, np.repeat([0.5, 1, 2], 3), rtol=1e-5)


@pytest.mark.parametrize("head", OF_BOXES)
@pytest.mark.parametrize("finest", [4, 8])
def test_a_net_has_one_output_for_each_anchor(head, finest):
    model = Detector("narrow", 8, 8, head=head, finest_stride=finest, convs=1)
    image = jax.ShapeDtypeStruct((2, *SHAPE, 1), jnp.float32)
    outputs, variables = jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, train=False), image
    )
    count = len(anchors_of(head, finest))
    assert outputs.logits.shape == (2, count)
    assert outputs.offsets.shape == (2, count, 4)
    assert (outputs.centerness is not None) == (head == "fcos")
    # one tower of each kind for all levels, and no map
    assert "head" not in variables["params"]
    assert {"class_tower", "box_tower"} <= variables["params"].keys()


@pytest.mark.parametrize("head", OF_BOXES)
def test_untrained_outputs_are_near_the_prior(head):
    image = jax.random.uniform(jax.random.key(1), (2, 64, 64, 1))
    start = partial(Net(head=head).init_with_output, train=False)
    outputs, _ = devices.jit_for_one_call(start)(jax.random.key(0), image)
    np.testing.assert_allclose(jax.nn.sigmoid(outputs.logits), PRIOR, atol=0.01)


def test_the_map_has_the_variables_that_it_always_had():
    model = Detector("narrow", 8, 8)
    image = jax.ShapeDtypeStruct((1, 64, 64, 1), jnp.float32)
    variables = jax.eval_shape(
        lambda x: model.init(jax.random.key(0), x, train=False), image
    )
    params = variables["params"]
    assert params.keys() == {"backbone", "fpn", "head"}
    assert params["fpn"].keys() == {f"inner_{i}" for i in range(4)} | {"layer_0"}
    assert params["head"]["kernel"].shape == (1, 1, 8, 1)


def planted(head, found, scores):
    """Outputs that say nothing but these boxes, each at the anchor nearest to it."""
    anchors = jnp.array(anchors_of(head))
    logits = jnp.full((1, len(anchors)), -20.0)
    offsets = jnp.zeros((1, len(anchors), 4))
    for box, score in zip(jnp.array(found, jnp.float32), scores, strict=True):
        if head == "fcos":
            edges = boxes.distances(anchors, box[None])
            # about the middle of the box, on the level of its size
            off = jnp.abs(edges.max(axis=1) - 4)
            at = jnp.argmax(edges.min(axis=1) - 2 * off)
            offset = jnp.log(edges[at])
        else:
            at = jnp.argmax(boxes.iou(anchors, box[None]))
            offset = boxes.deltas(anchors[at], box)
        logits = logits.at[0, at].set(jax.scipy.special.logit(score))
        offsets = offsets.at[0, at].set(offset)
    centerness = jnp.full_like(logits, 1.0) if head == "fcos" else None
    return heads.BoxOutputs(logits, offsets, centerness)


def detected(outputs, head, **changes):
    detect = partial(heads.detect, shape=SHAPE, head=head, **(DETECT | changes))
    return jax.jit(detect)(outputs)[0]


@pytest.mark.parametrize("head", OF_BOXES)
def test_what_is_planted_is_detected(head):
    """Of two that overlap the better; one that leaves the image is cut at its edge; the
    last is of a coarse level."""
    found = [(10, 8, 30, 28), (12, 8, 32, 28), (60, 20, 76, 36), (80, 40, 104, 60)]
    found += [(0, 0, 60, 64)]
    scores = [0.6, 0.9, 0.3, 0.8, 0.2]
    outputs = planted(head, found, scores)
    got = detected(outputs, head)
    expected = np.array([found[1], (80, 40, 96, 60), found[2], found[4]])
    np.testing.assert_allclose(got[:4, :4], expected, atol=1e-3)
    p = np.array([0.9, 0.8, 0.3, 0.2])
    if head == "fcos":
        p = np.sqrt(p * float(jax.nn.sigmoid(1.0)))
    np.testing.assert_allclose(got[:4, 4], p, rtol=1e-4)
    assert np.all(got[4:, 4] < 1e-3)
    # the best of each level go on: three of the boxes share theirs
    best = detected(outputs, head, top_k=1)
    np.testing.assert_allclose(best[0], got[0], atol=1e-6)
    assert 1 < np.sum(best[:, 4] > 0.1) < 4
