"""A run that takes seconds, for tests that go the whole way, and one killed in it."""

from pathlib import Path
from typing import Any

import pytest

from aals_jax.runs import loop, run
from configs.sweeps import tiny


def small_config(data_dir: Path, **changes: Any) -> Any:
    """The tiny run of configs/sweeps, with half of its steps.

    Args:
      data_dir: where its dataset is kept.
      changes: dotted field -> value.
    """
    config = tiny.tiny()
    config.data.update(dir=str(data_dir), workers=0)
    for stage in (config.pretrain, config.distill):
        stage.steps = 6
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    return config


def run_until_killed(
    monkeypatch: pytest.MonkeyPatch, config: Any, workdir: Path, *, validation: int
) -> None:
    """Runs until that validation, the first is 1, which is killed as it begins."""
    validate, calls = loop.validate, []

    def killed(*arguments):
        calls.append(1)
        if len(calls) == validation:
            raise KeyboardInterrupt
        return validate(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "validate", killed)
        run.run(config, workdir)
