"""Faults of the files of a submission, collected and told at once."""

from collections.abc import Sequence

from aals_jax.evaluation import coco
from data.cxr_registry.tables.formats import Table

_SHOWN = 50  # faults in the message


class SubmissionError(ValueError):
    """Everything wrong with the files, in one message."""

    def __init__(self, faults: Sequence[str]):
        self.faults = tuple(faults)
        lines = [f"- {fault}" for fault in self.faults[:_SHOWN]]
        if (left := len(self.faults) - _SHOWN) > 0:
            lines.append(f"- ... and {left} more")
        count = len(self.faults)
        super().__init__("\n".join([f"{count} fault(s) in the files", *lines]))


class Faults:
    """Collects faults; JSON entries are counted from 1, rows as a spreadsheet does."""

    def __init__(self):
        self._found: list[str] = []

    def add(self, table: Table, row: int | None, text: str) -> None:
        place = table.name
        if row is not None:
            place += f" {'entry' if isinstance(table, coco.Entries) else 'row'} {row}"
        self._found.append(f"{place}: {text}")

    def stop(self) -> None:
        if self._found:
            raise SubmissionError(self._found)
