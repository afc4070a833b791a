"""Logistic regression by Newton's method, for a handful of coefficients."""

import numpy as np
from scipy import special

_ROUNDS, _CLOSE = 100, 1e-10


def fit(
    design: np.ndarray, target: np.ndarray, *, offset: np.ndarray | float = 0.0
) -> np.ndarray:
    """The coefficients w that make the targets most likely.

    They minimise sum_i log(1 + exp(z_i)) - t_i z_i with z = design w + offset. Steps
    are halved until the loss does not rise.

    Args:
        design: f64[n, c].
        target: [n], 0 .. 1; between them it is the share of ones.
        offset: f64[n], or one number for all.

    Returns:
        f64[c]; nan where there is no single minimum: columns depend on each other, or
        the classes are separated.
    """

    def loss(w: np.ndarray) -> float:
        z = design @ w + offset
        return float(np.sum(np.logaddexp(0, z) - target * z))

    w = np.zeros(design.shape[1])
    missing = np.full(design.shape[1], np.nan)
    for _ in range(_ROUNDS):
        share = special.expit(design @ w + offset)
        try:
            step = np.linalg.solve(
                curvature(design, share), design.T @ (target - share)
            )
        except np.linalg.LinAlgError:
            return missing
        while loss(w + step) > loss(w) and np.any(step):
            step = step / 2
        w = w + step
        if np.max(np.abs(step)) <= _CLOSE * (1 + np.max(np.abs(w))):
            return w
    return missing


def curvature(design: np.ndarray, share: np.ndarray) -> np.ndarray:
    """f64[c, c], the second derivative of the loss where the model says f64[n]."""
    return (design * (share * (1 - share))[:, None]).T @ design
