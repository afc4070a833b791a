"""Laws of the pool: order, and life after a hanging or crashing task."""

import os
import time

from data.cxr_registry import workers


def slow_or_fatal(task: int) -> int:
    """Hangs on 3, kills its process on 5."""
    if task == 3:
        time.sleep(60)
    if task == 5:
        os._exit(1)
    return task * task


def test_pool_outlives_a_hanging_and_a_crashing_task():
    done = workers.map_in_order(
        slow_or_fatal, range(8), workers=2, timeout_s=1, on_timeout=lambda task: -task
    )
    assert list(done) == [0, 1, 4, -3, 16, -5, 36, 49]
