"""The memory of temporal ensembling: a running map of each image of P.

Reference: Laine and Aila, Temporal Ensembling for Semi-Supervised Learning, ICLR 2017.

The memory is a part of the state, on the device and the same on every device: a step
reads and writes it by row, so it is as old as the state, however far ahead batches are
drawn, and a checkpoint holds both. All maps in it are in the un-augmented frame.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax
from jax.scipy.ndimage import map_coordinates

from aals_jax.types import Weak


@struct.dataclass
class Ensemble:
    """Running sums over the predictions of each image; all of `recall` of a batch."""

    total: jax.Array  # f32[N, s, s], weighted probabilities
    weight: jax.Array  # f32[N, s, s], sum of the weights; 0 where nothing was seen

    @property
    def mean(self) -> jax.Array:
        """f32[N, s, s], the bias-corrected average; 0 where nothing was seen.

        After t predictions the weight is 1 - decay^t, which the division undoes.
        """
        return self.total / jnp.where(self.weight > 0, self.weight, 1.0)


def memory_side(map_side: int, *, limit: int) -> int:
    """The largest side, at most `limit`, of which `map_side` is a multiple."""
    return max(s for s in range(1, limit + 1) if map_side % s == 0)


def empty(images: int, side: int) -> Ensemble:
    """Nothing seen of any image: two f32[images, side, side] of zeros."""
    zeros = jnp.zeros((images, side, side), jnp.float32)
    return Ensemble(total=zeros, weight=jnp.copy(zeros))


def recall(memory: Ensemble, row: jax.Array) -> Ensemble:
    """The rows i32[B] of a memory."""
    return jax.tree.map(lambda x: x[row], memory)


def unaugmented(
    logits: jax.Array, weak: Weak, *, side: int
) -> tuple[jax.Array, jax.Array]:
    """Brings the maps of a batch's views back to where the images lie un-augmented.

    Args:
      logits: f32[B, h, w], of the views.
      weak: their images; `to_view` and `valid` are read.
      side: s, of the result; h = w is a multiple of it.

    Returns:
      Probabilities f32[B, s, s], and f32[B, s, s], 1 where they come from film in
      view. Bilinear; averaged over what is seen of each block where s < h.
    """
    size = logits.shape[1]
    center = jnp.arange(size, dtype=jnp.float32) + 0.5
    x, y = (a[None] for a in jnp.meshgrid(center, center))
    linear, shift = weak.to_view[..., :2], weak.to_view[..., 2] * size
    point = [
        linear[:, axis, 0, None, None] * x
        + linear[:, axis, 1, None, None] * y
        + shift[:, axis, None, None]
        - 0.5  # pixel i's centre is i + 0.5
        for axis in (1, 0)
    ]
    sample = jax.vmap(partial(map_coordinates, order=1))
    # a neighbour off film or out of view lets the sum of the weights fall below 1
    seen = (sample(weak.valid, point) > 0.999).astype(jnp.float32)
    return _shrink(sample(jax.nn.sigmoid(logits), point), seen, side=side)


def _shrink(
    maps: jax.Array, seen: jax.Array, *, side: int
) -> tuple[jax.Array, jax.Array]:
    factor = maps.shape[1] // side

    def block_sum(x: jax.Array) -> jax.Array:
        return x.reshape(len(x), side, factor, side, factor).sum(axis=(2, 4))

    count = block_sum(seen)
    means = block_sum(maps * seen) / jnp.maximum(count, 1.0)
    return means, (count > 0.5 * factor**2).astype(jnp.float32)


def remember(
    memory: Ensemble,
    row: jax.Array,
    maps: jax.Array,
    seen: jax.Array,
    *,
    decay: float,
    axis_name: str | None,
) -> Ensemble:
    """Z <- decay Z + (1 - decay) z in each row, at the pixels that were seen.

    Args:
      memory: f32[N, s, s], the same on all devices, as is the result.
      row: i32[B], this device's rows.
      maps: f32[B, s, s] probabilities, un-augmented.
      seen: f32[B, s, s], 1 where they are known.
      decay: in [0, 1); 0.6 in the reference.
      axis_name: of the devices, whose predictions all go into each memory.
    """
    if axis_name is not None:
        row, maps, seen = (
            lax.all_gather(x, axis_name, tiled=True) for x in (row, maps, seen)
        )
    # an image that a small P brings twice in one batch counts once, by its mean
    same = (row[:, None] == row[None, :]).astype(jnp.float32)
    count, total = (
        jnp.einsum("ij,jhw->ihw", same, x, precision=lax.Precision.HIGHEST)
        for x in (seen, seen * maps)
    )
    new = Ensemble(
        total=total / jnp.maximum(count, 1.0), weight=(count > 0).astype(jnp.float32)
    )
    old = recall(memory, row)
    kept = jnp.where(count > 0, decay, 1.0)
    rows = jax.tree.map(lambda o, n: kept * o + (1.0 - kept) * n, old, new)
    # equal rows write equal bits, so their order does not matter
    first = jnp.argmax(same, axis=1)
    return jax.tree.map(lambda m, r: m.at[row].set(r[first]), memory, rows)
