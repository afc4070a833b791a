"""What is measured, with NumPy and SciPy: AUROC, FROC, their intervals, and more.

The names below are the library (docs/metrics.md); they need NumPy and SciPy alone, and
each module is imported when one of its names is first asked for. The modules of this
package hold more, which the program uses and which may change.

Four films, two with a lesion; a detection is (x, y, score), a lesion (x0, y0, x1, y1):

>>> import numpy as np
>>> labels, scores = [1, 0, 0, 1], [0.9, 0.6, 0.0, 0.5]
>>> lesions = [[[0, 0, 10, 10]], [], [], [[0, 0, 10, 10]]]
>>> found = [[[5, 5, 0.9]], [[5, 5, 0.6]], [], [[5, 5, 0.5], [6, 6, 0.4]]]

Of the image scores:

>>> from aals_jax.metrics import auroc, average_precision, brier_score
>>> float(auroc(scores, labels)), float(average_precision(scores, labels))
(0.75, 0.8333333333333333)
>>> round(float(brier_score(scores, labels)), 3)
0.155
>>> from aals_jax.metrics import expected_calibration_error, roc_curve
>>> round(float(expected_calibration_error(scores, labels)), 3)
0.3
>>> roc_curve(scores, labels).sensitivity.tolist()
[0.0, 0.5, 0.5, 1.0, 1.0]
>>> from aals_jax.metrics import sensitivity_at_specificity
>>> sensitivity_at_specificity(scores, labels, specificity=0.9).threshold
0.9

Of the detections; a second hit on a lesion counts neither for nor against:

>>> from aals_jax.metrics import COUNT_LIMITS, count_data, froc_curve, froc_score
>>> data = count_data(found, lesions)
>>> curve = froc_curve(data)
>>> curve.false_rate.tolist(), curve.sensitivity.tolist()
([0.0, 0.0, 0.25, 0.25], [0.0, 0.5, 1.0, 1.0])
>>> round(float(froc_score(data, COUNT_LIMITS)), 3)  # at 0.1, 0.2, 0.5, 1, 2, 4
0.833
>>> from aals_jax.metrics import match_images, select_lesions, sensitivity_at
>>> sensitivity_at(data, [0.2, 0.25]).tolist()
[0.5, 1.0]
>>> match_images(found, lesions).lesion_of.tolist()  # -1: false, -2: a second hit
[0, -1, 1, -2]
>>> first = select_lesions(data, np.array([True, False]))
>>> float(froc_score(first, COUNT_LIMITS))
1.0

Of maps, by the area rule:

>>> from aals_jax.metrics import AREA_LIMITS, area_data
>>> film = np.zeros((10, 10))
>>> film[5, 5], film[0, 9] = 0.8, 0.9
>>> maps = area_data([film], [[[3, 3, 8, 8]]])
>>> sensitivity_at(maps, AREA_LIMITS[:2]).tolist()  # 1 of 75 pixels outside is 1.3 %
[0.0, 1.0]

How sure: patients are drawn, not images; a paired difference of two systems draws the
same patients for both.

>>> from aals_jax.metrics import Draws, Interval, paired_bootstrap, patient_bootstrap
>>> draws = Draws(["anna", "anna", "ben", "ben"], replicates=200, seed=0)
>>> whole: Interval = patient_bootstrap(
...     draws, lambda weights: froc_score(data, COUNT_LIMITS, weights=weights)
... )
>>> whole.low <= whole.value <= whole.high
True
>>> pair = paired_bootstrap(
...     draws,
...     lambda weights: auroc(scores, labels, weights=weights),
...     lambda weights: auroc([0.8, 0.1, 0.3, 0.7], labels, weights=weights),
... )
>>> pair.value
-0.25
>>> from aals_jax.metrics import auroc_difference, auroc_interval
>>> auroc_interval(scores, labels).value
0.75
>>> auroc_difference(scores, scores, labels).value
0.0
>>> from aals_jax.metrics import clopper_pearson, proportion, swap_test, wilson
>>> [round(end, 3) for end in clopper_pearson(1.0, 10)]
[0.692, 1.0]
>>> [round(float(end), 3) for end in wilson(1.0, 10)]
[0.722, 1.0]
>>> patient = np.array([0, 0, 1, 1])  # two films of each
>>> share = proportion(np.array([1, 0, 0, 1]), np.ones(4), patient)
>>> share.value, round(share.low, 3), share.design_effect
(0.5, 0.15, 1.0)
>>> swapped = swap_test(  # of two systems, 4 films of each: weights f64[r, 8]
...     lambda weights: weights @ np.array([1, 0, 1, 1, 0, 0, 1, 0]) / 4,
...     np.arange(4),
...     np.ones(4, bool),
... )
>>> swapped.p_value
0.5

Further figures of image scores:

>>> from aals_jax.metrics import likelihood_ratio, net_benefit, partial_auroc
>>> called = np.array(scores) >= 0.9
>>> likelihood_ratio(called, np.array(labels) == 1, np.arange(4)).value
inf
>>> net_benefit(scores, labels, thresholds=[0.5]).tolist()
[0.25]
>>> float(partial_auroc(scores, labels, most=0.5))
0.25
>>> from aals_jax.metrics import slope_and_intercept
>>> rng = np.random.default_rng(0)
>>> chance = rng.uniform(0.1, 0.9, 2000)
>>> fitted = slope_and_intercept(chance, rng.random(2000) < chance, np.arange(2000))
>>> bool(fitted["calibration_slope"].low < 1 < fitted["calibration_slope"].high)
True

wAFROC, several readers, several comparisons, and the power of a planned study:

>>> from aals_jax.metrics import afroc_data, figure_of_merit
>>> float(figure_of_merit(afroc_data(match_images(found, lesions), 4)))
0.75
>>> from aals_jax.metrics import analyse, covariance, jackknife
>>> readers = [[0.9, 0.6, 0.0, 0.5], [0.9, 0.4, 0.2, 0.8]]  # one modality
>>> without = np.array(
...     [
...         [
...             jackknife(lambda w, r=r: auroc(r, labels, weights=w), np.arange(4))
...             for r in readers
...         ]
...     ]
... )
>>> values = np.array([[float(auroc(r, labels)) for r in readers]])
>>> analyse(values, covariance(without))[0].name
'random_readers_random_cases'
>>> from aals_jax.metrics import holm
>>> holm([0.01, 0.04]).tolist()
[0.02, 0.04]
>>> from aals_jax.metrics import auroc_difference_power, auroc_power, proportion_power
>>> round(auroc_power(0.8, 0.7, positives=100, negatives=100), 3)
0.812
>>> power = auroc_difference_power(
...     0.85, 0.8, positives=100, negatives=100, correlation=0.5
... )
>>> round(power, 3)
0.393
>>> round(proportion_power(0.9, 0.8, number=100), 3)
0.703
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aals_jax.metrics.afroc import afroc_data, figure_of_merit
    from aals_jax.metrics.binomial import clopper_pearson
    from aals_jax.metrics.calibration import brier_score, expected_calibration_error
    from aals_jax.metrics.delong import auroc_difference, auroc_interval
    from aals_jax.metrics.draws import Draws
    from aals_jax.metrics.froc import (
        AREA_LIMITS,
        COUNT_LIMITS,
        area_data,
        count_data,
        froc_curve,
        froc_score,
        select_lesions,
        sensitivity_at,
    )
    from aals_jax.metrics.intervals import (
        Interval,
        paired_bootstrap,
        patient_bootstrap,
    )
    from aals_jax.metrics.likelihood import likelihood_ratio
    from aals_jax.metrics.matching import match_images
    from aals_jax.metrics.multiplicity import holm
    from aals_jax.metrics.multireader import analyse, covariance, jackknife
    from aals_jax.metrics.partial_area import partial_auroc
    from aals_jax.metrics.permutation import swap_test
    from aals_jax.metrics.power import (
        auroc_difference_power,
        auroc_power,
        proportion_power,
    )
    from aals_jax.metrics.proportions import proportion, wilson
    from aals_jax.metrics.recalibration import net_benefit, slope_and_intercept
    from aals_jax.metrics.roc import (
        auroc,
        average_precision,
        roc_curve,
        sensitivity_at_specificity,
    )

# public name -> the module that holds it
_MODULE_OF = {
    **dict.fromkeys(("afroc_data", "figure_of_merit"), "afroc"),
    **dict.fromkeys(("clopper_pearson",), "binomial"),
    **dict.fromkeys(("likelihood_ratio",), "likelihood"),
    **dict.fromkeys(("holm",), "multiplicity"),
    **dict.fromkeys(("analyse", "covariance", "jackknife"), "multireader"),
    **dict.fromkeys(("partial_auroc",), "partial_area"),
    **dict.fromkeys(("swap_test",), "permutation"),
    **dict.fromkeys(
        ("auroc_difference_power", "auroc_power", "proportion_power"), "power"
    ),
    **dict.fromkeys(("proportion", "wilson"), "proportions"),
    **dict.fromkeys(("net_benefit", "slope_and_intercept"), "recalibration"),
    **dict.fromkeys(("brier_score", "expected_calibration_error"), "calibration"),
    **dict.fromkeys(("auroc_difference", "auroc_interval"), "delong"),
    "Draws": "draws",
    **dict.fromkeys(
        (
            *("AREA_LIMITS", "COUNT_LIMITS", "area_data", "count_data", "froc_curve"),
            *("froc_score", "select_lesions", "sensitivity_at"),
        ),
        "froc",
    ),
    **dict.fromkeys(("Interval", "paired_bootstrap", "patient_bootstrap"), "intervals"),
    "match_images": "matching",
    **dict.fromkeys(
        ("auroc", "average_precision", "roc_curve", "sensitivity_at_specificity"),
        "roc",
    ),
}
__all__ = [
    "AREA_LIMITS",
    "COUNT_LIMITS",
    "Draws",
    "Interval",
    "afroc_data",
    "analyse",
    "area_data",
    "auroc",
    "auroc_difference",
    "auroc_difference_power",
    "auroc_interval",
    "auroc_power",
    "average_precision",
    "brier_score",
    "clopper_pearson",
    "count_data",
    "covariance",
    "expected_calibration_error",
    "figure_of_merit",
    "froc_curve",
    "froc_score",
    "holm",
    "jackknife",
    "likelihood_ratio",
    "match_images",
    "net_benefit",
    "paired_bootstrap",
    "partial_auroc",
    "patient_bootstrap",
    "proportion",
    "proportion_power",
    "roc_curve",
    "select_lesions",
    "sensitivity_at",
    "sensitivity_at_specificity",
    "slope_and_intercept",
    "swap_test",
    "wilson",
]


def __getattr__(name: str) -> Any:
    """A public name, from its module."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULE_OF[name]}")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
