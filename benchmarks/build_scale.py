"""A build of many full-size films: throughput, memory over time, the time for 65,845.

    python benchmarks/build_scale.py --folder DIR [--images 2000] [--workers 2]

Films of 3056 x 2544 pixels and 12 bits: a few drawn ones, shifted by some rows for each
image so that no two are the same, under the syntaxes of MIX; 2,000 take 19 GB in DIR,
which a second run uses again. `data.cxr_registry.build` then runs in
a process of its own, while the memory of it and of its children is read from /proc (the
proportional set size: what they share counts once).
"""

import argparse
import csv
import functools
import multiprocessing
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

from benchmarks import full_size, one_core
from data.cxr_registry.build import builds
from data.cxr_registry.build.options import BuildOptions

REGISTRY_IMAGES = 65_845
FILMS = 11  # distinct drawings; prime to ten, so that each meets every syntax
# Mostly compressed, as in an archive of today, and for the disk
MIX = {
    "explicit": 0.10,
    "RLE": 0.10,
    "JPEG-LS lossless": 0.60,
    "JPEG 2000 lossless": 0.10,
    "JPEG lossless SV1": 0.10,
}
PERIOD_S = 0.5  # of the samples


def syntax_of(image: int) -> str:
    """The mix is exact in each ten consecutive images."""
    share = (image % 10 + 0.5) / 10
    edges = np.cumsum(list(MIX.values()))
    return list(MIX)[int(np.searchsorted(edges, share))]


# --- the registry


def write_films(folder: Path, images: int, drawing: int) -> None:
    """Every image that comes from one drawing."""
    stored = None
    for image in range(drawing, images, FILMS):
        path = folder / f"{image:05d}.dcm"
        if path.exists():
            continue
        stored = full_size.film(drawing) if stored is None else stored
        shifted = np.roll(stored, 7 * (image // FILMS), axis=0)
        aside = path.with_suffix(".part")
        full_size.write(aside, shifted, syntax_of(image))
        aside.rename(path)


def make_registry(root: Path, images: int, workers: int) -> None:
    folder = root / "images"
    folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers) as pool:
        write = functools.partial(write_films, folder, images)
        pool.map(write, range(FILMS), chunksize=1)
    with (root / "studies.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "patient_id", "study_date", "rib"])
        for image in range(images):
            row = [f"images/{image:05d}.dcm", f"P{image:05d}", "2020-01-01"]
            table.writerow([*row, int(image % 4 == 0)])


# --- the build and its memory


def run_build(root: Path, data_dir: Path, side: int, workers: int) -> None:
    options = BuildOptions(
        registry=root,
        data_dir=data_dir,
        key_file=data_dir.parent / "key",
        findings=("rib",),
        side=side,
        workers=workers,
    )
    builds.build(options)


def family(pid: int) -> Iterator[int]:
    """The process and all its descendants."""
    yield pid
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in file.read_text().split():
            yield from family(int(child))


def memory(pid: int) -> int:
    """Bytes of the process and its descendants."""
    total = 0
    for each in family(pid):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        total += sum(1024 * int(x.split()[1]) for x in lines if x.startswith("Pss:"))
    return total


def watch(process: Any) -> list[int]:
    """Runs the process to its end; bytes it and its children took, over time."""
    process.start()
    assert process.pid
    samples = []
    while process.is_alive():
        samples.append(memory(process.pid))
        process.join(PERIOD_S)
    if process.exitcode:
        raise SystemExit(f"the build ended with {process.exitcode}")
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="for films and data")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--side", type=int, default=1024, help="pixels of the square")
    options = parser.parse_args()
    print(one_core.machine(("pydicom", "opencv-python-headless", "array-record")))
    root = options.folder / f"films-{options.images}"
    start = time.perf_counter()
    make_registry(root, options.images, options.workers)
    size = sum(path.stat().st_size for path in root.glob("images/*.dcm")) / 1e9
    shares = ", ".join(f"{100 * share:.0f} % {name}" for name, share in MIX.items())
    print(f"{options.images} films, {size:.1f} GB ({shares})")
    print(f"drawn and encoded in {time.perf_counter() - start:.0f} s")
    data_dir = options.folder / "datasets"
    shutil.rmtree(data_dir, ignore_errors=True)
    context = multiprocessing.get_context("spawn")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    samples = watch(
        context.Process(
            target=run_build, args=(root, data_dir, options.side, options.workers)
        )
    )
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    rate = options.images / seconds
    hours = REGISTRY_IMAGES / rate / 3600
    print(
        f"built in {seconds:.0f} s by {options.workers} processes: "
        f"{rate:.2f} images/s, {rate / options.workers:.2f} a core; "
        f"{REGISTRY_IMAGES:,} images would take {hours:.1f} h"
    )
    own = REGISTRY_IMAGES * cpu / options.images / 3600
    print(
        f"CPU time {cpu / options.images:.3f} s an image, {own:.1f} core hours for all"
    )
    quarters = np.array_split(np.array(samples) / 2**20, 4)
    print("memory by quarter of the time, MiB (mean, peak): ", end="")
    print("; ".join(f"{part.mean():.0f}, {part.max():.0f}" for part in quarters))


if __name__ == "__main__":
    main()
