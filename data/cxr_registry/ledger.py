"""What a build keeps account of: quarantine, audit, counts, hashes, versions."""

import collections
import csv
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from data.cxr_registry import audit as audits
from data.cxr_registry import encode, folds, records

BUILD_FILE = "build.json"
QUARANTINE_FILE = "quarantine.csv"
AUDIT_FILE = "audit.csv"
PARTS_FILE = "parts.csv"
_PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "pydicom",
    "tensorflow-datasets",
    "array_record",
)


class Ledger:
    """Passes examples on to TFDS, split by split, and remembers what it must."""

    def __init__(
        self,
        source: records.Registry,
        split_of: Mapping[int, str],
        *,
        allow: Collection[str],
        max_bad_share: float,
    ):
        self._source, self._split_of = source, split_of
        self._audit = audits.Audit(allow)
        self._max_bad = max_bad_share * len(source.studies)
        names = set(split_of.values())
        if source.has_splits:
            self.splits = tuple(name for name in records.SPLITS if name in names)
        else:
            self.splits = tuple(sorted(names))
        # TFDS writes split after split: the studies stream in that order
        self.ordered = sorted(
            source.studies,
            key=lambda study: (self.splits.index(split_of[study.row]), study.row),
        )
        self._sizes = collections.Counter(split_of.values())
        self._written: list[records.Study] = []
        self._digests: list[str] = []
        self._refused: list[encode.Refused] = []
        self._pixels: dict[bytes, records.Study] = {}
        self._repeated = 0
        self._sources: collections.Counter[str] = collections.Counter()
        self._modalities: collections.Counter[str] = collections.Counter()

    def examples(
        self,
        stream: Iterator[encode.Encoded | encode.Refused],
        progress: Callable[[int, int], None] | None,
        split: str,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The next split's (key, example) pairs out of the common stream."""
        before = len(self._written)
        for _ in range(self._sizes[split]):
            done = len(self._written) + len(self._refused)
            study = self.ordered[done]
            if self._split_of[study.row] != split:
                raise AssertionError("TFDS asked for the splits in another order")
            result = next(stream)
            if isinstance(result, encode.Refused):
                self._refuse(result)
            else:
                self._note(study, split, result)
                yield result.key, result.example
            if progress:
                progress(done + 1, len(self.ordered))
        if len(self._written) == before:
            raise ValueError(f"no image of {split} could be read; see the registry")

    def finish(
        self,
        folder: Path,
        *,
        options: Mapping[str, Any],
        parts: Mapping[str, int],
    ) -> None:
        """Last checks over all images, then the tables and build.json."""
        self._audit.stop()
        self._refused.sort(key=lambda refused: refused.row)
        with (folder / QUARANTINE_FILE).open("w", newline="") as stream:
            csv.writer(stream).writerows([("row", "reason"), *self._refused])
        self._write_audit(folder / AUDIT_FILE)
        parts_hash = folds.write_parts(folder / PARTS_FILE, parts) if parts else None
        facts = {
            "options": dict(options),
            "data_hash": hashlib.sha256("".join(self._digests).encode()).hexdigest(),
            "parts_hash": parts_hash,
            "splits": list(self.splits),
            **self._counts(),
            "versions": {
                "python": platform.python_version(),
                **{name: importlib.metadata.version(name) for name in _PACKAGES},
            },
        }
        text = json.dumps(facts, indent=2) + "\n"
        (folder / BUILD_FILE).write_text(text)

    def _refuse(self, refused: encode.Refused) -> None:
        self._refused.append(refused)
        if len(self._refused) <= self._max_bad:
            return
        rows = "\n".join(
            f"  {self._source.table} row {row}: {reason}"
            for row, reason in sorted(self._refused)[:50]
        )
        raise ValueError(
            f"{len(self._refused)} of {len(self.ordered)} images are unusable, more "
            f"than max_bad_share lets pass; mend them or raise it\n{rows}"
        )

    def _note(self, study: records.Study, split: str, result: encode.Encoded) -> None:
        self._written.append(study)
        self._digests.append(encode.digest(result.example, split))
        self._sources[result.source] += 1
        self._modalities[result.modality or "none"] += 1
        pixels = hashlib.sha256(result.example["image"]).digest()
        other = self._pixels.setdefault(pixels, study)
        if other is study:
            return
        self._repeated += 1
        if other.patient != study.patient:
            text = f"same pixels as row {other.row}, another patient's; which is right?"
            self._audit.report(self._source.table, study.row, "same_pixels", text)

    def _write_audit(self, path: Path) -> None:
        against: dict[tuple[int, str], list[str]] = {}
        for row, name, first, second in self._source.disagreements:
            against.setdefault((row, name), []).append(f"{first} against {second}")
        with path.open("w", newline="") as stream:
            table = csv.writer(stream)
            table.writerow(("row", "finding", "label", "evidence", "disagreement"))
            for study in self._source.studies:
                for name, label in study.labels.items():
                    disagree = "; ".join(against.get((study.row, name), ()))
                    why = study.evidence[name]
                    table.writerow((study.row, name, label, why, disagree))

    def _counts(self) -> dict[str, Any]:
        source = self._source
        split_counts: dict[str, dict[str, int]] = {}
        for name in self.splits:
            here = [s for s in self._written if self._split_of[s.row] == name]
            split_counts[name] = {
                "images": len(here),
                "patients": len({study.patient for study in here}),
                **_label_counts(here, source.findings),
            }
        return {
            "images": len(self._written),
            "patients": len({study.patient for study in self._written}),
            "quarantined": len(self._refused),
            "counts": source.counts(self._written),
            "split_counts": split_counts,
            "allowed": {**source.allowed, **self._audit.allowed},
            "disagreements": len(source.disagreements),
            "non_acute_codes_left_out": source.non_acute,
            "regions_of_other_sites": source.other_regions,
            "images_with_repeated_pixels": self._repeated,
            "brightness_from": dict(sorted(self._sources.items())),
            "modalities": dict(sorted(self._modalities.items())),
        }


def _label_counts(
    studies: list[records.Study], findings: tuple[str, ...]
) -> dict[str, int]:
    out = {}
    for name in findings:
        out[f"{name}_positive"] = sum(study.labels[name] == 1 for study in studies)
        out[f"{name}_with_regions"] = sum(
            any(region.site == name for region in study.regions) for study in studies
        )
    return out
