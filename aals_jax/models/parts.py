"""The parts of a net in the order of the image's way: stem 0, stages 1 to 4, head 5.

Everything that is not the backbone belongs to the head, a feature pyramid too.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import jax
from flax import linen as nn
from jax import lax

BACKBONE = "backbone"  # name of that module in every net
STAGES = 4
STEM, HEAD = 0, STAGES + 1

_STEM = ("conv0", "norm0", "conv1", "bn1")
_STAGE = re.compile(r"(?:layer|denseblock)([1-4])_\w+")  # resnet.py, densenet.py
_TRANSITION = re.compile(r"transition([1-3])")  # opens the next stage


def part_of(names: Sequence[str]) -> int:
    """The part to which a weight belongs.

    Args:
      names: of its modules and its own, from the outermost on.

    Raises:
      ValueError: a module of the backbone that belongs to no part.

    >>> part_of(["backbone", "layer3_0", "conv1", "kernel"])
    3
    >>> part_of(["backbone", "transition1", "conv", "kernel"])
    2
    >>> part_of(["fpn", "inner_0", "kernel"])
    5
    """
    if names[0] != BACKBONE:
        return HEAD
    module = names[1]
    if module in _STEM:
        return STEM
    if module == "norm5":
        return STAGES
    if found := _STAGE.fullmatch(module):
        return int(found[1])
    if found := _TRANSITION.fullmatch(module):
        return int(found[1]) + 1
    raise ValueError(f"{'/'.join(names)}: belongs to no part of a backbone")


@dataclasses.dataclass(frozen=True)
class Frozen:
    """What of a backbone does not learn; by default nothing."""

    stages: int = 0  # the stem and that many stages; 0: nothing, not even the stem
    norm: bool = False  # BatchNorm everywhere normalises by its running statistics

    def holds(self, part: int) -> bool:
        """Whether the weights of a part stay what they are."""
        return part <= self.stages and self.stages > 0

    def keeps_statistics(self, part: int) -> bool:
        """Whether BatchNorm of a part uses its running statistics in training too."""
        return self.norm or self.holds(part)

    def after(self, part: int, x: jax.Array) -> jax.Array:
        """A part's result, through which no gradient flows where the part is held."""
        return lax.stop_gradient(x) if self.holds(part) else x


def rematerialised(block: type[nn.Module]) -> Any:
    """A block of a backbone of which training keeps the input alone.

    What lies between is computed a second time for the gradient, with BatchNorm's sums
    over devices. Names and values of the variables are those of `block`; the running
    statistics move once.

    Args:
      block: a module of arrays; its variables are params and batch_stats.

    Reference: Chen et al., Training Deep Nets with Sublinear Memory Cost, arXiv
    1604.06174, 2016.
    """
    return nn.remat(block)
