"""Sweeps: what a trial is, what trials share, who may run, what is left at the end."""

import csv
import dataclasses
import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from aals_jax import sweeps
from aals_jax.method.methods import METHODS
from aals_jax.runs import identity, sharing
from aals_jax.runtime import cores
from aals_jax.sweeps import driver, results, search, sweep_file, trials
from configs import base
from configs.sweeps import comparison, fair, rows, sharpening, tiny, tuning
from configs.sweeps.grid import grid
from data.cxr_registry.guard import locks

ROOT = Path(__file__).parents[2]
needs_ray = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("ray", "optuna"))),
    reason="Ray or Optuna is not installed; see requirements/sweep.txt",
)
FILE = """
from configs.sweeps import tiny
from configs.sweeps.grid import grid

def get_sweep():
    config = tiny.tiny()
    config.data.dir = {data!r}
    return grid(config, {fields!r})
"""


@pytest.fixture(scope="module")
def scratch(compiled_once):
    """A folder for datasets and for what is compiled, shared by the runs here."""
    return compiled_once


def job_of(folder: Path, scratch: Path, fields: dict, **options) -> driver.Job:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "file.py"
    file.write_text(FILE.format(data=str(scratch / "data"), fields=fields))
    return driver.Job(str(file), folder / "sweep", **options)


def trials_of(fields: dict, root: Path = Path("sweep")) -> list[trials.Trial]:
    return sweep_file.make_trials(grid(tiny.tiny(), fields), root)


# --- configs


def test_a_grid_has_every_combination_and_leaves_its_config_alone():
    config = tiny.tiny()
    before = config.to_json_best_effort()
    made = grid(config, {"seed": [1, 2], "distill.center": [0.2, 0.4, 0.5]})
    pairs = [(each.seed, each.distill.center) for each in made]
    assert pairs == [(s, t) for s in (1, 2) for t in (0.2, 0.4, 0.5)]
    assert config.to_json_best_effort() == before
    with pytest.raises(ValueError, match=r"no field distill\.centre"):
        grid(config, {"distill.centre": [0.2]})


def test_every_method_is_tuned_by_the_same_number_of_trials():
    """Of distinct rates and, where a method has one, weights; apart from what is
    compared, and with as few stages 1 as can be."""
    configs, arms = fair.get_sweep(), fair.arms("clavicle")
    assert arms.keys() == {*METHODS, "control", "regularised"}
    assert len(configs) == fair.TRIALS * len(arms)
    groups = [configs[i :: len(arms)] for i in range(len(arms))]
    for arm, group in zip(arms.values(), groups, strict=True):
        rates = {c.distill.learning_rate for c in group}
        assert len(rates) == fair.TRIALS
        assert fair.RATES[0] <= min(rates) <= 2 * fair.RATES[0]
        assert fair.RATES[1] / 2 <= max(rates) <= fair.RATES[1]
        uses_p = METHODS[arm.method].weak is not None
        weights = {c.distill.weight for c in group}
        assert len(weights) == (fair.TRIALS if uses_p else 1)
        for config in group:
            assert config.phantom.seed != base.get_config("rib").phantom.seed
    names = {identity.digest(identity.of(config)) for config in configs}
    assert len(names) == len(configs)
    keys = {sharing.key(config) for config in configs}
    assert len(keys - {None}) == 2  # with dropout and without


def test_a_tuning_is_of_the_finding_the_phantom_and_the_length_that_are_named():
    usual, chosen = fair.get_sweep()[0], fair.get_sweep("rib,easy,short")
    assert (usual.finding, usual.phantom.difficulty) == ("clavicle", "middle")
    for config in chosen:
        assert (config.finding, config.phantom.difficulty) == ("rib", "easy")
        assert config.pretrain.steps < usual.pretrain.steps
        assert config.distill.steps < usual.distill.steps
    for wrong in ("rib,easy,long", "rib,easy,short,rib"):
        with pytest.raises(ValueError, match=wrong.split(",")[2]):
            fair.get_sweep(wrong)


@pytest.mark.parametrize(
    ("configs", "count"),
    [
        (fair.get_sweep(), fair.TRIALS * (len(METHODS) + 2)),
        (comparison.get_sweep(), 3 * (len(METHODS) + 1)),
        (rows.get_sweep("rib"), len(METHODS)),
        (sharpening.get_sweep(), 30),
        (tiny.get_sweep(), 12),
    ],
    ids=["fair", "comparison", "rows", "sharpening", "tiny"],
)
def test_the_sweeps_here_are_runs_of_their_own_that_can_be_run(configs, count):
    made = sweep_file.make_trials(configs, Path("sweep"))
    assert len({trial.name for trial in made}) == count


