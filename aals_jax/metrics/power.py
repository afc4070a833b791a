"""How many cases, and readers, a planned study needs: power of its test.

Every function gives the power of a two-sided test at `alpha`; `least` turns one around.
With a margin it is the test of non-inferiority at alpha / 2, one-sided. Numbers are of
independent units: with several images a patient, multiply by the design effect.

References:
    Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747: the variance of AUROC.
    Obuchowski and McClish 1997,
    doi:10.1002/(SICI)1097-0258(19970715)16:13<1529::AID-SIM565>3.0.CO;2-H: the same of
    binormal ratings.
    Connor 1987, doi:10.2307/2531961: paired proportions.
    Hillis, Obuchowski and Berbaum 2011, doi:10.1016/j.acra.2010.09.007: readers.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy import special

MOST = 1_000_000  # units beyond which no study is looked for


def hanley_mcneil(auroc: float, positives: float, negatives: float) -> float:
    """The variance of an AUROC, from its size and the counts alone.

    Args:
        auroc: above 0 and below 1.
        positives, negatives: >= 1, whole or not.
    """
    first, second = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    more = (positives - 1) * (first - auroc**2) + (negatives - 1) * (second - auroc**2)
    return (auroc * (1 - auroc) + more) / (positives * negatives)


def obuchowski(auroc: float, positives: float, negatives: float) -> float:
    """The variance of an AUROC of binormal ratings; larger than Hanley and McNeil's at
    high AUROCs, where theirs is too small for ratings of few levels.

    Args:
        auroc, positives, negatives: as in `hanley_mcneil`; auroc >= 0.5.
    """
    a = float(special.ndtri(auroc)) * 1.414
    ratio = negatives / positives
    spread = (5 * a**2 + 8) + (a**2 + 8) / ratio
    return 0.0099 * np.exp(-(a**2) / 2) * spread / positives


def binormal(auroc: float, positives: float, negatives: float) -> float:
    """The variance of an AUROC of normal scores that spread alike in both classes.

    Exact for these. With h = Phi^-1(A), two positives beat one negative, and one
    positive beats two negatives, with probability Phi(h) - 2 T(h, 1 / sqrt(3)), of
    Owen's T.

    Args:
        auroc, positives, negatives: as in `hanley_mcneil`.
    """
    h = float(special.ndtri(auroc))
    both = auroc - 2 * float(special.owens_t(h, 3**-0.5))
    more = (positives + negatives - 2) * (both - auroc**2)
    return (auroc * (1 - auroc) + more) / (positives * negatives)


VARIANCES: dict[str, Callable[[float, float, float], float]] = {
    "hanley_mcneil": hanley_mcneil,
    "obuchowski": obuchowski,
    "binormal": binormal,
}


def auroc_power(
    expected: float,
    null: float,
    *,
    positives: float,
    negatives: float,
    alpha: float = 0.05,
    variance: str = "hanley_mcneil",
) -> float:
    """Power of the test that an AUROC is `null` when it is `expected`.

    Args:
        expected, null: above 0 and below 1.
        positives, negatives: >= 1.
        alpha: of the two-sided test.
        variance: one of VARIANCES.
    """
    at = VARIANCES[variance]
    threshold = special.ndtri(1 - alpha / 2) * np.sqrt(at(null, positives, negatives))
    error = np.sqrt(at(expected, positives, negatives))
    return float(special.ndtr((abs(expected - null) - threshold) / error))


def auroc_difference_power(
    first: float,
    second: float,
    *,
    positives: float,
    negatives: float,
    correlation: float,
    margin: float = 0.0,
    alpha: float = 0.05,
    variance: str = "hanley_mcneil",
) -> float:
    """Power of the paired test of two AUROCs on the same cases.

    Args:
        first, second: expected AUROCs.
        positives, negatives: >= 1.
        correlation: of the two estimates, 0 .. 1; 0.3 to 0.6 is usual on shared cases.
        margin: 0: the test that they are equal; above 0: that the first is not worse
            by as much.
        alpha, variance: as in `auroc_power`.
    """
    parts = [VARIANCES[variance](a, positives, negatives) for a in (first, second)]
    total = sum(parts) - 2 * correlation * np.sqrt(parts[0] * parts[1])
    gap = first - second + margin if margin else abs(first - second)
    z = float(special.ndtri(1 - alpha / 2))
    return float(special.ndtr(gap / np.sqrt(total) - z))


def proportion_power(
    expected: float, null: float, *, number: int, alpha: float = 0.05
) -> float:
    """Power of the exact binomial test that a sensitivity (or another share) is `null`.

    It is rejected where a tail of Binomial(number, null) is alpha / 2 or less; the
    other tail's few rejections do not count.

    Args:
        expected, null: 0 .. 1, different.
        number: of positives (negatives for a specificity), >= 1.
        alpha: of the two-sided test.
    """
    below, above = (null, expected) if expected > null else (1 - null, 1 - expected)
    hits = np.arange(number + 1)
    tail = 1 - special.bdtr(np.maximum(hits - 1, 0), number, below)  # P(X >= hits)
    tail[0] = 1.0
    enough = np.flatnonzero(tail <= alpha / 2 + 1e-15)
    if not len(enough):
        return 0.0
    return float(1 - special.bdtr(enough[0] - 1, number, above))


def paired_proportion_power(
    difference: float, discordant: float, *, number: float, alpha: float = 0.05
) -> float:
    """Power of McNemar's test for two sensitivities on the same positives.

    Args:
        difference: of the two, not 0.
        discordant: share of positives that one of both calls and the other not; at
            least |difference|, and at most 1.
        number: of positives.
        alpha: of the two-sided test.
    """
    gap = abs(difference)
    z = float(special.ndtri(1 - alpha / 2))
    left = np.sqrt(max(discordant - gap**2, 1e-300))
    reached = gap * np.sqrt(number) - z * np.sqrt(discordant)
    return float(special.ndtr(reached / left))


@dataclasses.dataclass(frozen=True)
class Pilot:
    """Obuchowski and Rockette's components, of a pilot study or the literature."""

    modality_reader: float  # variance of modality x reader, >= 0
    variance: float  # of one reading's figure of merit, over the cases
    cov1: float
    cov2: float
    cov3: float
    cases: float  # of the pilot, which the four above are of


