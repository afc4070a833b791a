"""`--mode=predict --dicomweb`: films of an archive through a model, and back.

Each film once, whenever a kill comes: the ledger says what was stored; an object that
was stored just before a kill has the same UIDs, and the same bytes, when it is stored
again; and a film that was read before is not read again.
"""

import contextlib
import dataclasses
import datetime
import re
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

from aals_jax.handover import ledger, station, written
from aals_jax.handover.ledger import Entry, Ledger
from aals_jax.handover.station import Station
from aals_jax.runtime import log
from data.cxr_registry.dicom import reader
from data.reading_room import access, dicomweb, source
from data.reading_room.dicomweb import (
    Archive,
    Fault,
    Gone,
    Instance,
    NoAccess,
    Study,
    Unreachable,
)
from data.reading_room.films import Refused
from data.reading_room.inputs import Source

FETCHED = "fetched"  # folder of films that are being read
_SHOWN = 1000  # films on the page, the newest
_SPAN = re.compile(r"(\d{1,5})([hd])")
_LONGEST_S = 3600.0  # between two tries of one film


@dataclasses.dataclass(frozen=True)
class Since:
    """From when on studies are asked for."""

    moment: datetime.datetime | None  # local time, as in the headers of films
    span: datetime.timedelta  # before each query, where there is no moment

    def at(self, now: datetime.datetime) -> datetime.datetime:
        return self.moment if self.moment is not None else now - self.span


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """Which films of which archive."""

    url: str  # of access.checked_address
    study: str = ""  # a UID; "": those of `since`
    since: Since | None = None
    watch_s: float | None = None  # from one query to the next; None: one alone


def parse_since(text: str) -> Since:
    """2026-11-30, 2026-11-30T08:00, or 12h or 7d before each query.

    Raises:
        ValueError: it is none of these.

    >>> parse_since("36h").at(datetime.datetime(2026, 11, 30, 12))
    datetime.datetime(2026, 11, 29, 0, 0)
    """
    if span := _SPAN.fullmatch(text):
        hours = int(span[1]) * (24 if span[2] == "d" else 1)
        return Since(None, datetime.timedelta(hours=hours))
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is not None:
        raise ValueError(
            f"--since={text!r}: give 2026-11-30 or 2026-11-30T08:00, in the local time "
            "of the headers, or 12h or 7d before each query"
        )
    return Since(moment, datetime.timedelta())


def asked(
    url: str, *, study: str, since: str, watch_s: float | None, allow: tuple[str, ...]
) -> Asked:
    """What the command line asks for, checked.

    Raises:
        ValueError: address, UID, time or credentials are none.
    """
    if study and not source.is_uid(study):
        raise ValueError("--study is no UID: at most 64 digits and dots")
    checked = access.checked_address(url, allow=allow)
    access.session(checked)  # tells of credentials that are there by half
    return Asked(
        url=checked,
        study=study,
        since=parse_since(since) if since else None,
        watch_s=watch_s,
    )


def answer(desk: Station, asked: Asked) -> bool:
    """Answers the films that are asked for; returns whether all of them are.

    With `watch_s` it goes on until a signal comes, and what failed is tried again.

    Args:
        desk: the model, and the folder for its findings.
        asked: the films.

    Raises:
        ValueError: credentials or folder are wrong.
        dicomweb.NoAccess: the server knows nobody by these credentials.
        dicomweb.Fault: there is no answer to the query, where nobody watches.
    """
    options = desk.options
    archive = Archive(
        asked.url,
        access.session(asked.url),
        modalities=reader.modalities(options.allow),
        timeout_s=options.timeout_s,
    )
    desk.claim(archive=asked.url)
    first = max(written.numbers(options.out), default=0) + 1
    book = Ledger(options.out / ledger.NAME, first=first)
    with contextlib.closing(book), contextlib.closing(archive):
        desk.welcome(f"{len(book)} films known, of which {len(book.open())} are open")
        return _Rounds(desk, archive, book, asked).go()


