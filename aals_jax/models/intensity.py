"""Grey levels as backbones expect them."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

SIDE_MULTIPLE = 32  # px, the stride of the coarsest level
# ImageNet's, by colour, as torchvision's and timm's weights expect [torchvision's docs]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
INTENSITY_MEAN, INTENSITY_STD = 0.449, 0.226  # their averages over the colours


def check_side(image: jax.Array) -> None:
    """Raises ValueError where a side of f32[B, H, W, 1] is no multiple of 32."""
    if image.shape[1] % SIDE_MULTIPLE or image.shape[2] % SIDE_MULTIPLE:
        raise ValueError(
            f"image side {image.shape[1:3]} is not a multiple of {SIDE_MULTIPLE}"
        )


def normalised(
    image: jax.Array, channels: int, dtype: Any, *, imagenet: bool = False
) -> jax.Array:
    """The image as a backbone expects it.

    Args:
      image: f32[B, H, W, 1] in [0, 1], 0 = air, 1 = bone.
      channels: 1, or 3: the grey image three times.
      dtype: of the result.
      imagenet: as weights from ImageNet expect it. Of 3 channels each has its colour's
        mean and standard deviation. Beside 1 stands a channel of ones: it carries what
        sets the colours' means apart (`pretrained.place`).

    Returns:
      f[B, H, W, channels], with one more where `imagenet` meets 1 channel.

    Raises:
      ValueError: H or W is not a multiple of 32.
    """
    check_side(image)
    if imagenet and channels == len(IMAGENET_MEAN):
        return coloured(image, IMAGENET_MEAN, IMAGENET_STD).astype(dtype)
    x = (image - INTENSITY_MEAN) / INTENSITY_STD
    if imagenet:
        return jnp.concatenate([x, jnp.ones_like(x)], axis=-1).astype(dtype)
    return jnp.repeat(x, channels, axis=-1).astype(dtype)


def coloured(
    image: jax.Array, mean: Sequence[float], std: Sequence[float]
) -> jax.Array:
    """A grey image once for each colour, by that colour's mean and deviation.

    Args:
      image: f32[B, H, W, 1].
      mean: of each colour.
      std: likewise, > 0.

    Returns:
      f32[B, H, W, len(mean)].
    """
    means, stds = (
        jnp.array(values, image.dtype).reshape(1, 1, 1, -1) for values in (mean, std)
    )
    return (image - means) / stds
