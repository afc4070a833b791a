"""Counts of what a registry's tables hold; nothing of a patient but row numbers."""

import collections
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from data.cxr_registry.build import encode, folds
from data.cxr_registry.dicom import reader
from data.cxr_registry.survey import label_sample
from data.cxr_registry.tables import records

SUPERVISION = ("R", "P", "N", "unknown")  # of records.Study.supervision
_EXAMPLES = 10  # rows of each kind of evidence or doubt
_BINS = 24  # of the histogram of boxes
UNKNOWN, OTHER = "unknown", "other"


def tables(registry: records.Registry) -> dict[str, Any]:
    """All counts that need no pixels; docs/audit.md describes the keys."""
    disagreements = collections.Counter(
        (pair.finding, f"{pair.first} against {pair.second}")
        for pair in registry.disagreements
    )
    return {
        "table": {
            "rows": registry.rows,
            "images": len(registry.studies),
            "patients": len({study.patient for study in registry.studies}),
            "missing": dict(registry.missing),
        },
        "labels": {
            name: {
                str(label): sum(s.labels[name] == label for s in registry.studies)
                for label in (1, 0, -1)
            }
            for name in registry.findings
        },
        "counts": {name: _counts(registry, name) for name in registry.findings},
        "supervision": {
            name: supervision(registry.studies, name) for name in registry.findings
        },
        "evidence": _evidence(registry),
        "years": crossed(registry, lambda s: str(s.year or UNKNOWN)),
        "views": crossed(registry, lambda s: view(s.view)),
        "sexes": crossed(registry, lambda s: s.sex or UNKNOWN),
        "ages": crossed(registry, lambda s: encode.age_band(s.age) or UNKNOWN),
        "disagreements": {
            "counts": [
                {"finding": name, "sources": sources, "images": number}
                for (name, sources), number in sorted(disagreements.items())
            ],
            "rows": [pair._asdict() for pair in registry.disagreements],
        },
        "report_labels": own_labels(registry),
        "non_acute_codes": registry.non_acute,
        "unclear": {
            kind: {"rows": len(rows), "examples": examples(rows)}
            for kind, rows in registry.unclear.items()
        },
        "boxes": {name: _boxes(registry, name) for name in registry.findings},
        "boxes_of_other_sites": registry.other_regions,
    }


def own_labels(registry: records.Registry) -> dict[str, Any]:
    """Finding -> images by label of the rules and of the user's own reader.

    `counts` has one entry for each pair that occurs, with examples.
    """
    rows: dict[str, dict[tuple[int, int], list[int]]] = {}
    for one in registry.comparisons:
        pairs = rows.setdefault(one.finding, collections.defaultdict(list))
        pairs[one.rules, one.own].append(one.row)
    return {
        name: {
            "images": sum(map(len, pairs.values())),
            "alike": sum(len(at) for (first, own), at in pairs.items() if first == own),
            "counts": [
                {
                    "rules": rules,
                    "own": own,
                    "images": len(at),
                    "examples": examples(at),
                }
                for (rules, own), at in sorted(pairs.items(), reverse=True)
            ],
        }
        for name, pairs in rows.items()
    }


def examples(rows: Sequence[int]) -> list[int]:
    """At most ten of some rows, from the first to the last in equal steps.

    >>> examples(range(2, 92))
    [2, 12, 22, 32, 42, 51, 61, 71, 81, 91]
    """
    places = np.linspace(0, len(rows) - 1, min(_EXAMPLES, len(rows)))
    return [rows[place] for place in np.rint(places).astype(int).tolist()]


def supervision(studies: Iterable[records.Study], finding: str) -> dict[str, int]:
    """R (boxed), P (positive without box), N (negative), unknown -> images."""
    images = collections.Counter(study.supervision(finding) for study in studies)
    return {kind: images[kind] for kind in SUPERVISION}


def crossed(
    registry: records.Registry, key: Callable[[records.Study], str]
) -> dict[str, dict[str, int]]:
    """Value of `key` -> images, and positive images of each finding; values sorted."""
    groups: dict[str, list[records.Study]] = collections.defaultdict(list)
    for study in registry.studies:
        groups[key(study)].append(study)
    return {
        value: {
            "images": len(groups[value]),
            **{
                f"{name}_positive": sum(s.labels[name] == 1 for s in groups[value])
                for name in registry.findings
            },
        }
        for value in sorted(groups, key=lambda v: (v in (UNKNOWN, OTHER), v))
    }


