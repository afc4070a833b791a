"""Markdown: tables, folded parts, pictures, and blocks that a program writes.

A block lies between two comments that a person sets:

    <!-- NAME -->
    ... replaced ...
    <!-- end NAME -->

Everything outside the blocks is left as it is, byte for byte.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_MARK = re.compile(r"^<!-- (end )?([\w-]+) -->[ \t\r]*$", re.MULTILINE)


def table(head: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""

    def line(cells: Iterable[Any]) -> str:
        return "| " + " | ".join(str(c).replace("|", "\\|") for c in cells) + " |"

    return "\n".join([line(head), line(["---"] * len(head)), *map(line, lines)])


def folded(title: str, *parts: str) -> str:
    """What is shown on a click."""
    inner = "\n\n".join(parts)
    return f"<details><summary>{title}</summary>\n\n{inner}\n\n</details>"


def picture(alt: str, path: str) -> str:
    return f"![{alt}]({path})"


def fill(text: str, blocks: Mapping[str, str], *, file: str) -> str:
    """The text with its blocks replaced.

    Args:
      text: Markdown.
      blocks: name -> Markdown.
      file: its name, for messages.

    Raises:
      ValueError: a block has an unknown name, is not closed, or stands in another.
    """
    pieces, at, opened = [], 0, None
    for mark in _MARK.finditer(text):
        ends, name = bool(mark[1]), mark[2]
        line = text.count("\n", 0, mark.start()) + 1
        if name not in blocks:
            raise ValueError(
                f"{file}, line {line}: there is no block {name!r}; there are "
                f"{', '.join(blocks)}"
            )
        if ends and name != opened:
            raise ValueError(f"{file}, line {line}: the end of {name!r}, not begun")
        if not ends and opened:
            raise ValueError(
                f"{file}, line {line}: {name!r} begins in {opened!r}, which lacks its "
                f"<!-- end {opened} -->"
            )
        if ends:
            pieces.append(f"\n{blocks[name]}\n")
        else:
            pieces.append(text[at : mark.end()])
        at, opened = (mark.start() if ends else mark.end()), None if ends else name
    if opened:
        raise ValueError(f"{file}: {opened!r} lacks its <!-- end {opened} -->")
    return "".join([*pieces, text[at:]])


def block_names(text: str) -> list[str]:
    """The blocks that a text has."""
    return [mark[2] for mark in _MARK.finditer(text) if not mark[1]]
