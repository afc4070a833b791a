"""Sensitivity at each false-positive rate, by the rates that a field reports."""

from collections.abc import Mapping, Sequence

import numpy as np

from aals_jax.metrics import froc
from aals_jax.metrics.draws import Draws
from aals_jax.metrics.intervals import Drawn

# False positives per image (per scan, per slide) by the name of who reports them.
RATES: Mapping[str, tuple[float, ...]] = {
    "froc_count": froc.COUNT_LIMITS,
    "luna16": (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0),  # arXiv:1612.08012
    "camelyon": (0.25, 0.5, 1.0, 2.0, 4.0, 8.0),  # doi:10.1001/jama.2017.14585
    "nndetection": (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0),  # arXiv:2106.00817
    "ribfrac": (0.5, 1.0, 2.0, 4.0, 8.0),  # doi:10.1016/j.ebiom.2020.103106
}


def parse(text: str) -> tuple[float, ...]:
    """The rates of a name, or of a list of numbers.

    >>> parse("camelyon")
    (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    >>> parse("0.1,1")
    (0.1, 1.0)

    Raises:
        ValueError: neither a name nor positive finite numbers, each once.
    """
    if text.strip().lower() in RATES:
        return RATES[text.strip().lower()]
    try:
        rates = tuple(float(part) for part in text.split(","))
    except ValueError:
        rates = ()
    good = rates and all(np.isfinite(rate) and rate > 0 for rate in rates)
    if not good or len(set(rates)) < len(rates):
        raise ValueError(
            f"{text!r} is not one of {', '.join(RATES)}, nor a list of rates above 0 "
            "as 0.5,1,2"
        )
    return tuple(sorted(rates))


def sensitivities(
    data: froc.FrocData, rates: Sequence[float], *, draws: Draws
) -> list[Drawn]:
    """Sensitivity at each rate and, last, the mean of them.

    Each replicate takes its own thresholds, so that the choice of a threshold is in
    the interval. No interpolation: see `froc.sensitivity_at`. Where the curve is drawn
    too, `measurement.curves` has the same replicates from one pass: see `with_mean`.

    Args:
        data: of n images, with a lesion.
        rates: l false rates, > 0.
        draws: of the patients of these images.

    Returns:
        l + 1 values with their replicates.
    """
    blocks = [froc.sensitivity_at(data, rates, weights=weights) for weights in draws]
    return with_mean(froc.sensitivity_at(data, rates), np.concatenate(blocks))


def with_mean(value: np.ndarray, replicates: np.ndarray) -> list[Drawn]:
    """Each of l values f64[l] with its replicates f64[r, l]; last, the mean of them."""
    value, replicates = (
        np.append(part, part.mean(axis=-1, keepdims=True), axis=-1)
        for part in (value, replicates)
    )
    return [Drawn(float(value[k]), replicates[:, k]) for k in range(len(value))]
