"""Laws of the search for negatives, and films that are none."""

from pathlib import Path

import numpy as np
import pytest

from data.cxr_registry.dicom import reader
from data.cxr_registry.survey import polarity
from data.phantom import registry as phantom


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> list[np.ndarray]:
    root: Path = tmp_path_factory.mktemp("phantom")
    options = phantom.PhantomOptions(
        images=12, seed=5, conspicuity={"rib": 1.0, "clavicle": 1.0}, height=200
    )
    phantom.generate(root, options, workers=1)
    paths = sorted(root.rglob("*.dcm"))
    return [reader.read_radiograph(path).pixels for path in paths]


def test_a_negative_has_the_negative_of_the_score(films):
    for film in films:
        score = polarity.bone_over_air(film)
        assert polarity.bone_over_air(1 - film) == pytest.approx(-score, abs=1e-2)


def test_films_are_none_and_their_negatives_are(films):
    assert not any(polarity.is_negative(film) for film in films)
    assert all(polarity.is_negative(1 - film) for film in films)


@pytest.mark.parametrize("border", [0, 1])
def test_neither_window_nor_border_nor_size_change_the_answer(films, border):
    for film in films:
        for stored, negative in ((film, False), (1 - film, True)):
            for shown in (stored**2.2, np.clip(1.4 * stored - 0.2, 0, 1)):
                small = shown[::2, ::2].astype(np.float32)
                framed = np.pad(small, ((8, 3), (20, 31)), constant_values=border)
                assert polarity.is_negative(framed) is negative


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (64, 64), (3, 2)])
def test_an_image_without_structure_is_no_negative(shape):
    assert polarity.bone_over_air(np.zeros(shape, np.float32)) == 0
    assert not polarity.is_negative(np.full(shape, 0.5, np.float32))
