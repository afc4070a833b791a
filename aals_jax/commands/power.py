"""`--mode=power`: how many cases, and readers, a planned study needs."""

from typing import Any

from aals_jax.commands.command_line import Command

COMMAND = Command(
    "power",
    summary="says how many cases, and readers, a planned study needs",
    example="""\
python launch.py --mode=power --design=auroc --expected=0.85 --null=0.75 \\
    --prevalence=0.2
python launch.py --mode=power --design=readers --difference=0.05 --readers=6 \\
    --pilot_cases=114 --var_reader=0.0002 --variance=0.0008 --cov1=0.00035 \\
    --cov2=0.00034 --cov3=0.00024""",
    required=("design",),
)
_ASKED = COMMAND.group("What is tested (docs/figures.md)")
_DESIGN = _ASKED.choice(
    "design",
    ("auroc", "auroc_difference", "share", "share_difference", "readers"),
    "Kind of test. auroc, share: one system against --null; a share is a sensitivity "
    "or a specificity. auroc_difference, share_difference: two on the same cases. "
    "readers: two modalities read by several readers.",
    default="auroc",
    placeholder="DESIGN",
)
_EXPECTED = _ASKED.number("expected", None, "Expected AUROC or share of the system.")
_NULL = _ASKED.number("null", None, "Value that is to be excluded, of one system.")
_SECOND = _ASKED.number(
    "second", None, "Expected AUROC of the second system, of auroc_difference."
)
_DIFFERENCE = _ASKED.number(
    "difference",
    None,
    "Expected difference, of share_difference and of readers.",
)
_MARGIN = _ASKED.number(
    "margin",
    None,
    "Margin of non-inferiority, of auroc_difference: the test is that the first is not "
    "worse by as much.",
)
_LEVEL = COMMAND.group("How sure")
_POWER = _LEVEL.number("power", 0.8, "Power that is wanted, above 0 and below 1.")
_ALPHA = _LEVEL.number("alpha", 0.05, "Level of the two-sided test.")
_GIVEN = COMMAND.group("What is given")
_CASES = _GIVEN.integer(
    "cases",
    None,
    "Number of cases, if it is settled: the answer is then the power.",
    lowest=2,
)
_PREVALENCE = _GIVEN.number(
    "prevalence", 0.5, "Share of positives among the cases, above 0 and below 1."
)
_DESIGN_EFFECT = _GIVEN.number(
    "design_effect",
    1.0,
    "How many images of the study say as much as one independent one, at least 1; with "
    "several images a patient it is above 1.",
)
_CORRELATION = _GIVEN.number(
    "correlation",
    None,
    "Correlation of the two AUROCs on the same cases, of auroc_difference; 0.3 to 0.6 "
    "is usual.",
)
_DISCORDANT = _GIVEN.number(
    "discordant",
    None,
    "Share of positives (or negatives) that the two systems call differently, of "
    "share_difference.",
)
_VARIANCE_OF = _GIVEN.choice(
    "variance_of",
    ("hanley_mcneil", "binormal", "obuchowski"),
    "How the variance of an AUROC is taken: binormal is exact for normal scores, "
    "hanley_mcneil is on the safe side of it, obuchowski is for ratings of few levels.",
    default="hanley_mcneil",
)
_PILOT = COMMAND.group("Readers, and the components of a pilot study")
_READERS = _PILOT.integer("readers", None, "Number of readers of the study.", lowest=1)
_FIXED_READERS = _PILOT.switch(
    "fixed_readers", False, "The result is to hold for these readers alone."
)
_PILOT_CASES = _PILOT.integer(
    "pilot_cases", None, "Cases that the pilot's components are of.", lowest=2
)
_VAR_READER = _PILOT.number(
    "var_reader", None, "Variance of modality x reader, of the pilot."
)
_VARIANCE = _PILOT.number(
    "variance", None, "Variance of one reading's figure of merit, of the pilot."
)
_COV1 = _PILOT.number("cov1", None, "Covariance: one reader, two modalities.")
_COV2 = _PILOT.number("cov2", None, "Covariance: two readers, one modality.")
_COV3 = _PILOT.number("cov3", None, "Covariance: two readers, two modalities.")
_WRITTEN = COMMAND.group("What is written")
_OUT = _WRITTEN.path("out", None, "JSON file for the answer, beside the log.")

# Design -> the flags that it needs, and those that it may have beyond the general ones.
_NEEDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "auroc": (("expected", "null"), ("variance_of",)),
    "auroc_difference": (
        ("expected", "second", "correlation"),
        ("margin", "variance_of"),
    ),
    "share": (("expected", "null"), ()),
    "share_difference": (("difference", "discordant"), ()),
    "readers": (
        (
            *("difference", "readers", "pilot_cases", "var_reader", "variance"),
            *("cov1", "cov2", "cov3"),
        ),
        ("fixed_readers",),
    ),
}


def call() -> None:
    from aals_jax.evaluation import study_size

    _check_flags()
    given = {name: COMMAND.values[name].value for name in _given_names()}
    plan = study_size.Plan(
        design=_DESIGN.value,
        power=_POWER.value,
        alpha=_ALPHA.value,
        cases=_CASES.value,
        prevalence=_PREVALENCE.value,
        design_effect=_DESIGN_EFFECT.value,
        given=given,
    )
    study_size.answer(plan, _OUT.value)


def _given_names() -> list[str]:
    needed, allowed = _NEEDS[_DESIGN.value]
    return [*needed, *allowed]


def _check_flags() -> None:
    """Refuses what is missing, and flags that the design does not read."""
    design, values = _DESIGN.value, COMMAND.values
    needed, _ = _NEEDS[design]
    missing = [name for name in needed if values[name].value is None]
    if missing:
        names = ", ".join(f"--{name}" for name in missing)
        raise ValueError(f"--design={design} needs {names}")
    known = _given_names()
    others = {name for both in _NEEDS.values() for part in both for name in part}
    unread = [n for n in sorted(others - set(known)) if _was_given(values[n])]
    if design in ("share", "share_difference") and values["prevalence"].present:
        unread.append("prevalence")
    if unread:
        names = ", ".join(f"--{name}" for name in unread)
        raise ValueError(f"--design={design} does not read {names}")


def _was_given(flag: Any) -> bool:
    return bool(flag.present)
