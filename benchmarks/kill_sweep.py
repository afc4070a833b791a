"""Kills the driver of a sweep twice with SIGKILL; every trial must finish just once.

    python benchmarks/kill_sweep.py [--trials 12] [--seed 0] [--keep DIR]

Twelve tiny trials, as many at a time as there are cores. The first kill takes the
driver with its whole process group, the second the driver alone, each at a random
moment; then the sweep is left to finish. Meanwhile /proc is asked which trials are at
work and on which cores the kernel lets them run. Needs Linux and Ray.

A fact a line at the end; exit status 1 unless all hold:
- every trial has a result, and its file was written once: what was finished before a
  kill has the same modification time at the end;
- never more trials at work than cores, each on one core, no two on the same.
"""

import argparse
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
POLL_S = 0.25


@dataclasses.dataclass
class Seen:
    """What /proc said of the trials, over all polls."""

    polls: int = 0
    at_work: dict[int, int] = dataclasses.field(default_factory=dict)  # count -> polls
    clashes: int = 0  # polls with two trials on one core, or one on several

    def add(self, cores: dict[str, set[int]]) -> None:
        self.polls += 1
        self.at_work[len(cores)] = self.at_work.get(len(cores), 0) + 1
        used = [core for each in cores.values() for core in each]
        self.clashes += len(used) != len(set(used)) or len(used) != len(cores)


def start(folder: Path, count: int) -> subprocess.Popen:
    command = [
        sys.executable,
        str(ROOT / "launch.py"),
        "--mode=sweep",
        f"--sweep={ROOT / 'configs/sweeps/tiny.py'}:{count}",
        f"--workdir={folder / 'sweep'}",
    ]
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "RAY_ADDRESS": "local"},
        stderr=(folder / "driver.txt").open("a"),
        start_new_session=True,
    )


def pinned(folder: Path) -> dict[str, set[int]]:
    """Trial -> the cores that its process may use, of those that have begun.

    A process that still waits for its lock or a core has the driver's cores.
    """
    found = {}
    for path in (folder / "sweep" / "trials").glob("*/attempts.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        last = rows[-1]
        if last["event"] != "start":
            continue
        try:
            command = Path(f"/proc/{last['pid']}/cmdline").read_text()
            if f"--trial={path.parent.name}" in command:
                found[path.parent.name] = os.sched_getaffinity(last["pid"])
        except (FileNotFoundError, ProcessLookupError):
            pass  # killed or just ended
    return found


def finished(folder: Path) -> dict[str, int]:
    """Trial -> when its result was written, ns."""
    files = (folder / "sweep" / "trials").glob("*/result.json")
    return {path.parent.name: path.stat().st_mtime_ns for path in files}


def watch(process: subprocess.Popen, folder: Path, seen: Seen, done: float) -> None:
    """Looks on until the driver ends, or `done` trials are finished and others are at
    work."""
    while process.poll() is None:
        cores = pinned(folder)
        seen.add(cores)
        if cores and len(finished(folder)) >= done:
            return
        time.sleep(POLL_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="work here and leave everything")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    folder = options.keep or Path(tempfile.mkdtemp(prefix="kill-sweep-"))
    folder.mkdir(parents=True, exist_ok=True)
    started, seen, before, touched = time.monotonic(), Seen(), {}, False
    kills = (("the driver's process group", os.killpg), ("the driver alone", os.kill))
    for number, (name, kill) in enumerate(kills, start=1):
        process = start(folder, options.trials)
        # the first kill somewhere in the first third of the trials, then in the next
        share = rng.uniform(number - 1, number) / 3
        watch(process, folder, seen, max(share * options.trials, 1))
        time.sleep(rng.uniform(0, 5))
        if process.poll() is not None:
            sys.exit(f"the driver ended by itself: see {folder / 'driver.txt'}")
        working = sorted(pinned(folder))
        kill(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(2)
        now, left = finished(folder), len(pinned(folder))
        print(f"killed {name}: {len(now)} done, at work {working}, 2 s later {left}")
        touched |= any(now[trial] != when for trial, when in before.items())
        before = now
    process = start(folder, options.trials)
    watch(process, folder, seen, float("inf"))
    now = finished(folder)
    touched |= any(now.get(trial) != when for trial, when in before.items())
    holds = report(folder, options.trials, seen, process.returncode, touched)
    print(f"{time.monotonic() - started:.0f} s")
    sys.exit(0 if holds else 1)


def report(folder: Path, count: int, seen: Seen, status: int, touched: bool) -> bool:
    """Prints the facts; returns whether all hold."""
    now = finished(folder)
    attempts = [
        [json.loads(line)["event"] for line in path.read_text().splitlines()]
        for path in (folder / "sweep" / "trials").glob("*/attempts.jsonl")
    ]
    starts = [events.count("start") for events in attempts]
    polls = dict(sorted(seen.at_work.items()))
    most = len(os.sched_getaffinity(0))
    facts = {
        f"{len(now)} of {count} trials have a result": len(now) == count,
        f"exit status {status}": not status,
        "what was finished before a kill is untouched": not touched,
        "each trial finished once": all(e.count("done") == 1 for e in attempts),
        f"polls by trials at work: {polls}, {most} cores": max(polls) <= most,
        f"polls with a shared core or an unpinned trial: {seen.clashes} of "
        f"{seen.polls}": not seen.clashes,
    }
    for text, holds in facts.items():
        print(f"{'ok  ' if holds else 'FAIL'} {text}")
    print(f"starts: {sum(starts)}, of a trial at most {max(starts)}")
    return all(facts.values())


if __name__ == "__main__":
    main()
