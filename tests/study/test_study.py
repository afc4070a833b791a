"""A study from its sweep to its page: what is kept, what the tables say, what stays."""

import csv
import dataclasses
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from aals_jax.evaluation import replicates
from aals_jax.report import markdown, study_figures
from aals_jax.runtime import files
from aals_jax.study import blocks, comparisons, kept, page, plan
from aals_jax.study.blocks import BLOCKS
from aals_jax.study.kept import Study
from aals_jax.study.plan import NO_SHARPENING, Plan, PlannedTrial, arms
from tests.support import fake_studies
from tests.support.datasets import contents

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The sweep file and a sweep that has finished all but a few trials of it."""
    root = tmp_path_factory.mktemp("study")
    file = fake_studies.write_file(root)
    planned = plan.load(str(file))
    missing = {t.name for t in planned.part("hard")}
    missing |= {  # one seed of one method
        t.name
        for t in planned.part("middle")
        if t.fields["method"] == "supervised" and t.fields["seed"] == 1
    }
    for trial in planned.trials.values():
        if trial.name not in missing:
            fake_studies.finish(trial, root / "sweep")
    return file, planned, root / "sweep"


@pytest.fixture(scope="module")
def built(swept, tmp_path_factory):
    """Pages and kept results of that sweep."""
    folder = tmp_path_factory.mktemp("docs")
    build(swept, folder, workdir=swept[2])
    return folder


def build(swept, folder, *, workdir=None):
    page.run(str(swept[0]), folder / "study/results", folder / "study.md", workdir)


def block(folder, name):
    """What the one page that has the block says in it."""
    pages = [folder / "study.md", *(folder / "study").glob("*.md")]
    (text,) = (t for t in map(Path.read_text, pages) if f"<!-- {name} -->" in t)
    return text.partition(f"<!-- {name} -->")[2].partition(f"<!-- end {name} -->")[0]


def rows(text):
    """Cells of all table lines."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def plan_of(*trials):
    return Plan({"middle": trials})


def assert_same(a, b):
    """Two kept trials are equal in every field and replicate."""
    assert (a.name, a.record) == (b.name, b.record)
    assert a.replicates.keys() == b.replicates.keys()
    for metric, drawn in a.replicates.items():
        assert np.array_equal(drawn, b.replicates[metric], equal_nan=True), metric


# --- keeping


def test_what_is_kept_is_small_and_what_the_trial_said(swept, built):
    trials = swept[1].part("middle")
    results = kept.read_all(built / "study/results")
    trial = results[trials[0].name]
    source = swept[2] / "trials" / trial.name
    result = json.loads((source / "result.json").read_text())
    assert trial.value("auroc") == result["metrics"]["teacher"]["auroc"]["value"]
    assert trial.record["metrics"].keys() == {"teacher", "pretrained"}
    assert trial.record["best_steps"] == {"teacher": 12, "pretrained": 9}
    assert trial.record["training"]["distill"] == {
        "steps": 12,
        "seconds": 6.0,
        "steps_per_s": 2.0,
    }
    steps, dead = trial.curve("share_dead")
    assert steps.tolist() == [3, 6, 9, 12]
    assert dead == pytest.approx(1 / steps)
    exact = replicates.read(source / "replicates.npz").values
    for name, values in exact.items():
        assert trial.replicates[name] == pytest.approx(values, abs=1.01e-5)
    count = sum(t.name in results for t in trials)
    archive = built / "study/results/middle.npz"
    assert archive.stat().st_size < 4_000 * count


def test_a_thousand_replicates_take_less_than_20_kb(tmp_path):
    rng = np.random.default_rng(0)
    names = ("auroc", "average_precision", "froc_area", "froc_count", "brier_score")
    drawn = {name: rng.normal(0.8, 0.03, 1_000).clip(0, 1) for name in names}
    kept._write(tmp_path / "a.jsonl", {"0" * 12: kept.KeptTrial("0" * 12, {}, drawn)})
    assert (tmp_path / "a.npz").stat().st_size < 20_000


