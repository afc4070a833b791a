"""Kills runs with SIGKILL in every phase and compares what they end in, bit for bit.

    python benchmarks/kill_test.py [--rounds 4] [--seed 0] [--keep DIR]

One undisturbed run is the reference. Each round starts afresh (its own phantom, dataset
and workdir) and is killed once or more in each phase, at a random moment, with all its
processes; then it is left to finish. result.json must equal the reference's byte for
byte, and so must every leaf of the newest and the best state of both stages.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

ROOT = Path(__file__).parent.parent
PHASES = {  # a phase begins with the log line that holds its words
    "phantom": "drawing the phantom",
    "build": "drawing the phantom: 120 of 120",  # its own lines come near its end
    "stage 1": "stage 1: pre-training",
    "stage 2": "stage 2: distillation",
    "evaluation": "measuring",
}
LONGEST = {"phantom": 2, "build": 5, "stage 1": 4, "stage 2": 4, "evaluation": 1.5}  # s
SETTINGS = {
    "phantom.images": 120,
    "phantom.height": 192,
    "phantom.difficulty": "easy",
    "data.side": 64,
    "data.region_images": 12,
    "model.width": 8,
    "model.fpn_channels": 8,
    "log_every": 10,
    "pretrain.steps": 120,
    "pretrain.eval_every": 20,
    "pretrain.warmup_steps": 5,
    "distill.steps": 80,
    "distill.eval_every": 20,
    "distill.warmup_steps": 5,
    "evaluation.replicates": 500,
}


def start(folder: Path) -> subprocess.Popen:
    command = [
        sys.executable,
        str(ROOT / "launch.py"),
        f"--config={ROOT / 'configs/clavicle.py'}",
        f"--workdir={folder / 'run'}",
        f"--config.data.dir={folder / 'datasets'}",
        *(f"--config.{name}={value}" for name, value in SETTINGS.items()),
    ]
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill_in(folder: Path, phase: str, delay: float) -> str | None:
    """Kills the run `delay` seconds into a phase; returns the last line it wrote, or
    None where it ended before."""
    process = start(folder)
    assert process.stderr is not None
    line = ""
    for line in process.stderr:
        if PHASES[phase] in line:
            break
    else:
        process.wait()
        return None
    time.sleep(delay)
    ended = process.poll() is not None
    if not ended:
        os.killpg(process.pid, signal.SIGKILL)
    rest = process.stderr.read().splitlines()
    process.wait()
    return None if ended else " ".join([line, *rest][-1].split())


def finish(folder: Path) -> None:
    process = start(folder)
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the run failed:\n{errors}")


def states(folder: Path) -> dict[str, list[np.ndarray]]:
    """Every kept checkpoint of both stages, as flat lists of arrays."""
    found = {}
    for stage in ("pretrain", "distill"):
        with ocp.CheckpointManager(folder / "run/checkpoints" / stage) as manager:
            for step in manager.all_steps():
                tree = manager.restore(step, args=ocp.args.StandardRestore())
                leaves = jax.tree.leaves(tree)
                found[f"{stage}/{step}"] = [np.asarray(leaf) for leaf in leaves]
    return found


def compare(folder: Path, reference: Path) -> list[str]:
    differences = []
    result = "run/result.json"
    if (folder / result).read_bytes() != (reference / result).read_bytes():
        differences.append(result)
    ours, theirs = states(folder), states(reference)
    if ours.keys() != theirs.keys():
        differences.append(f"kept steps {sorted(ours)} and {sorted(theirs)}")
    for name in ours.keys() & theirs.keys():
        pairs = zip(ours[name], theirs[name], strict=True)
        if not all(a.tobytes() == b.tobytes() for a, b in pairs):
            differences.append(name)
    return differences


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="work here and leave everything")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    base = options.keep or Path(tempfile.mkdtemp(prefix="kill-test-"))
    reference = base / "reference"
    reference.mkdir(parents=True)
    finish(reference)
    kills, failures = 0, 0
    for number in range(options.rounds):
        folder = base / f"round{number}"
        folder.mkdir()
        for phase in PHASES:
            line = kill_in(folder, phase, rng.uniform(0.0, LONGEST[phase]))
            kills += line is not None
            print(f"round {number}: {phase}: {line or 'ended before'}", flush=True)
        finish(folder)
        differences = compare(folder, reference)
        failures += bool(differences)
        print(f"round {number}: {differences or 'equal, bit for bit'}", flush=True)
    print(f"{kills} kills, {failures} of {options.rounds} rounds differ")
    if not options.keep:
        shutil.rmtree(base)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
