"""Area under a part of the ROC curve: where specificity is high enough to be of use."""

import numpy as np

from aals_jax.metrics import roc


def partial_auroc(
    scores: np.ndarray,
    labels: np.ndarray,
    *,
    most: float,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Area under the ROC curve from false-positive rate 0 to `most`.

    Points are joined by straight lines, as for the whole area, where ties count half.

    Args:
        scores: f[n], any monotone scale, no nan.
        labels: [n], 0 or 1 (or bool).
        most: end of the range, above 0 and at most 1; 1 gives `roc.auroc`.
        weights: f64[..., n], not negative; None: 1 each.

    Returns:
        f64[...], 0 .. most; nan where one class has no weight.
    """
    if not 0.0 < most <= 1.0:
        raise ValueError(f"most={most} must be above 0 and at most 1")
    scores, positive = roc.check(scores, labels)
    weights = roc.check_weights(weights, len(scores))
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]][: len(order)])
    rows = weights.reshape(-1, len(scores)) if len(scores) else np.zeros((1, 0))
    out = np.full(len(rows), np.nan)
    is_positive = positive[order]
    for k, row in enumerate(rows):
        weight = row[order]
        true = np.add.reduceat(weight * is_positive, starts) if len(starts) else weight
        false = np.add.reduceat(weight * ~is_positive, starts) if len(starts) else true
        true, false = (np.append(0.0, np.cumsum(sums)) for sums in (true, false))
        if true[-1] > 0 and false[-1] > 0:
            out[k] = _area(false / false[-1], true / true[-1], most)
    return out.reshape(weights.shape[:-1])[()]


def standardised(area: np.ndarray, *, most: float) -> np.ndarray:
    """McClish's form: 0.5 is chance and 1 is perfect, whatever the range.

        (1 + (A - c) / (most - c)) / 2, with c = most^2 / 2 of the diagonal

    Args:
        area: f64[...], of `partial_auroc`.
        most: as there.

    Reference: McClish 1989, doi:10.1177/0272989X8900900307.
    """
    chance = most**2 / 2
    return (1 + (area - chance) / (most - chance)) / 2


def _area(x: np.ndarray, y: np.ndarray, most: float) -> float:
    """Trapezoids up to x = most, the last one cut there."""
    last = int(np.searchsorted(x, most, side="right"))  # points with x <= most
    area = float(np.sum(np.diff(x[:last]) * (y[1:last] + y[: last - 1])) / 2)
    if last < len(x) and x[last - 1] < most:
        share = (most - x[last - 1]) / (x[last] - x[last - 1])
        height = y[last - 1] + share * (y[last] - y[last - 1])
        area += float((most - x[last - 1]) * (y[last - 1] + height) / 2)
    return area
