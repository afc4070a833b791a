"""Shards made by an Apache Beam runner: one element a shard, written where it is made.

TFDS's own Beam path sends every encoded image through a shuffle, starts anew after a
failure and cuts its shards by another rule than the local build. Here an element is a
number: the worker makes the same plan from the same tables, writes the shard with the
same function, and leaves out what is there. So the bytes are the local build's, the job
is small whatever the registry, and neither the key nor a record passes through Beam.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

from data.cxr_registry.build import encode_pool, plan, shards


def make(
    request: plan.Request,
    planned: plan.Plan,
    draft: Path,
    missing: Sequence[shards.Shard],
    options: Sequence[str],
    *,
    bounds: encode_pool.Bounds,
) -> None:
    """Makes the missing shards of a plan.

    Args:
        request: what workers plan from; its paths must mean the same there.
        planned: the driver's plan.
        draft: folder of the shards, shared with the workers.
        missing: the shards to make.
        options: of the pipeline, such as --runner=DirectRunner.
        bounds: of one file.

    Raises:
        ValueError: Apache Beam is not installed.
    """
    try:  # of an environment of its own
        import apache_beam  # pyright: ignore[reportMissingImports]
        from apache_beam.options import (  # pyright: ignore[reportMissingImports]
            pipeline_options,
        )
    except ImportError:
        raise ValueError(
            "building with Apache Beam needs pip install -r requirements/beam.txt, in "
            "an environment of its own"
        ) from None
    if not missing:
        return
    work = functools.partial(
        _make_one,
        # a worker that does not see the key must not make another one
        request=dataclasses.replace(request, key_needed_by="this build"),
        name=planned.name,
        draft=draft,
        bounds=bounds,
    )
    read = pipeline_options.PipelineOptions(list(options))
    with apache_beam.Pipeline(options=read) as pipeline:
        _ = (
            pipeline
            | "shards" >> apache_beam.Create([shard.number for shard in missing])
            | "spread" >> apache_beam.Reshuffle()
            | "make" >> apache_beam.Map(work)
        )


@functools.lru_cache(maxsize=1)
def _plan(request: plan.Request, name: str) -> plan.Plan:
    """Once a job in each process: the tables of a large registry take a minute."""
    planned = plan.make(request)
    if planned.name != name:
        raise ValueError("a worker sees other tables, images or key than the driver")
    return planned


def _make_one(
    number: int,
    *,
    request: plan.Request,
    name: str,
    draft: Path,
    bounds: encode_pool.Bounds,
) -> int:
    planned = _plan(request, name)
    shard = planned.shards[number]
    if shards.missing(draft, [shard]):
        results = encode_pool.encode_all(
            planned, iter(shard.studies), processes=1, bounds=bounds
        )
        with contextlib.closing(results):
            shards.write(draft, shard, results, encode_pool.serialiser(planned.options))
    return number
