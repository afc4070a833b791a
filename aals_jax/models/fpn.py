"""Feature pyramid: coarse meaning carried to the finest level.

Reference: Lin et al., Feature Pyramid Networks for Object Detection, CVPR 2017.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from aals_jax.models.convolution import Conv


def upsample_nearest(x: jax.Array) -> jax.Array:
    """f32[B, H, W, C] -> f32[B, 2H, 2W, C], each value four times."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


class FeaturePyramid(nn.Module):
    """The top-down pathway, as far as its finest level needs it."""

    channels: int
    dtype: Any = jnp.float32  # type of the computation; params stay float32

    @nn.compact
    def __call__(self, levels: Sequence[jax.Array]) -> jax.Array:
        """The finest level of the pyramid.

        Args:
          levels: f[B, h, w, .] from fine to coarse, each of half the side of the last.

        Returns:
          f[B, h, w, channels], of the finest level's side, in `dtype`.
        """
        top = None
        for i, level in reversed(list(enumerate(levels))):
            lateral = Conv(self.channels, (1, 1), dtype=self.dtype, name=f"inner_{i}")(
                level
            )
            top = lateral if top is None else lateral + upsample_nearest(top)
        return Conv(self.channels, (3, 3), padding=1, dtype=self.dtype, name="layer_0")(
            top
        )
