"""Images a second and core, from array_record to a training Batch, beside a DataLoader.

    pip install -r requirements/bench.txt      # PyTorch; no need of the project
    python benchmarks/input_pipeline.py [--data DIR] [--steps 8] [--repeats 5]

Ours is aals_jax/input/pipeline.py. Theirs is a torch DataLoader over the same files
with the same work: random reads of array_record, PNG by OpenCV, the same warp,
photometry and maps, the examples stacked. Both are given the same rows, P (two
views an image), R and N in equal parts. Nothing is cached, as with a dataset larger
than the memory.
Without --data a phantom of 1024 x 1024 pixels is drawn and built in a temporary folder.
"""

import argparse
import dataclasses
import functools
import importlib
import importlib.util
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import one_core

if __name__ == "__main__":
    one_core.pin(2)  # one of them is left below

import cv2
import numpy as np

from aals_jax.input import augment, pipeline, views
from aals_jax.input.dataset import Dataset, ImageTable, split_streams
from data.cxr_registry.build import builds
from data.cxr_registry.build.options import BuildOptions
from data.phantom import registry as phantom

PACKAGES = ("numpy", "opencv-python-headless", "grain", "array-record", "torch")
RANGES = augment.Ranges(20.0, (0.85, 1.2), 0.11, True, 0.1, 0.3, 0.03)  # configs/base
MAKERS = views.makers(views.Extras())
SIDE, IMAGES, EACH = 1024, 64, 4  # px; of the phantom; of each stream in a batch
STREAMS = ("region", "negative", "image_level")


class Uncached(Dataset):
    """A dataset that decodes at each read, as one larger than the memory does."""

    def __init__(self, path: Path, finding: str):
        super().__init__(path, finding)
        self._cacheable = False


def make_dataset(folder: Path) -> Path:
    drawn = phantom.PhantomOptions(
        images=IMAGES, seed=0, conspicuity={"rib": 1.0, "clavicle": 1.0}, height=1100
    )
    phantom.generate(folder / "registry", drawn)
    options = BuildOptions(
        registry=folder / "registry",
        data_dir=folder,
        key_file=folder / "key",
        findings=("rib", "clavicle"),
        side=SIDE,
    )
    return builds.build(options)


