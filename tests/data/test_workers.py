"""Laws of the pool: order, and life after a hanging, crashing or greedy task."""

import os
import platform
import resource
import time

import numpy as np
import pytest

from data.cxr_registry.guard import pool


def slow_or_fatal(task: int) -> int:
    """Hangs on 3, kills its process on 5, wants too much memory on 6."""
    if task == 3:
        time.sleep(60)
    if task == 5:
        os._exit(1)
    if task == 6:
        try:
            np.empty(2 << 30, np.uint8)
        except MemoryError:
            return 0
    return task * task


def refuse(task: int) -> int:
    raise LookupError(task)


def run(function, **options):
    return pool.map_in_order(
        function, range(8), on_timeout=lambda task: -task, **options
    )


def test_pool_outlives_hanging_crashing_and_greedy_tasks():
    started = time.monotonic()
    done = run(slow_or_fatal, workers=2, timeout_s=2, memory_bytes=1 << 30)
    assert list(done) == [0, 1, 4, -3, 16, -5, 0, 49]
    assert time.monotonic() - started < 45  # a crash is known at once


def test_the_functions_own_error_comes_back():
    with pytest.raises(LookupError, match="0"):
        next(run(refuse, workers=1, timeout_s=60))


def test_a_reader_that_stops_early_ends_the_processes():
    done = run(slow_or_fatal, workers=2, timeout_s=60)
    assert next(done) == 0
    started = time.monotonic()
    done.close()
    assert time.monotonic() - started < 30


def test_a_reader_may_stop_while_processes_are_being_lost(monkeypatch):
    """A thread ends its lost process as the reader ends all: never both at once, which
    would close a pipe twice."""
    end, inside, both, children = pool._Process.end, set(), [], []

    def slow_end(self):
        both.extend({self} & inside)
        inside.add(self)
        children.append(self._child)
        time.sleep(0.3)  # the other one's turn
        end(self)
        inside.discard(self)

    monkeypatch.setattr(pool._Process, "end", slow_end)
    done = run(slow_or_fatal, workers=2, timeout_s=1e-3)
    assert next(done) == 0
    done.close()
    assert both == []
    assert children
    assert not any(child.is_alive() for child in children)


def faults(task: int) -> int:
    """Pages fetched from the system while 64 MiB are filled and given back."""
    del task
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    assert len(b"x" * (64 << 20)) == 64 << 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs GNU's malloc")
def test_freed_memory_stays_for_the_next_task():
    first, *others = run(faults, workers=1, timeout_s=60)
    assert max(others) < first / 10
