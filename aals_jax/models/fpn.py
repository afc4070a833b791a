"""Feature pyramid: coarse meaning carried to the finest level.

Reference: Lin et al., Feature Pyramid Networks for Object Detection, CVPR 2017.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


def upsample_nearest(x: jax.Array) -> jax.Array:
    """[B, H, W, C] -> [B, 2H, 2W, C], each value repeated."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


class FeaturePyramid(nn.Module):
    """Top-down pathway; only the finest level is returned, nothing else is computed."""

    channels: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, levels: Sequence[jax.Array]) -> jax.Array:
        """Levels from fine to coarse, each half the last -> [B, H/4, W/4, channels]."""
        top = None
        for i, level in reversed(list(enumerate(levels))):
            lateral = nn.Conv(
                self.channels, (1, 1), dtype=self.dtype, name=f"inner_{i}"
            )(level)
            top = lateral if top is None else lateral + upsample_nearest(top)
        return nn.Conv(
            self.channels, (3, 3), padding=1, dtype=self.dtype, name="layer_0"
        )(top)
