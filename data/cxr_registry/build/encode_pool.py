"""Studies to examples in processes with bounds: the work behind every shard."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from data.cxr_registry.build import encode, plan
from data.cxr_registry.guard import pool
from data.cxr_registry.tables import records


class Bounds(NamedTuple):
    """What one file may cost."""

    timeout_s: float = 60.0
    memory_gib: float = 4.0


def encode_all(
    planned: plan.Plan,
    studies: Iterable[records.Study],
    *,
    processes: int,
    bounds: Bounds,
) -> Any:
    """The studies' examples or refusals, in order, from a pool of processes."""
    return pool.map_in_order(
        functools.partial(encode.attempt, options=planned.options, key=planned.key),
        studies,
        workers=processes,
        timeout_s=bounds.timeout_s,
        memory_bytes=round(bounds.memory_gib * (1 << 30)),
        on_timeout=functools.partial(_late, bounds=bounds),
    )


def serialiser(options: encode.Options) -> Callable[[Any], bytes]:
    """From an example to the bytes of its record."""
    # seconds to import: spared the processes of the pool
    from data.cxr_registry import cxr_registry_dataset_builder

    features = cxr_registry_dataset_builder.features(
        findings=options.findings, side=options.side, bits=options.bits
    )
    return functools.partial(cxr_registry_dataset_builder.serialise, features)


def _late(study: records.Study, *, bounds: Bounds) -> encode.Refused:
    reason = (
        f"{encode.LOST} {bounds.timeout_s:g} s, or more than {bounds.memory_gib:g} "
        "GiB, or crashed its decoder; convert it"
    )
    return encode.Refused(study.row, reason)
