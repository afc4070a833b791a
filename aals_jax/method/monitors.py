"""What a step says of its teacher and its targets on P. No loss reads it.

Where sharpening can't work, these numbers show it: peaks that lie below t get no help,
and a target that is no higher than the teacher's map teaches nothing new.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import logit

from aals_jax.method import losses, sharpening
from aals_jax.types import Metrics, Weak

LARGEST = "pseudo/lift_largest"  # the only one that is a maximum; the rest are means


def of_targets(
    teacher_logits: Any,
    target_logits: Any,
    weak: Weak,
    *,
    center: float,
    axis_name: str | None,
) -> Metrics:
    """What the rule is given on P and makes of it, where a teacher's map is its input.

    Args:
      teacher_logits: f32[B, h, w]. What else a guide may give has no monitors.
      target_logits: f32[B, h, w] where `teacher_logits` is that.
      weak: the images of P; `valid` is read.
      center: t in (0, 1); a dead image has its peak below it.
      axis_name: of the devices, or None.

    Returns:
      f32[] each, over the images of all devices: shares and means, and LARGEST. The
      lift of a pixel is its target minus the teacher's probability, that of an image
      the largest over its film, 0 at least.
    """
    if not isinstance(teacher_logits, jax.Array):
        return {}
    peak = sharpening.peak(teacher_logits, weak.valid)[:, 0, 0]
    raised = (target_logits > teacher_logits).astype(jnp.float32)
    target = jax.nn.sigmoid(target_logits)
    lifts = jnp.where(weak.valid > 0, target - jax.nn.sigmoid(teacher_logits), 0.0)
    lift = jnp.max(jnp.maximum(lifts, 0.0), axis=(1, 2))
    largest = jnp.max(lift, initial=0.0)
    mean = partial(losses.global_mean, axis_name=axis_name)
    return {
        "pseudo/mean_peak": mean(jax.nn.sigmoid(peak)),
        "pseudo/share_dead": mean((peak < logit(center)).astype(jnp.float32)),
        "pseudo/share_raised_pixels": mean(losses.image_mean(raised, weak.valid)),
        "pseudo/mean_target": mean(losses.image_mean(target, weak.valid)),
        "pseudo/lift_mean": mean(lift),
        LARGEST: largest if axis_name is None else lax.pmax(largest, axis_name),
    }
