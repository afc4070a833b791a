"""Patient level: the highest image speaks, and one image a patient changes nothing."""

import numpy as np
import pytest

from aals_jax.metrics import patients, readings, roc


def truth_of(label, patient):
    n = len(label)
    nothing = [np.empty((0, 4))] * n
    return readings.Truth(
        np.asarray(label, bool), np.ones(n, bool), np.asarray(patient), nothing, {}
    )


def test_by_hand():
    truth = truth_of([0, 1, 0, 0, 1], ["b", "a", "b", "c", "a"])
    found = patients.of_images(truth, np.array([0.3, 0.2, 0.8, 0.1, 0.6]))
    assert found.score.tolist() == [0.8, 0.6, 0.1]  # b, a, c: as they first appear
    assert found.label.tolist() == [False, True, False]
    assert found.images.tolist() == [2, 2, 1]
    assert roc.auroc(found.score, found.label) == 0.5


@pytest.mark.parametrize("seed", range(10))
def test_one_image_a_patient_is_the_image_level(seed):
    rng = np.random.default_rng(seed)
    truth = truth_of(rng.random(30) < 0.5, rng.permutation(30))
    score = np.round(rng.random(30), 1)
    found = patients.of_images(truth, score)
    assert np.array_equal(found.score, score)
    assert np.array_equal(found.label, truth.label)


@pytest.mark.parametrize("seed", range(10))
def test_as_a_loop_finds_it_and_silent_images_stay_silent(seed):
    rng = np.random.default_rng(seed)
    truth = truth_of(rng.random(40) < 0.3, rng.integers(0, 12, 40))
    score = np.where(rng.random(40) < 0.5, -np.inf, rng.random(40))
    found = patients.of_images(truth, score)
    names = list(dict.fromkeys(truth.patient.tolist()))
    for k, name in enumerate(names):
        rows = truth.patient == name
        assert found.score[k] == max(score[rows])
        assert found.label[k] == any(truth.label[rows])
    assert len(found) == len(names)
    assert len(patients.of_images(truth_of([], []), np.empty(0))) == 0
