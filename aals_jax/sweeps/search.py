"""A search over fields of a config: what varies, how samples are chosen and stopped.

A sample is judged by the best validation AUROC of the stage at work; nothing here sees
the test split.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

ALGORITHMS = ("random", "optuna")
SCHEDULERS = ("none", "asha")


@dataclasses.dataclass(frozen=True)
class Uniform:
    """A number between two others; with `log`, uniform in its logarithm."""

    low: float
    high: float
    log: bool = False

    def draw(self, rng: np.random.Generator) -> float:
        if self.log:
            return float(np.exp(rng.uniform(np.log(self.low), np.log(self.high))))
        return float(rng.uniform(self.low, self.high))


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of a list of values: numbers or words."""

    values: Sequence[Any]

    def draw(self, rng: np.random.Generator) -> Any:
        return self.values[int(rng.integers(len(self.values)))]


@dataclasses.dataclass(frozen=True)
class Search:
    """What `get_search` of a sweep file returns."""

    config: Any  # all fields that the search does not vary
    space: Mapping[str, Uniform | Choice]  # dotted field -> what it may be
    samples: int  # how many configs are tried
    algorithm: str = "optuna"  # one of ALGORITHMS; random samples are drawn beforehand
    scheduler: str = "none"  # one of SCHEDULERS; asha stops weak samples early
    seed: int = 0
    # steps of both stages before a sample may be stopped; None: stage 1 and a quarter
    # of stage 2
    grace_steps: int | None = None
    reduction: int = 3  # at each rung of ASHA the best 1 / reduction goes on

    def __post_init__(self):
        for name, allowed in (("algorithm", ALGORITHMS), ("scheduler", SCHEDULERS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: one of {allowed}")
        if self.samples < 1 or not self.space:
            raise ValueError("a search needs a space and at least one sample")

    @property
    def grace(self) -> int:
        """Steps of both stages before a sample may be stopped."""
        usual = self.config.pretrain.steps + self.config.distill.steps // 4
        return usual if self.grace_steps is None else self.grace_steps

    @property
    def total_steps(self) -> int:
        """Steps of both stages."""
        return self.config.pretrain.steps + self.config.distill.steps

    def config_of(self, values: Mapping[str, Any]) -> Any:
        """The config of a sample."""
        config = self.config.copy_and_resolve_references()
        config.update_from_flattened_dict(dict(values))
        return config

    def draw_all(self) -> list[dict[str, Any]]:
        """Samples of a random search, dotted field -> value; the same at each call."""
        rng = np.random.default_rng(self.seed)
        return [
            {name: kind.draw(rng) for name, kind in self.space.items()}
            for _ in range(self.samples)
        ]
