"""The patient and study of a film, for objects that a viewer files beside it.

Here alone fields that name the patient are read, and they go into DICOM objects alone.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import logging
import re
import secrets
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom import config, uid
from pydicom.valuerep import DA, DT, TM, validate_value

from data.cxr_registry.dicom import headers

MAKER = "aals_jax"  # manufacturer of objects that are made here
UUID_ROOT = "2.25"  # of UIDs that are made of a UUID, and need no root of one's own
_NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_COPIED = (
    "SpecificCharacterSet", *_NEEDED, "FrameOfReferenceUID", "Modality",
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "PatientAge", "AccessionNumber", "StudyID", "StudyDate", "StudyTime",
    "StudyDescription", "ReferringPhysicianName", "Rows", "Columns", "NumberOfFrames",
    "PatientOrientation", "ImagerPixelSpacing",
)  # fmt: skip
# How a film is shown.
_DISPLAYED = (
    "SamplesPerPixel", "PhotometricInterpretation", "PresentationLUTShape",
    "BitsStored", "PixelRepresentation", "ModalityLUTSequence", "RescaleSlope",
    "RescaleIntercept", "VOILUTSequence", "WindowCenter", "WindowWidth",
    "VOILUTFunction",
)  # fmt: skip
# Fields that have to be there and may be empty.
_MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber",
    "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
_PARSED: dict[str, Callable[[str], Any]] = {"DA": DA, "TM": TM, "DT": DT}
_LONG_AGO = datetime.datetime(1970, 1, 1)


class NoSource(ValueError):
    """A file that no DICOM object can refer to."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Making:
    """How objects are made."""

    uid_root: str  # of UIDs; UUID_ROOT where one has none
    same_uids: bool  # of the same film: UIDs by hash; else new ones
    same_dates: bool  # those of the study; else when the object is made
    seed: str  # of UIDs that are hashes: all that decides what the findings are

    def __post_init__(self):
        if not is_uid(self.uid_root) or len(self.uid_root) > 24:
            raise ValueError(
                f"uid_root={self.uid_root!r} is no root of UIDs: digits and dots, at "
                "most 24 of them"
            )

    def uid(self, *parts: str, fixed: bool = False) -> str:
        """A UID of an object that these parts name.

        Args:
            parts: what tells it from others.
            fixed: the same in every call, whatever `same_uids` says.
        """
        salt = "" if fixed or self.same_uids else secrets.token_hex(16)
        text = "\0".join([self.seed, salt, *parts])
        number = uuid.UUID(
            bytes=hashlib.sha256(text.encode()).digest()[:16], version=5
        ).int
        if self.uid_root == UUID_ROOT:
            return f"{UUID_ROOT}.{number}"
        # a UID has at most 64 characters
        left = 64 - len(self.uid_root) - 1
        return f"{self.uid_root}.{str(number)[:left]}"

    def now(self, source: pydicom.Dataset) -> datetime.datetime:
        """When the objects of a film are made; same_dates: the film's study."""
        if not self.same_dates:
            return datetime.datetime.now().replace(microsecond=0)
        try:
            day = datetime.datetime.strptime(str(source.StudyDate), "%Y%m%d")
        except ValueError:
            return _LONG_AGO
        return day


def is_uid(text: str) -> bool:
    """Whether a text is a UID: at most 64 digits and dots, no leading zeros."""
    return len(text) <= 64 and re.fullmatch(uid.RE_VALID_UID, text) is not None


def date(made: pydicom.Dataset, now: datetime.datetime, *, of: str = "Content") -> None:
    """Says when an object was made, wherever it says so.

    Args:
        made: the object.
        now: when.
        of: begin of the names of the fields for it, beside InstanceCreation.
    """
    for begin in ("InstanceCreation", of):
        setattr(made, f"{begin}Date", now.strftime("%Y%m%d"))
        setattr(made, f"{begin}Time", now.strftime("%H%M%S"))
    for equipment in made.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in equipment:
            equipment.ContributionDateTime = now.strftime("%Y%m%d%H%M%S")


def read(path: Path) -> pydicom.Dataset:
    """What an object about this film has to know, in UTF-8; no pixels.

    Raises:
        NoSource: the file lacks what a reference needs; the text names no value.
    """
    with headers.quiet_pydicom():
        header = _header(path, _COPIED)
        missing = [name for name in _NEEDED if not header.get(name)]
        wrong = [n for n in _NEEDED if not is_uid(str(header.get(n) or ""))]
        if missing or wrong:
            told = "lacks" if missing else "has no valid"
            raise NoSource(f"the file {told} {', '.join(missing or wrong)}")
        source = pydicom.Dataset()
        for name in _COPIED:
            if name in header and _is_valid(header[name]):
                setattr(source, name, _anew(header[name]))
        for name in _MAY_BE_EMPTY:
            if name not in source:
                setattr(source, name, "")
        source.SpecificCharacterSet = "ISO_IR 192"
    return source


def read_display(path: Path) -> pydicom.Dataset:
    """How the film is shown, as its header says; no pixels.

    Raises:
        NoSource: the header can't be read; the text names no value.
    """
    with headers.quiet_pydicom():
        return _header(path, _DISPLAYED)


def _header(path: Path, names: Sequence[str]) -> pydicom.Dataset:
    try:
        tags: list[Any] = list(names)
        header = pydicom.dcmread(
            path, force=True, stop_before_pixels=True, specific_tags=tags
        )
        header.decode()
    except Exception as error:  # a hostile file raises anything
        told = f"its header can't be copied ({type(error).__name__})"
        raise NoSource(told) from None
    return header


def _is_valid(element: pydicom.DataElement) -> bool:
    """Whether the standard lets a field have this value: one that it does not would
    make the whole object invalid."""
    value = element.value
    if element.VR == "US":
        return isinstance(value, int)
    if element.keyword == "PatientSex":
        return value in ("M", "F", "O")
    values = value if element.VM > 1 else [value]
    try:
        for one in values:
            validate_value(element.VR, str(one), config.RAISE)
            _PARSED.get(element.VR, str)(str(one))
    except (ValueError, TypeError):
        return False
    return True


def _anew(element: pydicom.DataElement) -> Any:
    """The value; a name is encoded anew, not as the bytes that it was read from."""
    return str(element.value) if element.VR == "PN" else element.value


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences pydicom and highdicom, whose warnings and log lines quote values."""
    logger = logging.getLogger("highdicom")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with headers.quiet_pydicom():
            yield
    finally:
        logger.setLevel(before)
