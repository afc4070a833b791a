"""Laws of files: after a kill a file is the new one or the old one, as a whole."""

import json
import os

import numpy as np
import pytest

from aals_jax.runtime import files


def test_a_json_file_is_the_new_one_or_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    files.write_json(path, {"b": 1, "a": [2]})
    assert json.loads(path.read_text()) == {"a": [2], "b": 1}

    def killed(*names):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", killed)
        files.write_json(path, {"new": 1})
    assert json.loads(path.read_text()) == {"a": [2], "b": 1}
    with pytest.raises(TypeError):
        files.write_json(path, {"new": object()})
    assert json.loads(path.read_text()) == {"a": [2], "b": 1}


def test_arrays_read_back_as_written_and_equal_ones_give_equal_bytes(tmp_path):
    arrays = {"scores": np.arange(3.0), "values/a": np.arange(4, dtype=np.uint16)}
    for name in ("a.npz", "b.npz"):
        files.write_npz(tmp_path / name, arrays)
    with np.load(tmp_path / "a.npz") as archive:
        assert archive.files == [*arrays]
        for name, array in arrays.items():
            np.testing.assert_array_equal(archive[name], array, strict=True)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    files.write_npy(tmp_path / "c.npy", arrays["values/a"])
    np.testing.assert_array_equal(
        np.load(tmp_path / "c.npy"), arrays["values/a"], strict=True
    )


def test_a_row_that_is_cut_or_damaged_is_left_out_with_a_warning(tmp_path, caplog):
    path = tmp_path / "rows.jsonl"
    assert files.read_rows(path) == []
    path.write_bytes(b'{"a": 1}\n{"a": \xff\xfe 2}\n7\n{"a": 3}\n{"a": 4')
    with caplog.at_level("WARNING"):
        assert files.read_rows(path) == [{"a": 1}, {"a": 3}]
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f"rows.jsonl: line {number} is cut or damaged: left out" for number in (2, 3, 5)
    ]
