"""The study that docs/study.md reports is the one that its sweep file plans."""

import statistics
from pathlib import Path

from aals_jax.study import facts, kept, page, plan
from configs.sweeps import study as sweep_file

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/study.md"
RESULTS = ROOT / "docs/study/results"


def load():
    return plan.load(str(ROOT / "configs/sweeps/study.py"))


def test_tuned_values_are_the_best_on_validation():
    results = kept.read_all(RESULTS)
    found = {}
    for trial in load().part("tuning"):
        name = plan.label(trial.fields)
        name = "control" if name == plan.NO_SHARPENING else name
        point = tuple(
            float(trial.fields[f"distill.{field}"])
            for field in ("learning_rate", "weight")
        )
        auroc = facts.best_validation(results[trial.name])
        assert auroc is not None
        found.setdefault(name, []).append((auroc, point))
    assert {name: max(points)[1] for name, points in found.items()} == sweep_file.TUNED


def test_the_wider_tuning_chose_what_was_tested():
    results = kept.read_all(RESULTS)
    found = {}
    for part in ("tuning", "wider"):
        for trial in load().part(part):
            rate, weight = (
                float(trial.fields[f"distill.{f}"]) for f in ("learning_rate", "weight")
            )
            auroc = facts.best_validation(results[trial.name])
            assert auroc is not None
            found.setdefault(trial.fields["method"], []).append((auroc, rate, weight))
    for name in sweep_file.SQUARING:
        assert max(found[name])[1:] == sweep_file.REWEIGHTED


def test_the_chosen_sharpening_is_the_best_on_validation():
    results = kept.read_all(RESULTS)
    found = {}
    for trial in load().part("sharpening"):
        point = {name: float(trial.fields[name]) for name in sweep_file.CHOSEN}
        auroc = facts.best_validation(results[trial.name])
        assert auroc is not None
        found.setdefault(tuple(point.items()), []).append(auroc)
    assert len(found) == 13
    best = max(found, key=lambda point: statistics.fmean(found[point]))
    assert dict(best) == sweep_file.CHOSEN


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
