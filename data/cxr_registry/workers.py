"""An ordered, bounded map over processes that outlives a hanging or crashing file."""

import collections
import itertools
import multiprocessing
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

import cv2

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 4  # tasks a worker ahead of the reader: bounds the memory


def map_in_order(
    function: Callable[[T], R],
    tasks: Iterable[T],
    *,
    workers: int,
    timeout_s: float,
    on_timeout: Callable[[T], R],
) -> Generator[R, None, None]:
    """function(task) for each task, in the order of the tasks.

    A pool loses the task of a worker that dies; to the reader it is late like one
    that hangs, and both become `on_timeout(task)` while the pool starts anew.

    Args:
        function: picklable.
        tasks: picklable.
        workers: processes; 1 or less runs here, without a time limit.
        timeout_s: a task may take, once it is the oldest.
        on_timeout: what stands for its result.
    """
    if workers <= 1:
        yield from map(function, tasks)
        return
    source = iter(tasks)
    # spawned, not forked: the caller may hold threads and accelerator handles
    context = multiprocessing.get_context("spawn")
    pool = _open(context, workers)
    try:
        waiting = collections.deque(
            (task, pool.apply_async(function, (task,)))
            for task in itertools.islice(source, _AHEAD * workers)
        )
        while waiting:
            task, pending = waiting.popleft()
            try:
                result = pending.get(timeout_s)
            except multiprocessing.TimeoutError:
                result = on_timeout(task)
                pool.terminate()
                pool = _open(context, workers)
                again = [task for task, _ in waiting]
                waiting = collections.deque(
                    (task, pool.apply_async(function, (task,))) for task in again
                )
            waiting.extend(
                (task, pool.apply_async(function, (task,)))
                for task in itertools.islice(source, 1)
            )
            yield result
    finally:
        pool.terminate()
        pool.join()


def _open(context: Any, workers: int) -> Any:
    pool = context.Pool(workers, initializer=_start)
    pool.apply(int)  # the imports of a new process are on no task's clock
    return pool


def _start() -> None:
    cv2.setNumThreads(1)  # one core a process
