"""Keys of the pseudonyms: whose they are, when one is made, how they are replaced."""

import functools
import multiprocessing
import os
from pathlib import Path

import pytest

from data.cxr_registry import keys
from data.cxr_registry.build import builds, folds, ledger
from data.cxr_registry.guard import failures, privacy
from tests.support import canaries, datasets, registry_files

DIGITS = "0123456789abcdef" * 4


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_text(DIGITS + "\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o277])
def test_a_key_is_its_owners_whatever_the_umask(mask, tmp_path):
    before = os.umask(mask)
    try:
        privacy.create_key(tmp_path / "key")
    finally:
        os.umask(before)
    assert (tmp_path / "key").stat().st_mode & 0o177 == 0


def test_a_folder_made_for_a_key_is_its_owners(tmp_path):
    privacy.load_or_create_key(tmp_path / "secret" / "key")
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o700


def first_come(path: Path, start, keys_made) -> None:
    start.wait()
    keys_made.put(privacy.load_or_create_key(path))


def test_of_processes_at_once_one_makes_the_key(tmp_path):
    context = multiprocessing.get_context("spawn")
    start, made = context.Barrier(3), context.Queue()
    runners = [
        context.Process(target=first_come, args=(tmp_path / "key", start, made))
        for _ in range(3)
    ]
    for runner in runners:
        runner.start()
    found = {made.get(timeout=60) for _ in runners}
    for runner in runners:
        runner.join()
    assert found == {privacy.load_key(tmp_path / "key")}
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def shorten(path: Path) -> None:
    path.write_text(DIGITS[:-2])


def spell(path: Path) -> None:
    path.write_text("x" + DIGITS[1:])


def link(path: Path) -> None:
    path.replace(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


WRONG = {
    "of another length": (shorten, ValueError, "does not hold 32 bytes"),
    "of other characters": (spell, ValueError, "does not hold 32 bytes"),
    "of bytes": (
        lambda path: path.write_bytes(b"\xff" * 64), ValueError, "does not hold 32",
    ),
    "empty": (lambda path: path.write_text(""), ValueError, "does not hold 32 bytes"),
    "readable by the group": (
        lambda path: path.chmod(0o640), PermissionError, "chmod 600 it",
    ),
    "readable by all": (lambda path: path.chmod(0o644), PermissionError, "chmod 600"),
    "in a folder of all": (
        lambda path: path.parent.chmod(0o777), PermissionError, "could replace the key",
    ),
    "a link": (link, ValueError, "is a link or not a regular file"),
    "a link to itself": (loop, ValueError, "is a link or not a regular file"),
    "a folder": (folder, ValueError, "is a link or not a regular file"),
    "a pipe": (pipe, ValueError, "is a link or not a regular file"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_key_is_refused_without_its_content(name, key_file):
    spoil, kind, words = WRONG[name]
    spoil(key_file)
    with pytest.raises(kind, match=words) as caught:
        privacy.load_or_create_key(key_file)
    told = failures.message(caught.value) + failures.trace(caught.value)
    assert words in told
    search = canaries.Search({"key": [DIGITS[:16], bytes.fromhex(DIGITS)[:8]]})
    assert not search.in_bytes(told.encode())
    key_file.parent.chmod(0o700)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A registry and its dataset; key and datasets lie in the folder of both."""
    tmp = tmp_path_factory.mktemp("built")
    root = registry_files.registry(tmp / "registry")
    return root, build(root, tmp), tmp


build = functools.partial(datasets.build, side=32)


def test_a_missing_key_is_made_for_the_first_dataset_only(built, tmp_path):
    root, _, tmp = built
    lost = tmp_path / "lost"
    with pytest.raises(FileNotFoundError, match="needed by the datasets in data_dir"):
        build(root, tmp, key_file=lost)
    assert not lost.exists()
    keys.main(["new", "--key_file", str(lost)])  # on purpose
    with pytest.raises(ValueError, match="the key is not the one"):
        build(root, tmp, key_file=lost)
    assert build(root, tmp_path, key_file=lost).exists()


def test_a_missing_key_is_not_made_beside_a_table_of_parts(built, tmp_path):
    root, path, _ = built
    with pytest.raises(FileNotFoundError, match="needed by parts_file"):
        build(root, tmp_path, parts_file=path / ledger.PARTS_FILE)
    assert not any(tmp_path.iterdir())


def test_another_key_does_not_pass_for_that_of_a_table_of_parts(
    built, tmp_path, key_file
):
    root, path, _ = built
    with pytest.raises(ValueError, match="parts_file knows no patient; was it made"):
        build(root, tmp_path, parts_file=path / ledger.PARTS_FILE)


def test_a_new_key_changes_pseudonyms_and_nothing_else(built, tmp_path, key_file):
    root, path, tmp = built
    other = build(root, tmp_path)
    first, second = (folds.read_parts(p / ledger.PARTS_FILE) for p in (path, other))
    assert sorted(first.values()) == sorted(second.values())
    assert not first.keys() & second.keys()
    assert (
        keys.rekey(
            first,
            {f"{i:05d}" for i in range(12)},
            old=privacy.load_key(tmp / "key"),
            new=privacy.load_key(key_file),
        )
        == second
    )
    facts = [builds.describe(p) for p in (path, other)]
    assert facts[0]["data_hash"] == facts[1]["data_hash"]


def test_rotation_carries_a_table_to_the_new_key(built, tmp_path, capsys):
    """A table that the seed would not make again keeps its parts."""
    root, path, tmp = built
    parts = folds.read_parts(path / ledger.PARTS_FILE)
    moved = {name: (part + 1) % 10 for name, part in parts.items()} | {"f" * 32: 3}
    folds.write_parts(tmp_path / "old.csv", moved)
    flags = ["rotate", "--registry", str(root), "--parts_file", tmp_path / "old.csv"]
    flags += ["--key_file", tmp / "key", "--new_key_file", tmp_path / "new"]
    keys.main([*map(str, flags), "--out", str(tmp_path / "new.csv")])
    assert "12 patients keep their part; 1 are not in" in capsys.readouterr().out
    again = build(
        root,
        tmp_path,
        key_file=tmp_path / "new",
        parts_file=tmp_path / "new.csv",
    )
    found = folds.read_parts(again / ledger.PARTS_FILE)
    assert sorted(found.values()) == sorted([*moved.values()][:-1])
    flags[flags.index(tmp / "key")] = tmp_path / "new"
    with pytest.raises(SystemExit, match="was it made with the old key"):
        keys.main([*map(str, flags), "--out", str(tmp_path / "no.csv")])
    assert not (tmp_path / "no.csv").exists()


def test_a_key_is_never_overwritten(key_file):
    with pytest.raises(SystemExit, match="it is not overwritten"):
        keys.main(["new", "--key_file", str(key_file)])
    assert key_file.read_text() == DIGITS + "\n"
