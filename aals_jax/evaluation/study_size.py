"""`--mode=power`: a plan to its sentence, a table around it, and a JSON file."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aals_jax.metrics import power
from aals_jax.runtime import files, log

_AROUND = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)  # of the number of cases, for the table


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is asked; see `launch.py --mode=power --help`."""

    design: str  # a key of DESIGNS
    power: float  # wanted, above 0 and below 1
    alpha: float  # of the two-sided test
    cases: int | None  # None: to be found
    prevalence: float  # share of positives among the cases
    design_effect: float  # >= 1
    given: Mapping[str, Any]  # the design's own numbers, by the name of their flags


def power_of(plan: Plan) -> Callable[[int], float]:
    """Number of cases -> power.

    Raises:
        ValueError: a number that can't be, with the name of its flag.
    """
    _check(plan)
    return lambda cases: DESIGNS[plan.design][0](plan, cases / plan.design_effect)


def answer(plan: Plan, out: Path | None) -> dict[str, Any]:
    """Logs the answer, writes it to `out` if one is given, and returns it.

    Returns:
        `cases`, `power`, `in_words`, and `around`: powers at other numbers of cases.

    Raises:
        ValueError: as `power_of`, or a power that no number of cases reaches.
    """
    at = power_of(plan)
    unit = DESIGNS[plan.design][1]
    cases = plan.cases
    if cases is None:
        cases = power.least(at, power=plan.power, start=2)
    words = f"{cases:,} {unit}: power {at(cases):.3f} at alpha {plan.alpha:g}"
    if unit == "cases":
        positives = round(cases * plan.prevalence)
        words += f"; {positives:,} of them positive"
    if plan.design_effect > 1:
        independent = cases / plan.design_effect
        words += f"; they say as much as {independent:,.0f} independent ones"
    numbers = sorted({max(2, math.ceil(cases * share)) for share in _AROUND})
    found = {
        "design": plan.design,
        "cases": cases,
        "unit": unit,
        "power": at(cases),
        "in_words": words,
        "around": [{"cases": number, "power": at(number)} for number in numbers],
        "asked": dataclasses.asdict(plan),
    }
    log.info("%s", words)
    for row in found["around"]:
        log.info("  %10s  power %.3f", f"{row['cases']:,}", row["power"])
    if out is not None:
        files.write_json(out, found)
        log.info("the answer: %s", out)
    return found


def _split(plan: Plan, cases: float) -> dict[str, float]:
    """Positives and negatives of so many cases, at least one each."""
    positives = cases * plan.prevalence
    return {"positives": max(1.0, positives), "negatives": max(1.0, cases - positives)}


def _auroc(plan: Plan, cases: float) -> float:
    g = plan.given
    return power.auroc_power(
        g["expected"],
        g["null"],
        alpha=plan.alpha,
        variance=g["variance_of"],
        **_split(plan, cases),
    )


def _auroc_difference(plan: Plan, cases: float) -> float:
    g = plan.given
    return power.auroc_difference_power(
        g["expected"],
        g["second"],
        correlation=g["correlation"],
        margin=g["margin"] or 0.0,
        alpha=plan.alpha,
        variance=g["variance_of"],
        **_split(plan, cases),
    )


def _share(plan: Plan, cases: float) -> float:
    g, number = plan.given, max(1, math.floor(cases))
    return power.proportion_power(
        g["expected"], g["null"], number=number, alpha=plan.alpha
    )


def _share_difference(plan: Plan, cases: float) -> float:
    g = plan.given
    return power.paired_proportion_power(
        g["difference"], g["discordant"], number=cases, alpha=plan.alpha
    )


def _readers(plan: Plan, cases: float) -> float:
    g = plan.given
    pilot = power.Pilot(
        *(g[name] for name in ("var_reader", "variance", "cov1", "cov2", "cov3")),
        cases=g["pilot_cases"],
    )
    return power.readers_power(
        g["difference"],
        pilot,
        readers=g["readers"],
        cases=cases,
        alpha=plan.alpha,
        random_readers=not g["fixed_readers"],
    )


# Design -> its power at so many independent cases, and what is counted.
DESIGNS: Mapping[str, tuple[Callable[[Plan, float], float], str]] = {
    "auroc": (_auroc, "cases"),
    "auroc_difference": (_auroc_difference, "cases"),
    "share": (_share, "positives (negatives, of a specificity)"),
    "share_difference": (_share_difference, "positives (negatives, of a specificity)"),
    "readers": (_readers, "cases"),
}


def _check(plan: Plan) -> None:
    """Raises ValueError with every number that can't be."""
    g = plan.given
    inside = {
        "power": plan.power,
        "alpha": plan.alpha,
        "prevalence": plan.prevalence,
        **{n: g[n] for n in ("expected", "null", "second", "discordant") if n in g},
    }
    faults = [
        f"--{name}={value}: above 0 and below 1"
        for name, value in inside.items()
        if not 0 < value < 1
    ]
    if not plan.design_effect >= 1:
        faults.append(f"--design_effect={plan.design_effect}: at least 1")
    if "correlation" in g and not 0 <= g["correlation"] < 1:
        faults.append(f"--correlation={g['correlation']}: at least 0 and below 1")
    if g.get("margin") is not None and not g["margin"] > 0:
        faults.append(f"--margin={g['margin']}: above 0")
    if "null" in g and g["null"] == g["expected"]:
        faults.append("--null and --expected are the same: nothing is tested")
    if "second" in g and not g["margin"] and g["second"] == g["expected"]:
        faults.append("--second is --expected: nothing is tested without --margin")
    if "difference" in g and not 0 < abs(g["difference"]) < 1:
        faults.append(f"--difference={g['difference']}: not 0, and between -1 and 1")
    if "discordant" in g and not abs(g["difference"]) <= g["discordant"]:
        faults.append("--discordant must be at least the difference")
    if "readers" in g:
        faults += _faults_of_components(g)
    if faults:
        raise ValueError("; ".join(faults))


def _faults_of_components(g: Mapping[str, Any]) -> list[str]:
    faults = []
    if g["readers"] < 2 and not g["fixed_readers"]:
        faults.append("--readers=1: one reader is no sample; give --fixed_readers")
    if not g["variance"] > g["cov1"]:
        faults.append("--variance is above --cov1")
    if g["var_reader"] < 0:
        text = f"--var_reader={g['var_reader']}: must not be negative; an estimate "
        faults.append(text + "below 0 counts as 0")
    if not g["variance"] - g["cov1"] > max(g["cov2"] - g["cov3"], 0.0):
        faults.append("--variance less --cov1 is above --cov2 less --cov3")
    return faults
