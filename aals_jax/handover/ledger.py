"""Which film of an archive has its answer: a list that outlives a kill at any moment.

A line of JSON for each thing that happened, appended and on the disk before the next
step is done. What a line says is never changed; a later one says what came after it.
"""

import dataclasses
import datetime
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from data.cxr_registry.guard import atomic
from data.reading_room.dicomweb import Instance

NAME = "ledger.jsonl"
OPEN, STORED, REFUSED, GONE = "open", "stored", "refused", "gone"
_STATES = (OPEN, STORED, REFUSED, GONE)


@dataclasses.dataclass
class Entry:
    """A film and what became of it."""

    number: int
    film: Instance
    state: str


class Ledger:
    """The list of one folder; one process writes it.

    Args:
        path: made where it is missing, for its owner's eyes alone.
        first: lowest number for a film that is new.

    Raises:
        ValueError: the file is damaged.
    """

    def __init__(self, path: Path, *, first: int = 1):
        self._entries: dict[int, Entry] = {}
        self._numbers: dict[Instance, int] = {}
        is_new = not path.exists()
        whole = _read(path, self._enter)
        self._following = max(first, max(self._entries, default=0) + 1)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        self._stream = os.fdopen(handle, "wb", buffering=0)
        self._stream.truncate(whole)  # a line that a kill cut off was never acted on
        self._stream.seek(whole)
        if is_new:
            atomic.sync(path.parent)

    def close(self) -> None:
        self._stream.close()

    def __len__(self) -> int:
        return len(self._entries)

    def open(self) -> list[Entry]:
        """Films that wait for their answer, by number."""
        return [entry for entry in self._entries.values() if entry.state == OPEN]

    def state(self, film: Instance) -> str:
        """What became of a film; "": it is not listed."""
        number = self._numbers.get(film)
        return "" if number is None else self._entries[number].state

    def state_of(self, number: int) -> str:
        """As `state`, by the film's number."""
        return self._entries[number].state if number in self._entries else ""

    def add(self, films: Iterable[Instance]) -> None:
        """Opens films: new ones get a number, others keep theirs."""
        lines = []
        for film in dict.fromkeys(films):
            number = self._numbers.get(film)
            if number is None:
                number, self._following = self._following, self._following + 1
            lines.append({"film": number, "state": OPEN, **film._asdict()})
        if lines:
            self._append(lines)

    def settle(self, number: int, state: str, *, answers: Sequence[str] = ()) -> None:
        """Says what became of a film.

        Args:
            number: of the film.
            state: STORED, REFUSED or GONE.
            answers: UIDs of the objects that were stored.
        """
        line = {"film": number, "state": state}
        self._append([line | ({"answers": list(answers)} if answers else {})])

    def note(self, key: int | str, fault: str) -> None:
        """Says what went wrong with a film, by its number, or a study, by its UID."""
        name = "film" if isinstance(key, int) else "study"
        self._append([{name: key, "fault": fault}])

    def _append(self, lines: Sequence[dict]) -> None:
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        text = "".join(json.dumps(line | {"at": now}) + "\n" for line in lines)
        self._stream.write(text.encode())
        os.fsync(self._stream.fileno())
        for line in lines:
            self._enter(line)

    def _enter(self, line: dict) -> None:
        if "fault" in line:
            return
        number, state = line["film"], line["state"]
        if not isinstance(number, int) or state not in _STATES:
            raise ValueError
        if "instance" in line:
            film = Instance(line["study"], line["series"], line["instance"])
            known = self._entries.setdefault(number, Entry(number, film, state))
            if known.film != film or self._numbers.setdefault(film, number) != number:
                raise ValueError  # a number that two films have
        self._entries[number].state = state


def _read(path: Path, enter: Callable[[dict], None]) -> int:
    """Enters all whole lines; returns how many bytes they take."""
    if not path.exists():
        return 0
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    try:
        for line in content[:whole].splitlines():
            enter(json.loads(line))
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{path} is damaged: choose another --out. Answers get the same UIDs "
            "there, so that the archive has none twice"
        ) from None
    return whole
