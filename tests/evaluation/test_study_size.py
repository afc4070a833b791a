"""`--mode=power`: from flags to a number of cases."""

import json

import pytest

from aals_jax.evaluation import study_size
from aals_jax.metrics import power
from tests.support.command_line import launch


def plan(design="auroc", **changes):
    given = {"expected": 0.85, "null": 0.75, "variance_of": "hanley_mcneil"}
    given |= changes.pop("given", {})
    defaults = {"power": 0.8, "alpha": 0.05, "cases": None, "prevalence": 0.5}
    defaults |= {"design_effect": 1.0, "design": design, "given": given}
    return study_size.Plan(**{**defaults, **changes})


def test_the_answer_reaches_the_power_and_one_case_less_does_not(tmp_path):
    found = study_size.answer(plan(), tmp_path / "power.json")
    at = study_size.power_of(plan())
    assert at(found["cases"]) >= 0.8 > at(found["cases"] - 1)
    assert json.loads((tmp_path / "power.json").read_text())["cases"] == found["cases"]
    turned = study_size.answer(plan(cases=found["cases"]), None)
    assert turned["power"] == pytest.approx(found["power"])
    powers = [row["power"] for row in found["around"]]
    assert powers == sorted(powers)


def test_a_design_effect_asks_for_as_many_times_the_cases():
    once, twice = (
        study_size.answer(plan(design_effect=effect), None) for effect in (1.0, 2.0)
    )
    assert twice["cases"] == pytest.approx(2 * once["cases"], abs=2)
    assert "independent" in twice["in_words"]


def test_rare_positives_ask_for_more_cases():
    common, rare = (
        study_size.answer(plan(prevalence=share), None) for share in (0.5, 0.05)
    )
    assert rare["cases"] > 3 * common["cases"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"power": 1.0}, "--power=1.0: above 0 and below 1"),
        ({"design_effect": 0.5}, "--design_effect"),
        ({"given": {"null": 0.85}}, "nothing is tested"),
        ({"given": {"expected": 1.2}}, "--expected=1.2"),
    ],
)
def test_what_can_not_be_is_refused_with_its_flag(changes, words):
    with pytest.raises(ValueError, match=words):
        study_size.power_of(plan(**changes))


def test_the_command_line_answers_and_refuses_what_a_design_does_not_read(tmp_path):
    readers = ["--mode=power", "--design=readers", "--difference=0.04380032"]
    readers += ["--readers=6", "--pilot_cases=114", "--var_reader=0.0002004"]
    readers += ["--variance=0.000802285", "--cov1=0.00034661", "--cov2=0.000344075"]
    readers += ["--cov3=0.00023903", "--cases=251"]
    told = launch(*readers, "--out=power.json", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    found = json.loads((tmp_path / "power.json").read_text())
    assert found["power"] == pytest.approx(0.80, abs=0.005)
    assert "power 0.8" in told.stdout + told.stderr
    for given, words in (
        (["--design=auroc", "--expected=0.8"], "needs --null"),
        (["--design=auroc", "--expected=0.8", "--null=0.7", "--cov1=1"], "--cov1"),
    ):
        told = launch("--mode=power", *given, cwd=tmp_path)
        assert told.returncode == 1 and words in told.stderr


def test_every_design_has_its_power():
    given = {
        "auroc_difference": {"expected": 0.85, "second": 0.8, "correlation": 0.5}
        | {"margin": None, "variance_of": "obuchowski"},
        "share": {"expected": 0.9, "null": 0.8},
        "share_difference": {"difference": 0.1, "discordant": 0.2},
    }
    for design, numbers in given.items():
        asked = study_size.Plan(design, 0.9, 0.05, None, 0.3, 1.0, numbers)
        found = study_size.answer(asked, None)
        assert found["power"] >= 0.9 and found["cases"] < power.MOST
