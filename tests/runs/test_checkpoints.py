"""Laws of checkpoints: what is restored is what was saved, and a save is whole."""

import os
import shutil
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from aals_jax.method import steps
from aals_jax.runs.checkpoints import Checkpoints, Damaged
from aals_jax.runtime import digest
from aals_jax.types import TrainState

TX = optax.adam(1e-3)
# random damages; AALS_DAMAGES=1000 for more
DAMAGES = int(os.environ.get("AALS_DAMAGES", 25))


def make_state(seed: int = 0) -> TrainState:
    rng = np.random.default_rng(seed)
    student = {
        "params": {"kernel": rng.standard_normal((3, 4), np.float32)},
        "batch_stats": {"mean": rng.standard_normal(4, np.float32)},
    }
    state = steps.restart(student, TX)
    return state.replace(
        step=np.array(seed, np.int32), teacher=jax.tree.map(np.exp, student)
    )


def folders(path):
    return sorted(int(p.name) for p in path.iterdir() if p.name.isdigit())


@pytest.fixture
def opened(tmp_path):
    checkpoints = Checkpoints(tmp_path / "stage")
    yield checkpoints
    checkpoints.close()


def test_a_restored_state_is_the_saved_one_bit_for_bit(opened, tmp_path):
    opened.save(3, make_state(3), auroc=0.7)
    again = Checkpoints(tmp_path / "stage")
    restored = again.restore(3, make_state(0))
    again.close()
    assert jax.tree.structure(restored) == jax.tree.structure(make_state(3))
    for a, b in zip(
        jax.tree.leaves(restored), jax.tree.leaves(make_state(3)), strict=True
    ):
        assert a.dtype == b.dtype
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_the_best_and_the_newest_two_are_kept_and_no_other(opened, tmp_path):
    kept = []
    for step, auroc in [(1, 0.6), (2, 0.8), (3, 0.7), (4, 0.6), (5, 0.9), (6, 0.9)]:
        opened.save(step, make_state(step), auroc=auroc)
        kept.append(folders(tmp_path / "stage"))
    assert kept == [[1], [1, 2], [2, 3], [2, 3, 4], [4, 5], [5, 6]]
    assert opened.latest().step == 6
    assert opened.best_step() == 6  # of equal ones the later
    assert opened.auroc(5) == 0.9
    assert opened.restore(opened.best_step(), make_state()).step == 6


def test_what_a_signal_saved_is_the_newest_and_never_the_best(opened, tmp_path):
    """And it goes once a regular one is newer, or takes its step."""
    window = {"steps": 2, "dead": 0, "sums": {"loss/total": 0.1}}
    opened.save(4, make_state(4), auroc=0.6)
    opened.save(6, make_state(6), auroc=None, window=window)
    assert (opened.latest().step, opened.best_step()) == (6, 4)
    assert opened.latest().window == window
    opened.save(8, make_state(8), auroc=None, window=window)
    assert folders(tmp_path / "stage") == [4, 8]
    opened.save(8, make_state(9), auroc=0.5)
    assert (opened.latest().auroc, opened.best_step()) == (0.5, 4)
    assert opened.restore(8, make_state()).step == 9
    assert folders(tmp_path / "stage") == [4, 8]


def test_an_empty_folder_has_no_latest_and_says_so_for_the_best(opened):
    assert opened.latest() is None
    with pytest.raises(FileNotFoundError, match="train first"):
        opened.best_step()


def test_an_undefined_auroc_is_refused_and_nothing_is_saved(opened):
    opened.save(1, make_state(1), auroc=0.5)
    with pytest.raises(ValueError, match="nan at step 2"):
        opened.save(2, make_state(2), auroc=float("nan"))
    assert opened.latest().step == 1


class Killed(BaseException):
    """What no handler of errors catches."""


@pytest.mark.parametrize("file", ["metrics", "default", "2"])
def test_a_save_killed_before_any_rename_leaves_the_former_one(
    opened, tmp_path, monkeypatch, file
):
    opened.save(1, make_state(1), auroc=0.5)
    rename = os.rename

    def killed(source, target, **options):
        if Path(target).name == file:
            raise Killed
        rename(source, target, **options)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "rename", killed)
        opened.save(2, make_state(2), auroc=0.6)
    again = Checkpoints(tmp_path / "stage")
    assert again.latest().step == again.best_step() == 1
    assert again.restore(1, make_state()).step == 1
    again.save(2, make_state(2), auroc=0.6)
    assert again.best_step() == 2
    again.close()
    assert folders(tmp_path / "stage") == [1, 2]


AUROCS = {2: 0.5, 4: 0.8, 6: 0.7, 8: 0.9, 10: 0.6}


def train(folder: Path) -> None:
    """A stage whose state is a function of its step, as a run's is."""
    checkpoints = Checkpoints(folder, repairs=True)
    latest = checkpoints.latest()
    for step in range(latest.step + 2 if latest else 2, 12, 2):
        checkpoints.save(step, make_state(step), auroc=AUROCS[step])
    checkpoints.close()


def kept(folder: Path) -> dict[int, str]:
    checkpoints = Checkpoints(folder)
    found = {s: digest.of_tree(checkpoints.restore(s)) for s in checkpoints.steps()}
    best, latest = checkpoints.best_step(), checkpoints.latest().step
    checkpoints.close()
    return {**found, -1: f"{best}, {latest}"}


def damage(folder: Path, rng: np.random.Generator) -> str:
    """Something that a disk, a network or a person does to one file or folder."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    file = files[rng.integers(len(files))]
    content = bytearray(file.read_bytes())
    kind = rng.choice(["flip", "truncate", "delete", "delete step", "empty"])
    if kind == "flip" and content:
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        file.write_bytes(content)
    elif kind == "truncate":
        file.write_bytes(content[: rng.integers(len(content) + 1)])
    elif kind == "delete":
        file.unlink()
    elif kind == "delete step":
        steps = sorted(folder.glob("[0-9]*"))
        shutil.rmtree(steps[rng.integers(len(steps))])
    else:
        file.write_bytes(b"")
    return f"{kind} {file.relative_to(folder)}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "stage"
    train(folder)
    return folder


# TensorStore leaves a coroutine behind where a file is damaged
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("seed", range(DAMAGES))
def test_a_damaged_checkpoint_costs_time_and_never_changes_a_result(
    whole, tmp_path, seed
):
    """Fewer may be kept afterwards; what is kept is what it would have been."""
    folder = tmp_path / "stage"
    shutil.copytree(whole, folder)
    what = damage(folder, np.random.default_rng(seed))
    train(folder)
    ours, theirs = kept(folder), kept(whole)
    assert ours.items() <= theirs.items(), what
    assert {-1, 8, 10} <= ours.keys(), what


def test_a_stage_of_which_a_bit_flipped_is_not_read_in_silence(whole, tmp_path):
    folder = tmp_path / "stage"
    shutil.copytree(whole, folder)
    record = folder / "8/metrics/metrics"
    record.write_text(record.read_text().replace("0.9", "0.8"))
    checkpoints = Checkpoints(folder)
    with pytest.raises(Damaged, match=r"checkpoint 8 .* not what was saved"):
        checkpoints.restore(8)
    checkpoints.close()
