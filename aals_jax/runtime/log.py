"""What a program says while it works: log lines and progress bars, on stderr.

from aals_jax.runtime import log
log.info("the page: %s", path)
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator

import rich.console
import rich.logging
import rich.progress

logger = logging.getLogger("aals_jax")
info, warning, error = logger.info, logger.warning, logger.error
console = rich.console.Console(stderr=True)


def set_up_logging() -> None:
    """Sends the log to stderr: coloured on a terminal, else with plain lines."""
    if console.is_terminal:
        handler: logging.Handler = rich.logging.RichHandler(
            console=console, show_path=False, log_time_format="%H:%M:%S", markup=False
        )
    else:  # unwrapped, so that a log can be searched and paths copied
        handler = logging.StreamHandler()
        pattern = "%(asctime)s %(levelname)-8s %(message)s"
        handler.setFormatter(logging.Formatter(pattern, "%H:%M:%S"))
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def only_warnings(*, prefix: str) -> None:
    """Leaves news and bars to another host; what this one still says has a prefix."""
    logger.setLevel(logging.WARNING)
    for handler in logger.handlers:
        pattern = getattr(handler.formatter, "_fmt", None) or "%(message)s"
        pattern = pattern.replace("%(message)s", f"{prefix}%(message)s")
        handler.setFormatter(logging.Formatter(pattern, "%H:%M:%S"))


@contextlib.contextmanager
def progress(title: str, *, done: int = 0) -> Iterator[Callable[[int, int], None]]:
    """A bar with the time left; yields `update(done, total)`.

    Where there is no terminal, a log line at each tenth takes its place.

    Args:
      title: what is being done.
      done: how much of it was done before.
    """
    if not logger.isEnabledFor(logging.INFO):
        yield lambda now, total: None
        return
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
                info("%s: %d of %d%s", title, now, total, left)

        yield update
