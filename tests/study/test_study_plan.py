"""The study that docs/study.md reports is the one that its sweep file plans."""

import statistics
from pathlib import Path

from aals_jax.study import (
    facts,
    page,
)
from aals_jax.study import (
    kept as study_results,
)
from aals_jax.study import (
    plan as study_plan,
)
from configs.sweeps import page as plan

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/study.md"
RESULTS = ROOT / "docs/study/results"


def load():
    return study_plan.load(str(ROOT / "configs/sweeps/study.py"))


def test_tuned_values_are_the_best_on_validation():
    kept = study_results.read_all(RESULTS)
    found = {}
    for trial in load().part("tuning"):
        name = study_plan.label(trial.fields)
        name = "control" if name == study_plan.NO_SHARPENING else name
        point = tuple(
            float(trial.fields[f"distill.{field}"])
            for field in ("learning_rate", "weight")
        )
        auroc = facts.best_validation(kept[trial.name])
        assert auroc is not None
        found.setdefault(name, []).append((auroc, point))
    assert {name: max(points)[1] for name, points in found.items()} == plan.TUNED


def test_the_wider_tuning_chose_what_was_tested():
    kept = study_results.read_all(RESULTS)
    found = {}
    for part in ("tuning", "wider"):
        for trial in load().part(part):
            rate, weight = (
                float(trial.fields[f"distill.{f}"]) for f in ("learning_rate", "weight")
            )
            auroc = facts.best_validation(kept[trial.name])
            assert auroc is not None
            found.setdefault(trial.fields["method"], []).append((auroc, rate, weight))
    for name in plan.SQUARING:
        assert max(found[name])[1:] == plan.REWEIGHTED


def test_the_chosen_sharpening_is_the_best_on_validation():
    kept = study_results.read_all(RESULTS)
    found = {}
    for trial in load().part("sharpening"):
        point = {name: float(trial.fields[name]) for name in plan.CHOSEN}
        auroc = facts.best_validation(kept[trial.name])
        assert auroc is not None
        found.setdefault(tuple(point.items()), []).append(auroc)
    assert len(found) == 13
    best = max(found, key=lambda point: statistics.fmean(found[point]))
    assert dict(best) == plan.CHOSEN


def test_the_page_is_what_the_kept_results_give(tmp_path):
    copy = tmp_path / "docs/study.md"
    copy.parent.mkdir()
    copy.write_text(PAGE.read_text())
    page.run(str(ROOT / "configs/sweeps/study.py"), RESULTS, copy)
    assert copy.read_text() == PAGE.read_text()
    made = {file.name: file.read_bytes() for file in copy.with_suffix("").iterdir()}
    there = {
        file.name: file.read_bytes()
        for file in PAGE.with_suffix("").iterdir()
        if file.is_file()
    }
    assert made == there
