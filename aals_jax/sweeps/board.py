"""Shows how a sweep goes: a live table in a terminal, else a log line per change."""

import collections
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import rich.live
import rich.table

from aals_jax.report import wording
from aals_jax.runtime import log
from aals_jax.sweeps.trials import STATES, Progress, Trial

_EVERY_S = 1.0  # seconds between two looks at the trials
# order of the rows in the table
_ORDER = ("running", "failed", "interrupted", "waiting", "stopped", "done")
_HEAD = 6  # lines of the terminal that are not rows


class _Board:
    """The states of all trials, as they were when last read."""

    def __init__(self, current: Callable[[], Sequence[Trial]]):
        self._current = current
        self._started = time.monotonic()
        self._pairs: list[tuple[Trial, str]] = []
        self._done_before: int | None = None

    def read(self) -> list[tuple[Trial, str]]:
        """Reads all states; returns the trials whose state changed, with it."""
        now = {trial.name: (trial, trial.state()) for trial in self._current()}
        before = {trial.name: state for trial, state in self._pairs}
        self._pairs = list(now.values())
        return [(t, s) for t, s in self._pairs if before.get(t.name) != s]

    def summary(self) -> str:
        """`7 of 12 done, 2 running, 3 waiting, about 4 min left`."""
        counts = collections.Counter(state for _, state in self._pairs)
        parts = [f"{counts['done']} of {len(self._pairs)} done"]
        parts += [f"{counts[s]} {s}" for s in STATES[1:] if counts[s]]
        if self._done_before is None:
            self._done_before = counts["done"]
        finished = counts["done"] - self._done_before
        left = len(self._pairs) - counts["done"] - counts["stopped"]
        if finished and left:
            seconds_each = (time.monotonic() - self._started) / finished
            parts.append(f"about {wording.duration(seconds_each * left)} left")
        return ", ".join(parts)

    def table(self, height: int) -> rich.table.Table:
        """One row per trial, running ones first; as many as fit into `height` lines."""
        table = rich.table.Table(title=self.summary(), title_justify="left")
        for name in ("trial", "fields", "state", "stage and step", "AUROC", "left"):
            right = name in ("AUROC", "left")
            table.add_column(name, justify="right" if right else "left")
        pairs = sorted(self._pairs, key=lambda p: (_ORDER.index(p[1]), p[0].index))
        for trial, state in pairs[: max(height - _HEAD, 1)]:
            progress = trial.progress()
            table.add_row(trial.name, trial.label, state, *_cells(progress, state))
        return table


def _cells(progress: Progress, state: str) -> tuple[str, str, str]:
    """Stage and step, best validation AUROC, time left."""
    auroc = "" if progress.auroc is None else f"{progress.auroc:.3f}"
    left = progress.seconds_left if state == "running" else None
    at = f"{progress.stage} {progress.step}" if progress.stage else ""
    return at, auroc, "" if left is None else wording.duration(left)


@contextlib.contextmanager
def watch(current: Callable[[], Sequence[Trial]]) -> Iterator[None]:
    """Shows the trials while the body runs, and once more at its end.

    Args:
      current: returns the trials; called once a second, from a thread.
    """
    board, over = _Board(current), threading.Event()
    show = _live if log.console.is_terminal else _lines
    thread = threading.Thread(target=show, args=(board, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _live(board: _Board, over: threading.Event) -> None:
    console = log.console
    with rich.live.Live(console=console, auto_refresh=False) as live:
        while True:
            last = over.is_set()  # asked before the states are read: none is missed
            board.read()
            live.update(board.table(console.height), refresh=True)
            if last:
                return
            over.wait(_EVERY_S)


def _lines(board: _Board, over: threading.Event) -> None:
    while True:
        last = over.is_set()
        for trial, state in board.read():
            if state != "waiting":
                progress = trial.progress()
                auroc = (
                    "" if progress.auroc is None else f", AUROC {progress.auroc:.3f}"
                )
                words = (trial.name, trial.label, state, auroc, board.summary())
                log.info("%s (%s): %s%s; %s", *words)
        if last:
            return
        over.wait(_EVERY_S)
