"""What a dataset is built from, and how: one record, checked once."""

import dataclasses
import re
from pathlib import Path

from data.cxr_registry.dicom import reader
from data.cxr_registry.tables import records

HOME = "cxr_registry"  # folder of all datasets below a data_dir
MIN_SIDE, MAX_SIDE = 16, 4096  # pixels
_PLAIN_NAME = re.compile(r"[\w -]+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """What a dataset is built from, and how; the command line's defaults are these.

    Raises:
        ValueError: a value is out of range, or the key lies among the datasets.
    """

    registry: Path  # the folder that README.md describes
    data_dir: Path  # TFDS's root; a dataset gets a folder of its own below
    key_file: Path  # secret of the pseudonyms; made where none is needed yet
    findings: tuple[str, ...]  # to be detected: rib, clavicle, or a column's name
    side: int  # of the square images, in pixels
    bits: int = 8  # per pixel, 8 or 16
    seed: int = 0  # of the assignment of patients to the ten parts
    allow: tuple[str, ...] = ()  # checks that may pass, keys of checks.CHECKS
    max_bad_share: float = 0.02  # of the images, unusable ones that may be left out
    parts_file: Path | None = None  # patients in it keep their part; needs its key
    reading: records.ReadingOptions = dataclasses.field(
        default_factory=records.ReadingOptions
    )
    # The fields below change no byte of the dataset.
    workers: int = 2  # processes; 0: this one, without limits on a file
    timeout_s: float = 60.0  # seconds that one file may take
    memory_gib: float = 4.0  # that one process may take beyond its start
    beam: tuple[str, ...] | None = None  # Apache Beam's pipeline options; None: no Beam

    def __post_init__(self):
        is_list = not isinstance(self.findings, str)
        if not is_list or not all(map(_PLAIN_NAME.fullmatch, self.findings)):
            raise ValueError(f"findings={self.findings!r}: give a list of plain names")
        if not MIN_SIDE <= self.side <= MAX_SIDE:
            raise ValueError(
                f"side={self.side} is outside {MIN_SIDE}..{MAX_SIDE} pixels"
            )
        if self.bits not in (8, 16):
            raise ValueError(f"bits={self.bits} is neither 8 nor 16")
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"max_bad_share={self.max_bad_share} is outside 0..1")
        if self.key_file.resolve().is_relative_to(self.home.resolve()):
            raise ValueError("key_file lies among the datasets; keep the key apart")

    @property
    def home(self) -> Path:
        """The folder of all datasets."""
        return self.data_dir / HOME

    @property
    def keep_burned_in(self) -> bool:
        """Whether images that are flagged as having burned-in text are kept."""
        return "burned_in" in self.allow

    @property
    def keep_laterals(self) -> bool:
        """Whether lateral films are kept in the set of frontal ones."""
        return "lateral" in self.allow

    @property
    def keep_views_differ(self) -> bool:
        """Whether films whose header names a frontal and a lateral view are kept."""
        return "view" in self.allow

    @property
    def modalities(self) -> frozenset[str]:
        """DICOM modalities that are read."""
        return reader.modalities(self.allow)


def split_names(text: str) -> tuple[str, ...]:
    """The names in the value of a flag, which commas separate.

    >>> split_names("rib, clavicle,")
    ('rib', 'clavicle')
    """
    return tuple(name.strip() for name in text.split(",") if name.strip())
