"""The law of a map over a film: each pixel is mixed of both, by the opacity."""

import cv2
import numpy as np

from aals_jax.report import overlay, pictures


def test_the_map_lies_over_the_film_with_half_the_opacity_of_a_page():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (600, 512)).astype(np.uint8)
    heat = cv2.resize(rng.random((8, 8)).astype(np.float32), (512, 600)) ** 4
    heat[:9] = 0
    drawn = overlay.draw(picture, heat, np.zeros((0, 5)), lines=[])[:600]
    rgba = pictures.heat_rgba(heat).astype(np.float64)
    alpha = rgba[..., 3:] / 255 / 2
    expected = picture[..., None] * (1 - alpha) + rgba[..., :3] * alpha
    np.testing.assert_allclose(drawn, expected, atol=0.5001)
    np.testing.assert_array_equal(drawn[:9, :, 0], picture[:9])
