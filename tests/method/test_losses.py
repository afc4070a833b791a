import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, rel_entr

from aals_jax.method import losses


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


@pytest.mark.parametrize("focus", [0.0, 0.5, 2.0])
def test_quality_focal_loss_is_its_formula_a_pixel_of_the_target(focus):
    """In float64; and where target and student agree nothing pulls."""
    target, logits = random_maps(0), random_maps(1)
    valid = (random_maps(2) > -2.0).astype(jnp.float32)
    q, p, film = (np.asarray(x, np.float64) for x in (target, logits, valid))
    q, p = expit(q), expit(p)
    cross_entropy = -(q * np.log(p) + (1 - q) * np.log(1 - p))
    terms = np.abs(q - p) ** focus * cross_entropy * film
    mass = np.maximum((q * film).sum((1, 2)), 1.0)
    got = losses.pixel_quality_focal(target, logits, valid, focus=focus)
    np.testing.assert_allclose(got, terms.sum((1, 2)) / mass, rtol=1e-5)

    def total(target, logits):
        return losses.pixel_quality_focal(target, logits, valid, focus=focus).sum()

    to_target, to_logits = jax.grad(total, argnums=(0, 1))(target, logits)
    np.testing.assert_array_equal(to_target, jnp.zeros_like(target))
    assert jnp.isfinite(to_logits).all() and jnp.any(to_logits != 0)
    at_agreement = jax.grad(total, argnums=1)(target, target)
    np.testing.assert_allclose(at_agreement, jnp.zeros_like(target), atol=1e-6)


def test_a_mean_over_images_that_count_is_that_of_them_alone():
    values = jnp.array([3.0, 5.0, 100.0])
    for counted, mean in (([1, 1, 0], 4.0), ([1, 1, 1], 36.0), ([0, 0, 0], 0.0)):
        ratio = losses.Ratio(values * jnp.array(counted), jnp.array(counted))
        assert losses.global_mean(ratio, None) == mean


def test_losses_stay_finite_at_extreme_logits():
    extreme = jnp.array([[[-200.0, 200.0]]])
    valid = jnp.ones_like(extreme)
    off = jnp.full_like(extreme, losses.OFF)
    focal = losses.pixel_quality_focal(off, extreme, valid, focus=2.0)
    np.testing.assert_allclose(focal, 200.0)  # over no pixel of the target: 1
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


def test_squared_error_is_that_of_probabilities_and_reaches_both_sides():
    target, logits, valid = random_maps(0), random_maps(1), jnp.ones((3, 4, 5))
    p, q = (expit(np.asarray(x, np.float64)) for x in (target, logits))
    got = losses.pixel_squared_error(target, logits, valid)
    np.testing.assert_allclose(got, ((p - q) ** 2).mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(
        losses.pixel_squared_error(target, target, valid), jnp.zeros(3)
    )

    def total(target, logits):
        return losses.pixel_squared_error(target, logits, valid).sum()

    gradients = jax.grad(total, argnums=(0, 1))(target, logits)
    slopes = (-p * (1 - p), q * (1 - q))  # of q - p by either logit
    for gradient, slope in zip(gradients, slopes, strict=True):
        np.testing.assert_allclose(gradient, 2 * (q - p) * slope / 20, atol=1e-6)


def test_the_pooled_logit_lies_between_mean_and_maximum_of_the_film():
    logits = random_maps(0)
    valid = jnp.ones_like(logits).at[:, 0].set(0.0)
    film = np.asarray(logits)[:, 1:].reshape(3, -1)
    flat, steep = (
        losses.pooled_logit(logits, valid, sharpness=r) for r in (1e-3, 100.0)
    )
    np.testing.assert_allclose(flat, film.mean(axis=1), atol=0.02)
    np.testing.assert_allclose(steep, film.max(axis=1), atol=0.05)
    expected = np.log(np.exp(10 * film.astype(np.float64)).mean(axis=1)) / 10
    got = losses.pooled_logit(logits, valid, sharpness=10.0)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("shift", [-200.0, -60.0, -17.0, -10.0, 0.0, 10.0, 200.0])
def test_noisy_or_is_the_printed_product_and_finite_at_any_logit(shift):
    logits, valid = random_maps(0) + shift, jnp.ones((3, 4, 5))
    got, gradient = jax.value_and_grad(lambda z: losses.log_any(z, valid).sum())(logits)
    p = expit(np.asarray(logits, np.float64)).reshape(3, -1)
    # 1 - prod(1 - p) in float64 without cancellation
    expected = np.log(-np.expm1(np.log1p(-np.minimum(p, 1 - 1e-16)).sum(axis=1))).sum()
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-6)
    assert np.isfinite(gradient).all()
    if shift < -15:  # one lesion somewhere: the gradients share one unit an image
        np.testing.assert_allclose(gradient.sum(axis=(1, 2)), np.ones(3), rtol=1e-2)


def test_an_image_without_film_has_finite_terms_and_no_gradient():
    logits, valid = random_maps(0), jnp.zeros((3, 4, 5))
    for term in (losses.log_any, lambda z, v: losses.pooled_logit(z, v, sharpness=5.0)):
        value, gradient = jax.value_and_grad(
            lambda z, term=term: losses.on_film(term(z, valid), valid).sum()
        )(logits)
        assert value == 0.0
        np.testing.assert_array_equal(gradient, jnp.zeros_like(logits))
