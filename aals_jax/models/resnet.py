"""Residual networks from one definition: stages, width, block.

Module names mirror torchvision's (`conv1`, `bn1`, `layer1_0.conv1`, ...,
`downsample_conv`), and so do strides and paddings, so that its weights map one to one.
The stride of a bottleneck sits in the 3 x 3 convolution, as there.

Reference: He et al., Deep Residual Learning for Image Recognition, CVPR 2016.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from aals_jax.models.convolution import Conv
from aals_jax.models.norm import norms
from aals_jax.models.parts import STEM, Frozen, rematerialised
from aals_jax.models.pooling import max_pool

DEPTHS = {  # name -> (blocks per stage, block)
    "resnet18": ((2, 2, 2, 2), "basic"),
    "resnet34": ((3, 4, 6, 3), "basic"),
    "resnet50": ((3, 4, 6, 3), "bottleneck"),
    "resnet101": ((3, 4, 23, 3), "bottleneck"),
    "resnet152": ((3, 8, 36, 3), "bottleneck"),
    "narrow": ((1, 1, 1, 1), "basic"),  # for laptops, with a small `width`
}
EXPANSION = {"basic": 1, "bottleneck": 4}


class Block(nn.Module):
    """A residual block: two 3 x 3 convolutions, or 1 x 1, 3 x 3, 1 x 1."""

    kind: str  # "basic" or "bottleneck"
    width: int  # channels of its convolutions but a bottleneck's last
    stride: int  # 1 or 2
    conv: Any  # makes a convolution, as Conv
    norm: Any  # makes a normalisation, as BatchNorm

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """f[B, H, W, C] -> f[B, H/stride, W/stride, width * EXPANSION[kind]]."""
        channels = self.width * EXPANSION[self.kind]
        kernels = {"basic": (3, 3), "bottleneck": (1, 3, 1)}[self.kind]
        strided = {"basic": 0, "bottleneck": 1}[self.kind]
        y = x
        for i, kernel in enumerate(kernels):
            last = i == len(kernels) - 1
            y = self.conv(
                channels if last else self.width,
                (kernel, kernel),
                strides=self.stride if i == strided else 1,
                padding=kernel // 2,
                name=f"conv{i + 1}",
            )(y)
            y = self.norm(name=f"bn{i + 1}", relu=not last)(y)
        if x.shape[-1] != channels or self.stride != 1:
            x = self.conv(
                channels, (1, 1), strides=self.stride, name="downsample_conv"
            )(x)
            x = self.norm(name="downsample_bn")(x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """The four stages of a residual network, strides 4, 8, 16 and 32.

    BatchNorm is synchronised over `axis_name`: mean and mean of squares are averaged
    over devices, so the variance is E[var] + Var[mean].
    """

    stages: tuple[int, ...]  # blocks of each
    block: str  # "basic" or "bottleneck"
    width: int = 64  # channels of the first stage
    axis_name: str | None = None  # of the devices that share BatchNorm
    dtype: Any = jnp.float32  # type of the computation; params stay float32
    frozen: Frozen = Frozen()
    remat: bool = False  # training keeps the inputs of blocks alone, see parts

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> list[jax.Array]:
        """f[B, H, W, C] -> the stages' maps, f[B, H/4, W/4, .] to f[B, H/32, W/32, .].

        Args:
          x: the normalised image.
          train: normalise by the batch's statistics and update the running ones, but
            for what is frozen.
        """
        conv = partial(
            Conv,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
        )

        norm_of = norms(
            self.frozen, train=train, dtype=self.dtype, axis_name=self.axis_name
        )
        x = conv(self.width, (7, 7), strides=2, padding=3, name="conv1")(x)
        x = max_pool(norm_of(STEM)(name="bn1")(x), relu=True)
        block = rematerialised(Block) if self.remat and train else Block
        levels = []
        for stage, blocks in enumerate(self.stages, start=1):
            for i in range(blocks):
                x = block(
                    kind=self.block,
                    width=self.width * 2 ** (stage - 1),
                    stride=2 if stage > 1 and i == 0 else 1,
                    conv=conv,
                    norm=norm_of(stage),
                    name=f"layer{stage}_{i}",
                )(x)
            x = self.frozen.after(stage, x)
            levels.append(x)
        return levels
