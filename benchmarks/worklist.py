"""What an order of films is worth: boxes by the worklist against boxes at random.

    python benchmarks/worklist.py --out DIR
    python benchmarks/worklist.py --out DIR --seeds 0,1,2,3,4 --rounds 4 --boxes 20
    python benchmarks/worklist.py --out DIR --tiny

On the phantom, where P has boxes that are withheld. Each round trains stage 1 from the
start on the boxes revealed so far, measures it on the test set, and reveals the next
ones. Both ways begin with the same boxes, and a seed draws both the first boxes and the
weights. Every round is kept in a folder of its own, so that a second call goes on.
Writes results.csv and prints the differences, whichever way they come out.
"""

import argparse
import csv
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from aals_jax.evaluation import ranking  # noqa: E402
from aals_jax.evaluation.evaluator import TrainedModel  # noqa: E402
from aals_jax.input.dataset import Data, Streams  # noqa: E402
from aals_jax.runs import check, loop, run, stages, worklist  # noqa: E402
from aals_jax.runtime import devices, files, log, stopping  # noqa: E402
from configs import base  # noqa: E402
from configs.sweeps import tiny  # noqa: E402

WAYS = ("worklist", "random")
MEASURED = ("auroc", "froc_count")
MODEL = "pretrained"
RECORD = "record.json"


def main() -> None:
    flags = _flags()
    devices.start()
    log.set_up_logging()
    stopping.start()
    rows = []
    for seed in flags.seeds:
        config = config_of(flags, seed)
        check.check_config(config)
        data = run.open_data(config)
        for way in WAYS:
            rows += curve(config, data, way, flags)
            write(flags.out / "results.csv", rows)
    print(table(rows))


def config_of(flags: argparse.Namespace, seed: int) -> ConfigDict:
    """The config of a seed; its first boxes are drawn by it too."""
    config = tiny.tiny() if flags.tiny else base.get_config(flags.finding)
    config.seed = seed
    config.data.update(
        seed=seed, region_images=flags.start, dir=str(flags.out / "datasets")
    )
    return config


def curve(
    config: Any, data: Data, way: str, flags: argparse.Namespace
) -> list[dict[str, Any]]:
    """A row for each round: how many boxed films, and what stage 1 then measures."""
    revealed = np.zeros(0, np.int64)  # rows of the training table
    rows = []
    for number in range(flags.rounds + 1):
        # both ways have their first round in common
        name = f"seed-{config.seed}-{way}-{number}" if number else f"seed-{config.seed}"
        boxes = flags.boxes if number < flags.rounds else 0
        record = one_round(config, data, revealed, way, flags.out / name, boxes=boxes)
        rows.append(
            {"seed": config.seed, "way": way, "round": number}
            | {"boxed": record["boxed"], **record["metrics"]}
        )
        log.info("%s", rows[-1])
        if number < flags.rounds:
            revealed = np.union1d(revealed, record[way])
    return rows


def one_round(
    config: Any,
    data: Data,
    revealed: np.ndarray,
    way: str,
    folder: Path,
    *,
    boxes: int,
) -> dict[str, Any]:
    """Trains and measures with these boxes; `way` -> so many rows to reveal next."""
    path = folder / RECORD
    record = json.loads(path.read_text()) if path.exists() else {}
    if way in record or (record and not boxes):
        return record
    streams = data.streams
    now = dataclasses.replace(
        data,
        streams=Streams(
            region=np.union1d(streams.region, revealed),
            image_level=np.setdiff1d(streams.image_level, revealed),
            negative=streams.negative,
        ),
    )
    predictor = run.make_predictor(config)
    stage = stages.pretrain_stage(config, data.dataset.side)
    step, state = loop.run_stage(stage, now, config, folder, predictor)
    model = TrainedModel(MODEL, step, state.student)
    evaluator = run.make_evaluator(config, now, folder)
    if "metrics" not in record:
        measured = evaluator.evaluate(model, "test").metrics
        record["metrics"] = {name: measured[name]["value"] for name in MEASURED}
        record["boxed"] = len(now.streams.region)
    if not boxes:
        files.write_json(path, record)
        return record
    left = now.streams.image_level
    left = left[now.train.boxed[left]]  # the others could not be revealed
    if way == "random":
        order = np.random.default_rng([config.seed, 5]).permutation(streams.image_level)
        chosen = order[np.isin(order, left)][:boxes]
    else:
        ranked = ranking.rank(
            evaluator,
            model,
            stages.make_model(config, axis_name=None),
            worklist.same_run(folder, MODEL, config, evaluator),
            now.train.select(left),
            np.ones(len(left), np.int8),
            center=float(config.distill.center),
            count=boxes,
        )
        place = {name: row for row, name in enumerate(now.train.image_id)}
        chosen = np.array([place[name] for name in ranked.table.image_id])
    record[way] = np.sort(chosen).tolist()
    files.write_json(path, record)
    return record


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def table(rows: list[dict[str, Any]]) -> str:
    """Worklist minus random, by round: mean, lowest and highest over the seeds."""
    found = {(r["seed"], r["way"], r["round"]): r for r in rows}
    seeds = sorted({r["seed"] for r in rows})
    lines = [f"worklist - random over seeds {seeds}: mean (lowest to highest)"]
    for number in sorted({r["round"] for r in rows}):
        for name in MEASURED:
            differences = [
                found[seed, WAYS[0], number][name] - found[seed, WAYS[1], number][name]
                for seed in seeds
            ]
            boxed = found[seeds[0], WAYS[0], number]["boxed"]
            lines.append(
                f"round {number}, {boxed} boxed films, {name}: "
                f"{np.mean(differences):+.4f} "
                f"({min(differences):+.4f} to {max(differences):+.4f})"
            )
    return "\n".join(lines)


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder that is kept, to go on from")
    add(
        "--seeds",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[0, 1, 2, 3, 4],
    )
    add("--rounds", type=int, default=4, help="in which boxes are asked for")
    add("--boxes", type=int, default=20, help="films of a round")
    add("--start", type=int, default=20, help="boxed films at the beginning")
    add("--finding", choices=("rib", "clavicle"), default="rib")
    add(
        "--tiny",
        action="store_true",
        help="a check of seconds; its numbers mean nothing",
    )
    flags = parser.parse_args()
    if flags.tiny:
        flags.start, flags.boxes = 6, 3
    flags.out.mkdir(parents=True, exist_ok=True)
    return flags


if __name__ == "__main__":
    main()
