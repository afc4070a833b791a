"""A Ray cluster of two worker nodes loses one in the middle of a trial.

    python benchmarks/ray_nodes.py [--trials 4] [--keep DIR]

A head without cores and two nodes of one core each, all on this machine. Once each node
works on a trial, one node is killed with all its processes; the sweep goes on with the
other one. Exit status 1 unless every trial has one result, the lost trial was begun
twice, and no other one was.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from ray.cluster_utils import Cluster

ROOT = Path(__file__).parent.parent
LIMIT_S = 600.0


def begun(sweep: Path) -> Counter[str]:
    """Trial -> how often it was begun."""
    found = Counter[str]()
    for path in sweep.glob("trials/*/attempts.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        found[path.parent.name] = sum(row["event"] == "start" for row in rows)
    return found


def training(sweep: Path) -> set[str]:
    """Trials that have a history and no result."""
    return {
        path.parent.name
        for path in sweep.glob("trials/*/metrics.jsonl")
        if not (path.parent / "result.json").exists()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--keep", type=Path, help="work here and leave everything")
    options = parser.parse_args()
    base = options.keep or Path(tempfile.mkdtemp(prefix="ray-nodes-"))
    base.mkdir(parents=True, exist_ok=True)
    sweep = base / "sweep"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    driver = subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "launch.py"),
            "--mode=sweep",
            f"--sweep={ROOT / 'configs/sweeps/tiny.py'}:{options.trials}",
            f"--workdir={sweep}",
            "--cpus_per_trial=1",
        ],
        cwd=base,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "RAY_ADDRESS": f"{cluster.address}"},
        stderr=(base / "driver.txt").open("a"),
    )
    try:
        ends = time.monotonic() + LIMIT_S
        while len(at_work := training(sweep)) < 2:
            assert driver.poll() is None, (base / "driver.txt").read_text()
            assert time.monotonic() < ends, "two trials did not begin"
            time.sleep(0.1)
        before = begun(sweep)
        cluster.remove_node(nodes[1], allow_graceful=False)
        print(f"a node is killed while {len(at_work)} trials train", flush=True)
        code = driver.wait(LIMIT_S)
    finally:
        driver.kill()
        cluster.shutdown()
    results = {p.parent.name for p in sweep.glob("trials/*/result.json")}
    after = begun(sweep)
    again = {name for name, count in after.items() if count == 2}
    print(f"exit code {code}, {len(results)} of {options.trials} trials have a result")
    print(f"begun twice: {len(again)}, of those at work then: {len(again & at_work)}")
    good = (
        code == 0
        and len(results) == options.trials
        and len(again) == 1
        and again <= at_work
        and max(after.values()) == 2
        and max(before.values()) == 1
    )
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
