"""Two sides timed fairly on a machine that others use: one core, in turns, medians."""

import contextlib
import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def pin(cores: int = 1) -> None:
    """Keeps this process to so many of its cores, and libraries to one thread each.

    Call it before NumPy and PyTorch are imported: they read these at import.
    """
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = "1"


def in_turns(
    calls: Mapping[str, Callable[[], object]], repeats: int
) -> dict[str, list[float]]:
    """CPU seconds of each call, `repeats` of each: a b c a b c ...

    CPU time and not the clock's: what other processes take does not count. The first
    round warms up and is not kept.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(repeats + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if number:
                seconds[name].append(time.process_time() - start)
    return seconds


def medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in seconds.items()}


def machine(packages: Sequence[str]) -> str:
    """Processor, Python and versions, in a line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((x.split(":")[1].strip() for x in lines if "model name" in x), "?")
    found = [f"{model}, {os.cpu_count()} cores", f"Python {platform.python_version()}"]
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return "; ".join(found)
