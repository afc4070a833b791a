"""How long a host takes to open a dataset: every record read, or the table beside it.

    python benchmarks/open_dataset.py --data_dir runs/datasets [--rounds 3]

Takes the largest dataset below the folder. Prints seconds for it, and computed for the
65,845 images of the paper at the same time a record.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from aals_jax.input import table_file  # noqa: E402
from aals_jax.input.dataset import Dataset  # noqa: E402
from data.cxr_registry.build import builds  # noqa: E402

PAPER = 65_845  # images


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data_dir", type=Path, required=True)
    parser.add_argument("--finding", default="rib")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    files = options.data_dir.rglob("build.json")
    found = {file.parent: builds.describe(file.parent)["data_hash"] for file in files}
    seconds: dict[str, list[float]] = {"records": [], "table": []}
    largest, count = max(
        ((path, len(Dataset(path, options.finding).table)) for path in found),
        key=lambda pair: pair[1],
    )
    for _ in range(options.rounds):
        table_file.path_of(largest, options.finding).unlink(missing_ok=True)
        for kind in seconds:
            began = time.perf_counter()
            Dataset(largest, options.finding, data_hash=found[largest])
            seconds[kind].append(time.perf_counter() - began)
    print(f"{count:,} images; median of {options.rounds}")
    for kind, values in seconds.items():
        median = statistics.median(values)
        computed = median * PAPER / count
        print(f"{kind:<8} {median:6.2f} s; computed for {PAPER:,}: {computed:6.1f} s")


if __name__ == "__main__":
    main()
