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
    """Running sums of the predictions of N images: all of P, or those of a batch."""

    total: jax.Array  # f32[N, s, s], weighted sum of probabilities
    weight: jax.Array  # f32[N, s, s], sum of the weights; 0 where nothing was predicted

    @property
    def mean(self) -> jax.Array:
        """f32[N, s, s] in [0, 1], total / weight; 0 where nothing was predicted.

        After t predictions the weight is 1 - decay^t: dividing by it corrects the bias
        towards the zeros at the start.
        """
        return self.total / jnp.where(self.weight > 0, self.weight, 1.0)


def memory_side(map_side: int, *, limit: int) -> int:
    """The largest divisor of `map_side` that is at most `limit`.

    >>> memory_side(48, limit=64), memory_side(48, limit=20)
    (48, 16)
    """
    return max(s for s in range(1, limit + 1) if map_side % s == 0)


def empty(images: int, side: int) -> Ensemble:
    """A memory of so many images, none predicted yet; its maps are side x side."""
    zeros = jnp.zeros((images, side, side), jnp.float32)
    return Ensemble(total=zeros, weight=jnp.copy(zeros))


def recall(memory: Ensemble, row: jax.Array) -> Ensemble:
    """What the memory holds of a batch: its rows `row`, i32[B], in that order."""
    return jax.tree.map(lambda x: x[row], memory)


def unaugmented(
    logits: jax.Array, weak: Weak, *, side: int
) -> tuple[jax.Array, jax.Array]:
    """Brings maps of augmented views back to the un-augmented frame.

    Maps are sampled bilinearly. Where side < h, each pixel of the result is the mean
    over those pixels of its block that are known.

    Args:
      logits: f32[B, h, w], of the views; h = w.
      weak: the images of P; `to_view` and `valid` are read.
      side: s, of the result; a divisor of h.

    Returns:
      Probabilities f32[B, s, s], and a mask f32[B, s, s]: 1 where they are known, that
      is where film was in view, in more than half of a block.
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
    in_view = (sample(weak.valid, point) > 0.999).astype(jnp.float32)
    return _shrink(sample(jax.nn.sigmoid(logits), point), in_view, side=side)


def _shrink(
    maps: jax.Array, in_view: jax.Array, *, side: int
) -> tuple[jax.Array, jax.Array]:
    factor = maps.shape[1] // side

    def block_sum(x: jax.Array) -> jax.Array:
        return x.reshape(len(x), side, factor, side, factor).sum(axis=(2, 4))

    count = block_sum(in_view)
    means = block_sum(maps * in_view) / jnp.maximum(count, 1.0)
    return means, (count > 0.5 * factor**2).astype(jnp.float32)


def remember(
    memory: Ensemble,
    row: jax.Array,
    maps: jax.Array,
    in_view: jax.Array,
    *,
    decay: float,
    axis_name: str | None,
) -> Ensemble:
    """Z <- decay Z + (1 - decay) z in the rows of a batch, where z is known.

    Args:
      memory: of all images of P, f32[N, s, s]; the same on all devices.
      row: i32[B], the rows of this device's images.
      maps: f32[B, s, s], z: probabilities in the un-augmented frame.
      in_view: f32[B, s, s], 1 where z is known.
      decay: in [0, 1); 0.6 in the reference.
      axis_name: of the devices, all of whose predictions enter every device's memory;
        None: there is one.

    Returns:
      The memory with its new rows; the same on all devices.
    """
    if axis_name is not None:
        row, maps, in_view = (
            lax.all_gather(x, axis_name, tiled=True) for x in (row, maps, in_view)
        )
    # an image that a small P brings twice in one batch counts once, by its mean
    same = (row[:, None] == row[None, :]).astype(jnp.float32)
    count, total = (
        jnp.einsum("ij,jhw->ihw", same, x, precision=lax.Precision.HIGHEST)
        for x in (in_view, in_view * maps)
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
