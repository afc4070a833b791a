"""Several readers and cases: published results, two ways of computing, simulation."""

import dataclasses

import numpy as np
import pytest

from aals_jax.metrics import delong, multireader, reader_study, roc

# The example of Van Dyke et al.: 2 modalities, 5 readers, 69 + 45 cases, trapezoidal
# AUCs and jackknife covariances, as the OR-DBM MRMC software (2.5 and 2.51, University
# of Iowa) and RJafroc 1.2.0 print them. The ratings themselves are not needed.
AUC = np.array(
    [
        [0.91964573, 0.85877617, 0.90386473, 0.97310789, 0.82979066],
        [0.94782609, 0.90531401, 0.92173913, 0.99935588, 0.92995169],
    ]
)
VARIANCE = (0.00101410, 0.00059047)  # of each modality
COV1, COV2, COV3 = 0.00034661, (0.00048396, 0.00020419), 0.00023903
DBM = {"tc": 0.01197530, "rc": 0.01226473, "trc": 0.03997160, "c": 0.02724923}


def published_covariance():
    found = np.full((2, 5, 2, 5), COV3)
    for j in range(5):
        found[0, j, 1, j] = found[1, j, 0, j] = COV1
    for i in (0, 1):
        found[i, :, i, :] = COV2[i]
        for j in range(5):
            found[i, j, i, j] = VARIANCE[i]
    return found


def analyses():
    return {a.name: a for a in multireader.analyse(AUC, published_covariance())}


def test_components_are_the_means_that_were_published():
    found = multireader.components(published_covariance())
    assert found.variance == pytest.approx(0.00080229, abs=1e-8)
    assert found.cov2 == pytest.approx(0.00034407, abs=1e-8)
    # Hillis' conversion to the components of Dorfman, Berbaum and Metz, 114 cases
    assert 114 * found.cov3 == pytest.approx(DBM["c"], rel=1e-4)
    assert 114 * (found.cov1 - found.cov3) == pytest.approx(DBM["rc"], rel=1e-4)
    assert 114 * (found.cov2 - found.cov3) == pytest.approx(DBM["tc"], rel=1e-4)
    crossed = reader_study.modality_reader(AUC, published_covariance())
    assert crossed == pytest.approx(0.00020040, abs=2e-8)
    left = found.variance - found.cov1 - found.cov2 + found.cov3
    assert 114 * left == pytest.approx(DBM["trc"], rel=1e-4)


@pytest.mark.parametrize(
    ("name", "statistic", "error_df", "p_value", "error", "ends"),
    [
        ("random_readers_random_cases", 4.46, 15.26, 0.0517, 0.02075,
         (-0.08796, 0.00036)),
        ("fixed_readers_random_cases", 5.47595, np.inf, 0.0193, 0.01872,
         (-0.08049, -0.00711)),
        ("random_readers_fixed_cases", 8.70, 4.0, 0.0420, 0.01485,
         (-0.08502, -0.00258)),
    ],
)  # fmt: skip
def test_published_tests_and_differences(
    name, statistic, error_df, p_value, error, ends
):
    found = analyses()[name]
    assert found.test.statistic == pytest.approx(statistic, abs=6e-3)
    assert found.test.error_df == pytest.approx(error_df, abs=6e-3)
    assert found.test.p_value == pytest.approx(p_value, abs=6e-5)
    difference = found.differences[0, 1]
    assert difference.value == pytest.approx(-0.04380032, abs=1e-8)
    assert (difference.low, difference.high) == pytest.approx(ends, abs=6e-6)
    assert difference.p_value == pytest.approx(p_value, abs=6e-5)
    assert abs(difference.value) / np.sqrt(statistic) == pytest.approx(error, abs=3e-5)


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("random_readers_random_cases",
         (0.82522360, 0.96885048), (0.89413783, 0.98753689)),
        ("fixed_readers_random_cases",
         (0.84943008, 0.94464399), (0.90795637, 0.97371835)),
        ("random_readers_fixed_cases",
         (0.82809808, 0.96597599), (0.89598936, 0.98568536)),
    ],
)  # fmt: skip
def test_published_intervals_of_each_modality(name, first, second):
    for interval, ends in zip(
        analyses()[name].modalities, (first, second), strict=True
    ):
        assert (interval.low, interval.high) == pytest.approx(ends, abs=2e-6)
    means = [interval.value for interval in analyses()[name].modalities]
    assert means == pytest.approx([0.89703704, 0.94083736], abs=1e-8)


