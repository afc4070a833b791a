"""The way of the images: given, left out and why, scored; as result.json holds it.

A flow has `stages`, each with its counts and what is left out before the next one.
Patients are counted where some patient has several images; else nobody may have named
any, and each image stands for one.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from aals_jax.evaluation.study_facts import Exclusion
from aals_jax.metrics import definitions
from aals_jax.metrics.readings import Truth

Flow = dict[str, Any]

IMAGE_LEVEL, LESION_LEVEL = "scored, image level", "scored, lesion level"
UNMARKED = "positive without a marked lesion"


def of_tables(
    truth: Truth, split: np.ndarray, *, exclusions: Sequence[Exclusion] | None = None
) -> Flow:
    """The flow of somebody's tables.

    Args:
        truth: of all n images.
        split: str[n], "validation" or "test"; "" where there is no such column.
        exclusions: what was left out before, as the author states it.
    """
    patients = _names_patients(truth)
    every = np.arange(len(truth))
    given = {"stage": "in the tables", **_counts(truth, every, patients=patients)}
    validation = np.flatnonzero(split == "validation")
    flow: Flow = {"stages": [*_before(given, exclusions or ()), given]}
    if len(validation):
        for_thresholds = _counts(truth, validation, patients=patients)
        reason = "validation, on which thresholds are chosen"
        left = {"split": "validation", "reason": reason, **for_thresholds}
        given["left_out"] = [left]
        test = np.flatnonzero(split != "validation")
        flow["partitions"] = (
            f"validation {len(validation)} images, test {len(test)} images, by the "
            "column split"
        )
        if patients:
            flow["disjoint"] = "patients: none is in both validation and test (checked)"
        truth = truth.select(test)
    flow["stages"] += _scored(truth, patients=patients)
    return flow


def of_run(
    counts: Mapping[str, Mapping[str, int]],
    truth: Truth,
    *,
    split: str = "test",
    exclusions: Sequence[Exclusion] | None = None,
) -> Flow:
    """The flow of a run's dataset, of the images of known label.

    Args:
        counts: split -> stream -> images, of `Data.counts`.
        truth: of the split that is scored.
        split: its name.
        exclusions: what was left out before, as the author states it.
    """
    parts = {name: _of_streams(streams) for name, streams in counts.items()}
    whole = {key: sum(part[key] for part in parts.values()) for key in _STREAM_COUNTS}
    uses = {
        "train": "training",
        "validation": "validation, on which checkpoints and thresholds are chosen",
        "test": "test",
    }
    left = [
        {"split": name, "reason": use, **parts[name]}
        for name, use in uses.items()
        if name in parts and name != split
    ]
    dataset = {"stage": "of known label in the dataset", **whole, "left_out": left}
    scored = _scored(truth, patients=_names_patients(truth))
    return {"stages": [*_before(dataset, exclusions or ()), dataset, *scored]}


_STREAM_COUNTS = ("n_images", "n_positive", "n_negative")


def _of_streams(streams: Mapping[str, int]) -> dict[str, int]:
    images, negative = sum(streams.values()), streams.get("negative", 0)
    numbers = (images, images - negative, negative)
    return dict(zip(_STREAM_COUNTS, numbers, strict=True))


def _before(given: Flow, exclusions: Sequence[Exclusion]) -> list[Flow]:
    """A stage before the tables, where the author stated what was left out."""
    if not exclusions:
        return []
    stage: Flow = {"stage": "before exclusions"}
    for key, numbers in {
        "n_images": [one.images for one in exclusions],
        "n_patients": [one.patients for one in exclusions],
    }.items():
        known = [number for number in numbers if number is not None]
        if len(known) == len(numbers) and key in given:
            stage[key] = given[key] + sum(known)
    stage["left_out"] = [
        {
            "reason": one.reason,
            **({} if one.images is None else {"n_images": one.images}),
            **({} if one.patients is None else {"n_patients": one.patients}),
        }
        for one in exclusions
    ]
    return [stage]


def _scored(truth: Truth, *, patients: bool) -> list[Flow]:
    """The images that metrics are about, and those that lesion-level ones leave out."""
    count = partial(_counts, truth, patients=patients)
    image_level: Flow = {"stage": IMAGE_LEVEL, **count(np.arange(len(truth)))}
    if not image_level.get("n_lesions"):
        return [image_level]
    unmarked = np.flatnonzero(~truth.judged)
    if len(unmarked):
        image_level["left_out"] = [{"reason": UNMARKED, **count(unmarked)}]
    return [image_level, {"stage": LESION_LEVEL, **count(truth.judged_rows)}]


def _names_patients(truth: Truth) -> bool:
    return len(set(truth.patient)) < len(truth)


def _counts(truth: Truth, rows: np.ndarray, *, patients: bool) -> dict[str, int]:
    counts = definitions.image_set(truth, rows)
    del counts["prevalence"]
    if not patients:
        del counts["n_patients"]
    counts["n_negative"] = counts["n_images"] - counts["n_positive"]
    return counts
