"""What the sources of a label say about one finding, and which label follows.

A source is the finding's own column, the diagnosis codes, the report or the user's own
labels of it, the number of lesions, or an expert's box. A source that states something
outweighs one that only implies it by saying nothing else.
"""

import enum
from collections.abc import Iterator, Sequence
from typing import NamedTuple

CONFLICT = "conflict"  # the basis of a label where codes and report contradict
REGION = "region"  # an expert's box


class Weight(enum.IntEnum):
    """How much the statement of a source counts."""

    SILENT = 0  # the source says nothing; the label is a default
    IMPLIED = 1  # there are codes, and none of them is of the finding
    DOUBTED = 2  # uncertain, old or unspecified, or text that can't be read
    STATED = 3


class Statement(NamedTuple):
    """What one source says about one finding of one image."""

    source: str  # "region", "column", "codes", "report", "report_labels", "count"
    label: int  # 1, 0 or -1 unknown
    evidence: str  # no patient's data
    weight: Weight

    @property
    def is_contradictable(self) -> bool:
        """Whether another source can disagree with it."""
        return self.weight in (Weight.IMPLIED, Weight.STATED)


class Disagreement(NamedTuple):
    """Two sources that say the opposite about one image."""

    row: int
    finding: str
    first: str  # "codes 1"
    second: str  # "report 0"


def settle(statements: Sequence[Statement]) -> tuple[int, str]:
    """The label of one finding and what decided it.

    The column wins. Codes and report that contradict each other leave the finding
    unknown, until somebody fills its column. Otherwise the source of most weight
    decides, the earlier one of two; of silent ones the unknown: codes that say nothing
    beside a report that says nothing give no negative.

    Args:
        statements: of column, codes, report (or the user's own labels of it) and
            count, each at most once, in order.
    """
    if not statements:
        return -1, "nothing"
    if statements[0].source == "column":
        return statements[0].label, "column"
    if any(True for _ in conflicts(statements)):
        return -1, " against ".join(f"{s.source}: {s.evidence}" for s in statements)
    deciding = _deciding(statements)
    return deciding.label, f"{deciding.source}: {deciding.evidence}"


def basis(statements: Sequence[Statement], *, boxed: bool) -> str:
    """The kind of evidence that a label rests on, for counts.

    The name of a source that states or doubts; "other codes" where there are codes and
    none is of the finding; "silence of codes" where a source says nothing and the label
    is a default; "region", CONFLICT, or "nothing" where there is no source.

    Args:
        statements: as for `settle`.
        boxed: whether an expert drew a box of the finding.

    >>> basis([Statement("codes", 0, "", Weight.IMPLIED)], boxed=False)
    'other codes'
    """
    if boxed:
        return REGION
    if not statements or statements[0].source == "column":
        return statements[0].source if statements else "nothing"
    if any(True for _ in conflicts(statements)):
        return CONFLICT
    deciding = _deciding(statements)
    words = {Weight.SILENT: "silence of ", Weight.IMPLIED: "other "}
    return words.get(deciding.weight, "") + deciding.source


def _deciding(statements: Sequence[Statement]) -> Statement:
    """The first statement of most weight; of silent ones the first unknown one."""
    return max(
        statements, key=lambda s: (s.weight, s.weight is Weight.SILENT and s.label < 0)
    )


def contradicted_by(count: Statement, statements: Sequence[Statement]) -> str:
    """What the label rests on that a number of lesions contradicts; "" for none.

    A number outweighs silence and doubt, as any statement does. Where codes and report
    contradict each other already, there is no label to contradict.

    Args:
        count: of the same image.
        statements: as for `settle`, without the count.
    """
    label, _ = settle(statements)
    if label in (-1, count.label) or settle([*statements, count])[0] == count.label:
        return ""
    return basis(statements, boxed=False)


def conflicts(statements: Sequence[Statement]) -> Iterator[tuple[str, str]]:
    """Pairs such as ("codes 1", "report 0"): each source against the first one."""
    firm = [s for s in statements if s.is_contradictable and s.label >= 0]
    for other in firm[1:]:
        if other.label != firm[0].label:
            yield f"{firm[0].source} {firm[0].label}", f"{other.source} {other.label}"