def test_a_random_search_is_a_list_that_is_the_same_at_every_call():
    asked = dataclasses.replace(tuning.get_search(), algorithm="random")
    drawn = asked.draw_all()
    assert drawn == asked.draw_all()
    assert len(drawn) == asked.samples
    rates = np.array([values["distill.learning_rate"] for values in drawn])
    assert np.all((rates >= 1e-4) & (rates <= 1e-2))
    assert np.median(rates) < 3e-3  # logarithmic: the middle is 1e-3, not 5e-3
    config = asked.config_of(drawn[3])
    assert config.distill.weight == drawn[3]["distill.weight"]
    with pytest.raises(ValueError, match="scheduler='median'"):
        dataclasses.replace(asked, scheduler="median")
    assert search.Choice(["a"]).draw(np.random.default_rng(0)) == "a"


# --- trials


def test_a_trial_is_named_by_what_decides_its_result():
    (first,) = trials_of({"seed": [0]})
    (faster,) = trials_of({"data.threads": [8]})
    (other,) = trials_of({"seed": [1]})
    assert first.name == faster.name != other.name


def test_a_label_has_the_fields_that_differ():
    made = trials_of({"distill.steps": [13, 14], "seed": [0, 1]})
    assert made[0].label == "steps=13 seed=0"
    both = trials_of({"pretrain.steps": [13, 14], "distill.steps": [13, 14]})
    assert both[-1].label == "distill.steps=14 pretrain.steps=14"


def test_one_trial_of_each_first_stage_comes_first():
    made = trials_of({"method": ["aals", "mil", "supervised"], "seed": [0, 1]})
    order = [(trial.fields["method"], trial.fields["seed"]) for trial in made]
    # mil has a stage 1 of its own, and nobody waits for it
    assert order[:4] == [("aals", 0), ("aals", 1), ("mil", 0), ("mil", 1)]
    assert [trial.index for trial in made] == list(range(6))


def test_what_cannot_be_run_is_told_at_once_for_all_configs():
    with pytest.raises(ValueError) as caught:
        trials_of({"distill.center": [0.4, 2.0, 3.0], "data.threads": [1, 2]})
    text = str(caught.value)
    assert "config 2: the config can't be run:\n- distill.center=2.0" in text
    assert "config 4:" in text
    assert "config 1 is the same run as config 0" in text


def test_a_state_is_what_the_folder_says(tmp_path):
    (trial,) = trials_of({"seed": [0]}, tmp_path)
    assert trial.state() == "waiting"
    trial.freeze()
    assert trials.read(tmp_path, trial.name) == trial
    with locks.held(trial.folder):
        assert trial.state() == "running"
    trial.note("start")
    assert trial.state() == "interrupted"
    with pytest.raises(RuntimeError), trial.attempt((3,)):
        raise RuntimeError
    assert trial.state() == "failed"
    trial.note("stopped")
    assert trial.state() == "stopped"
    (trial.folder / "result.json").write_text("{}")
    assert trial.state() == "done"


def test_progress_is_the_newest_row_and_the_best_of_its_stage(tmp_path):
    trial, _ = trials_of({"seed": [0, 1]}, tmp_path)
    rows = [
        {"stage": "pretrain", "step": 12, "validation/auroc_student": 0.9},
        {"stage": "distill", "step": 3, "validation/auroc_teacher": 0.7},
        {"stage": "distill", "step": 6, "validation/auroc_teacher": 0.6},
        {"stage": "distill", "step": 9, "time/steps_per_s": 2.0},
    ]

    def write(folder: Path, count: int) -> None:
        folder.mkdir(parents=True)
        lines = [json.dumps(row) + "\n" for row in rows[:count]]
        (folder / "metrics.jsonl").write_text("".join(lines) + '{"cut o')

    assert trial.progress() == trials.Progress(total=24)
    assert trial.first_stage
    write(tmp_path / "shared" / trial.first_stage, 1)  # while it trains for others too
    assert (trial.progress().steps, trial.progress().auroc) == (12, 0.9)
    write(trial.folder, 4)
    expected = trials.Progress("distill", 9, 21, 24, auroc=0.7, seconds_left=1.5)
    assert trial.progress() == expected


# --- one at a time


def test_a_folder_is_one_process_s_at_a_time(tmp_path):
    assert not locks.is_held(tmp_path / "nowhere")
    with locks.held(tmp_path):
        assert locks.is_held(tmp_path)
    assert not locks.is_held(tmp_path)


