"""What a converter makes: studies, regions, counts, and two tables written whole."""

import collections
import csv
import dataclasses
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data.cxr_registry.guard import formulas
from data.public import readers

_CELLS = {1: "1", 0: "0", -1: ""}  # a label as the registry's column has it
SUPERVISION = ("R", "P", "N", "unknown")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """One row of studies.csv; study_date stays empty, public sets have none."""

    image: str  # path below the download
    patient: str
    labels: Mapping[str, int]  # finding -> 1, 0, or -1 unknown
    split: str = ""  # train, validation, test; "" leaves it to the build's ten parts
    view: str = ""
    sex: str = ""
    age: str = ""  # years
    follow_up: str = ""  # number of the patient's visit


class Region(NamedTuple):
    """One row of regions.csv."""

    image: str
    site: str  # a finding
    box: readers.Box


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conversion:
    """A whole download in the registry's form."""

    findings: tuple[str, ...]
    studies: tuple[Study, ...]
    regions: tuple[Region, ...]
    notes: Mapping[str, int]  # what was decided on the way -> how often

    def counts(self) -> dict[str, collections.Counter[tuple[str, str]]]:
        """Finding -> images by (split, supervision).

        R: positive with a box; P: positive without; N: negative.
        """
        boxed = {(region.image, region.site) for region in self.regions}
        out = {}
        for name in self.findings:
            found = collections.Counter()
            for study in self.studies:
                is_boxed = (study.image, name) in boxed
                kind = {1: "R" if is_boxed else "P", 0: "N", -1: "unknown"}
                found[study.split, kind[study.labels[name]]] += 1
            out[name] = found
        return out


def in_validation(key: str, *, share: float, seed: int) -> bool:
    """Whether a patient goes to validation: a hash, so neither order nor others matter.

    Args:
        key: the patient's, or the image's where patients are not known.
        share: of the patients, in [0, 1).
        seed: another seed, another choice.
    """
    digest = hashlib.sha256(f"validation\0{seed}\0{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def write(conversion: Conversion, folder: Path) -> None:
    """Writes studies.csv and regions.csv, both or neither.

    A studies.csv that is there always fits its regions.csv: the old one goes first,
    the new one comes last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "regions.csv": _region_rows(conversion.regions),
        "studies.csv": _study_rows(conversion),
    }
    drafts = {name: folder / f".{name}.{os.getpid()}" for name in tables}
    try:
        for name, rows in tables.items():
            _write_synced(drafts[name], rows)
        (folder / "studies.csv").unlink(missing_ok=True)
        for name, draft in drafts.items():
            draft.replace(folder / name)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def _write_synced(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(formulas.inert(rows))
        stream.flush()
        os.fsync(stream.fileno())


def _study_rows(conversion: Conversion) -> Iterable[Sequence[str]]:
    fields = ("split", "view", "sex", "age", "follow_up")
    # an empty split column would say that the splits are the user's
    filled = [f for f in fields if any(getattr(s, f) for s in conversion.studies)]
    yield ["image", "patient_id", "study_date", *conversion.findings, *filled]
    for study in conversion.studies:
        labels = [_CELLS[study.labels[name]] for name in conversion.findings]
        rest = [getattr(study, field) for field in filled]
        yield [study.image, study.patient, "", *labels, *rest]


def _region_rows(regions: Iterable[Region]) -> Iterable[Sequence[str]]:
    yield ["image", "site", "x0", "y0", "x1", "y1"]
    for image, site, box in regions:
        yield [image, site, *(f"{value:.2f}" for value in box)]
