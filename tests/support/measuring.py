"""Metrics of a reading in one call, as a test asks for them."""

from aals_jax.metrics import definitions
from aals_jax.metrics.draws import TruthDraws


def metric_entries(truth, reading, *, bootstrap, hit):
    """Name -> entry of result.json."""
    drawn = definitions.draw_metrics(truth, reading, draws=TruthDraws(truth, bootstrap))
    return definitions.metric_entries(
        drawn, truth, reading, seed=bootstrap.seed, hit=hit
    )
