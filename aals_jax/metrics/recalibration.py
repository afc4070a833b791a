"""How scores would have to be stretched and shifted to be probabilities; net benefit.

The logistic recalibration of a score p fits logit P(y = 1) = a + b logit p. Slope b = 1
and intercept a = 0 are a calibrated score; b < 1 says that scores are too extreme. The
intercept at slope 1 says whether scores are too low (> 0) or too high (< 0) as a whole.
"""

from collections.abc import Sequence

import numpy as np
from scipy import special

from aals_jax.metrics import calibration, intervals, logistic, roc
from aals_jax.metrics.intervals import Interval

THRESHOLDS = tuple(k / 20 for k in range(1, 20))  # probabilities of a decision curve
_METHOD = "normal, variance over patients"
_APART = "the scores separate the classes"


def slope_and_intercept(
    scores: np.ndarray, labels: np.ndarray, patient: np.ndarray, *, level: float = 0.95
) -> dict[str, Interval]:
    """The logistic recalibration, with intervals from patients as units.

    The likelihood is maximised by Newton's method; the variance is the sandwich
    H^-1 (sum_g u_g u_g^T) H^-1 G / (G - 1) with the score u_g of each of G patients.

    Args:
        scores: f[n], probabilities above 0 and below 1.
        labels: [n], 0 or 1 (or bool).
        patient: [n], of each image.
        level: coverage, 0 .. 1.

    Returns:
        `calibration_slope`, `calibration_intercept` (of the same fit) and
        `calibration_in_the_large` (the intercept at slope 1); nan with a reason, see
        `undefined_reason`. Where the scores separate the classes the first two are nan,
        and the third has no interval: no image is on the wrong side, so its variance
        shows how sure the scores are of themselves, not how sure one may be of it.

    Reference: Cox 1958, doi:10.1093/biomet/45.3-4.562; Van Calster et al. 2019,
    doi:10.1186/s12916-019-1466-7.
    """
    names = ("calibration_slope", "calibration_intercept", "calibration_in_the_large")
    labels = np.asarray(labels).astype(bool)
    if reason := undefined_reason(scores, labels):
        nothing = Interval(np.nan, np.nan, np.nan, level=level, reason=reason)
        return dict.fromkeys(names, nothing)
    logit = special.logit(np.asarray(scores, np.float64))
    ones = np.ones(len(logit))
    nowhere = np.zeros(len(logit))
    both = _fit(np.stack([logit, ones], 1), nowhere, labels, patient)
    shift = _fit(ones[:, None], logit, labels, patient)
    half = special.ndtri((1 + level) / 2)
    patient = np.asarray(patient)
    few = intervals.too_few(
        positive=len(set(patient[labels].tolist())),
        negative=len(set(patient[~labels].tolist())),
    )
    is_apart = logit[labels].min() > logit[~labels].max()
    is_apart |= logit[labels].max() < logit[~labels].min()
    found = {}
    fits = ((both, 0), (both, 1), (shift, 0))
    for name, (fit, place) in zip(names, fits, strict=True):
        value, error = (float(part[place]) for part in fit)
        why = "" if np.isfinite(value) and not is_apart else _APART
        if np.isfinite(value) and (few or not np.isfinite(error)):
            why = few or "all images are of one patient: no variance"
        if why:
            error = np.nan
        low, high = value - half * error, value + half * error
        found[name] = Interval(
            value, low, high, level=level, method=_METHOD, reason=why
        )
    return found


def undefined_reason(scores: np.ndarray, labels: np.ndarray) -> str:
    """Why there is no recalibration of these scores; empty when there may be one."""
    scores = np.asarray(scores, np.float64)
    if reason := calibration.undefined_reason(scores):
        return reason
    if reason := roc.undefined_reason(np.asarray(labels)):
        return reason
    certain = int(np.sum((scores <= 0) | (scores >= 1)))
    if certain:
        return f"{certain} of {len(scores)} scores are exactly 0 or 1: no logit"
    if np.ptp(scores) == 0:
        return "all scores are equal"
    return ""


def net_benefit(
    scores: np.ndarray,
    labels: np.ndarray,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """True positives less false ones at their price, per image: a decision curve.

        NB(t) = TP / n - FP / n x t / (1 - t)

    At threshold t a false positive costs t / (1 - t) of a true one. Calling nobody has
    0, calling everybody is `net_benefit_of_all`.

    Args:
        scores: f[n], probabilities; an image is called when its score >= t.
        labels: [n], 0 or 1 (or bool).
        thresholds: l probabilities, above 0 and below 1.
        weights: f64[..., n], not negative; None: 1 each.

    Returns:
        f64[..., l], at most the prevalence; nan where nothing has weight.

    Reference: Vickers and Elkin 2006, doi:10.1177/0272989X06295361.
    """
    if reason := calibration.undefined_reason(scores):
        raise ValueError(reason)
    price = _price(thresholds)
    scores, positive = roc.check(scores, labels)
    weights = roc.check_weights(weights, len(scores))
    called = scores[:, None] >= np.asarray(thresholds)
    parts = [
        (called & one[:, None]).astype(np.float64) for one in (positive, ~positive)
    ]
    true, false = (weights @ part for part in parts)
    return roc.ratio(
        true - price * false,
        np.broadcast_to(weights.sum(axis=-1)[..., None], true.shape),
    )


def net_benefit_of_all(
    prevalence: float, thresholds: Sequence[float] = THRESHOLDS
) -> np.ndarray:
    """f64[l], of calling every image: pi - (1 - pi) t / (1 - t)."""
    return prevalence - (1 - prevalence) * _price(thresholds)


def _price(thresholds: Sequence[float]) -> np.ndarray:
    t = np.asarray(thresholds, np.float64)
    if not np.all((t > 0) & (t < 1)):
        raise ValueError(f"thresholds={tuple(thresholds)}: above 0 and below 1")
    return t / (1 - t)


def _fit(
    design: np.ndarray, offset: np.ndarray, labels: np.ndarray, patient: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Logistic regression: coefficients and standard errors, f64[c] each.

    nan where the likelihood has no maximum.
    """
    coefficients = logistic.fit(design, labels, offset=offset)
    missing = np.full(design.shape[1], np.nan)
    share = special.expit(design @ coefficients + offset)
    if np.isnan(share).any() or np.max(share * (1 - share)) < 1e-6:
        return missing, missing  # no maximum: the classes are separated
    _, member = np.unique(patient, return_inverse=True)
    groups = int(member.max()) + 1
    if groups < 2:
        return coefficients, missing
    scores = np.zeros((groups, design.shape[1]))
    np.add.at(scores, member, design * (labels - share)[:, None])
    bread = np.linalg.inv(logistic.curvature(design, share))
    sandwich = bread @ (scores.T @ scores) @ bread * groups / (groups - 1)
    return coefficients, np.sqrt(np.diag(sandwich))
