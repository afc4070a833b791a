"""Memory that a process keeps for its next arrays, and when it is searched."""

import contextlib
import ctypes
import gc
from collections.abc import Iterator

KEPT_BYTES = 1 << 30  # of freed memory
# of GNU's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def keep() -> None:
    """Keeps freed arrays in this process for the next ones, where libc is GNU's.

    Otherwise the system provides new pages for each film, and zeroing them takes a
    third of the time of an uncompressed film; and for the arrays of each training step
    on a CPU, a fifth of its CPU time or more.

    Threads share one heap from here on: a heap of its own has no room for arrays above
    64 MiB. Call it before there are threads, so before NumPy and JAX are imported: a
    heap that a thread has taken stays in use.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
        libc.mallopt(_M_ARENA_MAX, 1)


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Python's search for cycles waits: a million new lists start it again and again,
    and half of the time of making them goes to it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
