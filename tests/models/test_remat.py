"""Laws of rematerialisation: the same variables and results, less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aals_jax.models.densenet import Classifier
from aals_jax.models.detector import Detector
from aals_jax.models.parts import Frozen
from aals_jax.runtime import devices

IMAGE = np.random.default_rng(0).random((2, 64, 64, 1), np.float32)
NETS = {
    "narrow": lambda **options: Detector("narrow", 8, 8, **options),
    "frozen": lambda **options: Detector("narrow", 8, 8, frozen=Frozen(2), **options),
    "densenet": lambda **options: Classifier("narrow", **options),
}


def variables_of(net):
    init = devices.jit_for_one_call(lambda key: net.init(key, IMAGE, train=False))
    return init(jax.random.key(0))


def learn(net):
    """(params, batch_stats) -> ((loss, statistics after it), gradients)."""

    def loss(params, stats):
        variables = {"params": params, "batch_stats": stats}
        maps, after = net.apply(variables, IMAGE, train=True, mutable=["batch_stats"])
        return jnp.mean(jnp.square(maps - 1.0)), after

    return jax.value_and_grad(loss, has_aux=True)


@pytest.mark.parametrize("name", NETS)
def test_variables_loss_gradients_and_statistics_are_the_same(name):
    usual, remat = NETS[name](), NETS[name](remat=True)
    variables = variables_of(usual)
    jax.tree.map(np.testing.assert_array_equal, variables, variables_of(remat))
    expected, found = (
        devices.jit_for_one_call(learn(net))(
            variables["params"], variables["batch_stats"]
        )
        for net in (usual, remat)
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        expected,
        found,
    )
    statistics = expected[0][1]["batch_stats"]
    before = variables["batch_stats"]
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), statistics, before)
    assert any(jax.tree.leaves(moved))


@pytest.mark.parametrize("make", [
    lambda remat: Detector("resnet50", 8, 8, remat=remat),
    lambda remat: Classifier("narrow", remat=remat),
])  # fmt: skip
def test_less_is_kept_for_the_gradient(make):
    """Bytes between the two passes, as JAX has them. What a compiler makes of it is its
    own: XLA's for CPUs needs as much as before."""
    images = jax.ShapeDtypeStruct((8, 128, 128, 1), jnp.float32)

    def kept(net):
        def residuals(variables, images):
            def forward(params):
                both = {**variables, "params": params}
                return net.apply(both, images, train=True, mutable=["batch_stats"])[0]

            return jax.vjp(forward, variables["params"])[1]

        found = jax.eval_shape(
            residuals, jax.eval_shape(lambda: variables_of(net)), images
        )
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(found))

    usual, remat = (kept(make(remat)) for remat in (False, True))
    assert remat < 0.8 * usual, (remat, usual)


def test_an_evaluation_is_the_same_program():
    net = NETS["narrow"]()
    variables = variables_of(net)
    texts = {
        str(jax.make_jaxpr(lambda v: each.apply(v, IMAGE, train=False))(variables))  # noqa: B023
        for each in (net, NETS["narrow"](remat=True))
    }
    assert len(texts) == 1
