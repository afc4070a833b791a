"""From boxes to a reading: painting, what is off film, scores of images."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from aals_jax.evaluation import model_maps
from aals_jax.metrics import readings
from tests.input.test_pipeline import Drawn, make_table

DETECTING = model_maps.Detecting(
    detections="peaks",
    min_distance=0.1,
    threshold=0.25,
    max_detections=10,
    pooling="max",
)
SIDE = 64  # px of the square; film is 4 <= x < 60 there
# px of the square, score: the third is off film, the fourth below the threshold
FOUND = np.array([
    (16, 16, 32, 40, 0.75),
    (20, 20, 44, 28, 0.5),
    (0, 8, 6, 16, 0.375),
    (40, 48, 41, 49, 0.125),
    (0, 0, 0, 0, 0),
], np.float32)  # fmt: skip


TABLE = dataclasses.replace(
    make_table([0, 1, 0], boxed=[False, True, False]),
    content=np.tile(np.float32([4, 0, 60, SIDE]), (3, 1)),
)


class Nothing(nn.Module):
    """Logits of nothing: detections are planted."""

    @nn.compact
    def __call__(self, image, *, train):
        return image[:, :1, :1, 0]


def planted(outputs, shape):
    assert shape == (SIDE, SIDE)
    # the grey level is the number of the image; the first has nothing
    seen = (outputs > 0).astype(jnp.float32)
    return seen * jnp.asarray(FOUND)[None]


@pytest.fixture(scope="module")
def prediction():
    predictor = model_maps.Predictor(Nothing(), batch_size=4, detect=planted)
    return predictor.predict({}, Drawn(3), TABLE)


def test_boxes_are_kept_on_film_and_painted_by_score(prediction):
    first, second, _ = prediction.boxes
    assert first.shape == (0, 5)
    expected = FOUND[[0, 1, 3]] / np.array([4, 4, 4, 4, 1])
    np.testing.assert_allclose(second, expected)
    covered = np.zeros((16, 16))
    covered[5:7, 5:11] = 0.5
    covered[4:10, 4:8] = 0.75  # the higher score on top
    covered[12, 10] = 0.125  # smaller than a pixel: the one of its centre
    np.testing.assert_array_equal(prediction.maps[1], covered)
    assert not prediction.maps[0].any()
    # every pixel by itself, over all boxes
    rng = np.random.default_rng(0)
    corner, size = rng.uniform(0, 10, (2, 12, 2)) + np.array([0.0, 1.0])[:, None, None]
    score = np.sort(rng.random(12))[::-1]
    rows = np.column_stack([corner, corner + size, score]).astype(np.float32)
    center = np.arange(16) + 0.5
    inside = [
        ((y0 <= center) & (center < y1))[:, None] & ((x0 <= center) & (center < x1))
        for x0, y0, x1, y1, _ in rows
    ]
    brute = np.max([i * s for i, s in zip(inside, rows[:, 4], strict=True)], axis=0)
    np.testing.assert_array_equal(model_maps.paint(rows, (16, 16)), brute)


def test_an_image_has_the_score_of_its_best_box_on_film(prediction):
    np.testing.assert_array_equal(prediction.image_scores("max"), [0.0, 0.75, 0.75])


def test_boxes_are_read_as_detections_from_the_threshold_up(prediction):
    truth = model_maps.truth_of(TABLE)
    reading = model_maps.read_prediction(prediction, truth, detecting=DETECTING)
    assert [len(rows) for rows in reading.detections] == [0, 2, 2]
    # the lesion (16, 16, 32, 40) holds the first centre, and the second's is on its
    # edge, x = 32: a false positive. The third image has two of them.
    assert reading.match.lesion_score.tolist() == [0.75]
    assert sorted(reading.match.false_score.tolist()) == [0.5, 0.5, 0.75]
    assert reading.area is not None
    assert reading.area.lesion_score.tolist() == [0.75]
    picked = readings.Reading.select(reading, truth, np.array([1]), hit=model_maps.HIT)
    assert picked.match.lesion_score.tolist() == [0.75]


class Bright(nn.Module):
    """A map of logits that are 0 everywhere, on padding too."""

    @nn.compact
    def __call__(self, image, *, train):
        return jnp.zeros((len(image), SIDE // 4, SIDE // 4))


def test_a_map_is_0_on_padding():
    predictor = model_maps.Predictor(Bright(), batch_size=4)
    prediction = predictor.predict({}, Drawn(3), TABLE)
    np.testing.assert_array_equal(prediction.maps, 0.5 * prediction.valid)
    assert 0 < prediction.valid.sum() < prediction.valid.size
