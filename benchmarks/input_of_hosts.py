"""The input of many hosts: images a second and core, cores a GPU needs, hosts' shares.

    python benchmarks/input_of_hosts.py [--data DIR] [--steps 2] [--repeats 5]

Batches of configs/clavicle.py:paper (8 R + 24 N + 16 P of 1024 x 1024) from
array_record, decoded at each read, in one thread; seconds are of CPU. The first table
has the noise of augmentation from NumPy's normal numbers, as it was, and as it is, in
turns. In the second each of N hosts reads its share alone, one after the other; "equal"
compares every array of all shares together with the batches of one host, bit for bit.
Without --data a phantom is drawn and built in a temporary folder.
"""

import argparse
import collections
import contextlib
import hashlib
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import one_core

if __name__ == "__main__":
    one_core.pin()

import jax
import numpy as np

from aals_jax.input import augment, pipeline
from aals_jax.input.dataset import ImageTable
from aals_jax.input.views import Radiograph
from benchmarks import input_pipeline
from configs import base

CONSUMED = 231  # images/s of the paper's stage 2 on an H100: docs/paper.md
CONFIG = base.get_config("clavicle", "paper")
COUNTS = {name: CONFIG.batch[name] for name in pipeline.STREAMS}
NUMPYS = "NumPy's normal numbers"
HOSTS = (1, 2, 4, 8)
PACKAGES = ("numpy", "opencv-python-headless", "grain", "array-record")


class Counting(input_pipeline.Uncached):
    """A dataset that decodes at each read, and counts."""

    def __init__(self, path: Path):
        super().__init__(path, "rib")
        self.reads: collections.Counter[tuple[str, int]] = collections.Counter()

    def read(self, split: str, position: int) -> Radiograph:
        self.reads[split, int(position)] += 1
        return super().read(split, position)


def numpys_own(rng: np.random.Generator, shape: Any, *, mean: float, deviation: float):
    """What `augment.normal_numbers` took the place of."""
    normal = rng.standard_normal(shape, dtype=np.float32)
    normal *= np.float32(deviation)
    normal += np.float32(mean)
    return normal


def batches(
    dataset: Counting, tables: Mapping[str, ImageTable], *, host: int = 0, hosts: int
) -> Iterator[Any]:
    return pipeline.batches(
        dataset,
        tables,
        COUNTS,
        seed=(0, 2),
        ranges=augment.Ranges(**CONFIG.augment),
        makers=input_pipeline.MAKERS,
        host=host,
        hosts=hosts,
        num_threads=0,
    )


def timed(endless: Iterator[Any], steps: int) -> tuple[float, list[Any]]:
    """CPU seconds of so many batches after the first; all of them."""
    taken = [next(endless)]
    start = time.process_time()
    taken += itertools.islice(endless, steps)
    return time.process_time() - start, taken


def print_cores(dataset: Counting, tables: Any, steps: int, repeats: int) -> None:
    before = mock.patch.object(augment, "normal_numbers", numpys_own)
    ways = {NUMPYS: before, "looked up": contextlib.nullcontext()}
    images = steps * sum(COUNTS.values())
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _, (name, way) in itertools.product(range(repeats), ways.items()):
        with way:
            seconds, _ = timed(batches(dataset, tables, hosts=1), steps)
        found[name].append(images / seconds)
    print(f"| noise | images/s a core | cores for {CONSUMED} images/s |\n|---|---|---|")
    for name, rates in found.items():
        rate, low, high = np.median(rates), min(rates), max(rates)
        print(f"| {name} | {rate:.1f} ({low:.1f}-{high:.1f}) | {CONSUMED / rate:.1f} |")
    ours, theirs = np.array(found["looked up"]), np.array(found[NUMPYS])
    ratios = ours / theirs
    print(f"\nfaster {np.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})\n")


def digests(batch: Any) -> dict[str, list[str]]:
    """Stream -> a digest of all arrays of each of its images, in order."""
    parts = {"labelled": batch.labelled, "image_level": batch.weak}
    found = {}
    for name, part in parts.items():
        leaves = jax.tree.leaves(part)
        found[name] = [
            hashlib.sha256(b"".join(leaf[i].tobytes() for leaf in leaves)).hexdigest()
            for i in range(len(leaves[0]))
        ]
    labelled = found.pop("labelled")
    region = len(labelled) * COUNTS["region"] // (COUNTS["region"] + COUNTS["negative"])
    return found | {"region": labelled[:region], "negative": labelled[region:]}


def print_hosts(path: Path, steps: int) -> None:
    print(
        "| hosts | images a host and batch | images/s a core, each host "
        "| records read, by all | together |\n|---|---|---|---|---|"
    )
    whole: list[Any] = []
    for count in HOSTS:
        rates, reads, shares = [], 0, []
        for host in range(count):
            dataset = Counting(path)
            tables = input_pipeline.stream_tables(dataset)
            mine = batches(dataset, tables, host=host, hosts=count)
            seconds, made = timed(mine, steps)
            images = sum(COUNTS.values()) // count
            rates.append(steps * images / seconds)
            reads += dataset.reads.total()
            shares.append([digests(batch) for batch in made])
        joined = [
            {name: [d for part in parts for d in part[name]] for name in COUNTS}
            for parts in zip(*shares, strict=True)
        ]
        whole = whole or joined
        verdict = "equal" if joined == whole else "NOT EQUAL"
        rate = f"{np.median(rates):.1f} ({min(rates):.1f}-{max(rates):.1f})"
        each = sum(COUNTS.values()) // count
        print(f"| {count} | {each} | {rate} | {reads} | {verdict} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, help="a prepared dataset, of finding rib")
    parser.add_argument("--steps", type=int, default=2, help="batches of a measurement")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(one_core.machine(PACKAGES) + "\n")
    with tempfile.TemporaryDirectory() as folder:
        path = options.data or input_pipeline.make_dataset(Path(folder))
        dataset = Counting(path)
        tables = input_pipeline.stream_tables(dataset)
        print_cores(dataset, tables, options.steps, options.repeats)
        print_hosts(path, options.steps)


if __name__ == "__main__":
    main()