def test_rejected_replicates_and_the_ends_are_kept_exactly(swept, tmp_path):
    trial = swept[1].part("middle")[0]
    folder = fake_studies.finish(trial, tmp_path)
    drawn = replicates.read(folder / "replicates.npz")
    drawn.values["auroc"][:3] = [np.nan, 0.0, 1.0]
    replicates.write(folder / "replicates.npz", drawn)
    assert kept.keep(plan_of(trial), tmp_path, tmp_path / "kept") == 1
    again = kept.read_all(tmp_path / "kept")[trial.name]
    assert again.replicates["auroc"][:3] == pytest.approx([np.nan, 0, 1], nan_ok=True)


def test_neither_folder_nor_scores_are_kept(swept, built):
    for name, content in contents(built / "study/results").items():
        assert str(swept[2]).encode() not in content, name
    path = next((built / "study/results").glob("*.npz"))
    with np.load(path) as archive:
        names = [name.split("/") for name in archive.files]
    assert {trial for trial, _ in names} <= swept[1].trials.keys()
    assert {metric for _, metric in names} == set(fake_studies.METRICS)


def test_a_trial_of_two_parts_is_kept_once_with_the_first(swept, built):
    planned, folder = swept[1], built / "study/results"
    shared = {t.name for t in planned.part("sharpening")} & {
        t.name for t in planned.part("middle")
    }
    names = {p.stem: kept._read(p).keys() for p in folder.glob("*.jsonl")}
    assert shared and shared <= names["middle"]
    assert not shared & names["sharpening"]
    assert sum(map(len, names.values())) == len(kept.read_all(folder))
    assert {p.name for p in folder.iterdir()} == {
        f"{part}.{end}" for part in names for end in ("jsonl", "npz")
    }


def test_keeping_again_changes_nothing_and_adds_what_is_new(swept, built, tmp_path):
    sweep = tmp_path / "sweep"
    folder, planned = tmp_path / "kept", swept[1]
    shutil.copytree(built / "study/results", folder)
    before, names = contents(folder), kept.read_all(folder).keys()
    late = planned.part("hard")[0]
    fake_studies.finish(late, sweep)
    for trial in planned.part("middle")[:1]:
        fake_studies.finish(trial, sweep)
    assert kept.keep(planned, sweep, folder) == 1
    after = contents(folder)
    assert after.keys() - before.keys() == {"hard.jsonl", "hard.npz"}
    assert all(after[name] == content for name, content in before.items())
    assert kept.read_all(folder).keys() - names == {late.name}


def test_what_is_new_joins_its_part_and_leaves_the_other_lines_alone(swept, tmp_path):
    first, second = swept[1].part("middle")[:2]
    for trial in (first, second):
        fake_studies.finish(trial, tmp_path)
    folder = tmp_path / "kept"
    kept.keep(plan_of(first), tmp_path, folder)
    before = (folder / "middle.jsonl").read_text()
    assert kept.keep(plan_of(first, second), tmp_path, folder) == 1
    lines = (folder / "middle.jsonl").read_text().splitlines(keepends=True)
    assert len(lines) == 2 and before in lines
    alone = tmp_path / "alone"
    kept.keep(plan_of(first, second), tmp_path, alone)
    assert contents(folder) == contents(alone)  # whatever the order of keeping


def test_a_result_of_another_version_of_the_run_is_not_kept_beside_the_others(
    swept, tmp_path
):
    first, second = swept[1].part("middle")[:2]
    folder = tmp_path / "kept"
    fake_studies.finish(first, tmp_path)
    kept.keep(plan_of(first), tmp_path, folder)
    before = contents(folder)
    fake_studies.finish(second, tmp_path, run_version=2)
    with pytest.raises(ValueError, match="version 2 of the run made it, and version 1"):
        kept.keep(plan_of(first, second), tmp_path, folder)
    assert contents(folder) == before
    kept.keep(plan_of(second), tmp_path, tmp_path / "alone")
    (trial,) = kept.read_all(tmp_path / "alone").values()
    assert trial.run_version == 2


