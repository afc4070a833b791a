"""What a compiled program says of itself: memory, operations, traffic, collectives.

All numbers are of one device's program, by XLA's own count.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

_KINDS = (
    "all-reduce", "all-gather", "reduce-scatter", "collective-permute",
    "collective-broadcast", "ragged-all-to-all", "all-to-all",
)  # fmt: skip
# `%name = SHAPE kind(operands`, or kind-start of one that runs beside the rest
_COLLECTIVE = re.compile(
    rf"^\s*(?:ROOT )?%?[\w.\-]+ = (\(.*?\)|\S+) ({'|'.join(_KINDS)})(-start)?\("
)
_ARRAY = re.compile(r"\b([a-z]+)(\d*)\w*\[([\d,]*)\]")
# Of these, what is started holds (operand, result, ...) instead of the result.
_WITH_OPERANDS = ("all-gather", "collective-permute")


@dataclasses.dataclass(frozen=True)
class Collectives:
    """Those of one kind in a program's text; one within a loop counts once."""

    count: int
    bytes: int  # of their results, on one device


@dataclasses.dataclass(frozen=True)
class Program:
    """One compiled program, per device; bytes where nothing else is said."""

    arguments: int
    output: int
    reused: int  # of the output, what lies in the place of donated arguments
    temporary: int
    code: int
    flops: float | None  # of a call; None: XLA doesn't say
    traffic: float | None  # read and written by its operations, on-chip memory too
    collectives: Mapping[str, Collectives]  # by kind

    @property
    def memory(self) -> int:
        """Bytes that have to be there at once."""
        return self.arguments + self.output - self.reused + self.temporary + self.code


def read(compiled: Any) -> Program:
    """The record of a jax.stages.Compiled."""
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis() or {}
    return Program(
        arguments=memory.argument_size_in_bytes,
        output=memory.output_size_in_bytes,
        reused=memory.alias_size_in_bytes,
        temporary=memory.temp_size_in_bytes,
        code=memory.generated_code_size_in_bytes,
        flops=_counted(cost, "flops"),
        traffic=_counted(cost, "bytes accessed"),
        collectives=collectives(compiled.as_text()),
    )


def _counted(cost: Mapping[str, float], name: str) -> float | None:
    # XLA says -1 or nothing where an operation is opaque to it
    value = cost.get(name, -1.0)
    return value if value >= 0 else None


def collectives(text: str) -> dict[str, Collectives]:
    """Collectives of a program in XLA's text, by kind.

    >>> line = "  %sum.1 = (f32[8,4]{1,0}, bf16[]) all-reduce-start(%a, %b), channel_id"
    >>> collectives(line)
    {'all-reduce': Collectives(count=1, bytes=130)}
    """
    found: dict[str, list[int]] = {}
    for line in text.splitlines():
        if match := _COLLECTIVE.match(line):
            shape, kind, started = match.groups()
            if started and kind in _WITH_OPERANDS:
                shape = _elements(shape)[1]
            found.setdefault(kind, []).append(_bytes(shape))
    return {
        kind: Collectives(len(sizes), sum(sizes))
        for kind, sizes in sorted(found.items())
    }


def _elements(shape: str) -> list[str]:
    """Those of a tuple's shape, each as text; they may be tuples themselves."""
    parts, depth, start = [], 0, 1
    for place, letter in enumerate(shape):
        depth += (letter in "([{") - (letter in ")]}")
        if (letter == "," and depth == 1) or depth == 0:
            parts.append(shape[start:place])
            start = place + 1
    return parts


def _bytes(shape: str) -> int:
    """Of all arrays in a shape; layouts and tilings are no arrays."""
    bits = 0
    for kind, width, sides in _ARRAY.findall(shape):
        if kind == "token":
            continue
        size = math.prod(int(side) for side in sides.split(",") if side)
        bits += size * (8 if kind == "pred" else int(width))
    return math.ceil(bits / 8)
