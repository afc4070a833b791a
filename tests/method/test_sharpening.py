import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from aals_jax.method import sharpening
from aals_jax.method.sharpening import sharpen

# (y'max, a0) -> target at the peak, t = 0.4: the method's golden table.
GOLDEN = {
    0.20: (0.2000, 0.2000, 0.2000, 0.2000),
    0.45: (0.4780, 0.5343, 0.6429, 0.8159),
    0.50: (0.5505, 0.6475, 0.8052, 0.9544),
    0.60: (0.6748, 0.7988, 0.9356, 0.9949),
    0.80: (0.8513, 0.9214, 0.9801, 0.9988),
    0.99: (0.9905, 0.9914, 0.9929, 0.9953),
}
maps = st.lists(st.floats(-12, 12, width=32), min_size=4, max_size=4).map(
    lambda values: np.array(values, np.float32).reshape(1, 2, 2)
)
strengths = st.floats(1.0, 16.0)
centers = st.floats(0.05, 0.95)
laws = settings(max_examples=200, deadline=None, derandomize=True)


def paper_equation(probability, *, max_strength, center):
    """The operator as the paper prints it, in float64 probabilities."""
    peak = probability.max(axis=(1, 2), keepdims=True)
    a = max_strength - (max_strength - 1) * peak
    sharpened = expit(a * logit(probability) + (1 - a) * logit(center))
    return np.maximum(sharpened, probability)


@pytest.mark.parametrize("peak", GOLDEN)
def test_golden_values_at_the_peak(peak):
    for max_strength, expected in zip((2, 4, 8, 16), GOLDEN[peak], strict=True):
        logits = jnp.full((1, 3, 3), -4.0).at[0, 1, 1].set(logit(peak))
        target = jax.nn.sigmoid(sharpen(logits, max_strength=max_strength, center=0.4))
        assert float(target[0, 1, 1]) == pytest.approx(expected, abs=5e-5)


@laws
@given(logits=maps, max_strength=strengths, center=centers)
def test_equals_the_equation_as_printed(logits, max_strength, center):
    got = sharpen(logits, max_strength=max_strength, center=center)
    expected = paper_equation(
        expit(logits.astype(np.float64)), max_strength=max_strength, center=center
    )
    np.testing.assert_allclose(jax.nn.sigmoid(got), expected, atol=2e-5)


@laws
@given(logits=maps, max_strength=strengths, center=centers)
def test_never_below_the_input_and_untouched_up_to_the_center(
    logits, max_strength, center
):
    got = np.asarray(sharpen(logits, max_strength=max_strength, center=center))
    assert np.all(got >= logits)
    below = logits <= np.asarray(jax.scipy.special.logit(np.float32(center)))
    np.testing.assert_array_equal(got[below], logits[below])


@laws
@given(logits=maps, center=centers)
def test_strength_one_is_the_identity(logits, center):
    got = sharpen(logits, max_strength=1.0, center=center)
    np.testing.assert_array_equal(got, logits)


def test_a_certain_image_is_left_alone():
    logits = jnp.array([[[200.0, 3.0], [1.0, -2.0]]])
    got = sharpen(logits, max_strength=8.0, center=0.4)
    np.testing.assert_array_equal(got, logits)


@laws
@given(logits=maps, max_strength=strengths, center=centers)
def test_keeps_the_order_within_an_image(logits, max_strength, center):
    got = np.asarray(sharpen(logits, max_strength=max_strength, center=center)).ravel()
    assert np.all(np.diff(got[np.argsort(logits.ravel(), kind="stable")]) >= 0)


@pytest.mark.parametrize(("center", "limit"), [(0.4, 8.5), (0.3, 6.6), (0.2, 5.1)])
def test_the_peak_target_is_monotone_up_to_a_known_strength(center, limit):
    peaks = np.linspace(center, 0.999, 300)
    logits = logit(peaks).astype(np.float32)[:, None, None]

    def falls(max_strength):
        target = sharpen(logits, max_strength=max_strength, center=center)
        return bool(jnp.any(jnp.diff(target[:, 0, 0]) < 0))

    assert not falls(limit - 0.3)
    assert falls(limit + 0.3)


def test_images_do_not_influence_each_other():
    a, b = jax.random.normal(jax.random.key(0), (2, 1, 4, 4)) * 3
    together = sharpen(jnp.concatenate([a, b]), max_strength=4.0, center=0.4)
    alone = [sharpen(x, max_strength=4.0, center=0.4) for x in (a, b)]
    np.testing.assert_array_equal(together, jnp.concatenate(alone))