def test_who_works_in_a_folder_is_told_to_the_next_one(tmp_path):
    with locks.owned(tmp_path):
        with pytest.raises(locks.Busy) as caught, locks.owned(tmp_path):
            pass
        assert f"process {os.getpid()} on {socket.gethostname()}, since 20" in str(
            caught.value
        )
        assert caught.value.exit_code == 3
    assert (tmp_path / ".owner").read_text() == ""
    with pytest.raises(KeyError), locks.owned(tmp_path):
        raise KeyError
    assert (tmp_path / ".owner").read_text() == ""


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="the system has no affinity, or one core",
)
def test_trials_are_pinned_to_cores_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(cores.tempfile, "gettempdir", lambda: str(tmp_path))
    before = os.sched_getaffinity(0)
    with cores.pinned(1) as first:
        assert os.sched_getaffinity(0) == set(first)
        os.sched_setaffinity(0, before)  # as another process would be
        with cores.pinned(1) as second:
            assert os.sched_getaffinity(0) == set(second)
            assert not set(first) & set(second)
    assert os.sched_getaffinity(0) == before
    with cores.pinned(1) as again:
        assert again == first
    with pytest.raises(ValueError, match="this process may use"), cores.pinned(10**6):
        pass


# --- stage 1


def changed(config, field: str):
    """The config with another value of a dotted field."""
    copy = config.copy_and_resolve_references()
    value = identity.flat(json.loads(copy.to_json_best_effort()))[field]
    kinds = {bool: lambda v: not v, str: lambda v: f"{v}x", list: lambda v: [*v, 9]}
    made = kinds.get(type(value), lambda v: (v or 0) + 1)(value)
    with copy.unlocked(), copy.ignore_type():
        copy.update_from_flattened_dict({field: made})
    return copy


def test_stage_1_is_shared_by_what_it_does_not_read_and_by_nothing_else():
    config = tiny.tiny()
    shared = sharing.key(config)
    for field in identity.flat(identity.of(config)):
        if field == "method":
            continue
        section, _, name = field.partition(".")
        unread = (
            section == "distill"
            or field == "batch.image_level"
            # validation, which chooses stage 1's checkpoint, makes maps and pools them
            or (section == "evaluation" and name not in ("batch_size", "pooling"))
        )
        other = sharing.key(changed(config, field))
        assert (other == shared) == unread, field
    keys = {m: sharing.key(grid(config, {"method": [m]})[0]) for m in METHODS}
    own = {method for method, key in keys.items() if key is None}
    assert own == {"image_level", "chexnet", "mil", "fcos", "retinanet"}
    assert set(keys.values()) == {shared, None}


def test_a_stage_1_of_other_data_is_refused_and_a_begun_one_goes_on(tmp_path):
    def make(folder: Path) -> None:
        (folder / "checkpoints/pretrain").mkdir(parents=True, exist_ok=True)
        (folder / "tensorboard").mkdir(exist_ok=True)
        (folder / "metrics.jsonl").touch()

    sharing.take_over(tmp_path / "s", tmp_path / "a", "0" * 64, make)
    with pytest.raises(ValueError, match="trained on other data"):
        sharing.take_over(tmp_path / "s", tmp_path / "b", "1" * 64, make)
    assert not (tmp_path / "b").exists()
    sharing.take_over(tmp_path / "none", tmp_path / "a", "1" * 64, make)
    assert not (tmp_path / "none").exists()


# --- results


def finish(trial: trials.Trial, value: float | None) -> None:
    trial.folder.mkdir(parents=True, exist_ok=True)
    cell = {"value": value, "low": 0.1, "high": 0.9, "definition": "<b>ranks</b>"}
    if value is None:
        cell = {"value": None, "reason": "one class only"}
    metrics = dict.fromkeys(results.METRICS, cell)
    result = {"metrics": {"teacher": metrics}, "data": {"source": "phantom"}}
    (trial.folder / "result.json").write_text(json.dumps(result))


def csv_rows(root: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((root / "results.csv").read_text().splitlines()))