def study(seed, *, modalities=2, readers=4, cases=40, better=0.0, spread=0.3):
    """Scores f64[I, J, n] with variance of readers, cases and their crossings."""
    rng = np.random.default_rng(seed)
    label = np.arange(cases) % 2 == 0
    shape = (modalities, readers, cases)
    score = rng.normal(size=shape) + rng.normal(size=cases)
    score += rng.normal(size=(1, readers, cases)) * 0.5
    score += rng.normal(size=(modalities, 1, cases)) * 0.5
    gain = 1.5 + spread * rng.normal(size=(1, readers, 1))
    gain = gain + 0.2 * rng.normal(size=(modalities, readers, 1))
    gain[1:] += better
    return score + gain * label, label


def measured(score, label, patient=None):
    patient = np.arange(len(label)) if patient is None else patient

    def statistic(row):
        return lambda weights: roc.auroc(row, label, weights=weights)

    values = np.array([[float(roc.auroc(row, label)) for row in m] for m in score])
    without = np.array(
        [[multireader.jackknife(statistic(row), patient) for row in m] for m in score]
    )
    return values, without


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", [(2, 3), (3, 4)])
def test_both_methods_are_one(shape, seed):
    score, label = study(seed, modalities=shape[0], readers=shape[1], better=0.4)
    values, without = measured(score, label)
    first = multireader.analyse(values, multireader.covariance(without))[0].test
    second = multireader.pseudovalue_test(values, without)
    for field in dataclasses.fields(first):
        pair = [getattr(test, field.name) for test in (first, second)]
        assert pair[0] == pytest.approx(pair[1]), field.name


def test_the_jackknife_leaves_patients_out_one_by_one():
    score, label = study(0)
    patient = np.arange(40) // 4
    row = score[0, 0]
    found = multireader.jackknife(lambda w: roc.auroc(row, label, weights=w), patient)
    for k in range(10):
        kept = patient != k
        assert found[k] == pytest.approx(float(roc.auroc(row[kept], label[kept])))


def test_one_reader_and_two_modalities_is_the_paired_test_of_delong():
    """Up to the jackknife's factor: with fixed readers both are normal."""
    score, label = study(3, readers=1, cases=400, better=0.3)
    values, without = measured(score, label)
    found = multireader.analyse(values, multireader.covariance(without))
    closed = delong.auroc_difference(score[0, 0], score[1, 0], label)
    difference = found[1].differences[0, 1]
    assert difference.value == pytest.approx(closed.value)
    assert difference.high == pytest.approx(closed.high, abs=2e-4)
    assert found[0].reason and found[2].reason and found[0].test is None


def test_readers_and_modalities_may_come_in_any_order():
    score, label = study(7, modalities=3, better=0.5)
    values, without = measured(score, label)
    covariance = multireader.covariance(without)
    first = multireader.analyse(values, covariance)[0]
    turned = np.ix_([2, 0, 1], [3, 1, 0, 2], [2, 0, 1], [3, 1, 0, 2])
    second = multireader.analyse(
        values[np.ix_([2, 0, 1], [3, 1, 0, 2])], covariance[turned]
    )[0]
    assert first.test.p_value == pytest.approx(second.test.p_value)
    assert first.differences[0, 2].value == pytest.approx(
        -second.differences[0, 1].value
    )


def test_identical_modalities_have_no_difference_and_no_certainty():
    score, label = study(1)
    score[1] = score[0]
    values, without = measured(score, label)
    found = multireader.analyse(values, multireader.covariance(without))
    for analysis in found:
        difference = analysis.differences[0, 1]
        assert difference.value == 0 and np.isnan(difference.low)
        assert "variance is 0" in difference.reason


def test_the_test_holds_its_level_and_the_intervals_cover():
    """300 studies of 5 readers and 60 cases without a difference of modalities."""
    rejected = covered = 0
    for seed in range(300):
        values, without = measured(*study(seed, readers=5, cases=60))
        found = multireader.analyse(values, multireader.covariance(without))[0]
        rejected += found.test.p_value < 0.05
        difference = found.differences[0, 1]
        covered += difference.low <= 0 <= difference.high
    assert 4 <= rejected <= 25  # 1.3 % to 8.3 %
    assert covered == 300 - rejected


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="twice"):
        multireader.analyse(AUC, np.zeros((2, 5)))
    with pytest.raises(ValueError, match="nan"):
        multireader.analyse(AUC * np.nan, published_covariance())
