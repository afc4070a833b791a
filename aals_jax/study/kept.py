"""What is kept of the finished trials of a study, small enough for the repository.

A part of the study has two files. `PART.jsonl` has one line per trial: config,
metrics, best steps, counts, versions and the curve of stage 2. `PART.npz` has the
replicates of the metrics, as `TRIAL/METRIC`, rounded to 2e-5 (so within 1e-5) in 16
bits. A trial of several parts is kept once, with the first of them. No path, patient or
image is kept.
"""

import dataclasses
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aals_jax.evaluation import replicates
from aals_jax.evaluation.result import RUN_FILE
from aals_jax.runs import identity
from aals_jax.runs.history import read_history
from aals_jax.runtime import files
from aals_jax.study.plan import Plan, PlannedTrial
from aals_jax.types import SHOWN, STAGE_1, STAGES

REPEATS = "repeats"  # folder of trials that other hardware had finished before
_CURVE = {
    "share_dead": "pseudo/share_dead",
    "mean_peak": "pseudo/mean_peak",
    "auroc_student": "validation/auroc_student",
    "auroc_teacher": "validation/auroc_teacher",
}
_LEVELS = 50_000  # codes of 0 .. 1; the rest of 16 bits is free
_REJECTED = 65_535  # code of nan


@dataclasses.dataclass(frozen=True)
class KeptTrial:
    """What is kept of a finished trial."""

    name: str
    record: Mapping[str, Any]  # its line in PART.jsonl
    replicates: Mapping[str, np.ndarray]  # metric -> f32[r] of SHOWN; nan: rejected

    @property
    def hardware(self) -> str:
        return self.record["training"]["hardware"]

    @property
    def run_version(self) -> int:
        """The version of the run (identity.VERSION) that made it."""
        return self.record.get("run_version", 1)  # the first one wrote none

    def value(self, metric: str) -> float | None:
        """The metric of the model shown, on the test set."""
        return self.record["metrics"][SHOWN].get(metric, {}).get("value")

    @property
    def start_in_box(self) -> float | None:
        """The share of P whose peak lies in a withheld box as stage 2 begins; None:
        not measured, as by older versions and where no box is known."""
        return self.record.get("start_in_box")

    @property
    def stage_1(self) -> "KeptTrial":
        """The same with the metrics of stage 1 in place of those of the model shown."""
        metrics = {**self.record["metrics"], SHOWN: self.record["metrics"][STAGE_1]}
        return dataclasses.replace(self, record={**self.record, "metrics": metrics})

    def curve(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values of stage 2, f64[n] each, where there is a value.

        Args:
          name: `share_dead`, `mean_peak`, `auroc_student` or `auroc_teacher`.
        """
        curve = self.record["curve"]
        points = zip(curve["step"], curve[name], strict=True)
        measured = [(step, value) for step, value in points if value is not None]
        steps, values = np.array(measured, np.float64).reshape(-1, 2).T
        return steps, values

    def draws(self, metric: str) -> dict[str, Any]:
        """What decides the draws of patients: equal in trials that can be paired."""
        entry = self.record["metrics"][SHOWN][metric]
        data = self.record["data"]
        counts = ("n_images", "n_patients", "n_positive", "n_lesions")
        return {
            "data_hash": data["data_hash"],
            "fold": data["fold"],
            "evaluation.seed": self.record["config"]["evaluation"]["seed"],
            "replicates": len(self.replicates[metric]),
            **{name: entry.get(name) for name in counts},
        }


KeptTrials = Mapping[str, KeptTrial]  # by name


@dataclasses.dataclass(frozen=True)
class Study:
    """A plan and what is kept of it: all that a page is made of."""

    plan: Plan
    results: KeptTrials
    repeats: KeptTrials = dataclasses.field(default_factory=dict)  # on other hardware

    def finished(self, part: str) -> list[tuple[PlannedTrial, KeptTrial]]:
        """The finished trials of a part."""
        return [
            (trial, self.results[trial.name])
            for trial in self.plan.part(part)
            if trial.name in self.results
        ]

    def on_one_hardware(self, trials: Iterable[PlannedTrial]) -> KeptTrials:
        """Results of these trials from one kind of hardware, repeats among them, so
        that none is compared with another's; where there is no such kind, `results`."""
        names = [trial.name for trial in trials]
        sources = (self.results, self.repeats)
        for hardware in sorted({k.hardware for s in sources for k in s.values()}):
            candidates = {
                name: source[name]
                for name in names
                for source in sources
                if name in source and source[name].hardware == hardware
            }
            if len(candidates) == len(set(names)):
                return candidates
        return self.results


def keep(plan: Plan, workdir: Path, folder: Path) -> int:
    """Copies what is small of each finished trial; returns how many are new.

    A kept trial is never overwritten, since its test set was scored once. Where the
    sweep has another result for it (times aside), that is an error and the kept one
    stays. A result from other hardware is kept as a repeat, in a folder of its own.

    Args:
      plan: of the study; its trials without a result in `workdir` are passed over.
      workdir: of the sweep.
      folder: of the kept results; made where it is missing.

    Raises:
      ValueError: results that differ from what is kept, or that can't be read; all at
        once, after the others were kept.
    """
    if not (workdir / "trials").is_dir():
        raise ValueError(f"--workdir={workdir}: no sweep has run there")
    results, repeats = read_all(folder), read_all(folder / REPEATS)
    versions = {kept.run_version for kept in results.values()}
    new: dict[Path, dict[str, KeptTrial]] = {}  # file -> what to add to it
    problems = []
    for name, part in plan.first_part.items():
        source = workdir / "trials" / name
        if not (source / RUN_FILE).exists():
            continue
        try:
            trial = _read_trial(plan.trials[name], source)
            if versions and trial.run_version not in versions:
                raise ValueError(
                    f"version {trial.run_version} of the run made it, and version "
                    f"{max(versions)} what is kept: give it --results and --out of "
                    "its own"
                )
            there, place = results.get(name), folder
            if there and there.hardware != trial.hardware:
                there, place = repeats.get(name), folder / REPEATS
            if there is None:
                new.setdefault(place / f"{part}.jsonl", {})[name] = trial
            elif differing := _differing(there, trial):
                raise ValueError(
                    f"another result is kept ({', '.join(differing)} differ); delete "
                    f"its line in {_file_of(name, place).name} to take this one"
                )
        except ValueError as error:
            problems.append(f"{name}: {error}")
    for path, trials in new.items():
        _write(path, {**(_read(path) if path.exists() else {}), **trials})
    if problems:
        raise ValueError("not kept:\n- " + "\n- ".join(problems))
    return sum(map(len, new.values()))


def _file_of(name: str, folder: Path) -> Path:
    """The table that has a kept trial; a plan may have changed its part since."""
    return next(path for path in sorted(folder.glob("*.jsonl")) if name in _read(path))


def _differing(a: KeptTrial, b: KeptTrial) -> list[str]:
    """Fields in which two results of a trial differ, at most three; how long training
    took, and on what, does not count."""
    a_fields, b_fields = (
        identity.flat({k: v for k, v in kept.record.items() if k != "training"})
        for kept in (a, b)
    )
    names = a_fields.keys() | b_fields.keys()
    differing = sorted(n for n in names if a_fields.get(n) != b_fields.get(n))
    return differing[:3] + (["..."] if len(differing) > 3 else [])


def _read_trial(trial: PlannedTrial, source: Path) -> KeptTrial:
    """A finished trial of a sweep, as it is to be kept."""
    try:
        result = json.loads((source / RUN_FILE).read_text())
        changes = identity.differences(result["config"], dict(trial.identity))
    except (ValueError, KeyError, TypeError):
        raise ValueError("its result.json is damaged") from None
    if changes:
        raise ValueError(f"its result is of another config: {'; '.join(changes)}")
    path = source / "replicates.npz"
    if not {"hardware", "steps"} <= result.keys() or not path.exists():
        raise ValueError(
            "its result.json lacks the hardware or the best steps, or there is no "
            "replicates.npz: an older version ran it"
        )
    drawn = replicates.read(path).values
    return KeptTrial(
        trial.name,
        _record(trial, result, read_history(source)),
        {name: _decoded(_encoded(name, values)) for name, values in drawn.items()},
    )


def _record(
    trial: PlannedTrial,
    result: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    config = json.loads(json.dumps(trial.identity))
    reports = config["data"].get("reports", {})
    if reports.get("rules"):  # a path of somebody's
        reports["rules"] = "given"
    models, steps = (SHOWN, STAGE_1), result["steps"]
    return {
        "name": trial.name,
        "config": config,
        "metrics": {model: result["metrics"][model] for model in models},
        "best_steps": {model: steps[model] for model in models if model in steps},
        "data": result["data"],
        "versions": result["versions"],
        "commit": result["commit"],
        "training": {
            "hardware": result["hardware"],
            **{stage: _training(history, stage) for stage in STAGES},
        },
        "curve": _curve(history),
        # what has none is of version 1
        **({"run_version": result["run_version"]} if "run_version" in result else {}),
        **_start_in_box(result),
    }


def _start_in_box(result: Mapping[str, Any]) -> dict[str, float]:
    """Of the monitors of a run; nothing where they have no value."""
    monitored = result.get("monitors") or {}
    start = next(iter(monitored.get("moments") or {}), None)
    entry = monitored.get("peaks", {}).get(start, {}).get("peak_in_box_p", {})
    value = entry.get("value")
    return {} if value is None else {"start_in_box": value}


def _rows(
    history: Iterable[Mapping[str, Any]], stage: str
) -> dict[int, Mapping[str, Any]]:
    """Step -> row; where a resumed run wrote a step twice, the later row counts."""
    rows = {row["step"]: row for row in history if row["stage"] == stage}
    return dict(sorted(rows.items()))


def _curve(history: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    rows = _rows(history, STAGES[-1])
    columns = {
        name: [row.get(key) for row in rows.values()] for name, key in _CURVE.items()
    }
    return {"step": list(rows), **columns}


def _training(history: Iterable[Mapping[str, Any]], stage: str) -> dict[str, Any]:
    """Steps, seconds and pace of a stage; validation and compiling are not counted."""
    rows, before, seconds = _rows(history, stage), 0, 0.0
    for step, row in rows.items():
        pace = row.get("time/steps_per_s")
        seconds += (step - before) / pace if pace else float("nan")
        before = step
    is_known = seconds > 0
    return {
        "steps": before,
        "seconds": round(seconds, 1) if is_known else None,
        "steps_per_s": round(before / seconds, 3) if is_known else None,
    }


def _encoded(name: str, values: np.ndarray) -> np.ndarray:
    """u16[r]: values of 0 .. 1 in steps of 2e-5."""
    inside = np.nan_to_num(values.astype(np.float64))
    if inside.min(initial=0) < -1e-6 or inside.max(initial=0) > 1 + 1e-6:
        raise ValueError(f"replicates of {name} lie outside 0 .. 1")
    codes = np.round(_LEVELS * np.clip(inside, 0, 1)).astype(np.uint16)
    codes[np.isnan(values)] = _REJECTED
    return codes


def _decoded(codes: np.ndarray) -> np.ndarray:
    """f32[r], nan where a replicate was rejected."""
    values = (codes / _LEVELS).astype(np.float32)
    values[codes == _REJECTED] = np.nan
    return values


def _packed(trials: Iterable[KeptTrial]) -> dict[str, np.ndarray]:
    """The replicates of trials, encoded: TRIAL/METRIC -> u16[r]."""
    return {
        f"{trial.name}/{metric}": _encoded(metric, drawn)
        for trial in trials
        for metric, drawn in sorted(trial.replicates.items())
    }


def _write(path: Path, trials: KeptTrials) -> None:
    """Writes a part's table and archive, each whole or not at all."""
    ordered = [trials[name] for name in sorted(trials)]
    lines = [json.dumps(trial.record, sort_keys=True) + "\n" for trial in ordered]
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_npz(path.with_suffix(".npz"), _packed(ordered))
    # last: replicates without a line are passed over, a line without them is a fault
    files.write_text(path, "".join(lines))


def _read(path: Path) -> dict[str, KeptTrial]:
    """Name -> trial, of the part whose table is at `path`.

    Raises:
      ValueError: the table or its archive is missing or damaged.
    """
    try:
        records = [json.loads(line) for line in path.read_text().splitlines()]
        drawn: dict[str, dict[str, np.ndarray]] = {}
        # read first: np.load leaves a file open that is not an archive
        packed = io.BytesIO(path.with_suffix(".npz").read_bytes())
        with np.load(packed) as archive:
            for key in archive.files:
                name, metric = key.split("/")
                drawn.setdefault(name, {})[metric] = _decoded(archive[key])
        trials = {r["name"]: KeptTrial(r["name"], r, drawn[r["name"]]) for r in records}
        if not all(SHOWN in record["metrics"] for record in records):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        raise ValueError(
            f"{path.name} or its .npz is damaged or missing: restore both, or delete "
            "both and keep the part's trials again (--workdir)"
        ) from None
    return trials


def read_all(folder: Path) -> dict[str, KeptTrial]:
    """Name -> trial, of all that are kept; empty where there is no folder.

    Raises:
      ValueError: a file is missing or damaged, or two have the same trial.
    """
    trials: dict[str, KeptTrial] = {}
    for path in sorted(folder.glob("*.jsonl")):
        part = _read(path)
        if twice := sorted(trials.keys() & part.keys()):
            raise ValueError(
                f"{path.name} has trial {twice[0]}, which another part has too: delete "
                "one of the two lines"
            )
        trials |= part
    return dict(sorted(trials.items()))