def test_results_have_every_trial_and_the_spread_over_seeds(tmp_path):
    made = trials_of({"method": ["aals", "supervised"], "seed": [0, 1, 2]}, tmp_path)
    values = {("aals", 0): 0.5, ("aals", 1): 0.6, ("aals", 2): 0.7}
    values |= {("supervised", 0): 0.25, ("supervised", 1): None}
    for trial in made:
        key = (trial.fields["method"], trial.fields["seed"])
        if key in values:
            finish(trial, values[key])
    results.write(made, tmp_path)
    rows = csv_rows(tmp_path)
    found = {(r["method"], int(r["seed"])): (r["state"], r["auroc"]) for r in rows}
    assert found["aals", 2] == ("done", "0.7")
    assert found["supervised", 1] == ("done", "")
    assert found["supervised", 2] == ("waiting", "")
    text = (tmp_path / "results.md").read_text()
    assert "| method aals | 3 | 0.600 ± 0.100 |" in text
    assert "| method supervised | 1 | 0.250 |" in text
    assert "nan (one class only)" in text
    assert "Drawn phantom" in text
    page = (tmp_path / "sweep.html").read_text()
    assert page.count('<b style="left:') == 4 * len(results.METRICS)
    assert "&lt;b&gt;ranks&lt;/b&gt;" in page
    assert "Research only, not a medical device" in page
    assert not any(
        word in page for word in ("http:", "https:", "<script", str(tmp_path))
    )


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1"])
def test_no_cell_is_a_formula(text):
    (trial,) = trials_of({"seed": [0]})
    trial = dataclasses.replace(trial, differing={"finding": text, "seed": -1})
    row = results.TrialResult(trial, "waiting", {}, "")
    (line,) = csv.DictReader(results.as_csv([row]).splitlines())
    assert (line["finding"], line["seed"]) == (f"'{text}", "-1")


# --- the command


def launch(
    *arguments: str, cwd: Path, check: bool = True
) -> subprocess.CompletedProcess:
    environment = {**os.environ, "RAY_ADDRESS": "local", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
        check=check,
    )


def test_a_file_that_is_none_is_told(tmp_path):
    with pytest.raises(ValueError, match="there is no such file"):
        driver.listed(driver.Job("nowhere.py", tmp_path))
    (tmp_path / "empty.py").touch()
    with pytest.raises(ValueError, match="neither get_sweep nor get_search"):
        driver.listed(driver.Job(str(tmp_path / "empty.py"), tmp_path))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def get_sweep(:", r"bad\.py, line 1: SyntaxError"),
        ("def get_sweep():\n  raise ValueError('no part x')", "line 2: no part x"),
        ("def get_sweep():\n  return {}['x']", "line 2: KeyError: 'x'"),
        ("def get_sweep():\n  return None", "returned NoneType: a list of configs"),
        ("def get_sweep():\n  return [{}]", "entry 0 is of type dict"),
        ("def get_sweep():\n  yield 3", "entry 0 is of type int"),
    ],
)
def test_what_a_sweep_file_does_wrong_is_told_with_its_place(tmp_path, body, message):
    (tmp_path / "bad.py").write_text(body)
    with pytest.raises(ValueError, match=message):
        driver.listed(driver.Job(str(tmp_path / "bad.py"), tmp_path))


def test_an_index_too_far_is_told(tmp_path, scratch):
    job = job_of(tmp_path, scratch, {"seed": [0, 1]})
    with pytest.raises(ValueError, match="--index=2: the list has 0 to 1"):
        driver.run_index(job, 2, ConfigDict)
    optuna = driver.Job(f"{ROOT / 'configs/sweeps/tuning.py'}:aals,tiny", tmp_path)
    with pytest.raises(ValueError, match="--list needs a fixed list"):
        driver.listed(optuna)
    with pytest.raises(ValueError, match="--index needs a fixed list"):
        driver.run_index(optuna, 0, ConfigDict)


def test_without_ray_it_says_what_to_install_and_the_way_without(
    tmp_path, scratch, monkeypatch
):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "optuna", None)
    # the collection of doctests may have imported it already
    monkeypatch.delitem(sys.modules, "aals_jax.sweeps.ray_engine", raising=False)
    monkeypatch.delattr(sweeps, "ray_engine", raising=False)
    job = job_of(tmp_path, scratch, {"seed": [0]})
    with pytest.raises(ValueError, match=r"requirements/sweep\.txt.*--list"):
        driver.run(job)
    (trial,) = trials.read_all(job.root)
    finish(trial, 0.5)
    driver.run(job)  # writes the tables of what Slurm has finished
    assert csv_rows(job.root)[0]["auroc"] == "0.5"


ON_ONE_CORE = """
import os, sys
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
BAD = """
    bad = grid(config, {'pretrain.learning_rate': [1e30]})
    return [*grid(config, {'method': ['supervised', 'aals']}), *bad]

def get_config():
    return get_sweep()[1]
