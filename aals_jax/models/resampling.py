"""Maps at another size, as matrices of rows and of columns.

Pixel i of n has its centre at (i + 1/2) / n, so that corners are not aligned. The
matrices are constants of a program: other machines and any number of images need
nothing more.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Kernel = Callable[[np.ndarray], np.ndarray]  # weight by the distance in pixels
REACH = 2  # pixels, beyond which every kernel is 0


def linear(distance: np.ndarray) -> np.ndarray:
    """The triangle: bilinear."""
    return np.maximum(0.0, 1.0 - np.abs(distance))


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    x = np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, near, np.where(x < REACH, far, 0.0))


# Reference: Keys, Cubic Convolution Interpolation for Digital Image Processing, 1981,
# whose best a is -0.5. PyTorch has it with antialias, and a = -0.75 without.
cubic: Kernel = partial(_cubic, a=-0.5)
steep_cubic: Kernel = partial(_cubic, a=-0.75)


def matrix(before: int, after: int, kernel: Kernel, *, antialias: bool) -> np.ndarray:
    """f64[after, before], each row the weights of the pixels of one new pixel; sum 1.

    Args:
      before: pixels that there are.
      after: pixels wanted.
      kernel: of this module.
      antialias: where pixels get fewer, the kernel is as much wider, and at the border
        the pixels that are there share the weight. Else the kernel keeps its width, and
        the border's pixel stands for those beyond it.

    >>> matrix(2, 4, linear, antialias=False).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    width = max(1.0, before / after) if antialias else 1.0
    centers = (np.arange(after) + 0.5) * before / after - 0.5
    beyond = 0 if antialias else REACH
    places = np.arange(-beyond, before + beyond)
    weights = kernel((places - centers[:, None]) / width)
    found = np.zeros((after, before))
    for place, column in zip(places.clip(0, before - 1), weights.T, strict=True):
        found[:, place] += column
    return found / found.sum(axis=1, keepdims=True)


def resample(
    maps: jax.Array,
    height: int,
    width: int,
    kernel: Kernel = linear,
    *,
    antialias: bool = True,
) -> jax.Array:
    """f[B, H, W, C] -> f[B, height, width, C], of the same type; see `matrix`.

    A side that stays as it is stays bit for bit.
    """
    for axis, side in ((1, height), (2, width)):
        before = maps.shape[axis]
        if side == before:
            continue
        weights = matrix(before, side, kernel, antialias=antialias)
        maps = jnp.einsum(
            "hH,bHwc->bhwc" if axis == 1 else "wW,bhWc->bhwc",
            weights.astype(maps.dtype),
            maps,
            precision=lax.Precision.HIGHEST,
        )
    return maps
