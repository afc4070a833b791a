"""What is frozen is the same after steps, in the student and in its average."""

import jax
import numpy as np
import pytest

from aals_jax.method import optim, steps
from aals_jax.models import encoders, parts, vit_weights
from aals_jax.models.densenet import Classifier
from aals_jax.models.detector import Detector
from aals_jax.models.parts import Frozen
from aals_jax.runtime import devices
from tests.support import small, vit_files

SIDE = 64


def after_steps(net, make, *constants, **rates):
    """The state before and after two steps of Adam with decay, on the host."""
    tx = optim.make_optimizer(
        "adam",
        0.01,
        weight_decay=0.1,
        clip_norm=1.0,
        part_rates=optim.PartRates(**rates),
    )
    before = steps.init_state(net, tx, jax.random.key(0), side=SIDE)
    step = devices.jit_for_one_call(make(net, tx))
    state, batch = before, small.make_batch(side=SIDE)
    for _ in range(2):
        state, _ = step(state, batch, *constants)
    return jax.device_get((before, state))


def first_stage(net, tx):
    return steps.make_pretrain_step(net, tx, ema_decay=0.9, axis_name=None)


def second_stage(net, tx):
    return small.distill_step("aals", net, tx)


def moved(before, after, network, kind):
    """Parts of the net of which some weight moved, and of which some did not."""
    pairs = zip(
        jax.tree_util.tree_leaves_with_path(getattr(before, network)[kind]),
        jax.tree.leaves(getattr(after, network)[kind]),
        strict=True,
    )
    found = [
        (parts.part_of([key.key for key in path]), np.array_equal(a, b))
        for (path, a), b in pairs
    ]
    return {p for p, same in found if not same}, {p for p, same in found if same}


@pytest.mark.parametrize(
    ("net", "make"),
    [
        (Detector("narrow", 8, 8, frozen=Frozen(2)), second_stage),
        (Classifier("narrow", frozen=Frozen(2)), first_stage),
    ],
)
def test_frozen_stages_keep_weights_and_statistics_and_all_else_moves(net, make):
    before, after = after_steps(net, make, frozen_stages=2)
    for network in ("student", "teacher"):
        for kind, rest in (("params", {3, 4, 5}), ("batch_stats", {3, 4})):
            changed, kept = moved(before, after, network, kind)
            assert (changed, kept) == (rest, {0, 1, 2}), (network, kind)


def test_frozen_norm_keeps_all_statistics_and_no_weight():
    net = Detector("narrow", 8, 8, frozen=Frozen(norm=True))
    before, after = after_steps(net, second_stage)
    for network in ("student", "teacher"):
        assert moved(before, after, network, "batch_stats") == (set(), set(range(5)))
        assert moved(before, after, network, "params") == (set(range(6)), set())
    # and normalises by them: an image says the same in any company
    apply = jax.jit(
        lambda x: net.apply(after.student, x, train=True, mutable="batch_stats")[0]
    )
    images = small.make_batch(side=SIDE).labelled.image
    np.testing.assert_allclose(apply(images)[:1], apply(images[:1]), atol=1e-5)


@pytest.mark.parametrize("make", [first_stage, second_stage])
def test_a_frozen_encoder_is_in_no_state_and_all_else_moves(make):
    """Nor among the moments of Adam; as an argument of the step it stays as it is."""
    arrays = vit_files.draw(depth=1)
    of = vit_weights.architecture({n: a.shape for n, a in arrays.items()})
    frozen = encoders.frozen_variables(vit_weights.place(arrays, of)[0])
    before, after = after_steps(Detector("vit", 8, 8, vit=of), make, frozen)
    for network in ("student", "teacher"):
        assert set(getattr(after, network)) == {"params"}
        changed, kept = moved(before, after, network, "params")
        assert (changed, kept) == ({parts.HEAD}, set())
    largest = max(leaf.size for leaf in jax.tree.leaves(after))
    assert largest < frozen_size(frozen)
    again = encoders.frozen_variables(vit_weights.place(arrays, of)[0])
    jax.tree.map(np.testing.assert_array_equal, frozen, again)


def frozen_size(frozen):
    """Numbers in the largest of its arrays."""
    return max(leaf.size for leaf in jax.tree.leaves(frozen))
