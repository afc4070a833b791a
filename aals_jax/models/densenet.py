"""DenseNet, and the classifier of image labels that is made of one.

Module names mirror torchvision's (`conv0`, `norm0`, `denseblock1_denselayer1/norm1`,
..., `transition1/conv`, `norm5`), and so do strides and paddings, so that its weights
map one to one.

References: Huang et al., Densely Connected Convolutional Networks, CVPR 2017.
Rajpurkar et al., CheXNet, arXiv 1711.05225, 2017.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from aals_jax.models import detector, intensity
from aals_jax.models.convolution import Conv
from aals_jax.models.norm import norms
from aals_jax.models.parts import BACKBONE, STEM, Frozen, rematerialised
from aals_jax.models.pooling import max_pool


@dataclasses.dataclass(frozen=True)
class Shape:
    """What one DenseNet has where another differs."""

    growth: int  # channels that each layer adds
    blocks: tuple[int, ...]  # layers of each block
    start: int  # channels before the first block
    bottleneck: int = 4  # channels between a layer's convolutions, in units of growth

    @property
    def channels(self) -> int:
        """Channels of the last block's maps: a transition halves them."""
        channels = self.start
        for i, layers in enumerate(self.blocks):
            channels = (channels // 2 if i else channels) + layers * self.growth
        return channels


SHAPES: Mapping[str, Shape] = {
    "densenet121": Shape(growth=32, blocks=(6, 12, 24, 16), start=64),
    "densenet169": Shape(growth=32, blocks=(6, 12, 32, 32), start=64),
    "narrow": Shape(growth=8, blocks=(2, 2, 2, 2), start=16),  # for laptops
}


def average_pool(x: jax.Array) -> jax.Array:
    """The mean of each 2 x 2: f[B, H, W, C] -> f[B, H/2, W/2, C]; H, W even."""
    batch, height, width, channels = x.shape
    blocks = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return blocks.mean(axis=(2, 4))


def joined(parts: Sequence[jax.Array]) -> jax.Array:
    """The channels of all parts: f[B, H, W, .] each -> f[B, H, W, C]."""
    return jnp.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]


class DenseLayer(nn.Module):
    """Normalisation, ReLU and convolution twice, 1 x 1 and 3 x 3."""

    growth: int
    bottleneck: int
    conv: Any  # makes a convolution, as Conv
    norm: Any  # makes a normalisation, as BatchNorm

    @nn.compact
    def __call__(self, *parts: jax.Array) -> jax.Array:
        """What the layer adds to its input.

        Args:
          *parts: f[B, H, W, .] each, one or more; the input has the channels of all.

        Returns:
          f[B, H, W, growth].
        """
        x = joined(parts)
        y = self.norm(relu=True, name="norm1")(x)
        y = self.conv(self.bottleneck * self.growth, (1, 1), name="conv1")(y)
        y = self.norm(relu=True, name="norm2")(y)
        return self.conv(self.growth, (3, 3), padding=1, name="conv2")(y)


class Transition(nn.Module):
    """Between two blocks: half the channels, half the side."""

    conv: Any
    norm: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """f[B, H, W, C] -> f[B, H/2, W/2, C // 2]."""
        x = self.norm(relu=True, name="norm")(x)
        return average_pool(self.conv(x.shape[-1] // 2, (1, 1), name="conv")(x))


class DenseNet(nn.Module):
    """The convolutional part, up to the last normalisation and its ReLU.

    BatchNorm is synchronised over `axis_name`, as in `resnet.ResNet`.
    """

    shape: Shape
    axis_name: str | None = None  # of the devices that share BatchNorm
    dtype: Any = jnp.float32  # type of the computation; params stay float32
    frozen: Frozen = Frozen()
    remat: bool = False  # training keeps what each layer adds alone, see parts

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """f[B, H, W, C] -> f[B, H/32, W/32, shape.channels], >= 0.

        Args:
          x: the normalised image.
          train: normalise by the batch's statistics and update the running ones, but
            for what is frozen.
        """
        conv = partial(
            Conv,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=nn.initializers.he_normal(),
        )

        norm_of = norms(
            self.frozen, train=train, dtype=self.dtype, axis_name=self.axis_name
        )
        remat = self.remat and train
        make_layer: Any = rematerialised(DenseLayer) if remat else DenseLayer
        make_transition: Any = rematerialised(Transition) if remat else Transition
        x = conv(self.shape.start, (7, 7), strides=2, padding=3, name="conv0")(x)
        x = max_pool(norm_of(STEM)(name="norm0")(x), relu=True)
        for block, layers in enumerate(self.shape.blocks, start=1):
            norm = norm_of(block)
            if block > 1:
                x = make_transition(conv, norm, name=f"transition{block - 1}")(x)
            parts = [x]
            for layer in range(1, layers + 1):
                added = make_layer(
                    self.shape.growth,
                    self.shape.bottleneck,
                    conv,
                    norm,
                    name=f"denseblock{block}_denselayer{layer}",
                )(*parts)
                # joined within each layer, their memory grows as the layers and not
                # as the square of them
                parts = [*parts, added] if remat else [joined([*parts, added])]
            x = joined(parts)
            if block == len(self.shape.blocks):
                x = norm(relu=True, name="norm5")(x)
            x = self.frozen.after(block, x)
        return x


class Classifier(nn.Module):
    """A DenseNet and one linear layer, applied at each place: class activation maps.

    The layer is linear, so an image's logit, which is that of the pooled features, is
    the mean of its map. Pooling is left to the loss and the evaluation, which know the
    film.

    Reference: Zhou et al., Learning Deep Features for Discriminative Localization,
    CVPR 2016.
    """

    backbone: str = "densenet121"  # a key of SHAPES
    stem_channels: int = 1  # see intensity.normalised
    imagenet: bool = False  # likewise
    axis_name: str | None = None  # of the devices that share BatchNorm
    dtype: Any = jnp.float32  # type of the computation; params and logits stay float32
    frozen: Frozen = Frozen()  # of the backbone
    remat: bool = False  # likewise

    @property
    def dropout_channels(self) -> int:
        """Number of the channels that dropout may take away, before the last layer."""
        return SHAPES[self.backbone].channels

    @nn.compact
    def __call__(
        self, image: jax.Array, *, train: bool, keep: jax.Array | None = None
    ) -> jax.Array:
        """The class activation map of an image.

        Args:
          image: f32[B, H, W, 1] in [0, 1], 0 = air, 1 = bone; H, W multiples of 32.
          train: normalise by the batch's statistics and update the running ones.
          keep: f32[B, dropout_channels], dropout's factors; None: no dropout.

        Returns:
          f32[B, H/4, W/4] logits: those of each 32 x 32 pixels, between whose centres
          the map is bilinear. That keeps the mean of a map.

        Raises:
          ValueError: H or W is not a multiple of 32.
        """
        x = intensity.normalised(
            image, self.stem_channels, self.dtype, imagenet=self.imagenet
        )
        x = DenseNet(
            SHAPES[self.backbone],
            self.axis_name,
            self.dtype,
            self.frozen,
            self.remat,
            name=BACKBONE,
        )(x, train=train)
        x = detector.dropped(x.astype(jnp.float32), keep)
        logits = Conv(1, (1, 1), kernel_init=nn.initializers.normal(0.01), name="head")(
            x
        )[..., 0]
        height, width = image.shape[1] // 4, image.shape[2] // 4
        return jax.image.resize(logits, (len(image), height, width), "bilinear")
