"""The diagram of the images' way: boxes one below the other, what is left out beside.

Everything here is text and lengths; the template draws it, and escapes every word.
"""

import dataclasses
import textwrap
from collections.abc import Mapping

from aals_jax.report import checklists

_WIDE, _GAP = 330.0, 44.0  # of a box, and between the columns, in px
_LINE, _PAD, _BELOW = 18.0, 10.0, 34.0  # of text, around it, between boxes
_LETTERS = 42  # of a line of text in a box, wide ones too


@dataclasses.dataclass(frozen=True)
class Box:
    x: float
    y: float
    height: float
    title: tuple[str, ...]  # lines in bold
    lines: tuple[str, ...]
    is_left_out: bool
    width: float = _WIDE

    def baseline(self, line: int) -> float:
        """y of the text in a line, the first being 0."""
        return self.y + _PAD + _LINE * line + 13.0

    @property
    def text_x(self) -> float:
        return self.x + _PAD


@dataclasses.dataclass(frozen=True)
class Diagram:
    width: float
    height: float
    boxes: tuple[Box, ...]
    arrows: tuple[tuple[float, float, float, float], ...]  # from x, y to x, y
    alt: str


def diagram(flow: Mapping) -> Diagram | None:
    """The drawing of a result's `flow`; None where it has no stage."""
    stages = flow.get("stages") or []
    boxes: list[Box] = []
    arrows: list[tuple[float, float, float, float]] = []
    y, middle = 1.0, 1.0 + _WIDE / 2
    beside = False
    for number, stage in enumerate(stages):
        box = _box(1.0, y, str(stage["stage"]), stage)
        boxes.append(box)
        y = box.y + box.height + _BELOW / 2
        for row in stage.get("left_out") or ():
            beside = True
            out = _box(1.0 + _WIDE + _GAP, y, str(row["reason"]), row, left_out=True)
            boxes.append(out)
            centre = out.y + out.height / 2
            arrows.append((middle, centre, out.x, centre))
            y = out.y + out.height + _BELOW / 2
        y += _BELOW / 2
        if number + 1 < len(stages):
            arrows.append((middle, box.y + box.height, middle, y))
    if not boxes:
        return None
    width = 2.0 + _WIDE + (_GAP + _WIDE if beside else 0.0)
    alt = "; ".join(_sentence(stage) for stage in stages)
    last = max(box.y + box.height for box in boxes)
    return Diagram(width, last + 1.0, tuple(boxes), tuple(arrows), alt)


def _sentence(stage: Mapping) -> str:
    left = [
        f"{row['reason']} {checklists.counted(row)}"
        for row in stage.get("left_out") or ()
    ]
    text = f"{stage['stage']}: {checklists.counted(stage)}"
    return f"{text}, less {', '.join(left)}" if left else text


def _box(
    x: float, y: float, title: str, counts: Mapping, *, left_out: bool = False
) -> Box:
    titles = textwrap.wrap(title[:1].upper() + title[1:], _LETTERS) or ["?"]
    images, _, others = checklists.counted(counts).partition(", ")
    lines = [*textwrap.wrap(images, _LETTERS), *textwrap.wrap(others, _LETTERS)]
    height = 2 * _PAD + _LINE * (len(titles) + len(lines))
    return Box(x, y, height, tuple(titles), tuple(lines), left_out)
