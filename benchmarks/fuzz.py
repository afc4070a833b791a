"""Feeds the readers damaged files: none may crash, hang, swell or leak.

    python benchmarks/fuzz.py [--target dicom,tables] [--inputs 20000] [--seed 0]
        [--out DIR] [--dicom DIR]

A child process under a bound on its address space reads one input after the other; the
parent replaces it when it dies or is late. Each input is a function of (target, seed,
number), so `--only NUMBER` repeats one. Right are: a good result (checked), or a
refusal by the reader's own error, one line, quoting nothing. All else is a finding; its
file is saved below --out.
"""

import argparse
import collections
import dataclasses
import multiprocessing
import os
import re
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

import fuzz_inputs
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from data.cxr_registry.dicom import reader
from data.cxr_registry.guard import checks
from data.cxr_registry.tables import records

MEMORY_GB = 4.0  # address space of the child; its imports take 1.5
SWELL_MB = 1024  # resident memory that one small file may add
TIMEOUT_S = 20.0  # of processor time, for one file
REFUSALS = {
    "dicom": (reader.UnreadableRadiograph,),
    "real": (reader.UnreadableRadiograph,),
    "tables": (checks.RegistryError,),
}


class Outcome(NamedTuple):
    """What became of one input."""

    number: int
    kind: str  # "accepted", "refused", or a finding: "error", "crash", ...
    detail: str  # the reason with its numbers left out, or where the error arose
    seconds: float  # of processor time
    swell_mb: float  # growth of the child's peak resident memory


@dataclasses.dataclass
class Summary:
    """Counts of a target's inputs."""

    target: str
    counts: collections.Counter[tuple[str, str]]
    findings: list[Outcome]
    slowest: Outcome | None = None
    peak_mb: float = 0.0

    def add(self, outcome: Outcome, peak_mb: float) -> None:
        self.counts[outcome.kind, outcome.detail] += 1
        if outcome.kind not in ("accepted", "refused"):
            self.findings.append(outcome)
        if self.slowest is None or outcome.seconds > self.slowest.seconds:
            self.slowest = outcome
        self.peak_mb = max(self.peak_mb, peak_mb)


def read_image(path: Path) -> None:
    """Reads a radiograph as the build does and checks what comes out."""
    try:
        shape = reader.stored_shape(path)
    except reader.UnreadableRadiograph:
        shape = None  # the size alone may be missing where the whole is refused
    image = reader.read_radiograph(path, modalities=None)
    pixels = image.pixels
    assert shape == image.stored_shape, "two readings of the size differ"
    assert pixels.dtype == np.float32 and pixels.ndim == 2, "no float32 plane"
    assert 0 <= pixels.min() <= pixels.max() <= 1, "outside 0 and 1"  # no NaN passes
    spacing = image.spacing_mm
    assert spacing is None or 0 < spacing < float("inf"), "spacing is no length"
    square = reader.to_square(pixels, 32)
    assert 0 <= min(square.content) < max(square.content) <= 1, "no film in the square"


def read_tables(path: Path) -> None:
    """Reads the registry that the damaged table belongs to."""
    registry = records.read_registry(path.parent, findings=["rib"])
    for study in registry.studies:
        assert study.path.is_relative_to(path.parent.resolve()), "leaves the folder"
        for region in study.regions:
            assert 0 <= region.x0 < region.x1 and 0 <= region.y0 < region.y1, "no box"


def prepare(target: str, folder: Path) -> None:
    """The files that stay as they are beside the damaged one."""
    if target == "tables":
        for name in ("a.dcm", "b.dcm"):
            fuzz_inputs.registry_files.write(
                folder / name, fuzz_inputs.registry_files.film(ord(name[0]))
            )
        fuzz_inputs.registry_files.table(folder / "studies.csv", fuzz_inputs.STUDIES)


def judge(target: str, path: Path) -> tuple[str, str]:
    """Kind and detail of one reading, whatever it raises."""
    read: Callable[[Path], None] = read_tables if target == "tables" else read_image
    try:
        read(path)
    except REFUSALS[target] as error:
        text = str(error)
        if fuzz_inputs.CANARY in text or str(path.parent) in text:
            return "leak", "a refusal quotes the file"
        if target != "tables" and ("\n" in text or len(text) > 300):
            return "error", "a refusal of more than a line"
        if target == "tables":
            text = ", ".join(sorted({problem.check for problem in error.problems}))
        return "refused", re.sub(r"\d+", "N", text)[:90]
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in last if "cxr_registry" in frame.filename] or last
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
        return "error", f"{type(error).__name__} at {place}: {error}"[:160]
    return "accepted", ""


