"""Patients into ten parts, and parts into five folds.

Fold k tests on parts 2k and 2k+1, validates on part (2k+2) mod 10 and trains on the
other seven: 70/10/20 percent. No fold needs a build of its own, and every patient is
in the test set of one fold.
"""

import collections
import csv
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from data.cxr_registry.guard import atomic

NUM_PARTS = 10
NUM_FOLDS = 5


def fold_splits(fold: int) -> dict[str, list[int]]:
    """Parts of fold 0..4 as train, validation and test.

    >>> fold_splits(4)
    {'train': [1, 2, 3, 4, 5, 6, 7], 'validation': [0], 'test': [8, 9]}
    """
    if not 0 <= fold < NUM_FOLDS:
        raise ValueError(f"fold={fold} must be 0 to {NUM_FOLDS - 1}")
    test = [2 * fold, 2 * fold + 1]
    validation = [(2 * fold + 2) % NUM_PARTS]
    train = [k for k in range(NUM_PARTS) if k not in test + validation]
    return {"train": train, "validation": validation, "test": test}


def assign_parts(
    patients: Sequence[str],
    strata: Sequence[str],
    *,
    seed: int,
    existing: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Assigns whole patients to ten parts, each stratum spread evenly over them.

    Patients of the rarest stratum come first; each goes to the part that has least of
    it, the smallest of several. The order within a stratum is a hash of seed and
    patient, so neither the order of the rows nor any key matters.

    Args:
        patients: of each image.
        strata: supervision and site of each image.
        seed: another seed gives another assignment.
        existing: patients already assigned; they stay.

    Returns:
        Patient -> part 0..9.

    Reference:
        Sechidis et al., On the stratification of multi-label data, ECML 2011.
    """
    images = collections.Counter(strata)
    of_patient: dict[str, collections.Counter[str]] = {}
    for patient, stratum in zip(patients, strata, strict=True):
        of_patient.setdefault(patient, collections.Counter())[stratum] += 1
    parts = {p: k for p, k in (existing or {}).items() if p in of_patient}
    held = [collections.Counter[str]() for _ in range(NUM_PARTS)]
    for patient, part in parts.items():
        held[part].update(of_patient[patient])

    def rank(patient: str) -> tuple[int, str, str]:
        rarest = min(of_patient[patient], key=lambda name: (images[name], name))
        return images[rarest], rarest, _hash(seed, patient)

    for patient in sorted(of_patient.keys() - parts.keys(), key=rank):
        _, rarest, digest = rank(patient)
        start = int(digest[:8], 16)
        part = min(
            range(NUM_PARTS),
            key=lambda k: (held[k][rarest], held[k].total(), (k - start) % NUM_PARTS),
        )
        parts[patient] = part
        held[part].update(of_patient[patient])
    return parts


def _hash(seed: int, patient: str) -> str:
    return hashlib.sha256(f"{seed}\0{patient}".encode()).hexdigest()


def write_parts(path: Path, parts: Mapping[str, int]) -> str:
    """Writes pseudonym -> part below a line with version and hash; returns the hash."""
    rows = "".join(f"{name},{part}\n" for name, part in sorted(parts.items()))
    digest = hashlib.sha256(rows.encode()).hexdigest()
    with atomic.replacing(path) as draft:
        draft.write_text(f"# parts version 1 sha256 {digest}\npatient,part\n{rows}")
    return digest


def read_parts(path: Path) -> dict[str, int]:
    """Reads a table of `write_parts` and checks its version and hash."""
    lines = path.read_text().splitlines(keepends=True)
    words = lines[0].split() if lines else []
    body = "".join(lines[2:])
    if words[:4] != ["#", "parts", "version", "1"] or len(words) != 6:
        raise ValueError(f"{path.name}: is not a table of parts, version 1")
    if hashlib.sha256(body.encode()).hexdigest() != words[5]:
        raise ValueError(f"{path.name}: was edited; its hash does not fit its rows")
    return {name: int(part) for name, part in csv.reader(body.splitlines())}
