"""A run that takes seconds, for tests that go the whole way, and one killed in it."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from aals_jax.handover import folder
from aals_jax.runs import loop, run, stages
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


def random_weights(config: Any, *, statistic: float) -> dict[str, np.ndarray]:
    """Drawn weights of a config's net, by name.

    Args:
      config: whose net it is.
      statistic: least of BatchNorm's scales and variances, which are drawn up to 1.
    """
    net = stages.make_model(config, axis_name=None)
    image = jax.ShapeDtypeStruct((1, config.data.side, config.data.side, 1), np.float32)
    shapes = jax.eval_shape(
        lambda image: net.init(jax.random.key(0), image, train=False), image
    )
    rng = np.random.default_rng(0)
    return {
        name: rng.uniform(statistic, 1, leaf.shape).astype(np.float32)
        if name.endswith(("scale", "var"))
        else rng.normal(0, 0.1, leaf.shape).astype(np.float32)
        for name, leaf in folder.flatten(shapes).items()
    }


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
