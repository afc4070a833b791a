"""Names and numbers as a person reads them; what is absent is said, never invented."""

import math
import numbers
from collections.abc import Mapping
from typing import Any, TypeGuard

TITLES: Mapping[str, str] = {
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "sensitivity": "Sensitivity",
    "sensitivity_at_specificity": "Sensitivity at fixed specificity",
    "specificity": "Specificity",
    "specificity_at_sensitivity": "Specificity at fixed sensitivity",
    "ppv": "Positive predictive value",
    "npv": "Negative predictive value",
    "ppv_at_prevalence": "PPV at the prevalence asked for",
    "npv_at_prevalence": "NPV at the prevalence asked for",
    "likelihood_ratio_positive": "Likelihood ratio of a positive call",
    "likelihood_ratio_negative": "Likelihood ratio of a negative call",
    "partial_auroc": "Partial AUROC",
    "partial_auroc_standardised": "Partial AUROC, standardised",
    "figure_of_merit": "Figure of merit",
    "froc_area": "FROC score, area rule",
    "froc_count": "FROC score, count rule",
    "false_positives_per_image": "False positives per image",
    "brier_score": "Brier score",
    "expected_calibration_error": "Expected calibration error",
    "calibration_slope": "Calibration slope",
    "calibration_intercept": "Calibration intercept",
    "calibration_in_the_large": "Calibration in the large",
    "net_benefit": "Net benefit",
    "peak_in_box": "Peak in a box, validation",
    "peak_in_box_p": "Peak in a withheld box of P",
    "peak_separation": "Peaks of positives above those of negatives, validation",
    "median_peak_p": "Median peak of P",
    "median_peak_positive": "Median peak of positives, validation",
    "median_peak_negative": "Median peak of negatives, validation",
    "dead_share_p": "Dead share of P",
    "lift_largest": "Largest lift of a target",
    "lift_mean": "Mean lift of an image's target",
}
LOWER_IS_BETTER = frozenset(
    ("brier_score", "expected_calibration_error", "false_positives_per_image")
)
NOTHING = "—"
UNRECORDED = "not recorded"
MINUS = "\N{MINUS SIGN}"
NBSP = "\N{NO-BREAK SPACE}"  # a number and its unit stay on one line
SEPARATOR = f"{NBSP}· "  # between facts; the dot does not start a line


def title(name: str) -> str:
    """The title of a metric; of an unknown one its name without underscores."""
    words = _words(name)
    return TITLES.get(name, words[:1].upper() + words[1:])


def is_number(value: Any) -> TypeGuard[float]:
    """A finite real number, of Python or NumPy."""
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def number(value: object, *, missing: str = NOTHING) -> str:
    """Three decimals, fewer for large numbers, three digits for very small ones."""
    if not is_number(value):
        return missing
    if isinstance(value, numbers.Integral) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if value and abs(value) < 0.0005:
        return f"{value:.3g}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def signed(value: object) -> str:
    """A difference: its sign is always written."""
    return _sign(value) + number(abs(value)) if is_number(value) else NOTHING


def _sign(value: float) -> str:
    return "+" if value > 0 else MINUS if value < 0 else ""


def interval(
    value: object, low: object, high: object, *, is_signed: bool = False
) -> tuple[str, str, str]:
    """A value and its ends: as `number`, with more decimals where these are too few.

    An interval that has a width never reads as one that has none.

    >>> interval(0.166, 0.165, 0.168), interval(0.0102, 0.01012, 0.01033)
    (('0.166', '0.165', '0.168'), ('0.0102', '0.0101', '0.0103'))

    Args:
        value, low, high: numbers; what is none of them is NOTHING.
        is_signed: written as `signed` does.
    """
    write = signed if is_signed else number
    plain = write(value), write(low), write(high)
    found = [float(each) for each in (value, low, high) if is_number(each)]
    width = found[-1] - found[-2] if len(found) == 3 else 0.0
    largest = max(map(abs, found), default=0.0)
    usual = 3 if largest < 10 else 1 if largest < 1000 else 0
    decimals = math.ceil(-math.log10(width)) if width > 0 else 0
    if decimals <= usual:
        return plain
    digits = f",.{min(decimals, 15)}f"
    a, b, c = (
        f"{_sign(each)}{abs(each):{digits}}" if is_signed else f"{each:{digits}}"
        for each in found
    )
    return a, b, c


def threshold(value: object) -> str:
    """Four digits, more near 1, where scores of a confident model crowd."""
    if isinstance(value, numbers.Real) and value == math.inf:
        return "above every score"
    if not is_number(value):
        return NOTHING
    short = f"{value:.4g}"
    return short if float(short) != 1 else f"{value:.8g}"


def p_value(value: object) -> str:
    if not is_number(value):
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def percent(value: object) -> str:
    return f"{100 * value:.1f}{NBSP}%" if is_number(value) else UNRECORDED


def duration(seconds: float) -> str:
    """About how long: seconds below 100, then minutes, then hours.

    >>> [duration(s) for s in (31.4, 240, 9000)]
    ['31 s', '4 min', '2.5 h']
    """
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def count(value: object, one: str) -> str:
    """`1 lesion`, `58 lesions`, `? lesions` where nobody counted."""
    ending = "" if is_number(value) and value == 1 else "s"
    return f"{number(value, missing='?')}{NBSP}{one}{ending}"


def flatten(tree: object, prefix: str = "") -> list[tuple[str, str]]:
    """Leaves of nested mappings as (dotted name, text), in the order given."""
    if isinstance(tree, Mapping):
        rows = []
        for key, value in tree.items():
            rows += flatten(value, f"{prefix}.{key}" if prefix else str(key))
        return rows
    if isinstance(tree, (list, tuple)):
        return [(prefix, ", ".join(str(item) for item in tree) or NOTHING)]
    return [(prefix, NOTHING if tree is None else str(tree))]


def extras(cell: Mapping, *, placed: frozenset[str]) -> list[str]:
    """The entries of a cell in words: `seed 7`, `390 patients` of n_patients.

    Args:
        cell: name -> value.
        placed: names that have a place of their own on the page, and are left out.
    """
    texts = []
    for key, value in cell.items():
        if key in placed:
            continue
        if is_number(value) and str(key).startswith("n_"):
            texts.append(count(value, _words(key[2:].removesuffix("s"))))
        elif is_number(value):
            texts.append(f"{_words(key)} {number(value)}")
        else:
            texts += [f"{_words(k)} {text}" for k, text in flatten(value, str(key))]
    return texts


def _words(name: object) -> str:
    return str(name).replace("_", " ")


def by_models(texts: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Model -> text as (models, text), ("", text) where all models say the same."""
    models: dict[str, list[str]] = {}
    for model, text in texts.items():
        models.setdefault(text, []).append(model)
    if len(models) == 1:
        return (("", next(iter(models))),)
    return tuple((", ".join(names), text) for text, names in models.items())
