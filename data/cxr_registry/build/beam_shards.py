"""Shards made by an Apache Beam runner; each is written by the worker that makes it.

TFDS's own Beam path sends every encoded image through a shuffle, starts over after a
failure and cuts its shards by another rule than the local build. Here an element of the
pipeline is a shard's number: the worker makes the same plan from the same tables and
writes the shard with the same function, unless it is there. So the bytes are the local
build's, the job is small whatever the registry, and neither the key nor a record passes
through Beam.
"""

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path

from data.cxr_registry.build import encode, plan, shards
from data.cxr_registry.build.options import BuildOptions


def make(planned: plan.Plan, draft: Path, missing: Sequence[shards.Shard]) -> None:
    """Makes the missing shards of a plan.

    Args:
        planned: the driver's plan; its paths must mean the same to the workers, and
            its options say how the pipeline runs.
        draft: folder of the shards, shared with the workers.
        missing: the shards to make.

    Raises:
        ValueError: Apache Beam is not installed.
    """
    try:  # it needs an environment of its own
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
    make_one = functools.partial(
        _make_one, options=planned.options, name=planned.name, draft=draft
    )
    flags = pipeline_options.PipelineOptions(list(planned.options.beam or ()))
    with apache_beam.Pipeline(options=flags) as pipeline:
        _ = (
            pipeline
            | "shards" >> apache_beam.Create([shard.number for shard in missing])
            | "spread" >> apache_beam.Reshuffle()
            | "make" >> apache_beam.Map(make_one)
        )


@functools.lru_cache(maxsize=1)
def _plan(options: BuildOptions, name: str) -> plan.Plan:
    """Once in each process: the tables of a large registry take a minute."""
    # a worker that does not see the key must not make another one
    planned = plan.make(options, key_needed_by="this build")
    if planned.name != name:
        raise ValueError("a worker sees other tables, images or key than the driver")
    return planned


def _make_one(number: int, *, options: BuildOptions, name: str, draft: Path) -> int:
    planned = _plan(options, name)
    shard = planned.shards[number]
    if shards.missing(draft, [shard]):
        results = encode.encode_all(
            shard.studies, options=options, key=planned.key, workers=1
        )
        with contextlib.closing(results):
            shards.write(draft, shard, results, encode.serializer(options))
    return number
