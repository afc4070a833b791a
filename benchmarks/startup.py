"""CPU seconds of `launch.py --mode=score` on small tables, against an older revision.

    python benchmarks/startup.py --against REVISION [--repeats 5]

Both trees are called in turns on the same tables; of user and system time of each call
the median counts, and the table says the ratio. Nearly all of it is imports.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support import reference_outputs

ROOT = Path(__file__).parents[1]
TABLES = ("images", "lesions", "detections", "detections_b")


def unpack(revision: str, folder: Path) -> Path:
    """The tree of a revision, without its history."""
    archive = ["git", "-C", str(ROOT), "archive", revision]
    folder.mkdir()
    packed = subprocess.run(archive, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True)
    return folder


def cpu_seconds(tree: Path, *flags: str) -> float:
    """User and system time of one call of a tree's launch.py."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "launch.py", *flags]
    subprocess.run(command, cwd=tree, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return user + system


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--against", required=True, help="an older revision, for git")
    parser.add_argument("--repeats", type=int, default=5, help="calls of each tree")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trees = {"before": unpack(options.against, folder / "before"), "now": ROOT}
        reference_outputs.write_tables(folder)
        flags = [f"--{table}={folder / table}.csv" for table in TABLES]
        flags += ["--mode=score", "--replicates=100", f"--out={folder / 'out'}"]
        seconds: dict[str, list[float]] = {which: [] for which in trees}
        for number in range(options.repeats + 1):
            for which, tree in trees.items():
                spent = cpu_seconds(tree, *flags)
                if number:  # the first call compiles Python's own files
                    seconds[which].append(spent)
    middle = {which: statistics.median(values) for which, values in seconds.items()}
    for which, value in middle.items():
        low, high = min(seconds[which]), max(seconds[which])
        print(f"{which:<8}{value:6.2f} s of CPU, {low:.2f} to {high:.2f}")
    print(f"ratio   {middle['now'] / middle['before']:6.2f}")


if __name__ == "__main__":
    main()
