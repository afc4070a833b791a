"""The parts of a net: each weight has one, in the order of the image's way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aals_jax.models import parts
from aals_jax.models.densenet import Classifier
from aals_jax.models.detector import Detector
from aals_jax.models.parts import Frozen

IMAGE = jax.ShapeDtypeStruct((1, 64, 64, 1), jnp.float32)


@pytest.mark.parametrize(
    "net", [Classifier("narrow"), Detector("narrow", 8, 8), Detector("resnet50", 8, 8)]
)
def test_every_weight_has_a_part_and_stages_come_in_order(net):
    shapes = jax.eval_shape(
        lambda x: net.init(jax.random.key(0), x, train=False), IMAGE
    )
    for kind in ("params", "batch_stats"):
        leaves = jax.tree_util.tree_leaves_with_path(shapes[kind])
        found = [
            (parts.part_of([key.key for key in path]), path[0].key)
            for path, _ in leaves
        ]
        assert {part for part, module in found if module == "backbone"} == set(range(5))
        outside = {part for part, module in found if module != "backbone"}
        assert outside <= {parts.HEAD}


def test_a_module_without_a_part_is_an_error():
    with pytest.raises(ValueError, match="backbone/neck/kernel: belongs to no part"):
        parts.part_of(["backbone", "neck", "kernel"])


def test_what_is_frozen_is_a_beginning_of_the_net():
    for stages in range(5):
        held = [part for part in range(6) if Frozen(stages).holds(part)]
        assert held == list(range(stages + 1 if stages else 0))
    every = [Frozen(norm=True).keeps_statistics(part) for part in range(5)]
    assert all(every) and not Frozen(norm=True).holds(0)


def test_no_gradient_flows_through_what_is_held():
    for part, expected in ((2, 0.0), (3, 1.0)):
        gradient = jax.grad(lambda x, part=part: Frozen(2).after(part, x))(1.0)
        np.testing.assert_array_equal(gradient, expected)
