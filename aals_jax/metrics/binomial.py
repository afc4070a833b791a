"""A share of independent units, and how sure it is: Clopper and Pearson's interval."""

import numpy as np
from scipy import special

from aals_jax.metrics.intervals import Interval

METHOD = "Clopper-Pearson"


def clopper_pearson(
    share: float, number: float, *, level: float = 0.95
) -> tuple[float, float]:
    """The ends whose one-sided binomial tails are (1 - level) / 2 each.

    >>> low, high = clopper_pearson(0.0, 20)
    >>> low, round(high, 4)  # 1 - 0.025 ** (1 / 20)
    (0.0, 0.1684)

    Args:
        share: observed, 0 .. 1.
        number: of units, > 0; share x number need not be whole, as for units that are
            fewer than what was counted.
        level: coverage, 0 .. 1.

    Returns:
        low, high: never both the share itself, not at 0 and 1 either.

    Reference: Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404.
    """
    if not (0.0 <= share <= 1.0 and number > 0):
        raise ValueError(f"share={share} must be 0 .. 1 of number={number} > 0")
    hits, tail = share * number, (1 - level) / 2
    low = special.betaincinv(hits, number - hits + 1, tail) if share > 0 else 0.0
    high = special.betaincinv(hits + 1, number - hits, 1 - tail) if share < 1 else 1.0
    return float(low), float(high)


def share(hits: int, number: int, *, level: float = 0.95, reason: str = "") -> Interval:
    """hits / number with its interval; nan, with `reason`, where number is 0."""
    if not number:
        why = reason or "nothing to count"
        return Interval(np.nan, np.nan, np.nan, level=level, reason=why)
    low, high = clopper_pearson(hits / number, number, level=level)
    return Interval(hits / number, low, high, level=level, method=METHOD)
