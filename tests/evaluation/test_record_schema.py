"""The schema of the record: real ones pass, broken ones don't."""

import copy
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from aals_jax.evaluation import result, study_facts
from aals_jax.metrics import readings
from aals_jax.report import checklists
from tests.evaluation.test_score import run, write_tables
from tests.support.record_schema import SCHEMA, faults_of

STATED = study_facts.StudyFacts(
    {"study.intended_use": "second reader"},
    (study_facts.Exclusion("lateral view", 12, 3),),
)


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> dict[str, Any]:
    """A scoring with all that one can have."""
    folder = tmp_path_factory.mktemp("scored")
    write_tables(folder, split=True)
    return run(folder, "a", "b", study=STATED)


def test_a_scoring_passes(scored):
    assert faults_of(scored) == []


@pytest.mark.parametrize("given", ["no detections", "points", "one class", "no lesion"])
def test_scorings_with_undefined_values_pass(tmp_path, given):
    write_tables(tmp_path)
    changes: dict[str, Any] = {}
    if given == "no detections":
        (tmp_path / "detections_a.csv").write_text("image,x,y,score\n")
    elif given == "points":
        (tmp_path / "lesions.csv").write_text("image,lesion,x,y\nfilm0.png,1,20,20\n")
        changes["hit"] = readings.Hit("distance", max_distance=5.0)
    elif given == "one class":
        images = (tmp_path / "images.csv").read_text()
        kept = [row for row in images.splitlines() if ",1," not in row]
        (tmp_path / "images.csv").write_text("\n".join(kept) + "\n")
        names = {row.split(",")[0] for row in kept[1:]}
        rows = (tmp_path / "detections_a.csv").read_text().splitlines()
        rows = [rows[0], *(row for row in rows if row.split(",")[0] in names)]
        (tmp_path / "detections_a.csv").write_text("\n".join(rows) + "\n")
        (tmp_path / "lesions.csv").write_text("image,lesion,x0,y0,x1,y1\n")
    else:
        (tmp_path / "lesions.csv").write_text("image,lesion,x0,y0,x1,y1\n")
    record = run(tmp_path, "a", **changes)
    assert faults_of(record) == []
    cells = record["metrics"]["detections"].values()
    assert given in ("no detections", "points") or any(
        cell["value"] is None and cell["reason"] for cell in cells
    )


def broken(change: Callable[[dict], Any]) -> Callable[[dict], dict]:
    def applied(record: dict) -> dict:
        record = copy.deepcopy(record)
        change(record)
        return record

    return applied


def auroc(record: dict) -> dict:
    return record["metrics"]["detections"]["auroc"]


BROKEN = {
    "an unknown field": lambda r: r.update(metric={}),
    "a version that is not this one": lambda r: r.update(format=2),
    "no metrics": lambda r: r.pop("metrics"),
    "no disclaimer": lambda r: r.pop("disclaimer"),
    "a value as text": lambda r: auroc(r).update(value="0.9"),
    "no value": lambda r: auroc(r).pop("value"),
    "null without a reason": lambda r: auroc(r).update(value=None),
    "an end without a reason": lambda r: auroc(r).update(low=None),
    "an empty reason": lambda r: auroc(r).update(value=None, reason=""),
    "no definition": lambda r: auroc(r).pop("definition"),
    "a negative count": lambda r: auroc(r).update(n_images=-1),
    "a count that is no whole number": lambda r: auroc(r).update(n_images=1.5),
    "a prevalence above 1": lambda r: auroc(r).update(prevalence=25.0),
    "a p-value above 1": lambda r: r["differences"][0].update(p_value=1.5),
    "a difference of nobody": lambda r: r["differences"][0].pop("b"),
    "a metric with a title for a name": lambda r: r["metrics"]["detections"].update(
        {"FROC score": auroc(r)}
    ),
    "a level that there is not": lambda r: r["operating_points"]["detections"][
        0
    ].update(level="patient"),
    "no threshold and no reason": lambda r: r["operating_points"]["detections"][
        0
    ].update(threshold=None),
    "a group without its column": lambda r: r["subgroups"]["detections"][0].pop(
        "column"
    ),
    "no bins and no reason": lambda r: r["calibration"]["detections"].update(bins=[]),
    "a stage without a name": lambda r: r["flow"]["stages"][0].pop("stage"),
    "an unknown count in the flow": lambda r: r["flow"]["stages"][0].update(n_films=3),
    "a flow without a stage": lambda r: r["flow"].update(stages=[]),
    "left out without a reason": lambda r: r["flow"]["stages"][0]["left_out"][0].pop(
        "reason"
    ),
    "a fact without a section": lambda r: r["study"]["facts"].update(use="x"),
    "an unknown status": lambda r: r["checklists"]["standards"]["STARD 2015"]["items"][
        0
    ].update(status="done"),
    "monitors of a scoring": lambda r: r.update(monitors={}),
    "a run without steps": lambda r: r.pop("kind"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_record_does_not_pass(scored, fault):
    assert faults_of(broken(BROKEN[fault])(scored)), fault


def test_the_schema_has_the_version_and_the_fields_of_the_record():
    schema = json.loads(SCHEMA.read_text())
    assert schema["properties"]["format"]["const"] == result.FORMAT
    fields = {field.name for field in dataclasses.fields(result.Result)}
    made = {"format", "disclaimer", "checklists", "metrics", "calibration"}
    made |= {"operating_points", "subgroups"}
    assert schema["properties"].keys() == fields - {"measurements"} | made
    assert schema["additionalProperties"] is False
    items = schema["$defs"]["checklists"]["properties"]["standards"]
    status = items["additionalProperties"]["properties"]["items"]["items"]["properties"]
    assert tuple(status["status"]["enum"]) == checklists.STATUSES
