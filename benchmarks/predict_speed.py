"""How fast `--mode=predict` is, beside decoding alone and the net alone.

    python benchmarks/predict_speed.py --model MODEL --input DIR [--films 96] [--sr]

Each part runs in a process of its own. On one core: decoding
(`data/reading_room/films.py`), the net, and all of predict in one process, pictures
included. Then predict as it is, on `--cores` (2), with `--workers` (1) that decode and
as many that write. The films of DIR are taken again until there are enough; the first
batches are not counted (imports, compiling). The law: the last is at least 0.8 times as
fast as the slower of decoding and net.

Films a second are by the clock, so that other programs count: CPU seconds a film of the
first three say what a free machine would do.
"""

import argparse
import functools
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.one_core import machine

LEAST = 0.8
# Name -> cores; None: --cores.
PARTS = {"decode": 1, "net": 1, "one process": 1, "predict": None}


def rate(results: Iterable[object], *, skipped: int) -> dict[str, float]:
    """Films a second, and CPU seconds a film in this process, after the first ones."""
    count, start, spent, end, spent_then = 0, 0.0, 0.0, 0.0, 0.0
    for count, _ in enumerate(results, start=1):
        if count == skipped:
            start, spent = time.perf_counter(), time.process_time()
        end, spent_then = time.perf_counter(), time.process_time()
    return {
        "films_a_second": (count - skipped) / (end - start),
        "cpu_seconds": (spent_then - spent) / (count - skipped),
    }


def measure(part: str, arguments: argparse.Namespace) -> dict[str, float]:
    from ml_collections import ConfigDict

    from aals_jax.handover import preprocessing, station
    from aals_jax.runtime import devices
    from data.reading_room import films, inputs

    devices.start(whole_tracebacks=False)
    sources = inputs.find([arguments.input])
    tasks = [
        (number, source)
        for number, source in zip(
            range(1, arguments.films + 1), itertools.cycle(sources), strict=False
        )
    ]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        workers = arguments.workers if part == "predict" else 0
        options = station.Options(out=out, workers=workers, sr=arguments.sr)
        desk = station.Station(arguments.model, options, load_config=ConfigDict)
        prepared = desk.model.preprocessing
        reading = films.Reading(
            side=prepared.side, bits=prepared.bits, allow=(), timeout_s=60.0
        )
        size = desk.model.config.evaluation.batch_size
        if part == "decode":
            found = films.read_all(tasks, reading=reading, workers=workers)
            return rate(found, skipped=size)
        if part in ("one process", "predict"):
            desk.claim()
            return rate(desk.records(tasks), skipped=2 * size)
        (film,) = films.read_all(tasks[:1], reading=reading, workers=0)
        if isinstance(film, films.Refused):
            raise SystemExit(f"the first film {film.reason}")
        import numpy as np

        images = np.repeat(preprocessing.to_input(film.square)[None], size, axis=0)
        predictor, placed = desk._net

        def batches() -> Iterable[object]:
            for _ in range(-(-arguments.films // size)):
                predictor.batch(placed, images)
                yield from range(size)

        return rate(batches(), skipped=size)


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast predict is.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--films", type=int, default=96)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--sr", action="store_true")
    parser.add_argument("--part", choices=PARTS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(measure(arguments.part, arguments)))
        return
    cores = sorted(os.sched_getaffinity(0))[: arguments.cores]
    print(machine(["jax", "numpy", "pydicom"]))
    print(f"load before: {os.getloadavg()[0]:.1f}")
    found = {}
    for part, own in PARTS.items():
        done = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--part", part],
            preexec_fn=functools.partial(os.sched_setaffinity, 0, cores[:own]),
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        found[part] = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{part:<12}{found[part]['films_a_second']:7.2f} films/s"
            + (f", {found[part]['cpu_seconds']:.3f} CPU s a film" if own else ""),
            flush=True,
        )
    slower = min(found[part]["films_a_second"] for part in ("decode", "net"))
    ratio = found["predict"]["films_a_second"] / slower
    print(f"all of it / the slower part: {ratio:.2f} (at least {LEAST})")
    if ratio < LEAST:
        raise SystemExit("slower than that")


if __name__ == "__main__":
    main()
