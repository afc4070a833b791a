"""Adaptive asymmetric label sharpening (AALS): the paper's equation, in one line.

Then what it is compared with, and where else its center t may lie.

Reference: Wang et al., Knowledge Distillation with Adaptive Asymmetric Label Sharpening
for Semi-supervised Fracture Detection in Chest X-rays, IPMI 2021, arXiv 2012.15359.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import logit

HARD = 100.0  # its sigmoid is 1 in float32, that of -HARD so small that 1 + it is 1


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
    return sharpen_above(logits, logit(center), max_strength=max_strength, valid=valid)


@jax.jit
def sharpen_above(
    logits: jax.Array,
    center_logit: jax.Array,
    *,
    max_strength: jax.Array | float,
    valid: jax.Array | None = None,
) -> jax.Array:
    """`sharpen` with logit(t) given: f32[], or f32[B, 1, 1], one for each image."""
    # sigmoid(-z) = 1 - y' keeps its relative precision when y' is near 1
    extra = (max_strength - 1.0) * jax.nn.sigmoid(-peak(logits, valid))
    return logits + extra * jax.nn.relu(logits - center_logit)


@jax.jit
def sharpen_asymmetric(
    logits: jax.Array, *, strength: jax.Array | float, center: jax.Array | float
) -> jax.Array:
    """AALS without "adaptive": the strength a >= 1 is the same for every image."""
    return logits + (strength - 1.0) * jax.nn.relu(logits - logit(center))


@jax.jit
def sharpen_temperature(logits: jax.Array, *, strength: jax.Array | float) -> jax.Array:
    """Symmetric about one half: expit(a logit(y')), a temperature of 1 / a."""
    return strength * logits


def harden(logits: jax.Array) -> jax.Array:
    """1 where y' >= 1/2, else 0, as logits that are finite and float32 takes for it."""
    return jnp.where(logits >= 0.0, HARD, -HARD)


def peak(logits: jax.Array, valid: jax.Array | None = None) -> jax.Array:
    """The highest logit of each map, over film: f32[B, 1, 1]; without film -inf."""
    candidates = logits if valid is None else jnp.where(valid > 0, logits, -jnp.inf)
    return jnp.max(candidates, axis=(1, 2), keepdims=True)


def alive_center(
    logits: jax.Array, valid: jax.Array, *, center: jax.Array, share: float
) -> jax.Array:
    """logit(t) for which no image is in the dead zone: f32[B, 1, 1]. Ours.

    An image whose peak is below t gets no help, though it is known to be positive:
    here its t becomes `share`, in (0, 1), of its peak. The others keep `center`, which
    is logit(t).
    """
    highest = peak(logits, valid)
    moved = jnp.log(share) + jax.nn.log_sigmoid(highest)  # log t
    moved = moved - jnp.log1p(-jnp.exp(moved))  # logit t
    dead = (highest < center) & jnp.isfinite(highest)  # no film, no peak
    return jnp.where(dead, moved, center)


def top_center(
    logits: jax.Array,
    valid: jax.Array,
    lesions: jax.Array,
    *,
    center: jax.Array,
    lesion_area: float,
) -> jax.Array:
    """logit(t) above which lie as many pixels as the record's lesions take. Ours.

    Args:
      logits: f32[B, H, W].
      valid: f32[B, H, W], 1 on film.
      lesions: i32[B], how many the record names; where below 1, `center` stands.
      center: f32[] or f32[B, 1, 1], in logits.
      lesion_area: of one lesion, as a share of the film.

    Returns:
      f32[B, 1, 1]: the logit of the first pixel that is not among the top ones.
    """
    pixels = jnp.sum(valid, axis=(1, 2))
    count = jnp.ceil(lesions * lesion_area * pixels).astype(jnp.int32)
    film = jnp.where(valid > 0, logits, -jnp.inf).reshape(len(logits), -1)
    descending = -jnp.sort(-film, axis=1)
    # at least one pixel is above it and at least one on film is not
    index = jnp.clip(count, 1, jnp.maximum(pixels.astype(jnp.int32) - 1, 1))
    chosen = jnp.take_along_axis(descending, index[:, None], axis=1)[:, :, None]
    named = (lesions >= 1)[:, None, None] & jnp.isfinite(chosen)
    return jnp.where(named, chosen, center)