def view(text: str) -> str:
    """A known view, "other", or "unknown" for an empty one."""
    return text if text in reader.VIEWS else OTHER if text else UNKNOWN


def split_of(registry: records.Registry, *, seed: int) -> dict[int, str]:
    """Row -> split: the table's own, or the ten parts that a build of this seed makes.

    Empty where the table lacks the patient of an image.
    """
    if registry.has_splits:
        return {study.row: study.split or UNKNOWN for study in registry.studies}
    if not all(study.patient for study in registry.studies):
        return {}
    parts = folds.assign_parts(
        [study.patient for study in registry.studies],
        [study.stratum for study in registry.studies],
        seed=seed,
    )
    return {s.row: f"part_{parts[s.patient]}" for s in registry.studies}


def splits(
    registry: records.Registry, split_of: Mapping[int, str]
) -> dict[str, dict[str, Any]]:
    """Split -> images, patients, and supervision of each finding."""
    members: dict[str, list[records.Study]] = collections.defaultdict(list)
    for study in registry.studies if split_of else ():
        members[split_of[study.row]].append(study)
    return {
        name: {
            "images": len(members[name]),
            "patients": len({study.patient for study in members[name]}),
            **{f: supervision(members[name], f) for f in registry.findings},
        }
        for name in sorted(members)
    }


def spread(values: Sequence[float] | np.ndarray) -> dict[str, float | int | None]:
    """Count, minimum, quartiles and maximum of some values."""
    names = ("min", "q1", "median", "q3", "max")
    if not len(values):
        return {"count": 0, **dict.fromkeys(names)}
    quartiles = np.percentile(values, [0, 25, 50, 75, 100]).round(4).tolist()
    return {"count": len(values), **dict(zip(names, quartiles, strict=True))}


def box_sizes(registry: records.Registry, finding: str) -> list[tuple[float, int, int]]:
    """(square root of the area in stored pixels, row, index in the row), ascending."""
    return sorted(
        (float(np.sqrt((b.x1 - b.x0) * (b.y1 - b.y0))), study.row, place)
        for study in registry.studies
        for place, b in enumerate(study.regions)
        if b.site == finding
    )


def _evidence(registry: records.Registry) -> dict[str, list[dict[str, Any]]]:
    """Finding -> how many of its labels rest on which evidence, with examples."""
    cells: dict[str, list[dict[str, Any]]] = {name: [] for name in registry.findings}
    for (name, label, basis), rows in label_sample.strata(registry).items():
        cell = {"label": label, "evidence": basis, "images": len(rows)}
        cells[name].append({**cell, "examples": examples(rows)})
    return cells


def _counts(registry: records.Registry, finding: str) -> dict[str, Any]:
    """How many positives state a number of lesions, and where boxes contradict it."""
    positive = [s for s in registry.studies if s.labels[finding] == 1]
    stated = [s for s in positive if s.counts[finding] > 0]
    boxes = {s.row: sum(box.site == finding for box in s.regions) for s in stated}
    return {
        "positives": len(positive),
        "stated": len(stated),
        "lesions": _counted(str(n) for n in sorted(s.counts[finding] for s in stated)),
        "rows_of_other_boxes": [
            s.row for s in stated if boxes[s.row] not in (0, s.counts[finding])
        ],
    }


def _boxes(registry: records.Registry, finding: str) -> dict[str, Any]:
    """Number and size of the boxes of one finding."""
    sizes = box_sizes(registry, finding)
    sides = np.array([side for side, *_ in sizes])
    whole = np.array([np.prod(registry.shapes[row]) for _, row, _ in sizes])
    an_image = collections.Counter(row for _, row, _ in sizes)
    counts, edges = np.histogram(
        sides, bins=_BINS, range=(0, max(sides.max(initial=0), 1))
    )
    return {
        "boxes": len(sizes),
        "images": len(an_image),
        "an_image": _counted(str(number) for number in sorted(an_image.values())),
        "sqrt_area_px": spread(sides),
        "share_of_image": spread(sides**2 / whole if len(sizes) else []),
        "histogram": {"edges_px": edges.round(2).tolist(), "boxes": counts.tolist()},
    }


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(collections.Counter(values))
