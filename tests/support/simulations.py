"""Simulated readings with a known truth, shared by the tests of intervals."""

import numpy as np

from aals_jax.metrics import roc


def simulated(num_images=120, seed=0, shift=1.0, levels=None):
    rng = np.random.default_rng(seed)
    labels = (rng.random(num_images) < 0.4).astype(int)
    scores = rng.normal(size=num_images) + shift * labels
    return (scores if levels is None else np.round(scores * levels)), labels


def auroc_of(scores, labels):
    def statistic(weights):
        return roc.auroc(scores, labels, weights=weights)

    return statistic
