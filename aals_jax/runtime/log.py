"""What a run tells while it works: log lines, progress bars, JSONL, TensorBoard."""

import contextlib
import json
import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import rich.console
import rich.logging
import rich.progress
import tensorboardX

log = logging.getLogger("aals_jax")
console = rich.console.Console(stderr=True)

DISCLAIMER = "Research only, not a medical device."
PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "tensorflow-datasets",
    "array-record",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "pydicom",
    "ml-collections",
)


def set_up_logging() -> None:
    if console.is_terminal:
        handler: logging.Handler = rich.logging.RichHandler(
            console=console, show_path=False, log_time_format="%H:%M:%S", markup=False
        )
    else:  # unwrapped, so that a log can be searched and paths copied
        handler = logging.StreamHandler()
        pattern = "%(asctime)s %(levelname)-8s %(message)s"
        handler.setFormatter(logging.Formatter(pattern, "%H:%M:%S"))
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


@contextlib.contextmanager
def progress(title: str, *, done: int = 0) -> Iterator[Callable[[int, int], None]]:
    """A bar with the time left; yields `update(done, total)`.

    Where there is no terminal, a log line at each tenth takes its place.
    """
    columns = (
        rich.progress.TextColumn("{task.description:<22}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("left"),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=console) as bar:
        task = bar.add_task(title, completed=done, total=None)
        first, started, tenth = done, 0.0, -1

        def update(now: int, total: int) -> None:
            nonlocal first, started, tenth
            bar.update(task, completed=now, total=total)
            if not started:  # starting processes and compiling is not the work's pace
                first, started = now, time.monotonic()
            if not console.is_terminal and 10 * now // max(total, 1) > tenth:
                tenth = 10 * now // max(total, 1)
                left = ""
                if now > first:
                    rate = (time.monotonic() - started) / (now - first)
                    left = f", about {rate * (total - now):.0f} s left"
                log.info("%s: %d of %d%s", title, now, total, left)

        yield update


def log_metrics(metrics: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """A line a model: every metric with its interval."""
    for model, entries in metrics.items():
        shown = [f"{name} {interval(entry)}" for name, entry in entries.items()]
        log.info("%-20s %s", model, "  ".join(shown))


def interval(entry: Mapping[str, Any]) -> str:
    """`0.876 [0.832, 0.914]`, or why there is no value."""
    if entry.get("value") is None:
        return f"nan ({entry.get('reason', 'no reason')})"
    if entry.get("low") is None or entry.get("high") is None:
        return f"{entry['value']:.3f} (no interval)"
    return f"{entry['value']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}]"


def difference(entry: Mapping[str, Any]) -> str:
    """One line of a paired comparison."""
    p_value = entry.get("p_value")
    shown = "nan" if p_value is None else f"{p_value:.3g}"
    return (
        f"{entry['a']} minus {entry['b']}: {entry['metric']} {interval(entry)}, "
        f"p {shown} ({entry['method']})"
    )


def write_json(path: Path, value: Any) -> None:
    """Writes aside, then renames: the file is whole or absent."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """As `write_json`; line ends are kept as they are."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """As `write_json`."""
    aside = path.with_name(path.name + ".partial")
    aside.write_bytes(content)
    os.replace(aside, path)


class History:
    """metrics.jsonl and TensorBoard, continued after `step` of `stage` on resume.

    Of several hosts that share a workdir, one `writes`.
    """

    def __init__(self, workdir: Path, stage: str, *, step: int, writes: bool = True):
        self._writes = writes
        if not writes:
            return
        self._path = workdir / "metrics.jsonl"
        self._stage = stage
        rows = [r for r in read_history(workdir) if self._is_kept(r, step)]
        aside = self._path.with_name("metrics.jsonl.partial")
        aside.write_text("".join(json.dumps(row) + "\n" for row in rows))
        os.replace(aside, self._path)
        self._file = self._path.open("a")
        self._board = tensorboardX.SummaryWriter(
            str(workdir / "tensorboard" / stage), purge_step=step + 1
        )

    def _is_kept(self, row: Mapping[str, Any], step: int) -> bool:
        return row["stage"] != self._stage or row["step"] <= step

    def write(self, step: int, values: Mapping[str, float]) -> None:
        if not self._writes:
            return
        row = {"stage": self._stage, "step": step, **values}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        if not self._writes:
            return
        self._file.close()
        self._board.close()


def read_history(workdir: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl."""
    return read_rows(workdir / "metrics.jsonl")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file; a line cut off by a kill is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows


def versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in PACKAGES}


def commit() -> str:
    """The code's commit, with `+changes` where the tree differs from it."""
    root = Path(__file__).parents[2]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    try:
        head = git("rev-parse", "HEAD")
        return head + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
