"""Seconds of the README's first command by part, in a fresh folder.

    python benchmarks/first_command.py [--tree TREE] [--install] [--log FILE]
        [--config.field=value ...]

Runs `launch.py --config configs/clavicle.py` of a tree, this one or an older one, and
reads the parts from the lines it writes, each stamped when it comes. What JAX says of
its compilations is taken out of the part in which they happen and counted as `compile`:
tracing, lowering and XLA. Wall-clock seconds: the machine should do nothing else.
"""

import argparse
import dataclasses
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Part -> the line at which it begins; each ends where the next one begins.
BEGINNINGS = {
    "import": r"",
    "draw": r" scale, method ",
    "build": r"building the dataset: 0 of",
    "stage 1": r"INFO +train +\{",
    "stage 2": r"pretrain: best validation AUROC",
    "measure": r"distill: best validation AUROC",
}
COMPILATION = re.compile(
    r"Finished (?:tracing|jaxpr to MLIR module conversion|XLA compilation)"
    r".* in ([\d.]+) sec"
)


@dataclasses.dataclass(frozen=True)
class Line:
    at: float  # s since the process was started
    text: str


def run(tree: Path, folder: Path, overrides: Sequence[str]) -> list[Line]:
    """The stamped lines of the command, the last one when it ends."""
    command = [sys.executable, str(tree / "launch.py")]
    command += ["--config", str(tree / "configs/clavicle.py"), *overrides]
    environment = {**os.environ, "JAX_LOG_COMPILES": "1"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # nothing is compiled yet
    begun = time.monotonic()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    lines = [Line(time.monotonic() - begun, text.rstrip()) for text in process.stderr]
    if process.wait():
        tail = "\n".join(line.text for line in lines[-20:])
        raise SystemExit(f"the command ended with {process.returncode}:\n{tail}")
    return [*lines, Line(time.monotonic() - begun, "the end")]


def seconds_by_part(lines: Sequence[Line]) -> dict[str, float]:
    """The parts in their order, and `compile` last; they add up to the whole."""
    begins = {"import": 0.0}
    for part, pattern in list(BEGINNINGS.items())[1:]:
        found = (line.at for line in lines if re.search(pattern, line.text))
        at = next(found, None)
        if at is None:
            raise SystemExit(f"no line of the log begins the part {part!r}: {pattern}")
        begins[part] = at
    ends = [*list(begins.values())[1:], lines[-1].at]
    compiled = list(_union(_compilations(lines)))
    seconds = {}
    for (part, begin), end in zip(begins.items(), ends, strict=True):
        inside = sum(max(0.0, min(b, end) - max(a, begin)) for a, b in compiled)
        seconds[part] = end - begin - inside
    seconds["compile"] = sum(b - a for a, b in compiled)
    return seconds


def _compilations(lines: Iterable[Line]) -> Iterable[tuple[float, float]]:
    for line in lines:
        if match := COMPILATION.search(line.text):
            yield line.at - float(match[1]), line.at


def _union(intervals: Iterable[tuple[float, float]]) -> Iterable[tuple[float, float]]:
    """The same seconds without overlap: traces lie within traces."""
    last: tuple[float, float] | None = None
    for begin, end in sorted(intervals):
        if last is None or begin > last[1]:
            if last is not None:
                yield last
            last = begin, end
        else:
            last = last[0], max(last[1], end)
    if last is not None:
        yield last


def install(tree: Path, folder: Path) -> float:
    """Seconds that a new environment with the locked packages takes."""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = str(folder / "venv/bin/python")
    lock = str(tree / "requirements.lock")
    pip = [python, "-m", "pip", "install", "--quiet", "--requirement", lock]
    subprocess.run(pip, check=True)
    return time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tree", type=Path, default=ROOT, help="the code's folder")
    parser.add_argument("--install", action="store_true", help="time `pip install` too")
    parser.add_argument("--log", type=Path, help="a file for the stamped lines")
    options, overrides = parser.parse_known_args()
    if strange := [o for o in overrides if not o.startswith("--config.")]:
        parser.error(f"{' '.join(strange)}: neither a flag nor --config.field=value")
    tree = options.tree.resolve()
    seconds = {}
    with tempfile.TemporaryDirectory() as name:
        if options.install:
            seconds["install"] = install(tree, Path(name))
        lines = run(tree, Path(name), overrides)
    if options.log:
        stamped = (f"{line.at:8.2f} {line.text}\n" for line in lines)
        options.log.write_text("".join(stamped))
    seconds |= seconds_by_part(lines)
    for part, value in seconds.items():
        print(f"{part:<10}{value:8.1f} s")
    print(f"{'all':<10}{sum(seconds.values()):8.1f} s")


if __name__ == "__main__":
    main()
