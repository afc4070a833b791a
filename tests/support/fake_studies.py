"""A study whose trials were never trained: their scores are drawn, their metrics real.

All trials of a test set have the same images, so that they can be paired. How far the
scores of positives lie above those of negatives is set for each method by the test.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aals_jax.evaluation import replicates
from aals_jax.evaluation.replicates import Replicates
from aals_jax.metrics import intervals, roc
from aals_jax.metrics.draws import Draws
from aals_jax.study.plan import PlannedTrial, label

FILE = """
from configs.sweeps import tiny
from configs.sweeps.grid import grid

METHODS = ["supervised", "mean_teacher", "aals"]

def configs(fields, **fixed):
    config = tiny.tiny()
    config.evaluation.replicates = {replicates}
    config.distill.update(max_strength=4.0, center=0.4)
    config.update_from_flattened_dict(fixed)
    return grid(config, fields)

def methods(difficulty):
    seeds = {{"seed": range(3), "phantom.difficulty": [difficulty]}}
    plain = configs({{"distill.max_strength": [1.0], **seeds}})
    return [*configs({{"method": METHODS, **seeds}}), *plain]

PARTS = {{
    "tuning": lambda: configs({{"distill.learning_rate": [1e-4, 1e-3],
                            "method": METHODS[1:], "phantom.seed": [7]}}),
    "middle": lambda: methods("middle"),
    "hard": lambda: methods("hard"),
    "sharpening": lambda: configs(
        {{"distill.max_strength": [4.0, 16.0], "distill.center": [0.2, 0.4],
          "seed": range(2), "phantom.difficulty": ["middle"]}}),
    "regions": lambda: configs(
        {{"data.region_images": [2, 24], "method": METHODS, "seed": range(3),
          "phantom.difficulty": ["middle"]}}),
    "noise": lambda: [],
    "dead_zone": lambda: configs(
        {{"distill.dead_zone": ["raise"], "seed": range(3),
          "phantom.difficulty": ["middle"]}}),
    "real": lambda: configs(
        {{"method": METHODS, "seed": range(2), "data.fold": range(2),
          "phantom.difficulty": ["easy"]}}),
}}
"""
REPLICATES = 200
IMAGES = 150
SHIFTS = {"supervised": 0.6, "mean_teacher": 1.0, "aals": 2.0}
METRICS = ("auroc", "average_precision", "froc_area", "froc_count")


def write_file(folder: Path) -> Path:
    path = folder / "file.py"
    path.write_text(FILE.format(replicates=REPLICATES))
    return path


def scores_of(
    planned: PlannedTrial, shifts: Mapping[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Scores in 0 .. 1 and labels; the images are those of the fold."""
    fields = planned.fields
    images = np.random.default_rng(fields["data.fold"])
    labels = (images.random(IMAGES) < 0.4).astype(int)
    noise = images.normal(size=IMAGES)
    own = np.random.default_rng(int(planned.name, 16)).normal(size=IMAGES)
    shift = shifts.get(label(fields), 1.0)
    return 1 / (1 + np.exp(-(noise + 0.3 * own + shift * labels))), labels


def measured(
    planned: PlannedTrial, shifts: Mapping[str, float]
) -> tuple[dict[str, float], Replicates]:
    """Metrics, and their replicates; the lesion level is a stand-in of the same."""
    scores, labels = scores_of(planned, shifts)
    statistics = {
        "auroc": lambda w: roc.auroc(scores, labels, weights=w),
        "average_precision": lambda w: roc.average_precision(scores, labels, weights=w),
        "froc_area": lambda w: 0.8 * roc.auroc(scores, labels, weights=w),
        "froc_count": lambda w: 0.5 * roc.auroc(scores, labels, weights=w),
    }
    draws = Draws(range(IMAGES), replicates=REPLICATES, seed=0)
    drawn = intervals.draw(draws, statistics)
    values = {name: metric.value for name, metric in drawn.items()}
    kept = {n: metric.replicates.astype(np.float32) for n, metric in drawn.items()}
    labels = labels.astype(np.int8)
    return values, Replicates(kept, scores.astype(np.float32), labels)


def finish(
    planned: PlannedTrial,
    root: Path,
    shifts: Mapping[str, float] = SHIFTS,
    **changes: Any,
) -> Path:
    """Writes what a finished trial leaves; returns its folder."""
    folder = root / "trials" / planned.name
    folder.mkdir(parents=True, exist_ok=True)
    values, drawn = measured(planned, shifts)
    replicates.write(folder / "replicates.npz", drawn)
    cells = {
        name: {
            "value": value,
            "low": value - 0.05,
            "high": min(1.0, value + 0.05),
            "definition": f"what {name} is",
            "n_images": IMAGES,
            "n_patients": IMAGES,
            "n_positive": int(drawn.labels.sum()),
            "n_lesions": 40,
            "prevalence": float(drawn.labels.mean()),
        }
        for name, value in values.items()
    }
    fields = planned.fields
    counts = {"region": 6, "image_level": 14, "negative": 24}
    result = {
        "format": 3,
        "steps": {
            "pretrained": 9,
            "pretrained_average": 9,
            "student": 12,
            "teacher": 12,
        },
        "metrics": {
            **dict.fromkeys(("student", "teacher"), cells),
            "pretrained": {
                name: cell | {"value": cell["value"] / 2}
                for name, cell in cells.items()
            },
        },
        "data": {
            "source": "phantom",
            "data_hash": f"{fields['phantom.difficulty']}{fields['phantom.seed']}",
            "fold": fields["data.fold"],
            "side": 64,
            "splits": dict.fromkeys(("train", "validation", "test"), counts),
        },
        "config": planned.identity,
        "versions": {"jax": "1"},
        "commit": "abc",
        "hardware": "1 x cpu",
        **changes,
    }
    (folder / "result.json").write_text(json.dumps(result))
    rows = [*history("pretrain", 0.5), *history("distill", values["auroc"])]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(lines)
    return folder


def history(stage: str, auroc: float) -> Sequence[Mapping[str, Any]]:
    return [
        {
            "stage": stage,
            "step": step,
            "time/steps_per_s": 2.0,
            f"validation/auroc_{'teacher' if stage == 'distill' else 'student'}": auroc,
            **(
                {"pseudo/share_dead": 1 / step, "pseudo/mean_peak": 0.5}
                if stage == "distill"
                else {}
            ),
        }
        for step in (3, 6, 9, 12)
    ]
