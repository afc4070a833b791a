"""From scores to probabilities that mean what they say, by two numbers.

    p(s) = expit(slope * logit(s) + intercept)

It is fitted where operating points are chosen, and holds for that prevalence alone.
"""

import dataclasses
from typing import Any

import numpy as np
from scipy import special

from aals_jax.metrics import calibration, roc

_EDGE = 1e-6  # scores are kept so far from 0 and 1, where a logit is infinite
_ITERATIONS = 100
_STEPS = 40  # halvings of a step of Newton's


@dataclasses.dataclass(frozen=True)
class Sigmoid:
    """A rising map from scores to probabilities."""

    slope: float  # > 0
    intercept: float
    images: int  # it was fitted on
    prevalence: float  # of them

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """f64[n], probabilities of scores f[n] in 0 .. 1."""
        z = self.slope * special.logit(_inside(scores)) + self.intercept
        return special.expit(z)

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def fit(scores: np.ndarray, labels: np.ndarray) -> Sigmoid:
    """The most likely sigmoid, towards targets that are not quite 0 and 1.

    Positives have the target (n1 + 1) / (n1 + 2) and negatives 1 / (n0 + 2), so that
    classes which a threshold separates have a finite slope too.

    Args:
        scores: f[n], 0 .. 1.
        labels: [n], 0 or 1 (or bool).

    Raises:
        ValueError: scores are no probabilities, there is one class only, or scores of
            positives are not higher than those of negatives; the text says which.

    Reference: Platt 1999, Probabilistic outputs for support vector machines.
    """
    if reason := calibration.undefined_reason(scores):
        raise ValueError(reason)
    scores, positive = roc.check(scores, labels)
    if reason := roc.undefined_reason(positive):
        raise ValueError(reason)
    ones = int(positive.sum())
    zeros = len(positive) - ones
    target = np.where(positive, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    columns = np.stack([special.logit(_inside(scores)), np.ones(len(scores))], axis=1)
    weights = np.array([0.0, special.logit(target.mean())])
    for _ in range(_ITERATIONS):
        p = special.expit(columns @ weights)
        gradient = columns.T @ (p - target)
        if np.abs(gradient).max() < 1e-10 * len(scores):
            break
        curvature = (columns.T * (p * (1 - p))) @ columns
        step = np.linalg.solve(curvature + 1e-12 * np.eye(2), gradient)
        weights = _downhill(weights, step, columns, target)
    slope, intercept = weights.tolist()
    if not slope > 1e-9:
        raise ValueError(
            "scores of positives are not higher than those of negatives: no rising map "
            "makes probabilities of them"
        )
    return Sigmoid(slope, intercept, len(scores), ones / len(scores))


def _downhill(
    weights: np.ndarray, step: np.ndarray, columns: np.ndarray, target: np.ndarray
) -> np.ndarray:
    """A step of Newton's, halved until it does not lead uphill."""

    def loss(w: np.ndarray) -> float:
        z = columns @ w
        return float((np.logaddexp(0, z) - target * z).sum())

    before = loss(weights)
    for _ in range(_STEPS):
        if loss(weights - step) <= before:
            return weights - step
        step = step / 2
    return weights


def _inside(scores: np.ndarray) -> np.ndarray:
    return np.clip(np.asarray(scores, np.float64), _EDGE, 1 - _EDGE)
