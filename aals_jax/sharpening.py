"""Adaptive asymmetric label sharpening (AALS): the paper's equation, in one line.

Reference: Wang et al., Knowledge Distillation with Adaptive Asymmetric Label Sharpening
for Semi-supervised Fracture Detection in Chest X-rays, IPMI 2021, arXiv 2012.15359.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import logit


@jax.jit
def sharpen(
    logits: jax.Array,
    *,
    max_strength: jax.Array | float,
    center: jax.Array | float,
    valid: jax.Array | None = None,
) -> jax.Array:
    r"""Sharpens a teacher's maps, each by the confidence of its own peak.

    With the teacher's probabilities y', their maximum over the map y'max, a0 =
    `max_strength` and t = `center`, the paper's target is

        a      = a0 - (a0 - 1) y'max
        S(y')  = expit(a logit(y') + (1 - a) logit(t))
        target = max(S(y'), y')

    Since a >= 1, S(y') >= y' exactly where y' >= t. In logits z the target is therefore

        z + (a - 1) relu(z - logit(t)),    a - 1 = (a0 - 1) (1 - y'max)

    which needs no clipping and is exact where the operator is the identity: at or below
    t, at a0 = 1, and for an image whose peak is 1.

    Args:
      logits: f32[B, H, W], the teacher's logits z.
      max_strength: a0 >= 1; 1 is plain distillation.
      center: t in (0, 1); below 0.5 the sharpening is asymmetric.
      valid: f32[B, H, W], 1 where the peak may lie (film), 0 on padding; None: all.

    Returns:
      f32[B, H, W], the target's logits, never below `logits`.
    """
    candidates = logits if valid is None else jnp.where(valid > 0, logits, -jnp.inf)
    peak = jnp.max(candidates, axis=(1, 2), keepdims=True)
    # sigmoid(-z) = 1 - y' keeps its relative precision when y' is near 1
    extra = (max_strength - 1.0) * jax.nn.sigmoid(-peak)
    return logits + extra * jax.nn.relu(logits - logit(center))
