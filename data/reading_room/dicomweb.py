"""An archive (PACS) by DICOMweb: which films it has, one of them, answers to store.

QIDO-RS, WADO-RS and STOW-RS by dicomweb-client. Reference: DICOM PS3.18, chapter 10.
What a server says and what it is asked for has UIDs and names in it: no message of this
module quotes it, and the libraries below are silent.
"""

import contextlib
import datetime
import http
import io
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pydicom
import requests
from dicomweb_client import DICOMwebClient

from data.cxr_registry.dicom import headers
from data.cxr_registry.guard import atomic
from data.reading_room import access, source

_TALKATIVE = ("dicomweb_client", "requests", "retrying", "urllib3")
_PAGE = 200  # studies asked for at once
_CONNECT_S = 10.0
_WHOLE = 1 << 40  # bytes: bodies are sent in one piece, so that they can be sent again
_GONE = (404, 410)
# Tags of DICOM JSON (PS3.18 F.2).
_STUDY, _SERIES, _INSTANCE, _MODALITY = "0020000D", "0020000E", "00080018", "00080060"
_DATE, _TIME, _INSTANCES = "00080020", "00080030", "00201208"
_ADDRESS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


class Fault(Exception):
    """What went wrong with one request, in our words."""


class Gone(Fault):
    """What is asked for is not there, or no longer."""


class Own(Fault):
    """Not a film, but an answer of this program."""


class Damaged(Fault):
    """An object on our own disk that can't be read."""


class Unreachable(Fault):
    """The server can't be spoken to; the next request would fare no better."""


class NoAccess(Fault):
    """The server knows nobody by these credentials. Trying on may lock the account."""


class Study(NamedTuple):
    uid: str
    instances: int | None  # None: the server does not count them


class Instance(NamedTuple):
    """The address of one DICOM object."""

    study: str
    series: str
    instance: str


