"""The account of a build: unusable images, labels with evidence, counts, hashes."""

import collections
import csv
import hashlib
import itertools
import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from data.cxr_registry.build import card, encode, folds, plan, shards, versions
from data.cxr_registry.guard import checks, formulas
from data.cxr_registry.tables import records

BUILD_FILE = "build.json"
QUARANTINE_FILE = "quarantine.csv"
AUDIT_FILE = "audit.csv"
PARTS_FILE = "parts.csv"
CARD_FILE = "DATA_CARD.md"


class Ledger:
    """The account of a build, filled shard by shard, in their order."""

    def __init__(self, planned: plan.Plan):
        self._plan = planned
        self._written: dict[str, list[shards.Written]] = {
            name: [] for name in planned.splits
        }
        self._refused: list[encode.Refused] = []

    def add(self, shard: shards.Shard, account: shards.Account) -> None:
        """Enters a finished shard.

        Raises:
            ValueError: more images are unusable than the options let pass.
        """
        self._written[shard.split] += account.written
        self._refused += account.refused
        source = self._plan.source
        max_bad_share = self._plan.options.max_bad_share
        _check_share(self._refused, len(source.studies), max_bad_share, source.table)

    def write(self, folder: Path) -> None:
        """Writes the tables, build.json and the data card into the dataset's folder."""
        for split, examples in self._written.items():
            if not examples:
                raise ValueError(
                    f"no readable image is left in split {split}; --mode=audit lists "
                    "why"
                )
        refused = sorted(self._refused)
        quarantine = [(study.row, study.reason) for study in refused]
        _write_csv(folder / QUARANTINE_FILE, [("row", "reason"), *quarantine])
        _write_csv(folder / AUDIT_FILE, self._audit_rows())
        parts = self._plan.parts
        parts_hash = folds.write_parts(folder / PARTS_FILE, parts) if parts else None
        written = [*itertools.chain.from_iterable(self._written.values())]
        digests = "".join(example.digest for example in written)
        facts = {
            "options": dict(self._plan.facts),
            "data_hash": hashlib.sha256(digests.encode()).hexdigest(),
            "parts_hash": parts_hash,
            "splits": list(self._plan.splits),
            **self._counts(),
            **_pixels(written, self._plan.source.studies),
            "brightness_from": _tally(example.source for example in written),
            "modalities": _tally(example.modality or "none" for example in written),
            "views": _tally(example.view or "unknown" for example in written),
            "sexes": _tally(example.sex or "unknown" for example in written),
            "age_bands": _tally(example.age_band or "unknown" for example in written),
            "quarantine_reasons": _tally(study.reason for study in refused),
            "versions": versions.of_packages(),
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
                count = study.counts[name] if study.counts[name] >= 0 else ""
                yield (study.row, name, label, count, study.evidence[name], disagree)

    def _counts(self) -> dict[str, Any]:
        source = self._plan.source
        study_of = {study.row: study for study in source.studies}
        split_counts: dict[str, dict[str, int]] = {}
        all_studies: list[records.Study] = []
        for name, examples in self._written.items():
            studies = [study_of[example.row] for example in examples]
            all_studies += studies
            split_counts[name] = {
                "images": len(studies),
                "patients": len({study.patient for study in studies}),
                **_label_counts(studies, source.findings),
            }
        return {
            "images": len(all_studies),
            "patients": len({study.patient for study in all_studies}),
            "quarantined": len(self._refused),
            "counts": source.counts(all_studies),
            "split_counts": split_counts,
            "evidence": _evidence(all_studies, source.findings),
            "allowed": dict(source.allowed),
            "disagreements": len(source.disagreements),
            "non_acute_codes_left_out": source.non_acute,
            "regions_of_other_sites": source.other_regions,
        }


def judge(
    folder: Path, *, table: str, allow: Collection[str], max_bad_share: float
) -> None:
    """Checks a finished dataset against what this call lets pass.

    Raises:
        ValueError: more images are in the quarantine than may be.
        RegistryError: two patients have the same pixels.
    """
    facts = json.loads((folder / BUILD_FILE).read_text())
    with (folder / QUARANTINE_FILE).open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    refused = [encode.Refused(int(line["row"]), line["reason"]) for line in lines]
    _check_share(refused, facts["images"] + len(refused), max_bad_share, table)
    problems = checks.Problems(allow)
    for row, other in facts["same_pixels_of_patients"]:
        text = f"same pixels as row {other}, another patient's; which is right?"
        problems.add(table, row, text, check="same_pixels")
    problems.raise_if_any()


def _check_share(
    refused: Collection[encode.Refused], total: int, max_bad_share: float, table: str
) -> None:
    refused = [study for study in refused if study.is_bad]
    if len(refused) <= max_bad_share * total:
        return
    head = (
        f"{len(refused)} of {total} images are unusable, more than max_bad_share "
        "allows; mend them, or raise max_bad_share"
    )
    rows = [f"{table} row {study.row}: {study.reason}" for study in sorted(refused)]
    lines = checks.list_first(rows, bullet="  ", hint=": --mode=audit lists all")
    raise ValueError("\n".join([head, *lines]))


def _pixels(
    written: Iterable[shards.Written], studies: Iterable[records.Study]
) -> dict[str, Any]:
    """How many images repeat the pixels of an earlier one; pairs of two patients."""
    patient_of = {study.row: study.patient for study in studies}
    first_row: dict[str, int] = {}  # by pixels
    repeated, pairs_across_patients = 0, []
    for example in written:
        first = first_row.setdefault(example.pixels, example.row)
        repeated += first != example.row
        if patient_of[first] != patient_of[example.row]:
            pairs_across_patients.append([example.row, first])
    return {
        "images_with_repeated_pixels": repeated,
        "same_pixels_of_patients": pairs_across_patients,
    }


def _evidence(
    studies: Iterable[records.Study], findings: Iterable[str]
) -> dict[str, dict[str, int]]:
    """Finding -> kind of evidence, see `settling.basis` -> labels that rest on it."""
    studies = list(studies)
    return {name: _tally(study.basis[name] for study in studies) for name in findings}


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
        csv.writer(stream).writerows(formulas.neutralize_rows(rows))