"""


@needs_ray
def test_a_sweep_ends_with_its_tables_and_a_failed_trial_s_last_lines(
    tmp_path, scratch
):
    """Two trials on one stage 1, and one that diverges and is tried twice; then one of
    the two again as a run alone, which ends in the same bytes."""
    job = job_of(tmp_path, scratch, {})
    file = Path(job.file)
    file.write_text(file.read_text().replace("    return grid(config, {})\n", BAD))
    flags = ("--mode=sweep", f"--sweep={file}", f"--workdir={job.root}")
    script = str(ROOT / "launch.py")
    made = launch(script, *flags, cwd=scratch, check=False)
    assert made.returncode == 1, made.stderr
    assert "not finite" in made.stderr
    assert "1 trial(s) have not finished; call again" in made.stderr
    assert "fork" not in made.stderr  # no device is started in the driver
    assert sorted(row["state"] for row in csv_rows(job.root)) == [
        *("done", "done", "failed")
    ]
    found = {t.label: t for t in sweep_file.load(job.file, job.root).trials}
    *good, bad = sorted(found.values(), key=lambda t: t.state())
    assert [r["event"] for r in bad.attempts()] == ["start", "failed"] * 2
    assert all(len(trial.attempts()[0]["cores"]) == 1 for trial in good)
    trained = ["stage 1: pre-training" in t.log.read_text() for t in good]
    assert sorted(trained) == [False, True]  # once for both

    listed = launch(script, *flags, "--list", cwd=scratch).stdout.splitlines()
    assert [line.split("# ")[1].split()[1] for line in listed].count("done") == 2
    assert all(f"--index={i} " in line for i, line in enumerate(listed))

    # on one core as well: how a sum is split over threads may change its last bits
    flags = (f"--config={file}", f"--workdir={tmp_path / 'alone'}")
    launch("-c", ON_ONE_CORE, script, *flags, cwd=scratch)
    (aals,) = (trial for trial in good if trial.fields["method"] == "aals")
    for name in ("result.json", "config.json"):
        ours, its = aals.folder / name, tmp_path / "alone" / name
        assert ours.read_bytes() == its.read_bytes()


@needs_ray
def test_a_killed_search_gives_its_unfinished_samples_out_again(tmp_path):
    """In a process of its own: Ray warns of things that are not ours."""
    code = """
from pathlib import Path
from types import SimpleNamespace
from aals_jax.sweeps import ray_engine
from aals_jax.sweeps.search import Choice, Search, Uniform
space = {"a": Uniform(0.0, 1.0), "b": Choice(["x", "y"])}
search = Search(config=None, space=space, samples=5, seed=3)
make = lambda values, number: SimpleNamespace(name=tuple(values.values()))
searcher = lambda: ray_engine._Optuna(search, Path("."), make)
def ask(it, count):
    return [it.suggest(f"trial{i}")["name"] for i in range(count)]
first = searcher()
given = ask(first, 3)
first.on_trial_complete("trial0", {"auroc": 0.5})
first.on_trial_complete("trial1", error=True)
second = searcher()  # as after a kill: nothing was closed
again = ask(second, 1)
third = searcher()  # killed at once
rest = ask(third, 4)
assert third.suggest("more") == third.FINISHED
assert again == given[1:2], (given, again)
assert sorted(rest[:2]) == sorted(given[1:]), (given, rest)
for i in range(4):
    third.on_trial_complete(f"trial{i}", {"auroc": 0.1 * i})
assert searcher().suggest("more") == third.FINISHED
"""
    launch("-c", code, cwd=tmp_path)


@needs_ray
def test_asha_stops_the_worst_and_nobody_who_has_trained_to_the_end(tmp_path):
    """A sample's test comes after its last update."""
    code = """
from types import SimpleNamespace
from aals_jax.sweeps import ray_engine
from aals_jax.sweeps.search import Search, Uniform
from configs.sweeps import tiny
search = Search(tiny.tiny(), {"distill.weight": Uniform(0.1, 1.0)}, 6, scheduler="asha")
scheduler = ray_engine._scheduler(search)
trials = [SimpleNamespace(trial_id=str(i)) for i in range(4)]
for trial in trials:
    scheduler.on_trial_add(None, trial)
def said(number, steps, auroc):
    result = {"steps": steps, "auroc": auroc}
    return scheduler.on_trial_result(None, trials[number], result)
assert search.grace < search.total_steps
early = [said(i, search.grace, auroc) for i, auroc in enumerate((0.9, 0.8, 0.7, 0.6))]
assert early[0] == "CONTINUE" and early[-1] == "STOP", early
assert said(0, search.total_steps, 0.1) == "CONTINUE"
"""
    launch("-c", code, cwd=tmp_path)