def test_another_result_of_a_kept_trial_is_told_and_not_taken(swept, tmp_path):
    first, second, third = swept[1].part("middle")[:3]
    folder = tmp_path / "kept"
    for trial in (first, second):
        fake_studies.finish(trial, tmp_path)
    kept.keep(plan_of(first, second), tmp_path, folder)
    before = kept.read_all(folder)
    fake_studies.finish(first, tmp_path, {"supervised": 3.0})
    fake_studies.finish(second, tmp_path, config={**second.identity, "seed": 9})
    fake_studies.finish(third, tmp_path)
    with pytest.raises(ValueError) as told:
        kept.keep(plan_of(first, second, third), tmp_path, folder)
    assert "delete its line in middle.jsonl to take this one" in str(told.value)
    assert f"{first.name}: another result is kept (curve.auroc_teacher" in str(
        told.value
    )
    assert f"{second.name}: its result is of another config: seed: 9" in str(told.value)
    after = kept.read_all(folder)
    assert after.keys() - before.keys() == {third.name}
    for name, trial in before.items():
        assert_same(after[name], trial)


def test_a_result_without_best_steps_is_told(swept, tmp_path):
    trial = swept[1].part("middle")[0]
    path = fake_studies.finish(trial, tmp_path) / "result.json"
    result = json.loads(path.read_text())
    del result["steps"]
    files.write_json(path, result)
    with pytest.raises(ValueError, match="lacks the hardware or the best steps"):
        kept.keep(plan_of(trial), tmp_path, tmp_path / "kept")


def test_times_alone_are_no_other_result(swept, tmp_path):
    trial = swept[1].part("middle")[0]
    folder = fake_studies.finish(trial, tmp_path)
    kept.keep(plan_of(trial), tmp_path, tmp_path / "kept")
    history = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(
        history.replace('_per_s": 2.0', '_per_s": 3.0')
    )
    assert kept.keep(plan_of(trial), tmp_path, tmp_path / "kept") == 0


def test_a_trial_run_again_on_other_hardware_is_a_repeat(swept, built, tmp_path):
    trial = swept[1].part("middle")[0]
    shutil.copytree(built / "study", tmp_path / "study")
    folder = tmp_path / "study/results"
    before = contents(folder)
    fake_studies.finish(trial, tmp_path, {"supervised": 3.0}, hardware="1 x fast")
    build(swept, tmp_path, workdir=tmp_path)
    build(swept, tmp_path, workdir=tmp_path)  # a repeat is kept once
    after = contents(folder)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {
        f"repeats/middle.{end}" for end in ("jsonl", "npz")
    }
    assert kept.read_all(folder / "repeats").keys() == {trial.name}
    a, b = (
        kept.read_all(place)[trial.name].value("auroc")
        for place in (folder, folder / "repeats")
    )
    _, _, row, _, _, one, *_ = rows(block(tmp_path, "repeats"))
    assert row[2:5] == ["1 x cpu, 1 x fast", f"{a:.3f}", f"{b:.3f}"]
    assert one[:3] == ["AUROC", "1", f"{abs(b - a) / 2**0.5:.3f}"]
    # and nothing else on the pages moved
    for name in BLOCKS.keys() - {"repeats"}:
        assert block(tmp_path, name) == block(built, name), name


