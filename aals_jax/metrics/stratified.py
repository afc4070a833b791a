"""Shares and their intervals from a stratified random sample, as of labels judged.

Of stratum h, N_h images are known and n_h were judged, drawn at random. An estimate
weighs each judged image by N_h / n_h. Its interval joins the Clopper-Pearson intervals
of the strata by melding: with x of n hits, the lower limit of a stratum's share has the
confidence distribution Beta(x, n - x + 1), the upper one Beta(x + 1, n - x), and the
limits of a function of several shares are the quantiles alpha / 2 and 1 - alpha / 2 of
that function, each share drawn from the distribution which makes it least, or greatest.
With one stratum this is Clopper-Pearson's interval. A stratum with 0 or n hits still
has a width, and one without any judged image counts with all that it may hold. The
strata are taken for infinite, so intervals are a little wide where most of a stratum
was judged.

References:
    M. Fay, M. Proschan, E. Brittain, Combining one-sample confidence procedures for
    inference in the two-sample case, Biometrics 71 (2015).
    C. Clopper, E. Pearson, The use of confidence or fiducial limits illustrated in the
    case of the binomial, Biometrika 26 (1934).
"""

import dataclasses
import functools

import numpy as np
from scipy import special

from aals_jax.metrics.intervals import Interval

METHOD = "Clopper-Pearson in each stratum, melded"
_DRAWS = 20_000  # of each confidence distribution


@dataclasses.dataclass(frozen=True)
class Strata:
    """The judged images of all strata, by what was found."""

    images: np.ndarray  # i64[h], N_h
    judged: np.ndarray  # i64[h], n_h, those that could not be decided among them
    hits: np.ndarray  # i64[h], of which are hits
    undecided: np.ndarray  # i64[h], of which could not be decided

    def __post_init__(self):
        if not (self.hits + self.undecided <= self.judged).all():
            raise ValueError("more hits and undecided images than were judged")
        if not (self.judged <= self.images).all():
            raise ValueError("more images were judged than there are")


def total(strata: Strata, part: np.ndarray, *, level: float = 0.95) -> Interval:
    """How many images of some strata are hits.

    Args:
        strata: of one finding.
        part: bool[h], the strata that are meant.
        level: coverage, 0 .. 1.

    Returns:
        sum_h N_h x_h / n_h; strata without a judged image are in the interval alone.
    """
    size, hits, judged = (a[part] for a in (strata.images, strata.hits, strata.judged))
    low, high = _draw(hits, judged)
    value = float(np.sum(size * _share(hits, judged)))
    reason = "" if judged.any() else "no image was judged"
    return _interval(value, low @ size, high @ size, level=level, reason=reason)


def precision(strata: Strata, part: np.ndarray, *, level: float = 0.95) -> Interval:
    """The share of hits among the decidable images of some strata.

    How many can be decided is drawn from Jeffreys' posterior, as it shifts the weights
    of the strata only: with one stratum, or none undecided, it hardly counts.

    Args:
        strata: of one finding.
        part: bool[h], the strata that are meant.
        level: coverage, 0 .. 1.
    """
    if not part.any():
        return _nothing(level)
    size, hits = strata.images[part], strata.hits[part]
    judged, undecided = strata.judged[part], strata.undecided[part]
    decided = judged - undecided
    low, high = _draw(hits, decided)
    weight = size * _spread(decided + 0.5, undecided + 0.5, salt=1)
    whole = weight.sum(1)
    sums = np.sum(size * _share(hits, judged)), np.sum(size * _share(decided, judged))
    return _interval(
        float(sums[0] / sums[1]) if sums[1] else np.nan,
        np.sum(weight * low, 1) / whole,
        np.sum(weight * high, 1) / whole,
        level=level,
        reason="" if sums[1] else "no image was decided",
    )


def recall(strata: Strata, part: np.ndarray, *, level: float = 0.95) -> Interval:
    """The share of all hits, of any stratum, that is in some strata.

    Args:
        strata: of one finding, all of them.
        part: bool[h], the strata that are meant.
        level: coverage, 0 .. 1.
    """
    if not part.any():
        return _nothing(level)
    low, high = _draw(strata.hits, strata.judged)
    inner, outer = strata.images * part, strata.images * ~part
    found = strata.images * _share(strata.hits, strata.judged)
    return _interval(
        float(found[part].sum() / found.sum()) if found.any() else np.nan,
        _ratio(low @ inner, high @ outer, empty=0.0),
        _ratio(high @ inner, low @ outer, empty=1.0),
        level=level,
        reason="" if found.any() else "no judged image is a hit",
    )


def _ratio(inner: np.ndarray, outer: np.ndarray, *, empty: float) -> np.ndarray:
    both = inner + outer
    return np.divide(inner, both, out=np.full_like(both, empty), where=both > 0)


def _share(hits: np.ndarray, number: np.ndarray) -> np.ndarray:
    """x / n, 0 where n is 0."""
    return hits / np.maximum(number, 1)


def _draw(hits: np.ndarray, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Confidence distributions of the lower and upper limits, f64[draws, h] each."""
    return (
        _spread(hits, number - hits + 1, salt=0),
        _spread(hits + 1, number - hits, salt=0),
    )


def _spread(a: np.ndarray, b: np.ndarray, *, salt: int) -> np.ndarray:
    """Beta(a, b), f64[draws, h]: equal steps of probability in an order of each column.

    So one column alone has exact quantiles, and several are independent. Equal
    arguments give equal draws.
    """
    columns = [
        _quantiles(float(a[h]), float(b[h]), _DRAWS)[_order(salt, h, _DRAWS)]
        for h in range(len(a))
    ]
    return np.stack(columns, 1) if columns else np.zeros((_DRAWS, 0))


@functools.lru_cache(4096)
def _quantiles(a: float, b: float, number: int) -> np.ndarray:
    """Ascending quantiles of Beta(a, b); all mass at 0 for a = 0, at 1 for b = 0."""
    if a == 0 or b == 0:
        return np.full(number, float(b == 0))
    return special.betaincinv(a, b, (np.arange(number) + 0.5) / number)


@functools.lru_cache(256)
def _order(salt: int, column: int, number: int) -> np.ndarray:
    return np.random.default_rng([salt, column]).permutation(number)


def _nothing(level: float) -> Interval:
    reason = "no image has this label"
    return Interval(np.nan, np.nan, np.nan, level=level, method=METHOD, reason=reason)


def _interval(
    value: float, low: np.ndarray, high: np.ndarray, *, level: float, reason: str
) -> Interval:
    """Quantiles of the draws of both limits."""
    return Interval(
        value=np.nan if reason else value,
        low=float(np.quantile(low, (1 - level) / 2)),
        high=float(np.quantile(high, (1 + level) / 2)),
        level=level,
        method=METHOD,
        reason=reason,
    )
