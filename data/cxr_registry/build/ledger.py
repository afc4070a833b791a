"""What a build keeps account of: quarantine, audit, counts, hashes, versions."""

import collections
import csv
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from data.cxr_registry.build import card, encode, folds, plan, shards
from data.cxr_registry.guard import formulas, problems
from data.cxr_registry.tables import records

BUILD_FILE = "build.json"
QUARANTINE_FILE = "quarantine.csv"
AUDIT_FILE = "audit.csv"
PARTS_FILE = "parts.csv"
CARD_FILE = "DATA_CARD.md"
_PACKAGES = (  # that the bytes depend on
    "imagecodecs",
    "numpy",
    "opencv-python-headless",
    "pydicom",
    "tensorflow-datasets",
    "array_record",
)


class Ledger:
    """The account of a build, shard by shard, in their order."""

    def __init__(self, planned: plan.Plan, *, max_bad_share: float):
        self._plan = planned
        self._max_bad_share = max_bad_share
        self._written: dict[str, list[shards.Written]] = {
            name: [] for name in planned.splits
        }
        self._refused: list[encode.Refused] = []

    def add(self, shard: shards.Shard, report: shards.Report) -> None:
        """Takes the account of a finished shard.

        Raises:
            ValueError: more images are unusable than may be.
        """
        self._written[shard.split] += report.written
        self._refused += report.refused
        total = len(self._plan.source.studies)
        _check_share(self._refused, total, self._max_bad_share, self._plan.source.table)

    def write(self, folder: Path) -> None:
        """The tables, build.json and the data card, into the dataset's folder."""
        for split, found in self._written.items():
            if not found:
                raise ValueError(f"no image of {split} could be read; see the registry")
        refused = sorted(self._refused)
        _write_csv(folder / QUARANTINE_FILE, [("row", "reason"), *refused])
        _write_csv(folder / AUDIT_FILE, self._audit_rows())
        parts = self._plan.parts
        parts_hash = folds.write_parts(folder / PARTS_FILE, parts) if parts else None
        written = [one for found in self._written.values() for one in found]
        digests = "".join(one.digest for one in written)
        facts = {
            "options": dict(self._plan.facts),
            "data_hash": hashlib.sha256(digests.encode()).hexdigest(),
            "parts_hash": parts_hash,
            "splits": list(self._plan.splits),
            **self._counts(),
            **_pixels(written, self._plan.source.studies),
            "brightness_from": _tally(one.source for one in written),
            "modalities": _tally(one.modality or "none" for one in written),
            "views": _tally(one.view or "unknown" for one in written),
            "sexes": _tally(one.sex or "unknown" for one in written),
            "age_bands": _tally(one.age_band or "unknown" for one in written),
            "quarantine_reasons": _tally(one.reason for one in refused),
            "versions": versions(),
        }
        (folder / CARD_FILE).write_text(card.text(facts))
        text = json.dumps(facts, indent=2, sort_keys=True) + "\n"
        (folder / BUILD_FILE).write_text(text)

    def _audit_rows(self) -> Iterable[Sequence[Any]]:
        source = self._plan.source
        against: dict[tuple[int, str], list[str]] = {}
        for row, name, first, second in source.disagreements:
            against.setdefault((row, name), []).append(f"{first} against {second}")
        yield ("row", "finding", "label", "count", "evidence", "disagreement")
        for study in source.studies:
            for name, label in study.labels.items():
                disagree = "; ".join(against.get((study.row, name), ()))
                count = study.counts[name]
                shown = count if count >= 0 else ""
                yield (study.row, name, label, shown, study.evidence[name], disagree)

    def _counts(self) -> dict[str, Any]:
        source = self._plan.source
        study_of = {study.row: study for study in source.studies}
        split_counts: dict[str, dict[str, int]] = {}
        everything: list[records.Study] = []
        for name, found in self._written.items():
            here = [study_of[one.row] for one in found]
            everything += here
            split_counts[name] = {
                "images": len(here),
                "patients": len({study.patient for study in here}),
                **_label_counts(here, source.findings),
            }
        return {
            "images": len(everything),
            "patients": len({study.patient for study in everything}),
            "quarantined": len(self._refused),
            "counts": source.counts(everything),
            "split_counts": split_counts,
            "evidence": _evidence(everything, source.findings),
            "allowed": dict(source.allowed),
            "disagreements": len(source.disagreements),
            "non_acute_codes_left_out": source.non_acute,
            "regions_of_other_sites": source.other_regions,
        }


def versions() -> dict[str, str]:
    """Of Python and of the packages that the bytes depend on."""
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **found}


def versions_digest() -> str:
    """Eight digits that change with any of the versions."""
    return hashlib.sha256(json.dumps(versions()).encode()).hexdigest()[:8]


def judge(
    folder: Path, *, table: str, allow: Collection[str], max_bad_share: float
) -> None:
    """Holds a finished dataset against what this call lets pass.

    Raises:
        ValueError: more images are in the quarantine than may be.
        RegistryError: two patients have the same pixels.
    """
    facts = json.loads((folder / BUILD_FILE).read_text())
    with (folder / QUARANTINE_FILE).open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    refused = [encode.Refused(int(line["row"]), line["reason"]) for line in lines]
    _check_share(refused, facts["images"] + len(refused), max_bad_share, table)
    audit = problems.Audit(allow)
    for row, other in facts["same_pixels_of_patients"]:
        text = f"same pixels as row {other}, another patient's; which is right?"
        audit.report(table, row, "same_pixels", text)
    audit.stop()


def _check_share(
    refused: Collection[encode.Refused], total: int, max_bad_share: float, table: str
) -> None:
    if len(refused) <= max_bad_share * total:
        return
    rows = "\n".join(
        f"  {table} row {row}: {reason}" for row, reason in sorted(refused)[:50]
    )
    raise ValueError(
        f"{len(refused)} of {total} images are unusable, more than max_bad_share lets "
        f"pass; mend them or raise it\n{rows}"
    )


def _pixels(
    written: Iterable[shards.Written], studies: Iterable[records.Study]
) -> dict[str, Any]:
    """Images whose pixels occurred before, and where the patient is another one."""
    patient_of = {study.row: study.patient for study in studies}
    first: dict[str, int] = {}
    repeated, across = 0, []
    for one in written:
        other = first.setdefault(one.pixels, one.row)
        repeated += other != one.row
        if patient_of[other] != patient_of[one.row]:
            across.append([one.row, other])
    return {
        "images_with_repeated_pixels": repeated,
        "same_pixels_of_patients": across,
    }


def _evidence(
    studies: Iterable[records.Study], findings: Iterable[str]
) -> dict[str, dict[str, int]]:
    """Finding -> how many labels each source decided."""
    studies = list(studies)
    return {
        name: _tally(_decided(study.evidence[name]) for study in studies)
        for name in findings
    }


def _decided(evidence: str) -> str:
    """The source that a line of evidence begins with, see labels.settle."""
    if evidence.startswith("codes:") and " against report:" in evidence:
        return "none: codes against report"
    return evidence.partition(":")[0].partition(",")[0]


def _label_counts(
    studies: Sequence[records.Study], findings: tuple[str, ...]
) -> dict[str, int]:
    out = {}
    for name in findings:
        out[f"{name}_positive"] = sum(study.labels[name] == 1 for study in studies)
        out[f"{name}_with_regions"] = sum(
            any(region.site == name for region in study.regions) for study in studies
        )
    return out


def _tally(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(collections.Counter(values).items()))


def _write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(formulas.inert(rows))