def test_a_curve_over_a_level_is_of_one_hardware_where_it_can_be(built, tmp_path):
    results = kept.read_all(built / "study/results")
    names = [*results][:3]
    elsewhere = {n: on("1 x fast", results[n]) for n in names}
    mixed = {**results, names[0]: elsewhere[names[0]]}
    trials = [PlannedTrial(name, {}) for name in names]

    def chosen(repeats):
        results = Study(Plan({}), mixed, repeats).on_one_hardware(trials)
        return [results[name].hardware for name in names]

    assert chosen({}) == ["1 x fast", "1 x cpu", "1 x cpu"]  # no better can be had
    assert chosen(elsewhere) == ["1 x fast"] * 3
    assert chosen({names[0]: results[names[0]]}) == ["1 x cpu"] * 3


def on(hardware, trial):
    training = {**trial.record["training"], "hardware": hardware}
    return dataclasses.replace(trial, record={**trial.record, "training": training})


def test_damaged_files_are_told_by_name(swept, built, tmp_path):
    shutil.copytree(built / "study/results", tmp_path / "kept")
    path = next((tmp_path / "kept").glob("*.npz"))
    path.unlink()
    with pytest.raises(
        ValueError, match=rf"{path.stem}\.jsonl or its \.npz is damaged"
    ):
        kept.read_all(tmp_path / "kept")
    with pytest.raises(ValueError, match="no sweep has run there"):
        kept.keep(Plan({}), tmp_path / "nowhere", tmp_path / "kept")


@pytest.mark.parametrize("name", ["middle.jsonl", "middle.npz"])
def test_a_file_that_was_cut_off_is_told_by_name(built, tmp_path, name):
    folder = shutil.copytree(built / "study/results", tmp_path / "kept")
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"middle\.jsonl or its \.npz is damaged"):
        kept.read_all(folder)


def test_a_line_without_its_replicates_is_told_and_one_less_is_none(built, tmp_path):
    """A kill between the two files leaves replicates that no line names."""
    folder = shutil.copytree(built / "study/results", tmp_path / "kept")
    table = folder / "middle.jsonl"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[1:]))
    assert len(kept._read(table)) == len(lines) - 1
    shutil.copy(folder / "real.npz", folder / "middle.npz")
    with pytest.raises(ValueError, match="is damaged or missing"):
        kept.read_all(folder)


def test_a_trial_in_two_tables_is_told(built, tmp_path):
    folder = shutil.copytree(built / "study/results", tmp_path / "kept")
    for end in ("jsonl", "npz"):
        shutil.copy(folder / f"middle.{end}", folder / f"more.{end}")
    with pytest.raises(ValueError, match=r"more\.jsonl has trial \w+, which another"):
        kept.read_all(folder)


# --- the plan


def test_a_study_file_says_its_parts(swept, tmp_path):
    planned = swept[1]
    assert len(planned.part("middle")) == 12
    # some are in two
    assert len(planned.trials) < sum(map(len, planned.parts.values()))
    other = tmp_path / "other.py"
    other.write_text("PARTS = 3\n")
    with pytest.raises(ValueError, match="PARTS, name -> function"):
        plan.load(str(other))
    with pytest.raises(ValueError, match="no such file"):
        plan.load(str(tmp_path / "none.py"))


def test_a_part_takes_what_another_part_runs_anyway(swept):
    planned = swept[1]
    own = arms(planned.part("regions"), level=lambda f: f["data.region_images"])
    wide = planned.widened("regions", ("data.region_images",))
    found = arms(wide, level=lambda f: f["data.region_images"])
    assert {arm.level for arm in own} == {2, 24}
    assert {arm.level for arm in found} == {2, 6, 24}
    labels = {arm.label for arm in found if arm.level == 6}
    assert labels == {"supervised", "mean_teacher", "aals"}


def test_two_trials_in_one_cell_are_told(swept):
    with pytest.raises(ValueError, match=r"they differ in data\.region_images"):
        arms(swept[1].part("regions"))


