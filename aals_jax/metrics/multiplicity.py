"""Several differences of one comparison: which one counts, and what the others cost."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """p-values that hold for all hypotheses together, by Holm's step-down.

    The k-th smallest of m is multiplied by m - k + 1, and none is below the one before.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]

    Args:
        p_values: f[m], 0 .. 1; nan counts as a hypothesis that was not tested.

    Returns:
        f64[m], 0 .. 1, in the order given, nan where it was.

    Reference: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    p = np.asarray(p_values, np.float64)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def judge(
    differences: Sequence[Mapping[str, Any]],
    *,
    primary: str | None = None,
    margin: float | None = None,
    lower_is_better: frozenset[str] = frozenset(),
) -> list[dict[str, Any]]:
    """Differences of one comparison with the role and the adjusted p of each.

    The family is one row a metric: a second row of the same metric tests the same
    hypothesis by another method, and is neither counted nor adjusted. With a primary
    metric, its p stands as it is, since it was named beforehand, and Holm's step-down
    is over the others; without one it is over all.

    Args:
        differences: of `measurement.differences`: `metric`, `value`, `low`, `high`,
            `p_value`.
        primary: name of a metric; None: none was named.
        margin: > 0; the first system is not inferior where the 95 % interval of the
            primary's difference excludes that it is worse by as much.
        lower_is_better: metrics of which a smaller value is the better one.

    Returns:
        The records with `role` ("primary", "secondary", "one of all", "same hypothesis
        by another method"), `p_holm` (None of such a row, the p itself of the primary)
        and, of the primary with a margin, `non_inferiority`.

    Raises:
        ValueError: the primary is none of the metrics; a margin without a primary.
    """
    names = list(dict.fromkeys(record["metric"] for record in differences))
    if primary is not None and primary not in names:
        raise ValueError(
            f"primary={primary!r} is not among the differences: {', '.join(names)}"
        )
    if margin is not None and (primary is None or not margin > 0):
        raise ValueError("a margin is above 0 and needs a primary metric")
    first = {}
    for number, record in enumerate(differences):
        first.setdefault(record["metric"], number)
    family = [number for name, number in first.items() if name != primary]
    p = [differences[number].get("p_value") for number in family]
    adjusted = holm([np.nan if value is None else value for value in p])
    p_holm = dict(zip(family, adjusted.tolist(), strict=True))
    judged = []
    for number, record in enumerate(differences):
        row = dict(record)
        if number not in first.values():
            row |= {"role": "same hypothesis by another method", "p_holm": None}
        elif record["metric"] == primary:
            row |= {"role": "primary", "p_holm": record.get("p_value")}
            if margin is not None:
                lower = primary in lower_is_better
                row["non_inferiority"] = non_inferiority(
                    record, margin=margin, lower_is_better=lower
                )
        else:
            value = p_holm[number]
            row["role"] = "secondary" if primary else "one of all"
            row["p_holm"] = None if np.isnan(value) else value
        judged.append(row)
    return judged


def non_inferiority(
    difference: Mapping[str, Any], *, margin: float, lower_is_better: bool = False
) -> dict[str, Any]:
    """Whether an interval excludes that the first system is worse by the margin.

    A two-sided 95 % interval makes it a one-sided test at 2.5 %.

    Args:
        difference: `low` and `high` of the first minus the second.
        margin: > 0, in the unit of the difference.
        lower_is_better: a positive difference is the worse one.

    Returns:
        `margin`, `verdict` ("superior", "not inferior", "inferior" where the whole
        interval is beyond the margin, "inconclusive") and `in_words`.

    Reference: ICH E9 and E10; CONSORT 2010 extension, doi:10.1001/jama.2012.87802.
    """
    low, high = difference["low"], difference["high"]
    if low is None or high is None:
        verdict = "inconclusive"
        words = "there is no interval to compare with the margin"
        return {"margin": margin, "verdict": verdict, "in_words": words}
    if lower_is_better:
        low, high = -high, -low
    if low > 0:
        verdict = "superior"
    elif low > -margin:
        verdict = "not inferior"
    else:
        verdict = "inferior" if high < -margin else "inconclusive"
    words = f"at worst {-low:.3g} worse" if low < 0 else f"at least {low:.3g} better"
    return {
        "margin": margin,
        "verdict": verdict,
        "in_words": f"the first system is {words}; margin {margin:g}: {verdict}",
    }
