"""The table beside a dataset: the same as its records, or read anew."""

import dataclasses
import shutil

import numpy as np
import pytest

from aals_jax.input import table_file
from aals_jax.input.dataset import Dataset, ImageTable
from data.cxr_registry.build import builds
from tests.support import datasets, registry_files


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    registry = registry_files.registry(folder / "registry")
    return datasets.build(registry, folder / "data")


def same(a: ImageTable, b: ImageTable) -> None:
    for field in dataclasses.fields(ImageTable):
        first, second = getattr(a, field.name), getattr(b, field.name)
        assert first.dtype == second.dtype
        if field.name == "boxes":
            assert len(first) == len(second)
            for x, y in zip(first, second, strict=True):
                assert x.dtype == y.dtype
                np.testing.assert_array_equal(x, y)
        else:
            np.testing.assert_array_equal(first, second)


def opened(path, monkeypatch, *, reads: bool, data_hash=None) -> Dataset:
    """Opens a dataset, and says whether its records had to be read."""
    calls = []
    read = Dataset._read_table

    def counted(self):
        calls.append(self)
        return read(self)

    with monkeypatch.context() as patch:
        patch.setattr(Dataset, "_read_table", counted)
        data_hash = data_hash or builds.describe(path)["data_hash"]
        dataset = Dataset(path, "rib", data_hash=data_hash)
    assert bool(calls) == reads
    return dataset


def test_the_second_opening_reads_no_record_and_has_the_same_table(
    prepared, monkeypatch
):
    first = opened(prepared, monkeypatch, reads=True)
    second = opened(prepared, monkeypatch, reads=False)
    same(first.table, second.table)
    same(first.table, Dataset(prepared, "rib").table)
    assert any(len(boxes) for boxes in second.table.boxes)


def test_a_table_of_other_data_or_a_damaged_one_is_read_anew(prepared, monkeypatch):
    expected = Dataset(prepared, "rib").table
    file = table_file.path_of(prepared, "rib")
    opened(prepared, monkeypatch, reads=True, data_hash="of other data")
    same(opened(prepared, monkeypatch, reads=True).table, expected)
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(20):
        content = bytearray(whole)
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        file.write_bytes(content)
        data_hash = builds.describe(prepared)["data_hash"]
        same(Dataset(prepared, "rib", data_hash=data_hash).table, expected)
    file.write_bytes(whole[: len(whole) // 2])
    same(opened(prepared, monkeypatch, reads=True).table, expected)


def test_a_folder_that_can_t_be_written_to_is_read_each_time(
    prepared, monkeypatch, tmp_path
):
    nowhere = tmp_path / "no" / "such" / "folder.npz"
    monkeypatch.setattr(table_file, "path_of", lambda *_: nowhere)
    opened(prepared, monkeypatch, reads=True)
    opened(prepared, monkeypatch, reads=True)
    assert not nowhere.exists()


def test_a_bit_flipped_in_a_record_is_told_with_shard_and_record(prepared, tmp_path):
    path = tmp_path / "copy"
    shutil.copytree(prepared, path)
    dataset = Dataset(path, "rib")
    last = len(dataset.table) - 1
    split, position = dataset.table.split[last], int(dataset.table.position[last])
    file = path / f"cxr_registry-{split}.array_record-00000-of-00001"
    content = bytearray(file.read_bytes())
    content[content.rindex(b"IEND")] ^= 1  # of the last picture
    file.write_bytes(content)
    told = rf"record {position} .*{file.name} .* delete the folder .*/copy and build"
    with pytest.raises(ValueError, match=told):
        dataset.read(split, position)
    with pytest.raises(ValueError, match=told):
        Dataset(path, "rib")


def test_a_table_without_images_comes_back(tmp_path):
    columns = {
        "label": np.zeros(0, np.int8),
        "boxes": np.empty(0, object),
    }
    table_file.write(tmp_path / "t.npz", columns, data_hash="a")
    back = table_file.read(tmp_path / "t.npz", data_hash="a")
    assert back is not None and len(back["boxes"]) == len(back["label"]) == 0
