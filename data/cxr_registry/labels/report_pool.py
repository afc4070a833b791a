"""Reports to labels in processes: each distinct report once."""

import functools
import itertools
from collections.abc import Collection, Sequence

from data.cxr_registry.guard import pool
from data.cxr_registry.labels import report_text

_BATCH = 250  # reports a task: about a second
_TIMEOUT_S = 600.0  # for a batch: only a pattern that never ends takes so long

Labels = dict[str, report_text.TextLabel]  # finding -> what the report says


def read(
    reports: Collection[str],
    findings: Sequence[str],
    *,
    options: report_text.Options,
    workers: int,
) -> dict[str, Labels]:
    """Report -> label of each finding, as `text.Reader.labels` gives it.

    Raises:
        ValueError: a batch took too long.
    """
    ordered = sorted(reports)  # alike ones meet in one process, which remembers them
    batches = [ordered[at : at + _BATCH] for at in range(0, len(ordered), _BATCH)]
    stream = pool.map_in_order(
        functools.partial(_read_batch, findings=tuple(findings), options=options),
        batches,
        workers=workers if len(batches) > 1 else 0,  # a few are not worth a process
        timeout_s=_TIMEOUT_S,
        on_timeout=_late,
    )
    return dict(zip(ordered, itertools.chain.from_iterable(stream), strict=True))


@functools.lru_cache(1)
def _reader(options: report_text.Options) -> report_text.Reader:
    return report_text.Reader(options)  # once a process


def _read_batch(
    batch: Sequence[str], *, findings: tuple[str, ...], options: report_text.Options
) -> list[Labels]:
    reader = _reader(options)
    return [reader.labels(report, findings) for report in batch]


def _late(_: Sequence[str]) -> list[Labels]:
    raise ValueError(
        f"reports took longer than {_TIMEOUT_S:g} s; a pattern of your own rules may "
        "repeat without end: see docs/labels.md, or read none (reports=never)"
    )
