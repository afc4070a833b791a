"""Adaptive asymmetric label sharpening (AALS): the paper's equation, in one line.

Then the operators that it is compared with, and two other places for its center t.

Reference: Wang et al., Knowledge Distillation with Adaptive Asymmetric Label Sharpening
for Semi-supervised Fracture Detection in Chest X-rays, IPMI 2021, arXiv 2012.15359.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import logit

from aals_jax.method import losses

# A logit that is as good as infinite and still finite: in float32, sigmoid(HARD) is
# exactly 1, and sigmoid(-HARD) is so small that adding it to 1 leaves 1.
HARD = 100.0


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

    Training calls `sharpen_above`, where each image may have its own t.

    Args:
      logits: f32[B, H, W], the teacher's logits z.
      max_strength: a0 >= 1; 1 is plain distillation.
      center: t in (0, 1); below 0.5 the sharpening is asymmetric.
      valid: f32[B, H, W], 1 where the peak may lie (film), 0 on padding; None: all.

    Returns:
      f32[B, H, W], the target's logits, never below `logits`.

    >>> teacher = logit(jnp.array([[[0.1, 0.3, 0.5, 0.6]]]))
    >>> target = jax.nn.sigmoid(sharpen(teacher, max_strength=4.0, center=0.4))
    >>> [round(float(p), 2) for p in target.ravel()]
    [0.1, 0.3, 0.62, 0.8]
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
    """`sharpen` with logit(t) given.

    Args:
      logits: f32[B, H, W], the teacher's logits.
      center_logit: logit(t), f32[] or one for each image, f32[B, 1, 1].
      max_strength: a0 >= 1.
      valid: f32[B, H, W], as in `sharpen`.

    Returns:
      f32[B, H, W], the target's logits, never below `logits`.
    """
    # sigmoid(-z) = 1 - y' keeps its relative precision when y' is near 1
    extra = (max_strength - 1.0) * jax.nn.sigmoid(-peak(logits, valid))
    return logits + extra * jax.nn.relu(logits - center_logit)


@jax.jit
def sharpen_asymmetric(
    logits: jax.Array, *, strength: jax.Array | float, center: jax.Array | float
) -> jax.Array:
    """AALS without "adaptive": max(expit(a logit(y') + (1 - a) logit(t)), y').

    Args:
      logits: f32[B, H, W], the teacher's logits.
      strength: a >= 1, the same for every image; 1 is the identity.
      center: t in (0, 1).

    Returns:
      f32[B, H, W], the target's logits, never below `logits`.
    """
    return logits + (strength - 1.0) * jax.nn.relu(logits - logit(center))


@jax.jit
def sharpen_temperature(logits: jax.Array, *, strength: jax.Array | float) -> jax.Array:
    """expit(a logit(y')): symmetric about one half, a temperature of 1 / a.

    Args:
      logits: f32[B, H, W], the teacher's logits.
      strength: a > 0; 1 is the identity.

    Returns:
      f32[B, H, W], the target's logits.
    """
    return strength * logits


def harden(logits: jax.Array) -> jax.Array:
    """1 where y' >= 1/2, else 0, as logits HARD and -HARD.

    Args:
      logits: f32[B, H, W], the teacher's logits.

    Returns:
      f32[B, H, W], the target's logits.

    >>> harden(jnp.array([[[-2.0, 0.0, 0.1]]])).tolist()
    [[[-100.0, 100.0, 100.0]]]
    """
    return jnp.where(logits >= 0.0, HARD, -HARD)


def peak(logits: jax.Array, valid: jax.Array | None = None) -> jax.Array:
    """The highest logit of each map.

    Args:
      logits: f32[B, H, W].
      valid: f32[B, H, W], 1 on film, where alone the peak may lie; None: anywhere.

    Returns:
      f32[B, 1, 1]; -inf for an image without film.
    """
    candidates = logits if valid is None else jnp.where(valid > 0, logits, -jnp.inf)
    return jnp.max(candidates, axis=(1, 2), keepdims=True)


def alive_center(
    logits: jax.Array, valid: jax.Array, *, center_logit: jax.Array, share: float
) -> jax.Array:
    """A center that leaves no image in the dead zone. Ours.

    An image whose peak is below t gets no help, though it is known to be positive: here
    its t becomes `share` times its peak. The other images keep theirs.

    Args:
      logits: f32[B, H, W], the teacher's logits.
      valid: f32[B, H, W], 1 on film.
      center_logit: logit(t), f32[].
      share: in (0, 1).

    Returns:
      f32[B, 1, 1], logit(t) of each image.
    """
    highest = peak(logits, valid)
    log_center = jnp.log(share) + jax.nn.log_sigmoid(highest)
    moved = log_center - jnp.log1p(-jnp.exp(log_center))  # logit t
    dead = (highest < center_logit) & jnp.isfinite(highest)  # no film, no peak
    return jnp.where(dead, moved, center_logit)


def top_center(
    logits: jax.Array,
    valid: jax.Array,
    lesions: jax.Array,
    *,
    center_logit: jax.Array,
    lesion_area: float,
) -> jax.Array:
    """A center that the top pixels exceed, as many as the image's lesions cover. Ours.

    With n lesions and m pixels of film, ceil(n `lesion_area` m) pixels count as top:
    at least one, and never all.

    Args:
      logits: f32[B, H, W], the teacher's logits.
      valid: f32[B, H, W], 1 on film.
      lesions: i32[B], how many the record names; below 1, `center_logit` stays.
      center_logit: logit(t), f32[] or f32[B, 1, 1].
      lesion_area: > 0, of one lesion, as a share of the film.

    Returns:
      f32[B, 1, 1], logit(t) of each image: the highest logit that is not among the top.
    """
    pixels = jnp.sum(valid, axis=(1, 2))
    count = jnp.ceil(lesions * lesion_area * pixels).astype(jnp.int32)
    # at least one pixel is above it and at least one on film is not
    index = jnp.clip(count, 1, jnp.maximum(pixels.astype(jnp.int32) - 1, 1))
    next_logit = _ranked(logits, valid, index)
    is_known = (lesions >= 1)[:, None, None] & jnp.isfinite(next_logit)
    return jnp.where(is_known, next_logit, center_logit)


def top_region(logits: jax.Array, valid: jax.Array, *, share: float) -> jax.Array:
    """The confidence region of Dense Teacher: a map's top pixels; the rest becomes 0.

    Of m pixels of film the region has the ceil(`share` m) with the highest score, and
    whatever ties with the last of them. Here the score is the map's one channel, and
    each image has a region of its own.

    Args:
      logits: f32[B, H, W], the teacher's.
      valid: f32[B, H, W], 1 on film, where alone the region may lie.
      share: in (0, 1], of the film; 1 changes nothing on film.

    Returns:
      f32[B, H, W], the target's logits: `logits` within the region, elsewhere
      losses.OFF, the logit of 0.

    Reference: Zhou et al., Dense Teacher, ECCV 2022.
    """
    pixels = jnp.sum(valid, axis=(1, 2))
    count = jnp.ceil(share * pixels).astype(jnp.int32)
    last = _ranked(logits, valid, jnp.maximum(count - 1, 0))
    return jnp.where((logits >= last) & (valid > 0), logits, losses.OFF)


def _ranked(logits: jax.Array, valid: jax.Array, index: jax.Array) -> jax.Array:
    """The logit at a rank among those on film, 0 the highest: i32[B] -> f32[B, 1, 1].

    -inf at a rank that the film does not have.
    """
    film = jnp.where(valid > 0, logits, -jnp.inf).reshape(len(logits), -1)
    descending = -jnp.sort(-film, axis=1)
    return jnp.take_along_axis(descending, index[:, None], axis=1)[:, :, None]
