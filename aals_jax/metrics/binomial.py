"""How sure a share of independent units is: Clopper and Pearson's interval."""

from scipy import special


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
