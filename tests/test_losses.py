import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit, rel_entr

from aals_jax import losses


def random_maps(seed, scale=3.0):
    return scale * jax.random.normal(jax.random.key(seed), (3, 4, 5))


def test_kl_equals_scipy_relative_entropy_and_is_zero_at_agreement():
    target, logits = random_maps(0), random_maps(1)
    p, q = (expit(np.asarray(x, np.float64)) for x in (target, logits))
    expected = (rel_entr(p, q) + rel_entr(1 - p, 1 - q)).mean(axis=(1, 2))
    valid = jnp.ones_like(target)
    np.testing.assert_allclose(
        losses.pixel_kl(target, logits, valid), expected, rtol=1e-5
    )
    np.testing.assert_array_equal(losses.pixel_kl(target, target, valid), jnp.zeros(3))


def test_kl_has_the_gradient_of_soft_cross_entropy_and_none_in_the_target():
    target, logits, valid = random_maps(0), random_maps(1), jnp.ones((3, 4, 5))

    def kl(target, logits):
        return losses.pixel_kl(target, logits, valid).sum()

    def soft(logits):
        return losses.pixel_cross_entropy(logits, jax.nn.sigmoid(target), valid).sum()

    to_target, to_logits = jax.grad(kl, argnums=(0, 1))(target, logits)
    np.testing.assert_array_equal(to_target, jnp.zeros_like(target))
    np.testing.assert_allclose(to_logits, jax.grad(soft)(logits), atol=1e-7)


def test_losses_stay_finite_at_extreme_logits():
    extreme = jnp.array([[[-200.0, 200.0]]])
    valid = jnp.ones_like(extreme)
    assert jnp.isfinite(losses.pixel_kl(extreme, -extreme, valid)).all()
    assert jnp.isfinite(losses.pixel_cross_entropy(extreme, valid, valid)).all()


def test_padding_never_changes_a_loss():
    logits, target = random_maps(0), (random_maps(1) > 0).astype(jnp.float32)
    valid = jnp.ones_like(logits)

    def padded(x, value):
        return jnp.pad(x, ((0, 0), (2, 1), (0, 3)), constant_values=value)

    mask = padded(valid, 0.0)
    for loss, other in ((losses.pixel_cross_entropy, target), (losses.pixel_kl, None)):
        arguments = (logits, target) if other is not None else (target, logits)
        bare = loss(*arguments, valid)
        padding = loss(padded(arguments[0], 7.0), padded(arguments[1], -5.0), mask)
        np.testing.assert_allclose(bare, padding, rtol=1e-6)


def test_global_mean_is_the_mean_over_all_devices_and_zero_for_none():
    values = jnp.arange(12.0)
    split = jax.vmap(lambda v: losses.global_mean(v, "batch"), axis_name="batch")
    np.testing.assert_allclose(split(values.reshape(4, 3)), jnp.full(4, 5.5))
    assert losses.global_mean(jnp.zeros((0,)), None) == 0.0
