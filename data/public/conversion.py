"""What a converter makes: rows of the two tables, counts, and the tables themselves."""

import collections
import csv
import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data.cxr_registry.guard import atomic, formulas
from data.public import readers

VERSION = 1  # of the converters; raise it when an equal download gives other tables
TABLES = ("studies.csv", "regions.csv")
_CELLS = {1: "1", 0: "0", -1: ""}  # a label as the registry's column has it


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyRow:
    """One row of studies.csv; study_date stays empty, as public sets have no dates."""

    image: str  # path below the download
    patient: str
    labels: Mapping[str, int]  # finding -> 1, 0, or -1 unknown
    split: str = ""  # train, validation, test; "" leaves it to the parts of the build
    view: str = ""
    sex: str = ""
    age: str = ""  # years
    follow_up: str = ""  # number of the patient's visit


class RegionRow(NamedTuple):
    """One row of regions.csv."""

    image: str
    site: str  # a finding
    box: readers.Box


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conversion:
    """A whole download in the registry's form."""

    findings: tuple[str, ...]
    studies: tuple[StudyRow, ...]
    regions: tuple[RegionRow, ...]
    notes: Mapping[str, int]  # what was decided on the way -> how often

    def counts(self) -> dict[str, collections.Counter[tuple[str, str]]]:
        """Finding -> images by (split, supervision).

        R: positive with a box; P: positive without; N: negative.
        """
        boxed = {(region.image, region.site) for region in self.regions}
        counts = {}
        for name in self.findings:
            images = collections.Counter()
            for study in self.studies:
                is_boxed = (study.image, name) in boxed
                kind = {1: "R" if is_boxed else "P", 0: "N", -1: "unknown"}
                images[study.split, kind[study.labels[name]]] += 1
            counts[name] = images
        return counts


def in_validation(key: str, *, share: float, seed: int) -> bool:
    """Whether a patient goes to validation.

    A hash decides, so neither the order nor other patients matter.

    Args:
        key: identifies the patient, or the image where patients are not known.
        share: of the patients that go to validation, in [0, 1).
        seed: another seed gives another choice.
    """
    digest = hashlib.sha256(f"validation\0{seed}\0{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def write(conversion: Conversion, folder: Path) -> None:
    """Writes studies.csv and regions.csv, both or neither.

    A studies.csv that is there always fits its regions.csv: the old one goes first,
    the new one comes last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    studies, regions = (folder / name for name in TABLES)
    with (  # the last one is renamed first
        atomic.replacing(studies) as studies_draft,
        atomic.replacing(regions) as regions_draft,
    ):
        _write_table(regions_draft, _region_rows(conversion.regions))
        _write_table(studies_draft, _study_rows(conversion))
        studies.unlink(missing_ok=True)


def _write_table(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(
            formulas.neutralize_rows(rows)
        )
    atomic.sync(path)


def _study_rows(conversion: Conversion) -> Iterable[Sequence[str]]:
    fields = ("split", "view", "sex", "age", "follow_up")
    # an empty split column would say that the splits are the user's
    filled = [f for f in fields if any(getattr(s, f) for s in conversion.studies)]
    yield ["image", "patient_id", "study_date", *conversion.findings, *filled]
    for study in conversion.studies:
        labels = [_CELLS[study.labels[name]] for name in conversion.findings]
        rest = [getattr(study, field) for field in filled]
        yield [study.image, study.patient, "", *labels, *rest]


def _region_rows(regions: Iterable[RegionRow]) -> Iterable[Sequence[str]]:
    yield ["image", "site", "x0", "y0", "x1", "y1"]
    for image, site, box in regions:
        yield [image, site, *(f"{value:.2f}" for value in box)]