def readers_power(
    difference: float,
    pilot: Pilot,
    *,
    readers: int,
    cases: float,
    alpha: float = 0.05,
    random_readers: bool = True,
) -> float:
    """Power of the comparison of two modalities by several readers, fully crossed.

    Args:
        difference: of the modalities' mean figures of merit.
        pilot: components; those over cases are scaled by pilot.cases / cases.
        readers: >= 2, or >= 1 with fixed readers.
        cases: of the study, with the pilot's share of positives.
        alpha: of the two-sided test.
        random_readers: False: the result is to hold for these readers alone.
    """
    scale = pilot.cases / cases
    shared = max(pilot.cov2 - pilot.cov3, 0.0)
    own = pilot.variance - pilot.cov1
    over_cases = scale * (own + (readers - 1) * shared)
    if not random_readers:
        error = np.sqrt(2 / readers * over_cases)
        z = float(special.ndtri(1 - alpha / 2))
        return float(special.ndtr(abs(difference) / error - z))
    total = max(pilot.modality_reader, 0.0) + over_cases
    crossed = max(pilot.modality_reader, 0.0) + scale * (own - shared)
    freedom = total**2 / (crossed**2 / (readers - 1))
    shift = readers * difference**2 / 2 / total
    limit = special.fdtri(1, freedom, 1 - alpha)
    return float(1 - special.ncfdtr(1, freedom, shift, limit))


def least(power_at: Callable[[int], float], *, power: float, start: int = 2) -> int:
    """The least number from which on the power is reached.

    Power that rises and falls a little, as of exact tests, is followed to the last
    number at which it is not reached.

    Args:
        power_at: number -> power, rising but for small falls.
        power: wanted, above 0 and below 1.
        start: least number that makes sense.

    Raises:
        ValueError: not reached with MOST.
    """
    if not 0 < power < 1:
        raise ValueError(f"power={power} must be above 0 and below 1")
    low, high = start - 1, start
    while power_at(high) < power:
        low, high = high, 2 * high
        if high > MOST:
            raise ValueError(f"a power of {power:g} is not reached with {MOST:,} units")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_at(middle) >= power else (middle, high)
    # an exact test's power falls where its critical value steps; look a little further
    ahead = range(high, high + max(20, high // 10))
    missed = [n for n in ahead if power_at(n) < power]
    return missed[-1] + 1 if missed else high
