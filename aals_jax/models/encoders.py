"""The encoders, one row each: from an image to maps of strides 4, 8, 16 and 32.

A row is a function of the net that uses it, which has its options as fields. It makes
one submodule of the name BACKBONE. An encoder that learns has params there; one that is
frozen has its weights in a collection of its own, FROZEN, that no optimiser, no average
and no checkpoint holds.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from aals_jax.models import fpn, intensity, resampling, resnet, vit
from aals_jax.models.parts import BACKBONE

FROZEN = "frozen"  # collection of the variables that a run never changes
_WEIGHTS = "weights"


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A row of the table."""

    # (net, image f32[B, H, W, 1] in [0, 1], train) -> f[B, H/4, W/4, .] to
    # f[B, H/32, W/32, .]
    levels: Callable[..., Sequence[jax.Array]]
    frozen: bool = False  # its weights come from a file and stay as they are


def _resnet(net: Any, image: jax.Array, *, train: bool) -> list[jax.Array]:
    x = intensity.normalised(image, net.stem_channels, net.dtype, imagenet=net.imagenet)
    stages, block = resnet.DEPTHS[net.backbone]
    return resnet.ResNet(
        stages,
        block,
        net.width,
        net.axis_name,
        net.dtype,
        net.frozen,
        net.remat,
        name=BACKBONE,
    )(x, train=train)


def _vit(net: Any, image: jax.Array, *, train: bool) -> list[jax.Array]:
    return FrozenViT(net.vit, net.dtype, name=BACKBONE)(image)


ENCODERS: Mapping[str, Encoder] = {
    **{name: Encoder(_resnet) for name in resnet.DEPTHS},
    "vit": Encoder(_vit, frozen=True),
}


class FrozenViT(nn.Module):
    """A ViT's last features, at the strides of a pyramid.

    All levels are the same features, resampled bilinearly: what a level of its own may
    want of them, the pyramid's convolutions learn. ViTDet's pyramid has learned
    deconvolutions there.

    Reference: Li et al., Exploring Plain Vision Transformer Backbones for Object
    Detection, ECCV 2022.
    """

    architecture: vit.Architecture
    dtype: Any = jnp.float32  # type of the computation; weights stay float32

    @nn.compact
    def __call__(self, image: jax.Array) -> list[jax.Array]:
        """f32[B, H, W, 1] in [0, 1] -> f[B, H/4, W/4, C] to f[B, H/32, W/32, C].

        The image is first resized to the nearest multiples of a patch. No gradient
        flows through.

        Raises:
          ValueError: H or W is not a multiple of 32.
        """
        intensity.check_side(image)
        of, sides = self.architecture, image.shape[1:3]
        weights = self.variable(FROZEN, _WEIGHTS, _zeros, of).value
        height, width = (vit.nearest_multiple(side, of.patch) for side in sides)
        x = resampling.resample(image, height, width)
        x = intensity.coloured(x, of.mean, of.std).astype(self.dtype)
        net = vit.ViT(of, self.dtype, parent=None)
        features: Any = net.apply({"params": lax.stop_gradient(weights)}, x)
        features = lax.stop_gradient(features)
        return [
            resampling.resample(features, sides[0] // stride, sides[1] // stride)
            for stride in fpn.STRIDES
        ]


def _zeros(architecture: vit.Architecture) -> Any:
    shapes = vit.weights_of(architecture)
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def frozen_variables(weights: Any) -> dict[str, Any]:
    """The variables of a net whose encoder has these weights.

    Args:
      weights: of `vit_weights.place`.
    """
    return {FROZEN: {BACKBONE: {_WEIGHTS: weights}}}
