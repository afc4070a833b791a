"""How much CPU time a scoring of a large set costs: 200,000 boxes on 20,000 images.

    python benchmarks/score_scale.py [--images 20000] [--boxes 200000] [--profile FILE]

Draws two images a patient, lesions on three in ten, boxes that lie near a lesion or
anywhere, a score for each and two columns of subgroups, writes them as CSV and runs
`launch.py --mode=score --hit_rule=iou` on them in a process of its own. Prints user and
system time of that process, its start included. `--tree DIR` measures another checkout
on the same tables (given often: in turns), `--profile FILE` writes what cProfile saw.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
SIZES = ("images", "boxes", "replicates")
SIDE, LESION = 1024, 96  # pixels


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--boxes", type=int, default=200_000)
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tree", type=Path, action="append")
    parser.add_argument("--profile", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tables(folder, args.images, args.boxes, args.seed)
        for tree in args.tree or [ROOT]:
            user, system = cpu_time(tree, folder, args.replicates, args.profile)
            row = {name: getattr(args, name) for name in SIZES}
            row |= {"user_s": round(user, 1), "system_s": round(system, 1)}
            print(json.dumps(row), flush=True)


def cpu_time(
    tree: Path, folder: Path, replicates: int, profile: Path | None
) -> tuple[float, float]:
    """User and system seconds of one scoring by the code of `tree`."""
    watched = ["-m", "cProfile", "-o", str(profile.resolve())] if profile else []
    command = [sys.executable, *watched, "launch.py", "--mode=score"]
    command += [f"--{name}={folder / name}.csv" for name in TABLES]
    command += ["--hit_rule=iou", f"--replicates={replicates}"]
    command += [f"--out={folder / 'out'}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=tree, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime


TABLES = ("images", "lesions", "detections")


def write_tables(folder: Path, images: int, boxes: int, seed: int) -> None:
    """Draws the three tables."""
    rng = np.random.default_rng(seed)
    positive = rng.random(images) < 0.3
    sex = rng.choice(["F", "M"], images)
    site = rng.choice(["north", "south", "west"], images)
    with (folder / "images.csv").open("w") as file:
        file.write("image,label,patient,sex,site\n")
        file.writelines(
            f"i{k},{int(positive[k])},p{k // 2},{sex[k]},{site[k]}\n"
            for k in range(images)
        )
    having = np.repeat(np.flatnonzero(positive), rng.integers(1, 4, positive.sum()))
    corner = rng.uniform(0, SIDE - LESION, (len(having), 2))
    _write_boxes(folder / "lesions.csv", having, corner, None)
    near = min(len(having), boxes) * 4 // 5  # as many lie near a lesion
    chosen = rng.choice(len(having), near, replace=False)
    found = corner[chosen] + rng.normal(0, LESION / 6, (near, 2))
    elsewhere = rng.uniform(0, SIDE - LESION, (boxes - near, 2))
    image = np.concatenate([having[chosen], rng.integers(images, size=boxes - near)])
    score = np.concatenate([rng.beta(4, 2, near), rng.beta(1, 5, boxes - near)])
    place = np.clip(np.concatenate([found, elsewhere]), 0, SIDE - LESION)
    order = rng.permutation(boxes)
    _write_boxes(folder / "detections.csv", image[order], place[order], score[order])


def _write_boxes(
    path: Path, image: np.ndarray, corner: np.ndarray, score: np.ndarray | None
) -> None:
    with path.open("w") as file:
        file.write("image,x0,y0,x1,y1" + (",score\n" if score is not None else "\n"))
        for k, (i, (x, y)) in enumerate(zip(image, corner, strict=True)):
            last = f",{score[k]:.6f}" if score is not None else ""
            file.write(
                f"i{i},{x:.2f},{y:.2f},{x + LESION:.2f},{y + LESION:.2f}{last}\n"
            )


if __name__ == "__main__":
    main()
