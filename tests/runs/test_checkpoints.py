"""Laws of checkpoints: what is restored is what was saved, and a save is whole."""

import os
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from aals_jax.method import steps
from aals_jax.runs.checkpoints import Checkpoints
from aals_jax.types import TrainState

TX = optax.adam(1e-3)


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


def test_the_best_and_the_latest_are_kept_and_no_other(opened, tmp_path):
    kept = []
    for step, auroc in [(1, 0.6), (2, 0.8), (3, 0.7), (4, 0.9), (5, 0.5)]:
        opened.save(step, make_state(step), auroc=auroc)
        kept.append(folders(tmp_path / "stage"))
    assert kept == [[1], [2], [2, 3], [4], [4, 5]]
    assert opened.latest_step() == 5
    assert opened.best_step() == 4
    assert opened.auroc(4) == 0.9
    assert opened.restore(opened.best_step(), make_state()).step == 4


def test_an_empty_folder_has_no_latest_and_says_so_for_the_best(opened):
    assert opened.latest_step() is None
    with pytest.raises(FileNotFoundError, match="train first"):
        opened.best_step()


def test_an_undefined_auroc_is_refused_and_nothing_is_saved(opened):
    opened.save(1, make_state(1), auroc=0.5)
    with pytest.raises(ValueError, match="nan at step 2"):
        opened.save(2, make_state(2), auroc=float("nan"))
    assert opened.latest_step() == 1


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
    assert again.latest_step() == again.best_step() == 1
    assert again.restore(1, make_state()).step == 1
    again.save(2, make_state(2), auroc=0.6)
    assert again.best_step() == 2
    again.close()
    assert folders(tmp_path / "stage") == [2]
