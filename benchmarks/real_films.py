"""The films of a registry, for benchmarks that look at pixels alone."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from data.cxr_registry.guard import checks
from data.cxr_registry.tables import records


def studies(registry: Path) -> Sequence[records.Study]:
    """All usable rows, read by the default options; faults of the tables don't count.

    Args:
        registry: its folder.
    """
    return records.scan_registry(
        registry,
        findings=None,
        problems=checks.Problems(),
        options=records.ReadingOptions(),
    ).studies
