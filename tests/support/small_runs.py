"""The config of a run that takes seconds, for tests that go the whole way."""

from pathlib import Path
from typing import Any

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