class Archive:
    """One DICOMweb service.

    Args:
        url: its root, of `access.checked_address`.
        session: of `access.session`.
        modalities: of series that hold films.
        timeout_s: seconds without an answer after which a request has failed.
    """

    def __init__(
        self,
        url: str,
        session: requests.Session,
        *,
        modalities: Collection[str],
        timeout_s: float,
    ):
        self._modalities = frozenset(modalities)
        self._timeout_s = timeout_s
        self._session = session
        self._client = DICOMwebClient(
            url,
            session=session,
            chunk_size=_WHOLE,
            timeout=(min(_CONNECT_S, timeout_s), timeout_s),
        )
        # the session's retries are those that also know lost connections
        self._client.set_http_retry_params(retry=False)

    def close(self) -> None:
        """Ends the connection."""
        self._session.close()

    def studies(self, since: datetime.datetime) -> list[Study]:
        """Studies of that day and time or later, by what their films say of themselves.

        Studies without a date are in no range and don't come; one without a time is of
        its whole day.

        Raises:
            Fault: or one of its kinds.
        """
        rows = self._rows(
            self._client.search_for_studies,
            search_filters={"StudyDate": f"{since:%Y%m%d}-"},
            fields=["NumberOfStudyRelatedInstances"],
        )
        try:
            return [
                Study(_text(row, _STUDY), _count(row))
                for row in rows
                if _is_since(row, since)
            ]
        except Gone:
            raise Fault("the server has no DICOMweb service at this address") from None

    def films(self, study: str) -> list[Instance]:
        """The objects of a study's series of radiographs.

        Raises:
            Gone: there is no such study.
            Fault: or another of its kinds.
        """
        _check_uids(study)
        found = []
        for row in self._rows(self._client.search_for_series, study_instance_uid=study):
            if _text(row, _MODALITY) not in self._modalities:
                continue
            series = _text(row, _SERIES)
            _check_uids(series)
            objects = self._rows(
                self._client.search_for_instances,
                study_instance_uid=study,
                series_instance_uid=series,
            )
            found += [Instance(study, series, _text(one, _INSTANCE)) for one in objects]
        _check_uids(*(film.instance for film in found))
        return found

    def has(self, instance: Instance) -> bool:
        """Whether an object is there.

        Raises:
            Fault: or one of its kinds.
        """
        try:
            with self._asking():
                rows = self._client.search_for_instances(
                    study_instance_uid=instance.study,
                    series_instance_uid=instance.series,
                    search_filters={"SOPInstanceUID": instance.instance},
                )
        except Gone:
            return False
        # a server may not know the filter, and give all that is in the series
        return instance.instance in [_text(row, _INSTANCE) for row in rows]

    def fetch(self, film: Instance, path: Path) -> None:
        """Writes a film into a file, in the syntax in which the server keeps it.

        Raises:
            Gone: it is no longer there.
            Own: it was made here.
            Fault: or another of its kinds; it is not DICOM, or another film.
        """
        with self._asking():
            sent = self._client.retrieve_instance(*film)
            told = _address(sent)
            content = io.BytesIO()
            sent.save_as(content, enforce_file_format=True)
            maker = str(sent.get("Manufacturer", ""))
        if maker == source.MAKER:
            raise Own("it is an answer that was stored before")
        if told != film:
            raise Fault("the server sent another object than it was asked for")
        with atomic.replacing(path) as draft:
            draft.touch(mode=0o600)
            draft.write_bytes(content.getbuffer())

    def store(self, study: str, paths: Sequence[Path]) -> list[Instance]:
        """Stores objects in a study that is there; returns their addresses.

        Objects that are there already, with the same UIDs, are no fault.

        Raises:
            Fault: or one of its kinds; some are not kept.
        """
        try:
            with headers.quiet_pydicom():
                objects = [pydicom.dcmread(path) for path in paths]
        except Exception as error:  # a power cut left it so
            raise Damaged(
                f"its answer on the disk can't be read ({type(error).__name__})"
            ) from None
        stored = [_address(one) for one in objects]
        if {one.study for one in stored} - {study}:
            raise Fault("the answer is of another study than the film")
        told = pydicom.Dataset()
        refused: Fault | None = None
        try:
            with self._asking():
                told = self._client.store_instances(objects, study_instance_uid=study)
        except (Unreachable, NoAccess):
            raise
        except Fault as fault:  # it may be that they are there already
            refused = fault
        kept = {
            str(item.get("ReferencedSOPInstanceUID"))
            for item in told.get("ReferencedSOPSequence", ())
        }
        left = [one for one in stored if one.instance not in kept and not self.has(one)]
        if left:
            why = str(refused) if refused else _reasons(told)
            raise Fault(f"{len(left)} of {len(stored)} objects were not kept: {why}")
        return stored

    def _rows(self, search: Callable[..., list], **options: Any) -> Iterator[Any]:
        """All that a search finds, page by page, each once."""
        seen: set[tuple[str, ...]] = set()
        offset = 0
        while True:
            with self._asking():
                page = search(limit=_PAGE, offset=offset, **options)
            fresh = 0
            for row in page:
                key = tuple(_text(row, tag) for tag in (_STUDY, _SERIES, _INSTANCE))
                if key not in seen:
                    seen.add(key)
                    fresh += 1
                    yield row
            # a server may know no offset, and give the same page for ever
            if not fresh:
                return
            offset += len(page)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Silences the libraries, and says in our words what they raise."""
        before = [logging.getLogger(name).level for name in _TALKATIVE]
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        try:
            with headers.quiet_pydicom():
                yield
        except requests.RequestException as error:
            raise self._fault(error) from None
        except Exception as error:  # a server may send anything
            raise Fault(
                f"the server's answer can't be read ({type(error).__name__})"
            ) from None
        finally:
            for name, level in zip(_TALKATIVE, before, strict=True):
                logging.getLogger(name).setLevel(level)

    def _fault(self, error: requests.RequestException) -> Fault:
        if isinstance(error, access.Redirected):
            return Unreachable(
                "the server sends to another address: give that one in --dicomweb, if "
                "you trust it"
            )
        if isinstance(error, requests.HTTPError) and error.response is not None:
            return _of_status(error.response.status_code)
        if isinstance(error, requests.exceptions.InvalidJSONError):
            return Fault(
                "the server answered no DICOM JSON: is this its DICOMweb address?"
            )
        if isinstance(error, requests.exceptions.SSLError):
            return Unreachable(
                "the server's certificate can't be verified: if your own "
                "authority signed it, set REQUESTS_CA_BUNDLE to that authority's file"
            )
        if isinstance(error, requests.exceptions.ProxyError):
            return Unreachable("no connection to the proxy that the environment names")
        if isinstance(error, requests.exceptions.ReadTimeout):
            return Fault(f"the server gave no answer within {self._timeout_s:g} s")
        if isinstance(error, requests.ConnectionError):
            return Unreachable("no connection to the server, after several tries")
        return Fault(f"the request failed ({type(error).__name__})")


def _address(made: pydicom.Dataset) -> Instance:
    return Instance(*(str(made.get(name, "")) for name in _ADDRESS))


def _of_status(status: int) -> Fault:
    try:
        told = f"{status}, {http.HTTPStatus(status).phrase}"
    except ValueError:
        told = f"{status}"
    if status == http.HTTPStatus.UNAUTHORIZED:
        return NoAccess(
            f"the server refuses access ({told}): set {access.USER} and "
            f"{access.PASSWORD}, or {access.TOKEN}, or mend the netrc file"
        )
    if status == http.HTTPStatus.FORBIDDEN:
        return Fault(
            f"the server refuses access ({told}): ask who runs it for the rights to "
            "search, retrieve and store"
        )
    if status in _GONE:
        return Gone(f"it is not in the archive, or no longer ({told})")
    return Fault(f"the server answered {told}")


def _text(row: Any, tag: str) -> str:
    """A value of DICOM JSON; "" where there is none."""
    try:
        return str(row[tag]["Value"][0])
    except (KeyError, IndexError, TypeError):
        return ""


def _count(row: Any) -> int | None:
    text = _text(row, _INSTANCES)
    return int(text) if text.isdecimal() else None


def _is_since(row: Any, since: datetime.datetime) -> bool:
    """Whether a study is of that time or later, as far as the server tells."""
    day, time = _text(row, _DATE), _text(row, _TIME)
    if not day.isdecimal() or day > f"{since:%Y%m%d}":
        return True
    # 14, 1405 and 140530.5 are all times: compared as far as they go
    digits = time.partition(".")[0]
    return day == f"{since:%Y%m%d}" and (
        not digits.isdecimal() or digits >= f"{since:%H%M%S}"[: len(digits)]
    )


def _check_uids(*uids: str) -> None:
    if not all(source.is_uid(one) for one in uids):
        raise Fault("the server lists objects whose UIDs are not valid")


def _reasons(told: pydicom.Dataset) -> str:
    """Why a server kept no object, by its codes (PS3.3 C.12.1.1.5, PS3.4 B.2.3)."""
    codes = {
        f"0x{int(item.FailureReason):04X}"
        for item in told.get("FailedSOPSequence", ())
        if str(item.get("FailureReason", "")).isdecimal()
    }
    return (
        f"failure reason {', '.join(sorted(codes))}" if codes else "it does not say why"
    )