class _Rounds:
    """A query and all that is done after it, once or again and again."""

    def __init__(self, desk: Station, archive: Archive, book: Ledger, asked: Asked):
        self._desk, self._archive, self._book, self._asked = desk, archive, book, asked
        self._out = desk.options.out
        self._objects: dict[str, int | None] = {}  # of studies whose films are listed
        self._pauses: dict[int | str, tuple[float, float]] = {}  # until when, how long
        self._shown: dict[int, Mapping[str, Any]] = {}  # film -> record, of this call
        self._faults = 0  # of one round
        self._lost = 0  # connections, one after the other

    def go(self) -> bool:
        self._tidy_up()
        told = ""
        while True:
            started = time.monotonic()
            try:
                self._round()
                told = ""
            except Fault as fault:
                if self._asked.watch_s is None or isinstance(fault, NoAccess):
                    raise
                if str(fault) != told:  # once, as long as it is the same
                    told = str(fault)
                    log.warning("%s; it is tried again", fault)
            finally:
                self._drop_films()
            if self._asked.watch_s is None:
                return not self._faults
            spent = time.monotonic() - started
            time.sleep(max(0.0, self._asked.watch_s - spent))

    def _round(self) -> None:
        self._faults, before = 0, len(self._shown)
        self._list()
        due = [entry for entry in self._book.open() if self._is_asked_for(entry)]
        todo = []
        for entry in due:
            record = station.done(self._out, entry.number)
            if record is None:
                todo.append(entry)
            else:  # by a call that was killed, or the archive did not take it
                self._settle(entry, record)
        entries = {entry.number: entry for entry in todo}
        if todo:
            with log.progress("reading films") as update:
                found = self._desk.records(self._fetched(todo))
                for count, record in enumerate(found, start=1):
                    self._settle(entries[record["film"]], record)
                    update(count, len(todo))
        if len(self._shown) > before:
            self._publish()
        elif self._asked.watch_s is None and not self._faults:
            log.info("nothing is new: all films that were found have their answer")

    def _is_asked_for(self, entry: Entry) -> bool:
        mine = self._asked.study in ("", entry.film.study)
        return mine and self._is_due(entry.number)

    def _list(self) -> None:
        """Enters the films that are new into the ledger."""
        if self._asked.since is not None:
            since = self._asked.since.at(datetime.datetime.now())
            studies = self._archive.studies(since)
        else:
            studies = [Study(self._asked.study, None)]
        for study in studies:
            known = self._objects.get(study.uid)
            is_same = study.instances is not None and known == study.instances
            if is_same or not self._is_due(study.uid):
                continue
            with self._trying(study.uid, "the films of a study could not be listed:"):
                films = self._archive.films(study.uid)
                self._book.add([film for film in films if self._is_open(film)])
                self._objects[study.uid] = study.instances
                if not films and self._asked.study:
                    raise Fault("there is no such study, or no radiograph in it")

    def _is_open(self, film: Instance) -> bool:
        """Whether a film that is listed waits for an answer, as far as is known."""
        state = self._book.state(film)
        asked_again = bool(self._asked.study) and state == ledger.REFUSED
        return asked_again or state in ("", ledger.GONE)

    def _fetched(
        self, todo: Sequence[Entry]
    ) -> Generator[tuple[int, Source], None, None]:
        """Films as files, as far as the archive gives them."""
        folder = self._out / FETCHED
        folder.mkdir(mode=0o700, exist_ok=True)
        for entry in todo:
            path = folder / f"{entry.number:06d}.dcm"
            with self._trying(entry.number, f"film {entry.number} was not fetched:"):
                try:
                    self._archive.fetch(entry.film, path)
                except dicomweb.Own:  # with --allow modality they look like films
                    self._book.settle(entry.number, ledger.REFUSED)
            if path.exists():
                yield entry.number, Source(path, is_named=True)

    def _settle(self, entry: Entry, record: Mapping[str, Any]) -> None:
        """Stores the answer to a film that was read, or says why there is none."""
        number = entry.number
        (self._out / FETCHED / f"{number:06d}.dcm").unlink(missing_ok=True)
        reason = record.get("refused") or record.get("no_dicom")
        if reason:
            self._book.settle(number, ledger.REFUSED)
            self._faults += 1
            log.warning("film %d %s", number, reason)
            self._show(record)
            return
        paths = [self._out / record["files"][kind] for kind in written.OBJECTS
                 if kind in record["files"]]  # fmt: skip
        with self._trying(number, f"the answer to film {number} was not stored:"):
            if not self._archive.has(entry.film):
                raise Gone("the film is no longer in the archive")
            try:
                stored = self._archive.store(entry.film.study, paths)
            except dicomweb.Damaged:
                written.path_of(self._out, number, "json").unlink()  # is read again
                raise
            answers = [one.instance for one in stored]
            self._book.settle(number, ledger.STORED, answers=answers)
            self._show(written.without_objects(record, out=self._out))

    @contextlib.contextmanager
    def _trying(self, key: int | str, what: str) -> Iterator[None]:
        """Tells what goes wrong with one film or study, and leaves it for later.

        Args:
            key: number of the film, or UID of the study.
            what: the line that the fault ends.
        """
        try:
            yield
        except NoAccess:
            raise
        except Fault as fault:
            self._lost = self._lost + 1 if isinstance(fault, Unreachable) else 0
            if self._lost > 1:  # it is not this film
                raise
            self._faults += 1
            log.warning("%s %s", what, fault)
            self._book.note(key, str(fault))
            if isinstance(fault, Gone) and isinstance(key, int):
                self._book.settle(key, ledger.GONE)
                self._show(written.refuse(Refused(key, str(fault)), out=self._out))
            _, pause = self._pauses.get(key, (0.0, 1.0))
            self._pauses[key] = (time.monotonic() + pause, min(2 * pause, _LONGEST_S))
        else:
            self._lost = 0
            self._pauses.pop(key, None)

    def _is_due(self, key: int | str) -> bool:
        return self._pauses.get(key, (0.0, 0.0))[0] <= time.monotonic()

    def _show(self, record: Mapping[str, Any]) -> None:
        """Keeps a film for the page, which has the newest ones."""
        self._shown.pop(record["film"], None)
        self._shown[record["film"]] = record
        while len(self._shown) > _SHOWN:
            del self._shown[next(iter(self._shown))]

    def _publish(self) -> None:
        records = [self._shown[number] for number in sorted(self._shown)]
        self._desk.publish(records, table=ledger.NAME)
        log.info("%d films wait for an answer", len(self._book.open()))

    def _drop_films(self) -> None:
        for path in (self._out / FETCHED).glob("*"):
            path.unlink()

    def _tidy_up(self) -> None:
        """Takes away what a call that was killed has left of films and objects."""
        self._drop_films()
        for number in written.with_objects(self._out):
            if self._book.state_of(number) == ledger.STORED:
                record = station.done(self._out, number)
                if record is not None:
                    written.without_objects(record, out=self._out)
