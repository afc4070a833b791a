"""From scores to probabilities that mean what they say, by two numbers.

    p(s) = expit(slope * logit(s) + intercept)

It is fitted where operating points are chosen, and holds for that prevalence alone.
"""

import dataclasses
from typing import Any

import numpy as np
from scipy import special

from aals_jax.metrics import calibration, logistic, roc

_EDGE = 1e-6  # scores are kept so far from 0 and 1, where a logit is infinite


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
    slope, intercept = logistic.fit(columns, target).tolist()
    if not slope > 1e-9:
        raise ValueError(
            "scores of positives are not higher than those of negatives: no rising map "
            "makes probabilities of them"
        )
    return Sigmoid(slope, intercept, len(scores), ones / len(scores))


def _inside(scores: np.ndarray) -> np.ndarray:
    return np.clip(np.asarray(scores, np.float64), _EDGE, 1 - _EDGE)