def stream_tables(dataset: Dataset) -> dict[str, ImageTable]:
    """R, N and P; half of the boxed positives give up their boxes for P.

    Each row stands there a thousand times: Grain's shuffle is slow for a few rows only.
    """
    table = dataset.table
    boxed = int(((table.label == 1) & table.boxed).sum())
    rows = split_streams(table, region_images=boxed // 2, seed=0)
    return {name: table.select(np.tile(getattr(rows, name), 1000)) for name in STREAMS}


def ours(
    dataset: Dataset, tables: Mapping[str, ImageTable], threads: int
) -> Iterator[Any]:
    return pipeline.batches(
        dataset,
        tables,
        dict.fromkeys(STREAMS, EACH),
        seed=(0, 2),
        ranges=RANGES,
        makers=MAKERS,
        num_threads=threads,
    )


# --- the peer


class Batches:
    """What a torch user writes: item s is batch s, three streams collated to tensors.

    A process opens the files at its first batch: array_record's threads don't outlive
    a fork, and a reader can't be pickled.
    """

    def __init__(self, path: Path, steps: int):
        self.path, self.steps = path, steps

    def __len__(self) -> int:
        return self.steps

    @functools.cached_property
    def dataset(self) -> Dataset:
        cv2.setNumThreads(1)
        return Uncached(self.path, "rib")

    @functools.cached_property
    def tables(self) -> dict[str, ImageTable]:
        return stream_tables(self.dataset)

    def example(self, stream: str, index: int) -> dict[str, np.ndarray]:
        table = self.tables[stream]
        row = index % len(table)
        record = self.dataset.read(table.split[row], table.position[row])
        made = MAKERS[stream](record, np.random.default_rng([0, index]), RANGES)
        return {f.name: getattr(made, f.name) for f in dataclasses.fields(made)}

    def __getitem__(self, step: int) -> list[Any]:
        collate = importlib.import_module("torch.utils.data").default_collate
        indices = range(step * EACH, (step + 1) * EACH)
        region, negative, weak = (
            [self.example(stream, i) for i in indices] for stream in STREAMS
        )
        return [collate(region + negative), collate(weak)]


def theirs(path: Path, processes: int, steps: int) -> Iterator[Any]:
    loader = importlib.import_module("torch.utils.data").DataLoader
    context = "spawn" if processes else None
    return iter(
        loader(
            Batches(path, steps),
            batch_size=None,
            num_workers=processes,
            multiprocessing_context=context,
        )
    )


# --- the clock


def rate(
    make: Callable[[int], Iterator[Any]], steps: int, clock: Callable[[], float]
) -> float:
    """Images a second from the second batch on: starting is not counted."""
    batches = make(steps + 1)
    next(batches)
    start = clock()
    for _ in itertools.islice(batches, steps):
        pass
    return steps * EACH * len(STREAMS) / (clock() - start)


def print_table(path: Path, steps: int, repeats: int) -> None:
    dataset = Uncached(path, "rib")
    tables = stream_tables(dataset)
    has_torch = importlib.util.find_spec("torch") is not None
    if has_torch:
        importlib.import_module("torch").set_num_threads(1)
    else:
        print("PyTorch is not installed: pip install -r requirements/bench.txt")
    cores = sorted(os.sched_getaffinity(0))
    print(
        "| cores | ours: images/s | DataLoader: images/s | ratio |\n|---|---|---|---|"
    )
    for used, helpers in ((1, 0), (1, 1), (2, 2)):
        os.sched_setaffinity(0, cores[-used:])
        # CPU time where this process does it all: others' share doesn't count
        clock = time.perf_counter if helpers else time.process_time
        sides: dict[str, Any] = {"ours": lambda n, t=helpers: ours(dataset, tables, t)}
        if has_torch:
            sides["theirs"] = lambda n, p=helpers: theirs(path, p, n)
        found: dict[str, list[float]] = {name: [] for name in sides}
        for _, (name, make) in itertools.product(range(repeats), sides.items()):
            found[name].append(rate(make, steps, clock))
        how = f"{helpers} threads / processes, clock" if helpers else "CPU time"
        cells = [f"{used}, {how}"]
        cells += [f"{np.median(values):.1f}" for values in found.values()]
        if has_torch:
            pairs = np.divide(found["ours"], found["theirs"])
            low, middle, high = np.quantile(pairs, [0, 0.5, 1])
            cells.append(f"**{middle:.2f}** ({low:.2f}-{high:.2f})")
        print("| " + " | ".join(cells) + " |", flush=True)
    os.sched_setaffinity(0, cores)


def print_stages(dataset: Dataset, repeats: int) -> None:
    """CPU milliseconds of each step of one image of R."""
    table = stream_tables(dataset)["region"]
    place = table.split[0], table.position[0]
    record = dataset.read(*place)
    rng = np.random.Generator(np.random.Philox(0))  # Grain's
    matrix = augment.sample_geometry(rng, RANGES, side=dataset.side)
    maps: Any = {"side": dataset.side, "map_side": dataset.side // views.MAP_STRIDE}
    image = views.to_float(record.image)
    made = MAKERS["region"](record, rng, RANGES)
    png = cv2.imencode(".png", record.image)[1]
    calls: dict[str, Callable[[], object]] = {
        "read, parse and PNG": functools.partial(dataset.read, *place),
        "of it PNG": functools.partial(cv2.imdecode, png, cv2.IMREAD_UNCHANGED),
        "to float": functools.partial(views.to_float, record.image),
        "warp": functools.partial(augment.warp, image, matrix),
        "photometry": functools.partial(augment.photometry, image, rng, RANGES),
        "of it normal numbers": functools.partial(
            augment.normal_numbers, rng, image.shape, mean=0.0, deviation=0.03
        ),
        "NumPy's normal numbers, in their place": functools.partial(
            rng.standard_normal, image.shape, dtype=np.float32
        ),
        "film's map": functools.partial(
            augment.draw_content, record.content, matrix, **maps
        ),
        "target": functools.partial(augment.draw_boxes, record.boxes, matrix, **maps),
        "stack": functools.partial(pipeline._stack, [made]),
    }
    found = one_core.medians(one_core.in_turns(calls, repeats))
    print("| step | ms |\n|---|---|")
    for name, seconds in found.items():
        print(f"| {name} | {1e3 * seconds:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, help="a prepared dataset, of finding rib")
    parser.add_argument("--steps", type=int, default=8, help="batches of a measurement")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print(one_core.machine(PACKAGES) + "\n")
    with tempfile.TemporaryDirectory() as folder:
        path = options.data or make_dataset(Path(folder))
        print_stages(Uncached(path, "rib"), 5 * options.repeats)
        print()
        print_table(path, options.steps, options.repeats)


if __name__ == "__main__":
    main()
