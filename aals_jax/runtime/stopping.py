"""SIGTERM and SIGINT: a run ends soon, with everything saved and one exit code.

A signal sets a request, which a thread of this module carries to all hosts. Where a
run trains (`at_boundaries`), all hosts end at one step boundary: `check` raises Stopped
there, and the caller saves. Elsewhere every file is whole at any time, so the process
ends at once. The thread also ends this process when another host has failed.
"""

import contextlib
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from aals_jax.runtime import hosts, log

EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: the same command goes on
GRACE_S = 25.0  # for the way to the next boundary
_AGAIN = "stopped; the same command goes on from here"
_POLL_S = 1.0
_AGREE_S = 15.0  # for all hosts to say where they are
_END_S = 15.0  # for the others to hear of an end from host 0, which holds the store
_LINGER_S = 1.0  # between the last word of the others and host 0's end


class Stopped(Exception):
    """A signal asked for an end, and what was done is saved."""

    exit_code = EXIT_CODE


class _Watch:
    """Signals and failures of this process and of the other hosts.

    Boundaries are counted: all hosts pass the same ones in the same order, so the
    highest count plus one is a boundary that nobody has passed yet. `_lock` keeps a
    host from passing one while the hosts compare their counts.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._passed = 0  # boundaries
        self._last: int | None = None  # the boundary at which all end
        self._trains = False
        self._requested = False
        self._deadline = float("inf")  # of the way to the boundary
        self._over = False
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)

    def start(self) -> None:
        # the C handler writes a signal's number into the pipe at once, while Python's
        # own waits for the main thread, which may compile for minutes
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _leave_to_thread)
        self._thread = threading.Thread(target=self._run, name="stopping", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def at_boundaries(self) -> Iterator[None]:
        with self._lock:
            self._trains = True
        try:
            yield
        finally:
            with self._lock:
                self._trains, self._deadline = False, float("inf")
        if self._requested:  # it came after the last boundary, where all is saved
            raise Stopped(_AGAIN)

    def close(self) -> None:
        """Hears no signal any more: all is done, and the process ends in a moment.

        One that came now would put its number in place of the code 0. SIG_IGN stays
        through the interpreter's end, which takes every other handler away.
        """
        self._over = True
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        self._thread.join(2 * _POLL_S)

    def check(self) -> None:
        with self._lock:
            self._passed += 1
            if self._last is not None and self._passed >= self._last:
                self._deadline = float("inf")  # saving may take its time
                raise Stopped(_AGAIN)

    def _run(self) -> None:
        try:
            while not self._over:
                alone = hosts.count() == 1
                if select.select([self._pipe[0]], [], [], _POLL_S)[0]:
                    for number in os.read(self._pipe[0], 64):
                        self._on_signal(signal.Signals(number))
                if not alone:
                    self._hear()
                if time.monotonic() > self._deadline:
                    self._end_now("no step boundary came in time")
        except Exception:  # a thread that ends in silence would leave signals unheard
            logging.getLogger("aals_jax").exception("the watch over signals ended")
            os._exit(1)

    def _on_signal(self, received: signal.Signals) -> None:
        if self._requested and received == signal.SIGINT:
            end(128 + signal.SIGINT)
        if self._requested:
            return
        log.warning("%s: the run ends, and saves what it has", received.name)
        if hosts.count() > 1:
            hosts.put("stopping/request", f"{received.name} on host {hosts.index()}")
        self._request()

    def _hear(self) -> None:
        failure = hosts.seen("stopping/failure")
        if failure is not None:
            log.error("%s; this host ends too", failure)
            end(1)
        if not self._requested and (request := hosts.seen("stopping/request")):
            log.warning("%s: the run ends, and saves what it has", request)
            self._request()

    def _request(self) -> None:
        """Finds the boundary at which all end, or ends at once."""
        with self._lock:
            self._requested = True
            own = f"{self._passed}" if self._trains else ""
            everyone = _positions(own)
            if "" in everyone:
                self._end_now("nothing is left to save")
            self._last = max(int(position) for position in everyone) + 1
            self._deadline = time.monotonic() + GRACE_S

    def _end_now(self, why: str) -> None:
        log.warning("stopped: %s; the same command goes on", why)
        end(EXIT_CODE)


def _leave_to_thread(number: int, frame: FrameType | None) -> None:
    """Keeps a signal from ending the process; `_Watch` has its number."""


def _positions(own: str) -> list[str]:
    """Where each host is; where one doesn't answer, as if nobody were training."""
    if hosts.count() == 1:
        return [own]
    hosts.put(f"stopping/position/{hosts.index()}", own or "none")
    found = []
    ends = time.monotonic() + _AGREE_S
    for number in range(hosts.count()):
        try:
            left = max(ends - time.monotonic(), 0.1)
            found.append(hosts.get(f"stopping/position/{number}", limit_s=left))
        except TimeoutError:
            log.warning("host %d does not answer", number)
            found.append("none")
    return ["" if position == "none" else position for position in found]


def end(code: int) -> NoReturn:
    """Ends this process at once, without the ends of the interpreter and of JAX.

    The interpreter's end aborts a process (code 134) where a thread is in OpenCV's
    code, as those of the input pipeline are; JAX's is a barrier, in which it would wait
    for other hosts. Host 0 goes last, since the store ends with it: JAX aborts a
    process that loses the store, also one that is about to end by itself.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if hosts.count() > 1:
        hosts.put(f"stopping/ended/{hosts.index()}", "")
        if hosts.is_primary():
            ends = time.monotonic() + _END_S
            for number in range(1, hosts.count()):
                with contextlib.suppress(TimeoutError):
                    left = max(ends - time.monotonic(), 0.1)
                    hosts.get(f"stopping/ended/{number}", limit_s=left)
            time.sleep(_LINGER_S)
    os._exit(code)


_watch: _Watch | None = None


def start() -> None:
    """Takes over SIGTERM and SIGINT in this process; to be called once, after joining
    the other hosts and from the main thread."""
    global _watch
    _watch = _Watch()
    _watch.start()


@contextlib.contextmanager
def at_boundaries() -> Iterator[None]:
    """Inside, a signal ends the run at a `check` that all hosts come to."""
    with _watch.at_boundaries() if _watch else contextlib.nullcontext():
        yield


def check() -> None:
    """A step boundary; every host calls it equally often.

    Raises:
      Stopped: a signal came, and this is the boundary at which all hosts end.
    """
    if _watch:
        _watch.check()


def fail(text: str) -> None:
    """Tells the other hosts of a failure, so that they end, and ends this process; one
    that is alone goes on to its own end."""
    if hosts.count() > 1:
        own = f"host {hosts.index()} failed: {text}"
        hosts.put("stopping/failure", own)
        # a collective fails at once where a host is gone, and the reason comes after it
        first = hosts.seen("stopping/failure")
        if first not in (None, own):
            log.error("the cause: %s", first)
        end(1)


def leave() -> None:
    """The end of a run: waits for the other hosts, however long host 0 measures."""
    hosts.from_all("")
    if _watch:
        _watch.close()
