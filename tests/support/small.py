"""The smallest nets of the detector's kind, their steps, and random batches."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from aals_jax.method import methods, steps
from aals_jax.method.methods import BoundMethod
from aals_jax.models import heads
from aals_jax.models.detector import dropped
from aals_jax.types import Batch, Labelled, Weak, Withheld
from configs import base

FINEST = 16  # px, stride of the finest of three levels of a head of boxes
IDENTITY = np.eye(2, 3, dtype=np.float32)


def settings(**changes) -> dict[str, Any]:
    """Those of the config, with cells that fit the smallest map; a0 and t of the
    paper's scale, which golden values are of."""
    config = base.get_config("clavicle")
    config.distill.update(max_strength=4.0, center=0.4)
    fields = config.distill.to_dict() | config.boxes.to_dict()
    return fields | {"cell": 2, "finest_stride": FINEST} | changes


def bound(method: str, **changes) -> BoundMethod:
    return methods.bind(method, settings(**changes))


def distill_step(
    method: str,
    net: nn.Module,
    tx: optax.GradientTransformation,
    *,
    axis_name: str | None = None,
    distill_weight: float = 0.7,
    ramp_steps: int = 0,
    ema_decay: float = 0.9,
    image_weights: bool = False,
    accumulate: int = 1,
    **changes,
) -> steps.Step:
    """The method's step; `changes` are those of its settings."""
    return steps.make_distill_step(
        bound(method, **changes),
        net,
        tx,
        center=settings(**changes)["center"],
        distill_weight=distill_weight,
        ramp_steps=ramp_steps,
        ema_decay=ema_decay,
        axis_name=axis_name,
        image_weights=image_weights,
        accumulate=accumulate,
    )


class Net(nn.Module):
    """Stride 4 and synchronised BatchNorm."""

    axis_name: str | None = None
    head: str = "map"
    by_batch: bool = True  # BatchNorm in training; else each image is for itself

    @nn.compact
    def __call__(self, image, *, train, keep=None):
        x = nn.Conv(8, (4, 4), strides=4)(image)
        train = train and self.by_batch
        x = nn.BatchNorm(not train, axis_name=self.axis_name if train else None)(x)
        x = dropped(x, keep)
        if self.head == "map":
            return nn.Conv(1, (3, 3))(nn.relu(x))[..., 0]
        strides = heads.strides_of(self.head, finest=FINEST)
        sizes = [(stride // 4,) * 2 for stride in strides]
        levels = [nn.avg_pool(x, size, size, "SAME") for size in sizes]
        return heads.HEADS[self.head].predict(
            levels, prior=heads.PRIOR, convs=1, dtype=jnp.float32
        )


def make_batch(labelled=16, weak=8, *, side=32, seed=0, dropout_channels=0):
    """Unequal shares of film, so that devices and hosts have unequal counts; one
    image of each kind is all padding. The first half of `labelled` is R. Two thirds of
    P have a box, the last image among them."""
    rng = np.random.default_rng(seed)
    pixels = (side // 4, side // 4)

    def draw(n, *shape):
        return rng.random((n, *shape), np.float32)

    def film(n):
        share = np.linspace(0.4, 1.0, n, dtype=np.float32)[:, None, None]
        valid = (draw(n, *pixels) < share).astype(np.float32)
        valid[0] = 0.0
        return valid

    label = (np.arange(labelled) < labelled // 2).astype(np.float32)
    boxes = (draw(labelled, *pixels) < 0.1).astype(np.float32)

    def keep(*shape):
        """Half of the channels dropped, where there are any."""
        shape += (dropout_channels,)
        return 2.0 * (draw(*shape) < 0.5).astype(np.float32) if shape[-1] else None

    views = draw(weak, side, side, 1)
    # of its own source: the other draws stay what they were
    corner, size = (
        np.random.default_rng([seed, 1])
        .uniform([0, 4], [side / 2, side / 2], size=(labelled, 3, 2, 2))
        .astype(np.float32)
        .transpose(3, 0, 1, 2)
    )
    found = np.concatenate([corner, corner + size], axis=-1)
    return Batch(
        labelled=Labelled(
            image=draw(labelled, side, side, 1),
            target=boxes * label[:, None, None],
            valid=film(labelled),
            label=label,
            boxes=found * label[:, None, None],
            keep=keep(labelled),
        ),
        weak=Weak(
            image=views,
            student_image=0.9 * views,
            valid=film(weak),
            row=np.arange(weak, dtype=np.int32)[::-1],
            lesions=np.arange(weak, dtype=np.int32) - 1,
            to_view=np.tile(IDENTITY, (weak, 1, 1)),
            keep=keep(weak, 2),
            withheld=Withheld(
                target=(draw(weak, *pixels) < 0.1).astype(np.float32),
                boxed=(np.arange(weak) % 3 > 0).astype(np.float32),
            ),
        ),
    )
