"""Laws of the order in which films are to be boxed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aals_jax.metrics import worklist

CENTER = 0.4
VALIDATION = {
    "positives": np.linspace(0.3, 0.9, 20),
    "negatives": np.linspace(0.0, 0.5, 20),
}


def strengths(record, peak, differing=None, **changes) -> dict[str, np.ndarray]:
    peak = np.asarray(peak, float)
    differing = np.zeros(len(peak)) if differing is None else np.asarray(differing)
    options = {"center": CENTER, **VALIDATION, **changes}
    return worklist.strengths(np.asarray(record), peak, differing, **options)


def pool(seed: int, films: int = 40, patients: int = 40):
    rng = np.random.default_rng(seed)
    return {
        "value": rng.random(films) + 0.01,
        "features": rng.normal(size=(films, 6)),
        "patient": np.array([f"p{rng.integers(patients):02d}" for _ in range(films)]),
        "name": np.array([f"f{k:03d}" for k in range(films)]),
    }


def names(films, **changes) -> list[str]:
    options = {"count": len(films["name"]), **changes}
    return films["name"][worklist.order(**films, **options)].tolist()


def test_a_positive_of_the_dead_zone_comes_first_and_for_that_reason():
    record, peak = [1, 1, 1, 0, -1], [0.85, 0.05, 0.6, 0.95, 0.8]
    strength = strengths(record, peak, [0.3, 0.1, 0.0, 0.3, 0.4])
    value = worklist.value(strength)
    films = pool(0, films=5) | {"value": value}
    assert names(films)[0] == "f001"
    assert worklist.reasons(strength, 1)[0] == worklist.DEAD_ZONE
    assert worklist.reasons(strength, 0) == [worklist.DISAGREEMENT]
    assert worklist.reasons(strength, 2) == [worklist.NO_BOX]


@pytest.mark.parametrize("record", [1, 0, -1])
def test_each_reason_is_of_its_own_kind_of_record(record):
    peak = np.linspace(0, 1, 101)
    strength = strengths([record] * 101, peak, np.full(101, 0.5))
    for name, each in strength.items():
        assert ((each >= 0) & (each <= 1)).all(), name
    is_positive = record == 1
    assert (strength[worklist.DEAD_ZONE] > 0).any() == is_positive
    assert (strength[worklist.NOTHING_FOUND] > 0).any() == is_positive
    assert (strength[worklist.SOMETHING_FOUND] > 0).any() == (not is_positive)
    assert (strength[worklist.NO_BOX] > 0).all() == is_positive
    # a negative on which nothing is found is no film to look at
    value = worklist.value(strength)
    assert (value[peak < 0.5] == 0).all() == (record == 0)


def test_the_dead_zone_ends_at_t():
    dead = strengths([1, 1, 1], [0.0, CENTER - 1e-9, CENTER])[worklist.DEAD_ZONE]
    np.testing.assert_allclose(dead, [1, 0.5, 0], atol=1e-6)


def test_a_model_that_tells_nothing_apart_doubts_few_labels():
    same, peak = np.linspace(0, 1, 51), np.linspace(0, 1, 101)
    for record, name in ((1, worklist.NOTHING_FOUND), (0, worklist.SOMETHING_FOUND)):
        blind = strengths([record] * 101, peak, positives=same, negatives=same)[name]
        assert np.mean(blind > 0) <= worklist.OF_OWN_KIND + 0.02
        seeing = strengths([record] * 101, peak)[name]
        assert np.mean(seeing > 0) > np.mean(blind > 0)


def test_there_has_to_be_a_validation_to_compare_with():
    for kind in VALIDATION:
        with pytest.raises(ValueError, match="validation needs positives and neg"):
            strengths([1], [0.5], **{kind: np.zeros(0)})


@given(st.integers(0, 1000))
def test_the_order_of_the_films_does_not_matter(seed):
    films = pool(seed, patients=12)
    mixed = np.random.default_rng(seed + 1).permutation(len(films["name"]))
    other = {name: each[mixed] for name, each in films.items()}
    assert names(films) == names(other)


def test_equal_films_are_ordered_by_their_names():
    name = np.random.default_rng(0).permutation(pool(0)["name"])
    same = {"value": np.ones(40), "features": np.zeros((40, 6))}
    assert names({"name": name, "patient": name, **same}) == sorted(name)


@given(st.integers(0, 1000), st.integers(1, 40))
def test_a_smaller_count_is_the_beginning_of_a_larger_one(seed, count):
    films = pool(seed, patients=12)
    assert names(films)[:count] == names(films, count=count)


@given(st.integers(0, 1000))
def test_every_film_comes_once_and_one_of_each_patient_first(seed):
    films = pool(seed, patients=12)
    chosen = worklist.order(**films, count=40)
    assert sorted(chosen) == list(range(40))
    whose = films["patient"][chosen]
    patients = len(set(films["patient"]))
    assert len(set(whose[:patients])) == patients


def test_two_copies_of_one_film_are_not_both_among_the_first():
    """Of other patients too: a film may have been sent twice under two numbers."""
    films = pool(3) | {"patient": pool(3)["name"]}
    films["value"][[5, 9]] = 3.0  # the most valuable ones
    assert names(films)[:2] == ["f005", "f009"]
    films["features"][9] = films["features"][5]
    ordered = names(films)
    assert ordered[0] == "f005" and ordered.index("f009") == 39


def test_of_films_that_are_as_new_the_more_valuable_one_is_first():
    films = pool(1, films=3) | {
        "features": np.array([[0.0, 0], [1, 0], [-1, 0]]),
        "value": np.array([3.0, 1, 2]),
        "patient": np.array(["a", "b", "c"]),
    }
    assert names(films) == ["f000", "f002", "f001"]


def test_films_without_a_value_are_left_out_and_none_is_an_error():
    films = pool(0)
    films["value"][::2] = 0
    assert len(names(films)) == 20
    with pytest.raises(ValueError, match="count=0: must be at least 1"):
        names(films, count=0)


def bump(x: int, y: int, height: float) -> np.ndarray:
    values = np.full((32, 32), 0.05, np.float32)
    values[y : y + 3, x : x + 3] = height
    return values


@given(st.integers(0, 29), st.integers(0, 29), st.floats(0.05, 1), st.floats(0.05, 1))
def test_disagreement_is_mutual_and_lies_between_0_and_1(x, y, one, two):
    a, b = bump(10, 10, one), bump(x, y, two)
    d = worklist.disagreement(a, b, reach=2)
    assert d == worklist.disagreement(b, a, reach=2)
    assert 0 <= d <= 1
    assert worklist.disagreement(a, a, reach=0) == 0


def test_disagreement_forgives_a_small_step_and_no_other_place():
    at = bump(10, 10, 0.8)
    assert worklist.disagreement(at, bump(12, 8, 0.8), reach=2) == 0
    assert worklist.disagreement(at, bump(20, 10, 0.8), reach=2) == pytest.approx(0.75)
    assert worklist.disagreement(at, bump(10, 10, 0.5), reach=2) == pytest.approx(0.3)


def test_disagreement_on_padding_does_not_count():
    valid = np.zeros((32, 32))
    valid[:, :15] = 1
    a, b = bump(10, 10, 0.8), bump(10, 10, 0.8)
    b[20:22, 25:27] = 1.0
    assert worklist.disagreement(a, b, reach=1, valid=valid) == 0
    assert worklist.disagreement(a, b, reach=1) > 0.9
