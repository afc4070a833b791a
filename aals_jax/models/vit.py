"""A vision transformer of the DINO kind: patches, a class token, pre-norm blocks.

Both generations are here: DINO's plain blocks, and DINOv2's with a factor for each
channel of a branch (LayerScale), registers, and a gated MLP in the giant one. Weights
come from a file (`vit_weights`) and never learn here, so there is no dropout.

References: Dosovitskiy et al., An Image is Worth 16 x 16 Words, ICLR 2021. Caron et
al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021. Oquab et
al., DINOv2, TMLR 2024. Darcet et al., Vision Transformers Need Registers, ICLR 2024.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from aals_jax.models import resampling
from aals_jax.models.intensity import IMAGENET_MEAN, IMAGENET_STD

EPSILON = 1e-6  # of every LayerNorm, in DINO and DINOv2
HEAD_WIDTH = 64  # channels of a head of attention, in all of both
COLOURS = len(IMAGENET_MEAN)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """What one ViT has where another differs, and what its images were like."""

    width: int  # channels of a token
    depth: int  # blocks
    heads: int  # of attention; a divisor of `width`
    patch: int  # side of a patch, px
    grid: int  # patches along each side of the images that it was trained on
    registers: int  # tokens beside the class token that stand for no place
    hidden: int  # channels within an MLP
    gated: bool  # MLP: half of the channels gate the others, SwiGLU; else GELU
    scaled: bool  # LayerScale
    mean: tuple[float, ...] = IMAGENET_MEAN  # of a colour, white is 1
    std: tuple[float, ...] = IMAGENET_STD

    def as_json(self) -> dict[str, Any]:
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def of_json(cls, fields: Mapping[str, Any]) -> "Architecture":
        """The inverse of `as_json`."""
        values = {field.name: fields[field.name] for field in dataclasses.fields(cls)}
        values |= {name: tuple(values[name]) for name in ("mean", "std")}
        return cls(**values)


class Block(nn.Module):
    """Attention between all tokens, then an MLP of each, both added to what came in."""

    architecture: Architecture
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, _: None = None) -> tuple[jax.Array, None]:
        """f[B, N, width] -> the same, and nothing (the form of a scan)."""
        norm = partial(
            nn.LayerNorm, epsilon=EPSILON, dtype=self.dtype, use_fast_variance=False
        )
        y = self._attention(norm(name="norm1")(x))
        x = x + self._scaled(y, "scale1")
        y = self._mlp(norm(name="norm2")(x))
        return x + self._scaled(y, "scale2"), None

    def _attention(self, x: jax.Array) -> jax.Array:
        of, width = self.architecture, self.architecture.width
        x = nn.Dense(3 * width, dtype=self.dtype, name="qkv")(x)
        x = x.reshape(*x.shape[:2], 3, of.heads, width // of.heads)
        query, key, value = (x[:, :, i] for i in range(3))
        x = jax.nn.dot_product_attention(query, key, value)
        x = x.reshape(*x.shape[:2], width)
        return nn.Dense(width, dtype=self.dtype, name="projection")(x)

    def _mlp(self, x: jax.Array) -> jax.Array:
        of = self.architecture
        inner = of.hidden * (2 if of.gated else 1)
        x = nn.Dense(inner, dtype=self.dtype, name="mlp1")(x)
        if of.gated:
            x = nn.silu(x[..., : of.hidden]) * x[..., of.hidden :]
        else:
            x = nn.gelu(x, approximate=False)
        return nn.Dense(of.width, dtype=self.dtype, name="mlp2")(x)

    def _scaled(self, x: jax.Array, name: str) -> jax.Array:
        of = self.architecture
        if not of.scaled:
            return x
        factors = self.param(name, nn.initializers.ones, (of.width,))
        return x * factors.reshape(1, 1, -1).astype(x.dtype)


class ViT(nn.Module):
    """Images to the features of their patches. The blocks' weights are stacked."""

    architecture: Architecture
    dtype: Any = jnp.float32  # type of the computation; params stay float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """The last block's tokens of patches, normalised.

        Args:
          image: f[B, H, W, 3], by mean and std; H and W multiples of `patch`.

        Returns:
          f[B, H/patch, W/patch, width].
        """
        of, batch = self.architecture, image.shape[0]
        height, width = (side // of.patch for side in image.shape[1:3])
        x = image.reshape(batch, height, of.patch, width, of.patch, COLOURS)
        x = x.swapaxes(2, 3).reshape(batch, height * width, -1)
        x = nn.Dense(of.width, dtype=self.dtype, name="patches")(x)
        small = nn.initializers.normal(0.02)
        positions = self.param("positions", small, (of.grid, of.grid, of.width))
        positions = at_grid(positions, height, width, antialias=of.registers > 0)
        x = x + positions.reshape(1, height * width, of.width).astype(self.dtype)
        # its position is in it
        token = self.param("class_token", small, (1, of.width))
        tokens = [token]
        if of.registers:
            tokens += [self.param("registers", small, (of.registers, of.width))]
        first = jnp.concatenate(tokens).astype(self.dtype)
        first = jnp.broadcast_to(first, (batch, *first.shape))
        x = jnp.concatenate([first, x], axis=1)
        blocks = nn.scan(
            Block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=of.depth,
        )
        x, _ = blocks(of, self.dtype, name="blocks")(x, None)
        x = nn.LayerNorm(
            epsilon=EPSILON, dtype=self.dtype, use_fast_variance=False, name="norm"
        )(x)
        return x[:, first.shape[1] :].reshape(batch, height, width, of.width)


def at_grid(
    positions: jax.Array, height: int, width: int, *, antialias: bool
) -> jax.Array:
    """What a ViT adds for the place of a patch, for films of another size.

    Bicubic, corners not aligned, from side to side exactly (no offset). Without
    antialias and with a = -0.75, as DINOv2 in transformers; with it and a = -0.5 for
    nets with registers, as DINOv2 has it for those. DINO's and DINOv2's first code adds
    0.1 to the side and so differs a little from both.

    Args:
      positions: f[grid, grid, C], as they were trained.
      height: patches of a column.
      width: patches of a row.
      antialias: whether fewer patches read wider.

    Returns:
      f[height, width, C]; the same bits where that is the grid.
    """
    kernel = resampling.cubic if antialias else resampling.steep_cubic
    return resampling.resample(
        positions[None], height, width, kernel, antialias=antialias
    )[0]


def are_colours(values: Sequence[float], *, positive: bool) -> bool:
    """Whether these are a finite number for each colour, above 0 where it must be."""
    return len(values) == COLOURS and all(
        math.isfinite(value) and (value > 0 or not positive) for value in values
    )


def nearest_multiple(side: int, patch: int) -> int:
    """Of `patch`, at least one.

    >>> [nearest_multiple(side, 14) for side in (4, 192, 512, 518, 1024)]
    [14, 196, 518, 518, 1022]
    """
    return max(1, round(side / patch)) * patch


def weights_of(architecture: Architecture) -> Any:
    """The shapes of its weights, jax.ShapeDtypeStruct leaves."""
    net = ViT(architecture, parent=None)
    side = architecture.patch * architecture.grid
    image = jax.ShapeDtypeStruct((1, side, side, COLOURS), jnp.float32)
    return jax.eval_shape(net.init, jax.random.key(0), image)["params"]
