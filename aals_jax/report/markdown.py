"""Pieces of Markdown: tables, folded parts, pictures."""

from collections.abc import Iterable, Sequence
from typing import Any


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