def test_seeds_and_folds_are_those_that_all_have():
    assert comparisons.balanced({(s, 0) for s in (0, 2)}) == ((0, 2), (0,))
    full = {(s, f) for s in range(3) for f in range(5)}
    assert comparisons.balanced(full) == ((0, 1, 2), (0, 1, 2, 3, 4))
    # one seed with one fold: not worth four folds of the others
    few = {(s, f) for s, f in full if s < 2} | {(2, 0)}
    assert comparisons.balanced(few) == ((0, 1), (0, 1, 2, 3, 4))
    assert comparisons.balanced(set()) == ((), ())


# --- the page


def test_a_planted_better_method_is_found_with_its_sign(built):
    text = block(built, "pairs-middle")
    assert f"**Minus {NO_SHARPENING}.**" in text and "**Minus supervised.**" in text
    against = text.partition("**Minus mean_teacher.**")[2]
    first = rows(against.partition("<details>")[0])
    better, worse = (
        next(row[2] for row in first if row[0] == name)
        for name in ("aals", "supervised")
    )
    assert better.startswith("**+0.") and "Holm 0.0" in better
    assert worse.startswith("**\N{MINUS SIGN}0.")
    assert "mean_teacher" not in [row[0] for row in first]
    assert "over the 3 comparisons of this table and metric" in text


def test_a_table_has_mean_deviation_and_every_seed(swept, built):
    results = kept.read_all(built / "study/results")
    trials = [
        t for t in swept[1].part("middle") if t.fields["method"] == "mean_teacher"
    ]
    values = [results[t.name].value("auroc") for t in trials]
    found = [r for r in rows(block(built, "methods-middle")) if r[0] == "mean_teacher"]
    mean = f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    assert found[0][1:4] == ["3 of 3", "0 to 2", mean]
    assert found[1][1:] == ["AUROC", *(f"{value:.3f}" for value in values)]


def test_stage_1_alone_stands_before_what_goes_on_from_it(swept, built):
    results = kept.read_all(built / "study/results")
    trials = [t for t in swept[1].part("middle") if t.fields["method"] == "supervised"]
    values = [
        results[t.name].record["metrics"]["pretrained"]["auroc"]["value"]
        for t in trials
        if t.name in results
    ]
    table = rows(block(built, "methods-middle"))
    at = [row[0] for row in table].index("stage 1 alone")
    mean = f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    assert table[at][1:4] == ["2 of 3", "0, 2", mean]
    assert table[at + 1][0] == "supervised" and table[at + 1][3] != mean


def test_a_missing_seed_is_said_and_left_out_of_pairs(built):
    text = block(built, "methods-middle")
    assert "11 of 12 trials done." in text
    (first, auroc, *_) = [row for row in rows(text) if row[0] == "supervised"]
    assert first[1:3] == ["2 of 3", "0, 2"]
    assert auroc[3] == "—" and "—" not in (auroc[2], auroc[4])
    against = block(built, "pairs-middle").partition("**Minus mean_teacher.**")[2]
    pairs = [row for row in rows(against) if row[0] == "supervised"]
    assert pairs[0][1] == "0, 2"
    within = next(row for row in pairs if row[1] == "AUROC")
    assert [cell == "—" for cell in within[3:]] == [False, True, False]


def test_a_seed_that_the_reference_lacks_is_left_out_too(swept, built):
    results = kept.read_all(built / "study/results")
    found = {arm.label: arm for arm in arms(swept[1].part("middle"))}
    reference = found["mean_teacher"]
    del results[reference.trials[0, 0]]
    (pair,) = comparisons.comparisons(
        [found["aals"]], lambda arm: reference, results, "auroc"
    )
    assert list(pair.within) == [1, 2]
    assert pair.across.value == pytest.approx(
        np.mean([interval.value for interval in pair.within.values()])
    )


def test_parts_with_nothing_say_so(built):
    for name in ("methods-hard", "pairs-hard", "noise", "methods-easy"):
        assert block(built, name).strip() == "Not run."
    found = dict(rows(block(built, "progress"))[2:])
    assert found["hard"] == found["noise"] == "not run"
    assert found["middle"] == "11 of 12 trials done"


