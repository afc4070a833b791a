"""What the sources of a label say of one finding, and what follows from it.

A source is the finding's own column, the diagnosis codes, the report, the number of
lesions, or an expert's box. What was written on purpose weighs more than what follows
from silence.
"""

import enum
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Weight(enum.IntEnum):
    """How much a source says."""

    SILENT = 0  # it says nothing; the label is a default
    IMPLIED = 1  # codes are there and none is of the finding
    DOUBTED = 2  # uncertain, old, unspecified
    STATED = 3


class Said(NamedTuple):
    """What one source says."""

    source: str  # "region", "column", "codes", "report", "count"
    label: int  # 1, 0 or -1 unknown
    evidence: str  # no patient's data
    weight: Weight

    @property
    def decides(self) -> bool:
        """Whether another source can contradict it."""
        return self.weight in (Weight.IMPLIED, Weight.STATED)


class Disagreement(NamedTuple):
    """Two sources that say the opposite of one image."""

    row: int
    finding: str
    first: str  # "codes 1"
    second: str  # "report 0"


def settle(said: Sequence[Said]) -> tuple[int, str]:
    """The label of one finding and what decided it.

    The column wins. Codes and report that contradict each other leave the finding
    unknown, until somebody writes its column. Otherwise the source of most weight
    decides, the earlier one of two.

    Args:
        said: of column, codes, report and count, each at most once, in order.
    """
    if not said:
        return -1, "nothing"
    if said[0].source == "column":
        return said[0].label, "column"
    if any(True for _ in conflicts(said)):
        both = " against ".join(f"{one.source}: {one.evidence}" for one in said)
        return -1, both
    best = max(said, key=lambda one: one.weight)
    return best.label, f"{best.source}: {best.evidence}"


def against(said: Sequence[Said], count: Said) -> str:
    """The source whose label a number of lesions contradicts; "" for none.

    A number outweighs silence and doubt, as any statement does. Where codes and report
    contradict each other already there is no label to contradict.

    Args:
        said: as of `settle`, without the count.
        count: of the same image.
    """
    label, why = settle(said)
    if label in (-1, count.label) or settle([*said, count])[0] == count.label:
        return ""
    return why.partition(":")[0]


def conflicts(said: Sequence[Said]) -> Iterator[tuple[str, str]]:
    """Pairs such as ("codes 1", "report 0"): each source against the first."""
    spoken = [one for one in said if one.decides and one.label >= 0]
    for other in spoken[1:]:
        if other.label != spoken[0].label:
            yield (
                f"{spoken[0].source} {spoken[0].label}",
                f"{other.source} {other.label}",
            )