def test_padding_cannot_be_the_peak():
    logits = jnp.array([[[9.0, 0.5], [0.1, -2.0]]])
    valid = jnp.array([[[0.0, 1.0], [1.0, 1.0]]])
    got = sharpen(logits, max_strength=4.0, center=0.4, valid=valid)
    film = sharpen(logits.at[0, 0, 0].set(-9.0), max_strength=4.0, center=0.4)
    np.testing.assert_array_equal(got[0, 0, 1], film[0, 0, 1])


@laws
@given(logits=maps, center=centers)
def test_the_compared_operators_are_one_at_strength_one(logits, center):
    for got in (
        sharpening.sharpen_asymmetric(logits, strength=1.0, center=center),
        sharpening.sharpen_temperature(logits, strength=1.0),
    ):
        # numbers that are not normal are 0 to XLA
        np.testing.assert_allclose(got, logits, rtol=0, atol=2e-38)


def test_hard_targets_are_zero_and_one_in_float32():
    hard = sharpening.harden(jnp.array([[[-1e-3, 0.0], [5.0, -9.0]]]))
    np.testing.assert_array_equal(jax.nn.sigmoid(hard)[0, :, 0], [0.0, 1.0])
    np.testing.assert_array_equal(jax.nn.sigmoid(hard)[0, :, 1], [1.0, 0.0])


ONES = jnp.ones((1, 2, 2))


@laws
@given(logits=maps, center=centers, share=st.floats(0.1, 0.9))
def test_raised_centers_leave_no_image_without_help(logits, center, share):
    """Ours: below t the center is a share of the peak, which therefore rises."""
    at = jnp.float32(logit(np.float32(center)))
    moved = sharpening.alive_center(logits, ONES, center_logit=at, share=share)
    peak = logits.max()
    got = sharpening.sharpen_above(logits, moved, max_strength=4.0)
    if peak < np.float32(at):
        expected = logit(share * expit(np.float64(peak)))
        np.testing.assert_allclose(moved[0, 0, 0], expected, rtol=1e-4, atol=1e-5)
        assert got.max() > peak
    else:
        np.testing.assert_array_equal(moved[0, 0, 0], np.float32(at))


def test_the_top_pixels_of_the_named_lesions_rise_and_no_others():
    """Ours: two lesions of a tenth of twenty pixels of film each are four pixels."""
    logits = jnp.array(np.random.default_rng(0).permutation(25.0 - np.arange(25) * 2))
    logits = logits.astype(jnp.float32).reshape(1, 5, 5)
    valid = jnp.ones_like(logits).at[:, 4].set(0.0)
    for lesions, raised in ((2, 4), (1, 2), (9, 18), (100, 19)):
        center = sharpening.top_center(
            logits, valid, jnp.array([lesions]), center_logit=0.0, lesion_area=0.1
        )
        film = np.asarray(logits)[valid > 0]
        assert np.sum(film > float(center[0, 0, 0])) == raised
    unknown = sharpening.top_center(
        logits, valid, jnp.array([-1]), center_logit=0.25, lesion_area=0.1
    )
    assert unknown[0, 0, 0] == 0.25


@pytest.mark.parametrize("share, kept", [(0.01, 1), (0.25, 5), (0.26, 6), (1.0, 20)])
def test_a_confidence_region_is_the_top_share_of_the_film(share, kept):
    """Twenty pixels of film; off film the highest of all, which must not count."""
    order = np.random.default_rng(0).permutation(20).astype(np.float32)
    logits = jnp.full((1, 5, 5), 99.0).at[:, :4].set(order.reshape(4, 5))
    valid = jnp.ones_like(logits).at[:, 4].set(0.0)
    got = np.asarray(sharpening.top_region(logits, valid, share=share))
    assert sorted(got[0, :4][got[0, :4] >= 0]) == [*range(20 - kept, 20)]
    np.testing.assert_array_equal(jax.nn.sigmoid(got[got < 0]), 0.0)
    assert np.sum(got >= 0) == kept
    # beside an image with more film, each still has a region of its own
    pair, films = (jnp.concatenate([x, jnp.ones_like(x)]) for x in (logits, valid))
    beside = sharpening.top_region(pair, films, share=share)
    np.testing.assert_array_equal(beside[0], got[0])
    nothing = sharpening.top_region(logits, jnp.zeros_like(logits), share=share)
    np.testing.assert_array_equal(jax.nn.sigmoid(nothing), 0.0)


def test_moved_centers_stay_finite_without_film():
    logits, valid = jnp.zeros((1, 2, 2)), jnp.zeros((1, 2, 2))
    center_logit = sharpening.alive_center(
        logits, valid, center_logit=jnp.float32(-0.4), share=0.5
    )
    top = sharpening.top_center(
        logits, valid, jnp.array([2]), center_logit=center_logit, lesion_area=0.1
    )
    assert np.isfinite(top).all()