def test_folds_are_averaged_and_named(swept, built):
    results = kept.read_all(built / "study/results")
    trials = [
        t
        for t in swept[1].part("real")
        if (t.fields["method"], t.fields["seed"]) == ("aals", 0)
    ]
    mean = np.mean([results[t.name].value("auroc") for t in trials])
    text = block(built, "methods-real")
    (first, auroc, *_) = [row for row in rows(text) if row[0] == "aals"]
    assert first[1:4] == ["4 of 4", "0, 1", "0, 1"]
    assert auroc[2] == f"{mean:.3f}"


def test_tuning_is_told_by_validation_alone(built):
    text = block(built, "tuning")
    head, _, *lines = rows(text)
    assert head == ["method", "learning_rate", "runs", "validation AUROC"]
    assert [line[:2] for line in lines] == [
        ["mean_teacher", "0.0001"],
        ["mean_teacher", "0.001"],
        ["aals", "0.0001"],
        ["aals", "0.001"],
    ]
    assert sum(line[3].startswith("**") for line in lines) == 2


def test_the_surface_and_the_curves_have_every_level(built):
    found = {tuple(row[:2]) for row in rows(block(built, "sharpening"))}
    levels = {(f"a0 = {a}", f"{t}") for a in (4, 16) for t in (0.2, 0.4)}
    assert found >= levels | {("a0 = 1", "0.4")}
    assert "Minus no sharpening" in block(built, "sharpening")
    found = {tuple(row[:2]) for row in rows(block(built, "regions"))}
    assert found >= {("aals", r) for r in ("2", "6", "24")}
    assert "aals, dead_zone=raise" in block(built, "dead-zone")
    share = {tuple(row[:2]): row for row in rows(block(built, "dead-share"))}
    assert share["middle", "aals"][3].startswith("0.333 [")


def test_the_csv_has_all_digits(swept, built):
    text = (built / "study/results.csv").read_text()
    lines = list(csv.DictReader(text.splitlines()))
    assert len(lines) == len(swept[1].trials)
    results = kept.read_all(built / "study/results")
    for line in lines:
        trial = results.get(line["trial"])
        assert line["state"] == ("done" if trial else "not run")
        if trial:
            assert float(line["teacher_auroc_value"]) == trial.value("auroc")


def test_figures_are_whole_svg_with_both_grounds(built):
    figures = {path.name: path.read_text() for path in (built / "study").glob("*.svg")}
    assert set(figures) == {
        "methods-middle.svg",
        "methods-real.svg",
        "sharpening.svg",
        "regions.svg",
        "dead-share.svg",
    }
    for text in figures.values():
        root = ElementTree.fromstring(text)
        assert root.get("viewBox") and root.get("aria-label")
        assert "prefers-color-scheme: dark" in text and "--line-0" in text
        assert not re.search(r"#0[0a]0[0a]", text)  # every marker colour is replaced
    shown = "".join(ElementTree.fromstring(figures["methods-middle.svg"]).itertext())
    assert "AUROC" in shown and "no sharpening (a0 = 1)" in shown
    linked = [
        name
        for path in (built / "study").glob("*.md")
        for name in re.findall(r"\]\(([\w-]+\.svg)\)", path.read_text())
    ]
    assert set(linked) == set(figures) and len(linked) == len(figures)


def test_a_row_far_below_the_others_does_not_press_them_together():
    rows = [
        study_figures.DotRow(name, 0, values)
        for name, values in {
            "a": (0.84, 0.88),
            "lost": (0.49, 0.51),
            "b": (0.83, 0.86),
            "not run": (),
            "near": (0.80, 0.81),
        }.items()
    ]
    assert study_figures._far_below(rows) == {1}
    drawn = study_figures.dots([("AUROC", rows)], key="k")
    text = study_figures.standalone(drawn, alt="dots")
    assert "0.500" in "".join(ElementTree.fromstring(text).itertext())
    assert study_figures._far_below(rows[:1] + rows[2:]) == set()


