"""Power against simulation, closed forms, and published sample sizes."""

import numpy as np
import pytest
from scipy import special, stats

from aals_jax.metrics import delong, power
from tests.metrics.test_multireader import COV1, COV2, COV3, VARIANCE


def binormal(rng, auroc, positives, negatives, correlation=None):
    """Scores of one system, or of two whose scores are correlated."""
    shift = np.sqrt(2) * special.ndtri(np.atleast_1d(auroc))
    count = len(shift)
    label = np.repeat([True, False], [positives, negatives])
    common = np.sqrt(correlation or 0) * rng.normal(size=len(label))
    own = np.sqrt(1 - (correlation or 0)) * rng.normal(size=(count, len(label)))
    return common + own + shift[:, None] * label, label


def test_the_variance_of_hanley_and_mcneil_is_their_published_example():
    """Their worked example: AUROC 0.893 of 51 and 58 cases, standard error 0.032."""
    error = np.sqrt(power.hanley_mcneil(0.893, 51, 58))
    assert error == pytest.approx(0.032, abs=1e-3)


def test_variances_agree_with_what_binormal_scores_do():
    rng = np.random.default_rng(0)
    for auroc in (0.7, 0.85, 0.92):
        found = []
        for _ in range(1500):
            (score,), label = binormal(rng, auroc, 60, 90)
            ranks = delong.mid_ranks(score)
            found.append((ranks[label].sum() - 60 * 61 / 2) / (60 * 90))
        error = np.std(found)
        exact = np.sqrt(power.binormal(auroc, 60, 90))
        assert exact == pytest.approx(error, rel=0.06), auroc
        # of other scores, or of ratings in few levels: on the safe side here
        for name in ("hanley_mcneil", "obuchowski"):
            careful = np.sqrt(power.VARIANCES[name](auroc, 60, 90))
            assert 0.95 * error < careful < 1.45 * error, (name, auroc)


@pytest.mark.parametrize(("expected", "null"), [(0.85, 0.75), (0.75, 0.65)])
def test_power_of_an_auroc_is_that_of_a_simulation(expected, null):
    rng = np.random.default_rng(1)
    n = power.least(
        lambda k: power.auroc_power(expected, null, positives=k, negatives=k),
        power=0.8,
    )
    rejected = 0
    for _ in range(800):
        (score,), label = binormal(rng, expected, n, n)
        found = delong.auroc_interval(score, label)
        rejected += not found.low <= null <= found.high
    assert rejected / 800 == pytest.approx(0.8, abs=0.06)


def test_power_of_a_paired_difference_is_that_of_a_simulation():
    rng = np.random.default_rng(2)
    n, rejected, values = 100, 0, []
    for _ in range(600):
        scores, label = binormal(rng, (0.86, 0.78), n, n, correlation=0.5)
        difference = delong.auroc_difference(*scores, label)
        rejected += difference.p_value < 0.05
        values.append([delong.auroc_interval(s, label).value for s in scores])
    correlation = np.corrcoef(np.transpose(values))[0, 1]
    found = power.auroc_difference_power(
        0.86, 0.78, positives=n, negatives=n, correlation=correlation
    )
    assert rejected / 600 == pytest.approx(found, abs=0.06)


def test_a_margin_adds_to_the_difference():
    given = {"positives": 80, "negatives": 120, "correlation": 0.4}
    with_margin = power.auroc_difference_power(0.85, 0.85, margin=0.08, **given)
    assert 0.3 < with_margin < 0.95
    nothing = power.auroc_difference_power(0.85, 0.93, margin=0.08, **given)
    assert nothing == pytest.approx(0.025, abs=1e-9)  # the level, at the margin


@pytest.mark.parametrize(("expected", "null"), [(0.9, 0.8), (0.7, 0.85), (0.5, 0.3)])
@pytest.mark.parametrize("number", [1, 10, 47, 120])
def test_power_of_a_sensitivity_is_the_exact_sum(expected, null, number):
    tail = stats.binom.sf if expected > null else stats.binom.cdf
    total = 0.0
    for hits in range(number + 1):
        p = tail(hits - (expected > null), number, null)
        if p <= 0.025:
            total += stats.binom.pmf(hits, number, expected)
    found = power.proportion_power(expected, null, number=number)
    assert found == pytest.approx(total, abs=1e-9)


