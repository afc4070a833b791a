"""What a tree of the code computes, for a comparison with another tree, byte by byte.

    git archive REVISION | tar -x -C TREE     without .git the commit is "unknown"
    python tests/support/reference_outputs.py --tree TREE --out OUT
    diff -r OUT OTHER_OUT

One thread on one core: a short run on the phantom, a scoring of small tables, and the
pages of the study from its kept results. Only the Python environment is shared.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

RUN = {
    "phantom.images": 160,
    "data.region_images": 20,
    "data.workers": 1,
    "data.threads": 1,
    "log_every": 5,
    "pretrain.warmup_steps": 0,
    "pretrain.steps": 10,
    "pretrain.eval_every": 5,
    "distill.warmup_steps": 0,
    "distill.steps": 10,
    "distill.eval_every": 5,
    "evaluation.replicates": 20,
}
KEPT = ("*.json", "*.html", "*.md", "*.csv", "*.svg")


def launch(tree: Path, *flags: str) -> None:
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(tree / "runs" / ".xla"),
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    }
    command = [sys.executable, "launch.py", *flags]
    subprocess.run(command, cwd=tree, env=environment, check=True)


def write_tables(folder: Path) -> None:
    """Sixty images of forty patients, boxes on half of them, two systems."""
    rng = np.random.default_rng(0)
    images, lesions = ["image,patient,label,view"], ["image,lesion,x0,y0,x1,y1"]
    systems: list[list[str]] = [["image,x,y,score"], ["image,x,y,score"]]
    for i in range(60):
        label = int(i % 2 == 0)
        images.append(f"i{i},p{i % 40},{label},{'PA' if i % 3 else 'AP'}")
        x, y = rng.integers(10, 80, size=2).tolist()
        if label:
            lesions.append(f"i{i},1,{x},{y},{x + 12},{y + 9}")
        for rows, skill in zip(systems, (0.7, 0.5), strict=True):
            if label and rng.random() < skill:
                rows.append(f"i{i},{x + 5},{y + 4},{rng.uniform(0.3, 1):.6f}")
            for _ in range(rng.poisson(0.8)):
                far = rng.uniform(0, 100, size=2)
                rows.append(f"i{i},{far[0]:.3f},{far[1]:.3f},{rng.random():.6f}")
    names = ("images", "lesions", "detections", "detections_b")
    for name, rows in zip(names, (images, lesions, *systems), strict=True):
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tree", type=Path, required=True, help="the code's folder")
    parser.add_argument("--out", type=Path, required=True, help="an empty folder")
    flags = parser.parse_args()
    tree, out = flags.tree.resolve(), flags.out.resolve()
    out.mkdir(parents=True)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
    launch(
        tree,
        "--config=configs/clavicle.py",
        f"--workdir={out / 'run'}",
        f"--config.data.dir={out / 'datasets'}",
        *(f"--config.{name}={value}" for name, value in RUN.items()),
    )
    write_tables(out)
    tables = ("images", "lesions", "detections", "detections_b")
    launch(
        tree,
        "--mode=score",
        *(f"--{name}={out / name}.csv" for name in tables),
        "--replicates=100",
        f"--out={out / 'score'}",
    )
    launch(tree, "--mode=study", f"--out={out / 'study.md'}")
    for page in out.rglob("*.html"):  # drawings of how fast it went
        lines = page.read_text().splitlines(keepends=True)
        page.write_text("".join(line for line in lines if "time/" not in line))
    kept = {path for pattern in KEPT for path in out.rglob(pattern)}
    for path in sorted(out.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        elif not path.is_dir() and (path not in kept or "datasets" in path.parts):
            path.unlink()


if __name__ == "__main__":
    main()
