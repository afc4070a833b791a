"""An ordered map over limited processes, which survives files that hang or crash."""

import collections
import contextlib
import itertools
import multiprocessing
import resource
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent import futures
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

import cv2

from data.cxr_registry.guard import memory

T = TypeVar("T")
R = TypeVar("R")

_START_S = 300.0  # for the imports of a process, on a busy machine
_AHEAD = 4  # tasks per worker ahead of the reader; limits the memory


def map_in_order(
    function: Callable[[T], R],
    tasks: Iterable[T],
    *,
    workers: int,
    timeout_s: float,
    on_timeout: Callable[[T], R],
    memory_bytes: int = 4 << 30,
    ahead: int | None = None,
) -> Generator[R, None, None]:
    """function(task) for each task, in the order of the tasks.

    A thread watches each process, so it is known which task hangs or kills its process:
    `on_timeout(task)` becomes its result, and no other task is repeated.

    Args:
        function: picklable.
        tasks: picklable.
        workers: processes; 0 works in this one, without either limit.
        timeout_s: seconds that a task may take.
        on_timeout: makes the result of a task whose process was lost.
        memory_bytes: address space that a process may take beyond its start, where the
            system enforces it (Linux); above it the task raises MemoryError or crashes.
            A film of 8k x 8k takes 1.5 GiB.
        ahead: tasks taken before the first result is asked for, and kept in work from
            then on; None: a few for each process. A reader of batches needs a batch.
    """
    if workers < 1:
        yield from map(function, tasks)
        return
    local = threading.local()
    processes: list[_Process] = []
    gate = _Gate()

    def run(task: T) -> R:
        if not hasattr(local, "process"):
            local.process = _Process(function, memory_bytes, gate)
            processes.append(local.process)
        try:
            return local.process.call(task, timeout_s)
        except _Lost:
            return on_timeout(task)

    source = iter(tasks)
    threads = futures.ThreadPoolExecutor(workers)
    try:
        waiting = collections.deque(
            threads.submit(run, task)
            for task in itertools.islice(source, ahead or _AHEAD * workers)
        )
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(
                threads.submit(run, task) for task in itertools.islice(source, 1)
            )
            yield result
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        gate.close()  # a pipe is its thread's to close: two would close it twice
        threads.shutdown()
        for process in processes:
            process.end()


class _Gate:
    """Lets children start until it is closed; closing kills those that have started."""

    def __init__(self):
        self._lock = threading.Lock()
        self._closed = False
        self._children: list[BaseProcess] = []

    def start(self, child: BaseProcess) -> None:
        with self._lock:
            if self._closed:
                raise _Lost
            child.start()
            self._children.append(child)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for child in self._children:
                child.kill()


class _Lost(Exception):
    """A process that hung or died with its task."""


class _Process:
    """A child that does one task after the other, and is restarted when lost."""

    def __init__(self, function: Callable[[Any], Any], memory_bytes: int, gate: _Gate):
        self._arguments = (function, memory_bytes)
        self._gate = gate
        self._start()

    def call(self, task: Any, timeout_s: float) -> Any:
        try:
            self._pipe.send(task)
            if self._pipe.poll(timeout_s):
                succeeded, value = self._pipe.recv()
                if succeeded:
                    return value
                raise value
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass
        self.end()
        self._start()
        raise _Lost

    def end(self) -> None:
        self._child.kill()
        self._child.join()
        self._pipe.close()

    def _start(self) -> None:
        # spawned, not forked: the caller may hold threads and accelerator handles
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        child = context.Process(
            target=_serve, args=(theirs, *self._arguments), daemon=True
        )
        self._gate.start(child)
        self._child, self._pipe = child, ours
        theirs.close()  # so that a dead child is the end of the pipe
        if not ours.poll(_START_S) or not _has_answer(ours):
            raise ValueError(
                "a process could not start: call this under if __name__ == '__main__', "
                "with more memory_gib, or with workers=0"
            )
        # its imports are done by now: they don't count as time of a task


def _has_answer(pipe: Any) -> bool:
    try:
        return pipe.recv() == "ready"
    except EOFError:
        return False


def _serve(pipe: Any, function: Callable[[Any], Any], memory_bytes: int) -> None:
    cv2.setNumThreads(1)  # one core per process
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    memory.keep()
    _limit_memory(memory_bytes)
    with contextlib.suppress(EOFError, OSError):  # the parent has ended
        pipe.send("ready")
        while True:
            try:
                answer = (True, function(pipe.recv()))
            except EOFError:
                return
            except Exception as error:
                answer = (False, error)
            pipe.send(answer)


def _limit_memory(memory_bytes: int) -> None:
    sizes = Path("/proc/self/statm")
    if sizes.exists():
        used = int(sizes.read_text().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = used + memory_bytes
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
