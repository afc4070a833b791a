"""Laws of the parts: whole patients, balance, independence of order, memory."""

import collections

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.cxr_registry.build import folds
from data.cxr_registry.guard import privacy

RECORDS = st.lists(
    st.tuples(st.integers(0, 30).map(str), st.sampled_from(["box", "image", "none"])),
    min_size=1,
    max_size=120,
)


def test_folds_cover_every_part_and_test_on_each_once():
    tested = []
    for fold in range(folds.NUM_FOLDS):
        splits = folds.fold_splits(fold)
        together = splits["train"] + splits["validation"] + splits["test"]
        assert sorted(together) == list(range(10))
        assert [len(splits[k]) for k in ("train", "validation", "test")] == [7, 1, 2]
        tested += splits["test"]
    assert sorted(tested) == list(range(10))
    with pytest.raises(ValueError, match="fold=5"):
        folds.fold_splits(5)


@settings(max_examples=50, deadline=None)
@given(RECORDS, st.randoms(use_true_random=False))
def test_parts_do_not_depend_on_the_order_of_rows(rows, random):
    first = folds.assign_parts(*zip(*rows, strict=True), seed=3)
    random.shuffle(rows)
    assert folds.assign_parts(*zip(*rows, strict=True), seed=3) == first
    assert first.keys() == {patient for patient, _ in rows}


@settings(max_examples=50, deadline=None)
@given(RECORDS, RECORDS)
def test_patients_keep_their_part_when_the_registry_grows(rows, more):
    old = folds.assign_parts(*zip(*rows, strict=True), seed=0)
    both = rows + more
    new = folds.assign_parts(*zip(*both, strict=True), seed=0, existing=old)
    assert new | old == new
    assert new.keys() == {patient for patient, _ in both}


def test_every_stratum_is_spread_evenly():
    rng = np.random.default_rng(0)
    patients = [str(value) for value in rng.integers(0, 600, 1000)]
    strata = rng.choice(["box", "image", "none"], 1000, p=[0.05, 0.25, 0.7]).tolist()
    parts = folds.assign_parts(patients, strata, seed=1)
    for stratum in ("box", "image", "none"):
        held = collections.Counter(
            parts[p] for p, s in zip(patients, strata, strict=True) if s == stratum
        )
        mean = strata.count(stratum) / 10
        assert all(abs(held[part] - mean) <= 4 for part in range(10))


def test_ten_patients_fill_ten_parts():
    patients = [str(value) for value in range(10)]
    strata = ["box"] * 2 + ["none"] * 8
    parts = folds.assign_parts(patients, strata, seed=0)
    assert sorted(parts.values()) == list(range(10))


def test_seed_changes_the_parts():
    patients = [str(value) for value in range(100)]
    one, two = (
        folds.assign_parts(patients, ["none"] * 100, seed=seed) for seed in (0, 1)
    )
    assert one != two


def test_table_comes_back_and_an_edited_one_is_refused(tmp_path):
    path = tmp_path / "parts.csv"
    folds.write_parts(path, {"b": 1, "a": 9})
    assert folds.read_parts(path) == {"a": 9, "b": 1}
    path.write_text(path.read_text().replace("a,9", "a,8"))
    with pytest.raises(ValueError, match="was edited"):
        folds.read_parts(path)


def test_key_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "secret" / "key"
    key = privacy.load_or_create_key(path)
    assert len(key) == 32 and path.stat().st_mode & 0o777 == 0o600
    assert privacy.load_or_create_key(path) == key
    assert [item.name for item in path.parent.iterdir()] == ["key"]
    path.chmod(0o644)
    with pytest.raises(PermissionError, match="chmod 600"):
        privacy.load_or_create_key(path)


def test_pseudonyms_depend_on_key_kind_and_value():
    names = {
        privacy.pseudonym(key, kind, value)
        for key in (b"1", b"2")
        for kind in ("patient", "image")
        for value in ("00123", "123")
    }
    assert len(names) == 8 and {len(name) for name in names} == {32}
