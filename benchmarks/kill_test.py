"""Kills runs, or stops them, in every phase and compares what they end in, bit for bit.

    python benchmarks/kill_test.py [--signal KILL] [--rounds 4] [--seed 0] [--keep DIR]
    python benchmarks/kill_test.py --signal TERM
    python benchmarks/kill_test.py --rounds 20 --phases training [--slow 10]

One undisturbed run is the reference. Each round starts afresh (its own phantom, dataset
and workdir) and gets the signal once in each phase, at a random moment; with `--phases
training` in those from stage 1 on alone, with the reference's dataset. SIGKILL goes to
all its processes, and after SIGTERM it has to end with code 75 within 30 s. Then it is
left to finish. result.json must equal the reference's but for the commit, and every
leaf of the kept states of both stages bit for bit.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.support import processes  # noqa: E402

LIMIT_S = 30.0  # from SIGTERM to the end
PHASES = {  # a phase begins with the log line that holds its words
    "phantom": "drawing the phantom",
    "build": "drawing the phantom: 120 of 120",  # its own lines come near its end
    "stage 1": "stage 1: pre-training",
    "stage 2": "stage 2: distillation",
    "evaluation": "measuring",
}
TRAINING = ("stage 1", "stage 2", "evaluation")
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


def start(folder: Path, data: Path) -> processes.Process:
    fields = SETTINGS | {"data.dir": data}
    command = [
        str(ROOT / "launch.py"),
        f"--config={ROOT / 'configs/clavicle.py'}",
        f"--workdir={folder / 'run'}",
        *processes.as_flags(fields),
    ]
    return processes.Process(command, cwd=folder, environ={"JAX_PLATFORMS": "cpu"})


def stop_in(
    folder: Path, data: Path, phase: str, delay: float, number: signal.Signals
) -> str | None:
    """Sends a signal `delay` seconds into a phase; returns the last line that the run
    wrote, or None where it ended before."""
    process = start(folder, data)
    if not process.wait_for(PHASES[phase]):
        return None
    time.sleep(delay)
    if process.has_ended:
        return None
    sent = time.monotonic()
    process.signal(number)
    code, waited = process.end(), time.monotonic() - sent
    if number == signal.SIGTERM and (code not in (75, 0) or waited > LIMIT_S):
        raise RuntimeError(f"code {code} after {waited:.0f} s:\n{process.log}")
    return " ".join(process.lines[-1].split())


def finish(folder: Path, data: Path) -> None:
    process = start(folder, data)
    if process.end():
        raise RuntimeError(f"the run failed:\n{process.log}")


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


def result_of(folder: Path) -> str:
    """result.json but for the commit, which may change while this script runs."""
    result = json.loads((folder / "run/result.json").read_text())
    return json.dumps({k: v for k, v in result.items() if k != "commit"})


def compare(folder: Path, reference: Path) -> list[str]:
    differences = []
    if result_of(folder) != result_of(reference):
        differences.append("run/result.json")
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
    parser.add_argument("--signal", choices=("KILL", "TERM"), default="KILL")
    parser.add_argument("--phases", choices=("all", "training"), default="all")
    parser.add_argument(
        "--slow", type=float, default=1.0, help="times as long as on two quiet cores"
    )
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="work here and leave everything")
    options = parser.parse_args()
    number_of_signal = signal.Signals[f"SIG{options.signal}"]
    rng = random.Random(options.seed)
    base = options.keep or Path(tempfile.mkdtemp(prefix="kill-test-"))
    reference = base / "reference"
    reference.mkdir(parents=True)
    finish(reference, reference / "datasets")
    kills, failures = 0, 0
    for number in range(options.rounds):
        folder = base / f"round{number}"
        folder.mkdir()
        data = (folder if options.phases == "all" else reference) / "datasets"
        for phase in PHASES if options.phases == "all" else TRAINING:
            delay = options.slow * rng.uniform(0.0, LONGEST[phase])
            line = stop_in(folder, data, phase, delay, number_of_signal)
            kills += line is not None
            print(f"round {number}: {phase}: {line or 'ended before'}", flush=True)
        finish(folder, data)
        differences = compare(folder, reference)
        failures += bool(differences)
        print(f"round {number}: {differences or 'equal, bit for bit'}", flush=True)
    print(f"{kills} signals, {failures} of {options.rounds} rounds differ")
    if not options.keep:
        shutil.rmtree(base)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
