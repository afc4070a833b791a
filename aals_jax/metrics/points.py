"""The points of the curves themselves: ROC, precision and recall, FROC.

A table of all of them may be as long as the set of images; `corners` are those that a
drawing needs.
"""

from collections.abc import Mapping

import numpy as np

from aals_jax.metrics import froc, roc
from aals_jax.metrics.readings import Reading, Truth

# Columns of a curve, name -> f64[t], in the order of falling thresholds.
Points = Mapping[str, np.ndarray]

MOST = 2000  # points of a curve that `corners` keeps without rounding
_STEPS = 1000  # cells of the grid beyond that


def curve_points(truth: Truth, reading: Reading) -> dict[str, Points]:
    """Every operating point of each curve that is defined.

    Returns:
        `roc` (false_positive_rate, sensitivity, threshold), `precision_recall` (recall,
        precision, threshold), `froc_count` and, from maps, `froc_area` (false_rate,
        sensitivity, threshold). A point is what is reached by calling scores >=
        threshold; +inf calls nothing, -inf is below every score. Precision where
        nothing is called is 1, by convention.
    """
    found: dict[str, Points] = {}
    if not roc.undefined_reason(truth.label):
        curve = roc.roc_curve(reading.score, truth.label)
        positives = int(np.sum(truth.label))
        true = curve.sensitivity * positives
        called = true + curve.false_positive_rate * (len(truth) - positives)
        found["roc"] = {
            "false_positive_rate": curve.false_positive_rate,
            "sensitivity": curve.sensitivity,
            "threshold": curve.threshold,
        }
        found["precision_recall"] = {
            "recall": curve.sensitivity,
            "precision": np.where(
                called > 0, true / np.where(called > 0, called, 1), 1
            ),
            "threshold": curve.threshold,
        }
    for data in (reading.count, reading.area):
        if data is not None and not froc.undefined_reason(data):
            curve = froc.froc_curve(data)
            found[data.definition] = {
                "false_rate": curve.false_rate,
                "sensitivity": curve.sensitivity,
                "threshold": curve.threshold,
            }
    return found


def corners(points: Points) -> dict[str, np.ndarray]:
    """The points between which a curve goes straight on: enough to draw it.

    Points in the middle of an upright or level stretch are left out, which changes no
    value. Where more than MOST are left, those too that lie in the same cell of a grid
    of a thousandth as the one before; first and last stay.

    Args:
        points: columns f64[t]; the first two are x and y, both finite.
    """
    x, y = list(points.values())[:2]
    if len(x) < 3:
        return dict(points)
    level = (y[:-2] == y[1:-1]) & (y[1:-1] == y[2:])
    upright = (x[:-2] == x[1:-1]) & (x[1:-1] == x[2:])
    kept = np.flatnonzero(np.r_[True, ~(level | upright), True])
    if len(kept) > MOST:
        reach = max(float(np.ptp(x)), 1.0)
        cells = np.floor(_STEPS * np.stack([x[kept] / reach, y[kept]]))
        moves = np.r_[True, np.any(np.diff(cells) != 0, axis=0)]
        moves[-1] = True
        kept = kept[moves]
    return {name: column[kept] for name, column in points.items()}
