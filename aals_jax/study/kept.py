"""What is kept of each finished trial of a study, small enough for the repository.

`HASH.json` has config, metrics, counts, versions and the curve of stage 2; `HASH.npz`
the replicates of the metrics, rounded to 2e-5 (so within 1e-5) in 16 bits. No path, no
patient and no image is in either.
"""

import dataclasses
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aals_jax.evaluation import replicates
from aals_jax.runs import identity
from aals_jax.runs.history import read_history
from aals_jax.runtime import files
from aals_jax.study.plan import Planned
from aals_jax.types import SHOWN

FIRST = "pretrained"  # stage 1 alone, beside the model shown
REPEATS = "repeats"  # folder of trials that other hardware had finished before
_CURVE = {
    "share_dead": "pseudo/share_dead",
    "mean_peak": "pseudo/mean_peak",
    "auroc_student": "validation/auroc_student",
    "auroc_teacher": "validation/auroc_teacher",
}
_LEVELS = 50_000  # codes of 0 .. 1; the rest of 16 bits is free
_REJECTED = 65_535


@dataclasses.dataclass(frozen=True)
class Kept:
    """A finished trial."""

    name: str
    record: Mapping[str, Any]  # HASH.json
    replicates: Mapping[str, np.ndarray]  # metric -> f32[r] of SHOWN; nan: rejected

    @property
    def hardware(self) -> str:
        return self.record["training"]["hardware"]

    def value(self, metric: str) -> float | None:
        return self.record["metrics"][SHOWN].get(metric, {}).get("value")

    @property
    def stage_1(self) -> "Kept":
        """With the metrics of stage 1 alone in place of the model shown."""
        metrics = {**self.record["metrics"], SHOWN: self.record["metrics"][FIRST]}
        return dataclasses.replace(self, record={**self.record, "metrics": metrics})

    def curve(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values of stage 2, f64[n] each, where there is a value."""
        curve = self.record["curve"]
        pairs = zip(curve["step"], curve[name], strict=True)
        known = [(x, y) for x, y in pairs if y is not None]
        x, y = np.array(known, np.float64).reshape(-1, 2).T
        return x, y

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


def keep(trials: Iterable[Planned], workdir: Path, folder: Path) -> int:
    """Copies what is small of each finished trial; returns how many are new.

    A kept trial is never overwritten, since its test set was scored once: where the
    sweep has another result for it (times aside), it is told and left. Only a result
    from other hardware is kept too, as a repeat, in a folder of its own.

    Args:
      trials: of the study; those without a result in `workdir` are passed over.
      workdir: of the sweep.
      folder: of the kept results; made where it is missing.

    Raises:
      ValueError: results that differ from what is kept, or that can't be read; all at
        once, after the others were kept.
    """
    if not (workdir / "trials").is_dir():
        raise ValueError(f"--workdir={workdir}: no sweep has run there")
    folder.mkdir(parents=True, exist_ok=True)
    new, problems = 0, []
    for trial in trials:
        source = workdir / "trials" / trial.name
        if not (source / "result.json").exists():
            continue
        try:
            made = _read_trial(trial, source)
            new += _keep_one(made, folder)
        except ValueError as error:
            problems.append(f"{trial.name}: {error}")
    if problems:
        raise ValueError("not kept:\n- " + "\n- ".join(problems))
    return new


def _keep_one(made: Kept, folder: Path) -> bool:
    path = folder / f"{made.name}.json"
    if path.exists():
        there = read(path)
        if there.hardware != made.hardware and folder.name != REPEATS:
            (folder / REPEATS).mkdir(exist_ok=True)
            return _keep_one(made, folder / REPEATS)
        if differing := _differing(there, made):
            raise ValueError(
                f"another result is kept ({', '.join(differing)} differ); delete "
                f"{path.name} to take this one"
            )
        return False
    files.write_bytes(path.with_suffix(".npz"), _packed(made.replicates))
    files.write_json(path, made.record)  # last: it says that both are there
    return True


def _differing(a: Kept, b: Kept) -> list[str]:
    """Parts in which two results of a trial differ; how long it took, and on
    what, is none."""
    a_fields, b_fields = (
        identity.flat({k: v for k, v in each.record.items() if k != "training"})
        for each in (a, b)
    )
    names = a_fields.keys() | b_fields.keys()
    differing = sorted(n for n in names if a_fields.get(n) != b_fields.get(n))
    return differing[:3] + (["..."] if len(differing) > 3 else [])


def _read_trial(trial: Planned, source: Path) -> Kept:
    """A finished trial, as it is kept."""
    try:
        result = json.loads((source / "result.json").read_text())
        there = identity.differences(result["config"], dict(trial.identity))
    except (ValueError, KeyError, TypeError):
        raise ValueError("its result.json is damaged") from None
    if there:
        raise ValueError(f"its result is of another config: {'; '.join(there)}")
    path = source / "replicates.npz"
    if "hardware" not in result or not path.exists():
        raise ValueError(
            "it says no hardware or has no replicates.npz: an older version ran it"
        )
    drawn = replicates.read(path).values
    return Kept(
        trial.name,
        _record(trial, result, read_history(source)),
        {name: _decoded(_encoded(name, values)) for name, values in drawn.items()},
    )


def _record(
    trial: Planned, result: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    config = json.loads(json.dumps(trial.identity))
    reports = config["data"].get("reports", {})
    if reports.get("rules"):  # a path of somebody's
        reports["rules"] = "given"
    steps = dict(re.findall(r"(\w+) at step (\d+)", " ".join(result["notes"])))
    models = (SHOWN, FIRST)
    return {
        "name": trial.name,
        "config": config,
        "metrics": {model: result["metrics"][model] for model in models},
        "best_steps": {model: int(steps[model]) for model in models if model in steps},
        "data": result["data"],
        "versions": result["versions"],
        "commit": result["commit"],
        "training": {
            "hardware": result["hardware"],
            **{stage: _training(history, stage) for stage in ("pretrain", "distill")},
        },
        "curve": _curve(history),
    }


def _rows(
    history: Iterable[Mapping[str, Any]], stage: str
) -> dict[int, Mapping[str, Any]]:
    """Step -> row; of rows written twice, by a resumed run, the later one counts."""
    found = {row["step"]: row for row in history if row["stage"] == stage}
    return dict(sorted(found.items()))


def _curve(history: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    rows = _rows(history, "distill")
    columns = {
        name: [row.get(key) for row in rows.values()] for name, key in _CURVE.items()
    }
    return {"step": list(rows), **columns}


def _training(history: Iterable[Mapping[str, Any]], stage: str) -> dict[str, Any]:
    """Steps, and seconds between log points: without validation and compiling apart."""
    rows, before, seconds = _rows(history, stage), 0, 0.0
    for step, row in rows.items():
        pace = row.get("time/steps_per_s")
        seconds += (step - before) / pace if pace else float("nan")
        before = step
    known = seconds > 0
    return {
        "steps": before,
        "seconds": round(seconds, 1) if known else None,
        "steps_per_s": round(before / seconds, 3) if known else None,
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
    values = (codes / _LEVELS).astype(np.float32)
    values[codes == _REJECTED] = np.nan
    return values


def _packed(values: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {
        name: _encoded(name, drawn) for name, drawn in sorted(values.items())
    }
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def read(path: Path) -> Kept:
    """The trial whose HASH.json is at `path`.

    Raises:
      ValueError: a file is missing or damaged.
    """
    try:
        record = json.loads(path.read_text())
        with np.load(path.with_suffix(".npz")) as archive:
            values = {name: _decoded(archive[name]) for name in archive.files}
        if record["name"] != path.stem or SHOWN not in record["metrics"]:
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(
            f"{path.name} or its .npz is damaged or missing: delete both and keep the "
            "trial again (--workdir)"
        ) from None
    return Kept(path.stem, record, values)


def read_all(folder: Path) -> dict[str, Kept]:
    """Name -> trial, of all that are kept."""
    return {path.stem: read(path) for path in sorted(folder.glob("*.json"))}
