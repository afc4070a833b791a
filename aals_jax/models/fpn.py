"""Feature pyramid: coarse meaning carried to finer levels.

Reference: Lin et al., Feature Pyramid Networks for Object Detection, CVPR 2017.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from aals_jax.models.convolution import Conv

STRIDES = (4, 8, 16, 32)  # px, of the backbone's levels


def upsample_nearest(x: jax.Array) -> jax.Array:
    """f32[B, H, W, C] -> f32[B, 2H, 2W, C], each value four times."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


class FeaturePyramid(nn.Module):
    """The top-down pathway, as far as its finest level needs it, and levels beyond it.

    Levels coarser than the backbone's are each a 3 x 3 convolution of stride 2 of the
    level before, with a ReLU between two of them, as in RetinaNet and FCOS.
    """

    channels: int
    dtype: Any = jnp.float32  # type of the computation; params stay float32
    strides: tuple[int, ...] = (4,)  # px, of the levels wanted, from fine to coarse

    @nn.compact
    def __call__(self, levels: Sequence[jax.Array]) -> list[jax.Array]:
        """The levels of `strides`.

        Args:
          levels: f[B, h, w, .] of STRIDES, each of half the side of the last.

        Returns:
          f[B, h, w, channels] of each stride, in `dtype`.
        """
        out: dict[int, jax.Array] = {}
        top = None
        for i, level in reversed(list(enumerate(levels))):
            if STRIDES[i] < min(self.strides):
                break
            lateral = Conv(self.channels, (1, 1), dtype=self.dtype, name=f"inner_{i}")(
                level
            )
            top = lateral if top is None else lateral + upsample_nearest(top)
            if STRIDES[i] in self.strides:
                out[STRIDES[i]] = Conv(
                    self.channels,
                    (3, 3),
                    padding=1,
                    dtype=self.dtype,
                    name=f"layer_{i}",
                )(top)
        for stride in self.strides:
            if stride > STRIDES[-1]:
                finer = out[stride // 2]
                out[stride] = Conv(
                    self.channels,
                    (3, 3),
                    strides=2,
                    padding=1,
                    dtype=self.dtype,
                    name=f"stride_{stride}",
                )(nn.relu(finer) if stride // 2 > STRIDES[-1] else finer)
        return [out[stride] for stride in self.strides]
