"""launch.py as processes: a run alone, or one run on several hosts of this machine."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Process:
    """One process of a run, whose log is read while it works."""

    def __init__(
        self, arguments: Sequence[str], *, cwd: Path, environ: Mapping[str, str]
    ):
        self.lines: list[str] = []
        self._popen = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=cwd,
            env={**os.environ, **environ},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stderr is not None
        for line in self._popen.stderr:
            self.lines.append(line.rstrip())

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    @property
    def has_ended(self) -> bool:
        return self._popen.poll() is not None

    def wait_for(self, words: str, *, limit_s: float = 600.0) -> bool:
        """Waits for a line with these words; False where the process ended first."""
        ends = time.monotonic() + limit_s
        while words not in self.log:
            if self.has_ended:
                self._reader.join()
                return words in self.log
            if time.monotonic() > ends:
                raise TimeoutError(f"{words!r} did not come:\n{self.log}")
            time.sleep(0.02)
        return True

    def signal(self, number: signal.Signals) -> None:
        """To the process alone; SIGKILL to all that it started."""
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(self._popen.pid, number)
            else:
                os.kill(self._popen.pid, number)

    def end(self, *, limit_s: float = 600.0) -> int:
        """Waits for the end; the exit code, below 0 for the signal that ended it."""
        try:
            code = self._popen.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"no end after {limit_s:.0f} s:\n{self.log}") from None
        self._reader.join()
        if self._popen.stderr is not None:
            self._popen.stderr.close()
        return code


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def running(
    workdirs: Sequence[Path],
    flags: Sequence[str],
    *,
    devices: int = 1,
    more: Sequence[Sequence[str]] = (),
    environ: Mapping[str, str] | None = None,
    sources: Sequence[Path] = (),
    wrapped: str = "",
) -> Iterator[list[Process]]:
    """A run, as so many hosts as there are workdirs.

    Args:
      workdirs: of each host; the same one, as a rule.
      flags: of launch.py, for all hosts.
      devices: CPU devices of each host.
      more: flags of each host beside these.
      environ: variables for all hosts.
      sources: the checkout of each host; this one without it.
      wrapped: Python code that runs launch.py, whose path is its first argument.
    """
    count, port = len(workdirs), free_port()
    started = []
    try:
        for number, workdir in enumerate(workdirs):
            joining = [
                f"--coordinator=localhost:{port}",
                f"--num_hosts={count}",
                f"--host={number}",
            ]
            root = sources[number] if sources else ROOT
            started.append(
                Process(
                    [
                        *(["-c", wrapped] if wrapped else []),
                        str(root / "launch.py"),
                        *flags,
                        f"--workdir={workdir}",
                        *(joining if count > 1 else []),
                        *(more[number] if more else []),
                    ],
                    cwd=workdir.parent,
                    environ={
                        "JAX_PLATFORMS": "cpu",
                        "JAX_NUM_CPU_DEVICES": str(devices),
                        **(environ or {}),
                    },
                )
            )
        yield started
    finally:
        for process in started:
            if not process.has_ended:
                process.signal(signal.SIGKILL)
                process.end()


def as_flags(fields: Mapping[str, object]) -> list[str]:
    """Fields of a config as flags."""
    return [f"--config.{name}={value}" for name, value in fields.items()]