def _child(link: Any, target: str) -> None:
    """Reads inputs from the link until it sends None."""
    limit = int(MEMORY_GB * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("error")  # a warning quotes values, and means a hole
    with tempfile.TemporaryDirectory() as place:
        link.send(None)
        while (given := link.recv()) is not None:
            number, name, data = given
            home = Path(place, str(number))
            home.mkdir()
            prepare(target, home)
            if name.startswith("studies"):
                (home / "studies.csv").unlink()
            (home / name).write_bytes(data)
            before, start = _peak_mb(), time.process_time()
            kind, detail = judge(target, home / name)
            took, swell = time.process_time() - start, _peak_mb() - before
            if swell > SWELL_MB:
                kind, detail = "swell", f"{detail} took {swell:.0f} MB"
            link.send((Outcome(number, kind, detail, took, swell), _peak_mb()))
            for file in home.iterdir():
                file.unlink()
            home.rmdir()


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def outcomes(
    target: str, numbers: range, *, seed: int, folder: Path | None, timeout_s: float
) -> Iterator[tuple[Outcome, float]]:
    """Each input's outcome and the child's peak memory in MB."""
    context = multiprocessing.get_context("spawn")
    child, link = None, None
    for number in numbers:
        if child is None or link is None:
            link, theirs = context.Pipe()
            child = context.Process(target=_child, args=(theirs, target))
            child.start()
            theirs.close()
            link.recv()  # its imports are on no input's clock
        link.send((number, *fuzz_inputs.make(target, seed, number, folder)))
        try:
            late = _is_late(link, child.pid or 0, timeout_s)
            result = None if late else link.recv()
        except (EOFError, ConnectionResetError):
            late, result = False, None
        if result is None:
            child.kill() if late else None
            child.join()
            kind = "hang" if late else "crash"
            detail = f"over {timeout_s:g} s" if late else f"exit code {child.exitcode}"
            result = Outcome(number, kind, detail, timeout_s * late, 0.0), 0.0
            child = None
        yield result
    if child is not None and link is not None:
        link.send(None)
        child.join()


def _is_late(link: Any, pid: int, timeout_s: float) -> bool:
    """Whether no answer comes in so much processor time, or ten times it by the clock.

    A busy machine makes any file late by the clock alone.
    """
    start, used = time.monotonic(), _processor_s(pid)
    while not link.poll(0.2):
        waited = time.monotonic() - start
        if waited > timeout_s and (
            waited > 10 * timeout_s or _processor_s(pid) - used > timeout_s
        ):
            return True
    return False


def _processor_s(pid: int) -> float:
    """Seconds of processor time of a process that isn't waited for yet (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(
    target: str,
    inputs: int,
    *,
    seed: int,
    folder: Path | None = None,
    first: int = 0,
    timeout_s: float = TIMEOUT_S,
    step: Callable[[Outcome], None] = lambda outcome: None,
) -> Summary:
    """Reads inputs `first` to `first + inputs` of a target."""
    summary = Summary(target, collections.Counter(), [])
    numbers = range(first, first + inputs)
    for outcome, peak_mb in outcomes(
        target, numbers, seed=seed, folder=folder, timeout_s=timeout_s
    ):
        summary.add(outcome, peak_mb)
        step(outcome)
    return summary


def show(summary: Summary, console: Console) -> None:
    total = sum(summary.counts.values())
    table = Table(title=f"{summary.target}: {total} inputs")
    for column in ("outcome", "reason", "inputs"):
        table.add_column(column, justify="right" if column == "inputs" else "left")
    for (kind, detail), count in sorted(summary.counts.items(), key=lambda x: -x[1]):
        table.add_row(kind, detail, str(count))
    console.print(table)
    if slowest := summary.slowest:
        console.print(
            f"findings {len(summary.findings)}; peak memory {summary.peak_mb:.0f} MB; "
            f"slowest {slowest.seconds:.2f} s of CPU time (input {slowest.number})"
        )


def save(target: str, found: Outcome, out: Path, *, seed: int, folder: Path | None):
    """Writes a finding's input and a line about it."""
    out.mkdir(parents=True, exist_ok=True)
    name, data = fuzz_inputs.make(target, seed, found.number, folder)
    place = f"{target}-{seed}-{found.number}-{name}"
    (out / place).write_bytes(data)
    with (out / "findings.txt").open("a") as stream:
        stream.write(f"{place}\t{found.kind}\t{found.detail}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--target", default="dicom,tables", help="of dicom, real, tables")
    add("--inputs", type=int, default=20000, help="of each target")
    add("--seed", type=int, default=0)
    add("--only", type=int, help="one input, by its number")
    add(
        "--timeout_s",
        type=float,
        default=TIMEOUT_S,
        help="of processor time, for one file",
    )
    add("--out", type=Path, default=Path("fuzz_findings"), help="for findings")
    add("--dicom", type=Path, help="folder of real DICOM files for the target real")
    flags = parser.parse_args()
    console = Console()
    count = flags.inputs if flags.only is None else 1
    given = {"seed": flags.seed, "folder": flags.dicom}
    found = 0
    for target in flags.target.split(","):
        with Progress(console=console) as progress:
            bar = progress.add_task(target, total=count)

            def step(outcome: Outcome, target=target, progress=progress, bar=bar):
                progress.advance(bar)
                if outcome.kind not in ("accepted", "refused"):
                    save(target, outcome, flags.out, **given)

            first, late = flags.only or 0, flags.timeout_s
            options = {"first": first, "timeout_s": late, "step": step, **given}
            summary = run(target, count, **options)
        show(summary, console)
        found += len(summary.findings)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