def test_rebuilding_gives_the_same_bytes_and_needs_no_sweep(swept, built, tmp_path):
    shutil.copytree(built / "study/results", tmp_path / "study/results")
    build(swept, tmp_path)
    build(swept, tmp_path)
    assert contents(tmp_path) == contents(built)


def test_prose_stays_byte_for_byte(swept, built, tmp_path):
    prose = "# Ours\r\n\r\nText with <!-- a comment --> in it.\n\n"
    before = f"{prose}<!-- progress -->\nold\n<!-- end progress -->\nafter\n"
    (tmp_path / "study.md").write_bytes(before.encode())
    build(swept, tmp_path)
    text = (tmp_path / "study.md").read_bytes().decode()
    assert text.startswith(f"{prose}<!-- progress -->\n")
    assert text.endswith("<!-- end progress -->\nafter\n")
    assert "old" not in text and "| middle | not run |" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n<!-- nothing -->\n", "p.md, line 2: there is no block 'nothing'"),
        ("<!-- one -->\n", "'one' lacks its <!-- end one -->"),
        ("<!-- end one -->\n", "line 1: the end of 'one', not begun"),
        ("<!-- one -->\n<!-- two -->\n", "line 2: 'two' begins in 'one'"),
        ("<!-- one -->\n<!-- end two -->\n", "line 2: the end of 'two', not begun"),
    ],
)
def test_blocks_at_fault_are_told_in_one_message(text, message):
    with pytest.raises(ValueError) as told:
        markdown.fill(text, {"one": "1", "two": "2"}, file="p.md")
    assert message in str(told.value)


def test_a_fault_leaves_the_page_and_its_folder_as_they_were(swept, tmp_path):
    (tmp_path / "study.md").write_text("<!-- progress -->\n")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="lacks its"):
        build(swept, tmp_path)
    assert contents(tmp_path) == before


def test_a_fault_in_a_part_s_page_leaves_all_pages_as_they_were(swept, tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study/noise.md").write_text("<!-- noises -->\n")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"noise\.md, line 1: there is no block"):
        build(swept, tmp_path)
    assert contents(tmp_path) == before


def test_the_pages_begin_with_every_block_once():
    templates = [p.template for p in (blocks.MAIN, *blocks.PAGES.values())]
    names = [name for text in templates for name in markdown.block_names(text)]
    assert sorted(names) == sorted(BLOCKS)
    for text in templates:
        markdown.fill(text, dict.fromkeys(BLOCKS, ""), file="t")


def test_trials_of_other_data_are_not_paired(swept, tmp_path):
    trials = swept[1].part("middle")
    for trial in trials:
        folder = fake_studies.finish(trial, tmp_path)
        if trial.fields["method"] == "aals" and trial.fields["seed"] == 2:
            result = json.loads((folder / "result.json").read_text())
            result["data"]["data_hash"] = "other"
            files.write_json(folder / "result.json", result)
    with pytest.raises(ValueError, match="can't be paired, their data_hash differ"):
        build(swept, tmp_path, workdir=tmp_path)


def test_the_command_needs_nothing_but_the_kept_results(swept, built, tmp_path):
    """A process of its own, without the sweep's folder."""
    shutil.copytree(built / "study/results", tmp_path / "kept")
    command = [sys.executable, "launch.py", "--mode=study", f"--sweep={swept[0]}"]
    command += [f"--results={tmp_path / 'kept'}", f"--out={tmp_path / 'study.md'}"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    for path in ("study.md", *(f"study/{name}.md" for name in blocks.PAGES)):
        assert (tmp_path / path).read_bytes() == (built / path).read_bytes()