def test_the_least_number_of_an_exact_test_holds_from_there_on():
    n = power.least(lambda k: power.proportion_power(0.9, 0.8, number=k), power=0.8)
    later = [power.proportion_power(0.9, 0.8, number=k) for k in range(n, n + 60)]
    assert min(later) >= 0.8
    assert power.proportion_power(0.9, 0.8, number=n - 1) < 0.8


def test_power_of_paired_sensitivities_is_that_of_a_simulation():
    rng = np.random.default_rng(3)
    n = power.least(
        lambda k: power.paired_proportion_power(0.1, 0.2, number=k), power=0.8
    )
    z = special.ndtri(0.975)
    gained = rng.multinomial(n, [0.15, 0.05, 0.8], 4000)
    better, worse = gained[:, 0], gained[:, 1]
    statistic = (better - worse) / np.sqrt(np.maximum(better + worse, 1))
    assert np.mean(statistic > z) == pytest.approx(0.8, abs=0.03)
    # Connor's formula, turned round
    closed = (z * np.sqrt(0.2) + special.ndtri(0.8) * np.sqrt(0.19)) ** 2 / 0.01
    assert n == int(np.ceil(closed))


PILOT = power.Pilot(
    0.00020040, float(np.mean(VARIANCE)), COV1, float(np.mean(COV2)), COV3, 114
)


def test_readers_and_cases_of_the_published_example():
    """RJafroc's manual: 6 readers and 251 cases give about 80 % for the difference
    that the pilot of Van Dyke et al. had."""
    found = power.readers_power(0.04380032, PILOT, readers=6, cases=251)
    assert found == pytest.approx(0.80, abs=0.005)
    fewer = power.readers_power(0.04380032, PILOT, readers=6, cases=240)
    assert fewer < found
    fixed = power.readers_power(
        0.04380032, PILOT, readers=6, cases=251, random_readers=False
    )
    assert fixed > found


def test_power_of_readers_is_that_of_a_simulation():
    """Figures of merit drawn with the pilot's covariances, tested with known ones."""
    rng = np.random.default_rng(4)
    readers, cases, difference = 5, 180, 0.05
    scale = PILOT.cases / cases
    var, cov1, cov2, cov3 = (
        scale * c for c in (PILOT.variance, PILOT.cov1, PILOT.cov2, PILOT.cov3)
    )
    size = 4000
    # common + modality + reader + both: variances that give these covariances
    parts = cov3, cov2 - cov3, cov1 - cov3, var - cov1 - cov2 + cov3
    shapes = (1, 1), (2, 1), (1, readers), (2, readers)
    values = np.zeros((size, 2, readers))
    for part, shape in zip(parts, shapes, strict=True):
        values += np.sqrt(part) * rng.normal(size=(size, *shape))
    values += np.sqrt(PILOT.modality_reader) * rng.normal(size=(size, 2, readers))
    values[:, 1] += difference
    gap = values[:, 1] - values[:, 0]
    crossed = gap.var(axis=1, ddof=1) / 2
    error = crossed + readers * (cov2 - cov3)
    freedom = error**2 / (crossed**2 / (readers - 1))
    statistic = gap.mean(axis=1) ** 2 * readers / 2 / error
    rejected = np.mean(special.fdtrc(1, freedom, statistic) < 0.05)
    found = power.readers_power(difference, PILOT, readers=readers, cases=cases)
    assert rejected == pytest.approx(found, abs=0.03)


def test_laws():
    for number in (10, 100, 1000):
        at_null = power.paired_proportion_power(1e-9, 0.2, number=number)
        assert at_null == pytest.approx(0.025, abs=1e-6)
    sizes = [20, 40, 80, 160]
    rising = [power.auroc_power(0.85, 0.75, positives=n, negatives=n) for n in sizes]
    assert np.all(np.diff(rising) > 0)
    stricter = power.auroc_power(0.85, 0.75, positives=80, negatives=80, alpha=0.01)
    assert stricter < rising[2]
    given = {"positives": 90, "negatives": 90, "correlation": 0.5}
    there = power.auroc_difference_power(0.85, 0.78, **given)
    assert power.auroc_difference_power(0.78, 0.85, **given) == pytest.approx(there)
    falls = dict.fromkeys(range(50, 10**4), 0.9) | {55: 0.79, 58: 0.7}
    assert power.least(lambda k: falls.get(k, 0.1), power=0.8) == 59
    with pytest.raises(ValueError, match="not reached"):
        power.least(lambda k: 0.1, power=0.8)
    with pytest.raises(ValueError, match="above 0"):
        power.least(lambda k: 0.9, power=1.0)
