"""Kills builds with SIGKILL at random moments and compares what they end in, by bytes.

    python benchmarks/kill_build.py [--images 600] [--kills 10] [--seed 0]

A phantom registry is built once undisturbed. A second build of it is killed again and
again, each time a random while after its first new shard, and left to finish. Its
folder must equal the first one's byte for byte, and no finished shard may be written
again.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from data.phantom import registry as phantom  # noqa: E402

LONGEST_S = 3.0


def start(folder: Path, name: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "data.cxr_registry.build", "--registry"]
    command += [str(folder / "registry"), "--data_dir", str(folder / name)]
    command += ["--key_file", str(folder / "key"), "--findings", "rib,clavicle"]
    command += ["--side", "1024", "--workers", "2"]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def finished_shards(folder: Path, name: str) -> dict[str, int]:
    """Finished shards of the draft and the time each was written."""
    files = (folder / name).glob("cxr_registry/.staging-*/[0-9]*.array_record")
    return {file.name: file.stat().st_mtime_ns for file in files}


def kill_once(folder: Path, name: str, delay: float) -> None:
    before = len(finished_shards(folder, name))
    process = start(folder, name)
    while process.poll() is None and len(finished_shards(folder, name)) <= before:
        time.sleep(0.05)
    time.sleep(delay)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def contents(folder: Path, name: str) -> dict[str, bytes]:
    (dataset,) = (folder / name / "cxr_registry").glob("rib*")
    return {
        file.relative_to(dataset).as_posix(): file.read_bytes()
        for file in sorted(dataset.rglob("*"))
        if file.is_file()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    delays = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        drawn = phantom.PhantomOptions(
            images=options.images,
            height=768,
            seed=0,
            conspicuity={"rib": 1.0, "clavicle": 1.0},
        )
        phantom.generate(folder / "registry", drawn)
        if start(folder, "whole").wait():
            sys.exit("the undisturbed build failed")
        kept: dict[str, int] = {}
        for kill in range(options.kills):
            kill_once(folder, "killed", delays.uniform(0, LONGEST_S))
            found = finished_shards(folder, "killed")
            if found and not kept.items() <= found.items():
                sys.exit("a finished shard was written again")
            kept = found or kept
            print(f"kill {kill + 1}: {len(found)} shards finished", flush=True)
        if start(folder, "killed").wait():
            sys.exit("the killed build failed to finish")
        whole, killed = contents(folder, "whole"), contents(folder, "killed")
    differing = [name for name in whole if whole[name] != killed.get(name)]
    print(f"{len(whole)} files, {len(differing)} differ {differing}")
    sys.exit(bool(differing) or whole.keys() != killed.keys())


if __name__ == "__main__":
    main()
