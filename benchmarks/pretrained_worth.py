"""What a pretrained start is worth on real films: pneumonia of NIH ChestX-ray14.

    python benchmarks/astra_weights.py --depth 50 --out resnet50.safetensors
    python benchmarks/pretrained_worth.py --registry DIR --out DIR \\
        --weights resnet50.safetensors --backbone resnet50

The same run from random weights, from the file's, and from the file's with a tenth of
the learning rate in the backbone, in each fold and seed. A second call goes on where
the first was stopped. Prints each start minus the random one, the mean over folds and
seeds with the 95 % interval of the paired bootstrap over patients: the folds' test sets
share no patient.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from aals_jax.evaluation import replicates, result  # noqa: E402
from aals_jax.metrics import intervals  # noqa: E402
from aals_jax.runs import check, run  # noqa: E402
from aals_jax.runtime import devices, log, stopping  # noqa: E402
from configs import base  # noqa: E402

METRICS = ("auroc", "froc_count")
STARTS: dict[str, dict[str, Any]] = {
    "random": {},
    "pretrained": {},
    "pretrained, slow": {
        "pretrain.backbone_rate": 0.1,
        "distill.backbone_rate": 0.1,
    },
}


def main() -> None:
    flags = _flags()
    devices.start()
    log.set_up_logging()
    stopping.start()
    done: dict[str, list[Path]] = {start: [] for start in STARTS}
    for fold in flags.folds:
        for seed in flags.seeds:
            for start in STARTS:
                config = config_of(flags, start, fold, seed)
                name = f"{start.replace(', ', '-')}-fold{fold}-seed{seed}"
                check.check_config(config)
                run.run(config, flags.out / name)
                done[start].append(flags.out / name)
            print("\n".join(table(done)), flush=True)


def config_of(flags: argparse.Namespace, start: str, fold: int, seed: int) -> Any:
    config = base.get_config("pneumonia")
    config.seed, config.registry = seed, str(flags.registry)
    config.data.update(side=flags.side, fold=fold, dir=str(flags.out / "datasets"))
    config.model.update(backbone=flags.backbone, width=64)
    config.pretrain.update(steps=flags.steps, eval_every=max(1, flags.steps // 6))
    config.distill.update(
        steps=flags.steps // 3, eval_every=max(1, flags.steps // 6), warmup_steps=20
    )
    for stage in (config.pretrain, config.distill):
        stage.learning_rate = flags.rate
    config.update_from_flattened_dict(STARTS[start])
    if start != "random":
        config.model.pretrained = str(flags.weights)
    return config


def table(done: dict[str, list[Path]]) -> list[str]:
    """A line for each start and metric of the tested network."""
    count = len(done["random"])
    lines = [f"{count} runs a start: the teacher's mean, and minus random"]
    for metric in METRICS:
        random = mean_of(done["random"], metric)
        for start, folders in done.items():
            own = mean_of(folders, metric)
            line = f"{metric:12} {start:18} {own.value:.3f}"
            if start != "random":
                found = intervals.paired_interval(own, random, seed=0)
                line += f"  {found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
            lines.append(line)
    return lines


def mean_of(folders: Sequence[Path], metric: str) -> intervals.Drawn:
    """The mean over runs, and of their replicates one by one."""
    values, drawn = [], []
    for folder in folders:
        record = json.loads((folder / result.RUN_FILE).read_text())
        values.append(record["metrics"]["teacher"][metric]["value"])
        kept = replicates.read(folder / "replicates.npz")
        drawn.append(kept.values[metric].astype(np.float64))
    return intervals.Drawn(float(np.mean(values)), np.mean(drawn, axis=0))


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    numbers = lambda text: [int(part) for part in text.split(",")]  # noqa: E731
    add("--registry", type=Path, required=True, help="the films, as a registry")
    add("--weights", type=Path, required=True, help="docs/pretrained.md")
    add("--out", type=Path, required=True, help="folder that is kept, to go on from")
    add("--backbone", default="resnet50", help="that the weights are of")
    add("--folds", type=numbers, default=[0, 1, 2, 3, 4])
    add("--seeds", type=numbers, default=[0])
    add("--steps", type=int, default=600, help="updates of stage 1; a third in stage 2")
    add("--side", type=int, default=192, help="px")
    add("--rate", type=float, default=1e-3, help="learning rate of both stages")
    flags = parser.parse_args()
    flags.out.mkdir(parents=True, exist_ok=True)
    return flags


if __name__ == "__main__":
    main()
