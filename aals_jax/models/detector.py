"""The detector: radiograph in, a map of logits or boxes out, as its head says."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from aals_jax.models import encoders, fpn, heads
from aals_jax.models.parts import Frozen
from aals_jax.models.vit import Architecture


class Detector(nn.Module):
    """An encoder, feature pyramid and a head."""

    backbone: str = "resnet50"  # a key of encoders.ENCODERS
    width: int = 64  # channels of the first stage
    fpn_channels: int = 256
    stem_channels: int = 1  # see intensity.normalised
    imagenet: bool = False  # likewise
    axis_name: str | None = None  # of the devices that share BatchNorm
    dtype: Any = jnp.float32  # type of the computation; params and logits stay float32
    prior: float = heads.PRIOR  # probability of the untrained output
    cell: int = 1  # blocks of cell x cell pixels of the map share one logit, their mean
    head: str = "map"  # a key of heads.HEADS
    # of heads of boxes alone
    finest_stride: int = 4  # px, of the finest level that they read; 4, 8, 16 or 32
    convs: int = 4  # of each of their towers
    frozen: Frozen = Frozen()  # of the backbone
    remat: bool = False  # likewise
    vit: Architecture | None = None  # of the encoder "vit" alone

    @property
    def dropout_channels(self) -> int:
        """Number of the channels that dropout may take away, before the last layer."""
        return self.fpn_channels

    @nn.compact
    def __call__(
        self, image: jax.Array, *, train: bool, keep: jax.Array | None = None
    ) -> Any:
        """What the head says of images.

        Args:
          image: f32[B, H, W, 1] in [0, 1], 0 = air, 1 = bone; H, W multiples of 32.
          train: normalise by the batch's statistics and update the running ones.
          keep: f32[B, fpn_channels], dropout's factors; None: no dropout.

        Returns:
          f32[B, H/4, W/4] logits of the head "map", heads.BoxOutputs of the others.

        Raises:
          ValueError: H or W is not a multiple of 32.
        """
        levels = encoders.ENCODERS[self.backbone].levels(self, image, train=train)
        strides = heads.strides_of(self.head, finest=self.finest_stride)
        levels = fpn.FeaturePyramid(self.fpn_channels, self.dtype, strides, name="fpn")(
            levels
        )
        outputs = heads.HEADS[self.head].predict(
            [dropped(level, keep) for level in levels],
            prior=self.prior,
            convs=self.convs,
            dtype=self.dtype,
        )
        return per_cell(outputs, self.cell) if self.cell > 1 else outputs


def dropped(features: jax.Array, keep: jax.Array | None) -> jax.Array:
    """Channels of each image times their factor: f32[B, H, W, C] -> the same.

    Whole channels are dropped, since neighbouring pixels of one say the same.

    Args:
      features: f32[B, H, W, C].
      keep: f32[B, C], 0 for a dropped channel, else 1 / (1 - dropout); it comes with
        the batch, a function of (seed, step). None: nothing is dropped.

    Reference: Tompson et al., Efficient Object Localization Using Convolutional
    Networks, CVPR 2015.
    """
    return features if keep is None else features * keep[:, None, None, :]


def per_cell(maps: jax.Array, cell: int) -> jax.Array:
    """Each block of `cell` x `cell` pixels replaced by its mean.

    Args:
      maps: f32[B, H, W].
      cell: side of a block in pixels, a divisor of H and W; 1 changes nothing.

    Returns:
      f32[B, H, W].

    >>> per_cell(jnp.array([[[0.0, 4.0], [2.0, 2.0]]]), 2).tolist()
    [[[2.0, 2.0], [2.0, 2.0]]]
    """
    if cell == 1:
        return maps
    batch, height, width = maps.shape
    blocks = maps.reshape(batch, height // cell, cell, width // cell, cell)
    means = jnp.mean(blocks, axis=(2, 4), keepdims=True)
    return jnp.broadcast_to(means, blocks.shape).reshape(maps.shape)
