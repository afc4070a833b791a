"""The convolution of this project's networks: flax's, in a form of its own on CPUs.

XLA's kernels for CPUs are slow at two kinds. A 1 x 1 convolution is a matrix product
over pixels, and is written as one. A strided convolution of few channels, such as the
first of a network, gets the rows of a stride and some columns moved into its channels:
the same sums, in a form that fills the processor's vectors. Other platforms get the
convolution as it is; which one is decided where a program is lowered.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from aals_jax.models import varying

_FEW = 4  # channels in, up to which a strided convolution is folded
_COLUMNS = 2  # outputs of a row that lie side by side in the folded channels
_NHWC = ("NHWC", "HWIO", "NHWC")
_NONE = ((0, 0), (0, 0))

Pair = tuple[int, int]
Convolution = Callable[[jax.Array, jax.Array], jax.Array]  # (x, kernel) -> result


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: str | Sequence[Pair],
    *,
    dimension_numbers: Any,
    **options: Any,
) -> jax.Array:
    """`lax.conv_general_dilated`, for `nn.Conv(conv_general_dilated=convolve)`.

    Args:
      x: f[B, H, W, C].
      kernel: f[h, w, C, D], of x's type.
      strides: of rows and columns.
      padding: pixels before and after rows and columns, or a name that XLA knows.
      dimension_numbers: of B H W C, as flax gives them; others are left to XLA.
      **options: others of `lax.conv_general_dilated`.

    Returns:
      f[B, H', W', D].
    """
    usual = partial(
        lax.conv_general_dilated,
        window_strides=strides,
        padding=padding,
        dimension_numbers=dimension_numbers,
        **options,
    )
    if x.ndim != 4 or not _is_plain(x, kernel, dimension_numbers, options):
        return usual(x, kernel)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    if kernel.shape[:2] == (1, 1) and not any(map(any, padding)):
        form = partial(_pointwise, strides=strides)
        return _on_cpu(form, usual, gradient=form)(x, kernel)
    rows, columns = (
        _Axis(*axis)
        for axis in zip(
            x.shape[1:3], kernel.shape[:2], strides, padding, (1, _COLUMNS), strict=True
        )
    )
    if x.shape[3] <= _FEW and rows.stride > 1 and rows.fits and columns.fits:
        form = partial(_folded, rows=rows, columns=columns)
        # folding costs operations on zeros, which XLA's gradient of the kernel has not
        return _on_cpu(form, usual, gradient=usual)(x, kernel)
    return usual(x, kernel)


Conv = partial(nn.Conv, conv_general_dilated=convolve)  # as nn.Conv, its variables too


def _is_plain(
    x: jax.Array, kernel: jax.Array, dimension_numbers: Any, options: dict[str, Any]
) -> bool:
    """Whether the axes are B H W C and h w C D, and nothing but strides and padding is
    asked for."""
    asked, plain = (
        lax.conv_dimension_numbers(x.shape, kernel.shape, numbers)
        for numbers in (dimension_numbers, _NHWC)
    )
    return asked == plain and all(
        value is None or value == 1 or (name.endswith("dilation") and set(value) == {1})
        for name, value in options.items()
    )


def _on_cpu(form: Convolution, usual: Convolution, *, gradient: Convolution):
    """A convolution that is `form` on CPUs and has the gradient of `gradient` there."""

    @jax.custom_vjp
    def convolution(x, kernel):
        return lax.platform_dependent(x, kernel, cpu=form, default=usual)

    def forward(x, kernel):
        return convolution(x, kernel), (x, kernel)

    def backward(saved, cotangent):
        cpu, default = _transposed(gradient), _transposed(usual)
        return lax.platform_dependent(*saved, cotangent, cpu=cpu, default=default)

    convolution.defvjp(forward, backward)
    return lambda x, kernel: convolution(x, varying.alike(kernel, x))


def _transposed(function: Convolution) -> Callable[..., Any]:
    return lambda x, kernel, cotangent: jax.vjp(function, x, kernel)[1](cotangent)


def _pointwise(x: jax.Array, kernel: jax.Array, strides: Sequence[int]) -> jax.Array:
    x = x[:, :: strides[0], :: strides[1]]
    return lax.dot_general(x, kernel[0, 0], (((3,), (0,)), ((), ())))


@dataclasses.dataclass(frozen=True)
class _Axis:
    """How one axis of a convolution is folded: blocks of pixels become channels."""

    side: int  # pixels in
    window: int
    stride: int
    pads: Pair  # before and after
    outputs: int  # of a block

    @property
    def block(self) -> int:
        """Pixels in, of a block."""
        return self.stride * self.outputs

    @property
    def fits(self) -> bool:
        """Whether there are whole blocks only, and as many in the result."""
        results = (self.side + sum(self.pads) - self.window) // self.stride + 1
        return self.side % self.block == 0 and results * self.stride == self.side

    @property
    def before(self) -> int:
        """Blocks of padding before the first."""
        return math.ceil(self.pads[0] / self.block)

    @property
    def starts(self) -> list[int]:
        """Where the window of each output of a block begins, from the first block on
        that any of them reads."""
        first = self.before * self.block - self.pads[0]
        return [first + i * self.stride for i in range(self.outputs)]

    @property
    def taps(self) -> int:
        """Blocks that the outputs of a block read."""
        return math.ceil((self.starts[-1] + self.window) / self.block)

    @property
    def padding(self) -> Pair:
        return self.before, self.taps - 1 - self.before

    def spread(self, start: int) -> Pair:
        """Zeros before and after a window that begins there."""
        return start, self.taps * self.block - start - self.window


def _folded(x: jax.Array, kernel: jax.Array, rows: _Axis, columns: _Axis) -> jax.Array:
    """Blocks of rows and columns become x's channels; so do the outputs of a block,
    until they are columns again."""
    batch, height, width, channels = x.shape
    down, across, features = rows.block, columns.block, kernel.shape[3]
    x = x.reshape(batch, height // down, down, width // across, across * channels)
    x = x.transpose(0, 1, 3, 2, 4).reshape(*x.shape[:2], width // across, -1)
    windows = [
        jnp.pad(kernel, (rows.spread(rows.starts[0]), columns.spread(start), *_NONE))
        for start in columns.starts
    ]
    taps = jnp.stack(windows, axis=3)
    taps = taps.reshape(rows.taps, down, columns.taps, across * channels, -1)
    taps = taps.transpose(0, 2, 1, 3, 4)
    y = lax.conv_general_dilated(
        x,
        taps.reshape(*taps.shape[:2], -1, columns.outputs * features),
        window_strides=(1, 1),
        padding=(rows.padding, columns.padding),
        dimension_numbers=_NHWC,
    )
    return y.reshape(batch, height // rows.stride, width // columns.stride, features)
