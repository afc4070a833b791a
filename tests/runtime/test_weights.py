"""Files of weights: what is read, what identifies them, what is refused and how."""

import hashlib
import pickle
import re
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from aals_jax.runtime import weights

ARRAYS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2)}


def test_both_kinds_give_the_arrays_and_what_is_said_of_them(tmp_path):
    first, second = tmp_path / "a.safetensors", tmp_path / "a.npz"
    save_file(ARRAYS, first, metadata={"source": "a place", "license": "MIT"})
    np.savez(second, allow_pickle=False, **ARRAYS)
    for path, said in ((first, ("a place", "MIT")), (second, ("", ""))):
        found = weights.read(path)
        assert found.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype
        origin = weights.origin(path)
        assert (origin.source, origin.license) == said
        assert origin.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_that_changes_is_hashed_anew(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.zeros(3))
    before = weights.origin(path)
    np.savez(path, a=np.zeros(30))
    assert weights.origin(path) != before


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.bin", "w.ckpt", "w.pkl", "w.npy"])
def test_pickles_are_refused_with_what_converts_them_and_never_opened(tmp_path, name):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    for function in (weights.read, weights.origin):
        with pytest.raises(ValueError, match="pickles") as raised:
            function(tmp_path / name)
        assert weights.CONVERSION in str(raised.value)
    # the same under a name that is read
    for suffix in weights.KINDS:
        (tmp_path / name).rename(tmp_path / f"w{suffix}")
        with pytest.raises(ValueError, match="can't be read as"):
            weights.read(tmp_path / f"w{suffix}")
        (tmp_path / f"w{suffix}").rename(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_objects_and_other_archives_are_refused(tmp_path):
    np.savez(tmp_path / "o.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="with objects in it"):
        weights.read(tmp_path / "o.npz")
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:  # as torch.save does
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    with pytest.raises(ValueError, match=r"a renamed \.pth") as raised:
        weights.read(tmp_path / "t.npz")
    assert weights.CONVERSION in str(raised.value)


@pytest.mark.parametrize("suffix", weights.KINDS)
def test_a_file_cut_short_is_one_clear_error(tmp_path, suffix):
    whole = tmp_path / f"whole{suffix}"
    save_file(ARRAYS, whole) if suffix != ".npz" else np.savez(whole, **ARRAYS)
    content = whole.read_bytes()
    for length in (0, 3, 20, len(content) - 9):
        path = tmp_path / f"cut{length}{suffix}"
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=re.escape(f"{path}: can't be read as")):
            weights.read(path)
    with pytest.raises(ValueError, match="there is no such file"):
        weights.read(tmp_path / f"none{suffix}")
