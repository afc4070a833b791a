"""The phantom: a small seeded registry of drawn chest films with fractures.

It has exactly the form that a hospital hands over (studies.csv, regions.csv, DICOM
files), so that every line of the way from registry to report runs on it. How hard its
fractures are to see is a parameter. It is no patient, and no number measured on it is
a clinical claim.

phantom_anatomy draws a film out of phantom_tissue, phantom_bones, phantom_fractures
and phantom_film; phantom_dicom encodes it.
"""

import csv
import functools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

import numpy as np

from data.cxr_registry.guard import pool
from data.phantom import anatomy, dicom_file, fractures

draw = anatomy.draw
Drawing = anatomy.Drawing

# Conspicuity of the fractures: 0 = they change no pixel, 1 = plain to see, 3 = glaring.
DIFFICULTIES: Mapping[str, float] = MappingProxyType(
    {"impossible": 0.0, "hard": 0.4, "middle": 0.55, "easy": 3.0}
)

_FILM_S = 600.0  # at most, for one film
VERSION = 3  # raise it when the same arguments give other bytes
STUDY_FIELDS = (
    "image", "patient_id", "study_date", "diagnosis_codes", "view", "sex", "age",
)  # fmt: skip
REGION_FIELDS = ("image", "site", "x0", "y0", "x1", "y1")
_RECORD, _PLAN = "phantom.json", 6  # file name; stream of random numbers
# How many films a patient has: 1, 2 or 3.
_FILMS = (0.78, 0.16, 0.06)
_FIRST_DAY, _DAYS = date(2012, 1, 1), 3000
_ICD10_SINCE = date(2016, 1, 1)  # the hospital changed its codes on that day
# Codes that say nothing about the two sites, as (ICD-9-CM, ICD-10-CM): pneumonia,
# hip, hypertension, diabetes, scalp wound, wrist, sternum (a near miss), concussion.
_INNOCENT = (
    ("486", "J18.9"), ("820.8", "S72.001A"), ("401.9", "I10"), ("250.00", "E11.9"),
    ("873.0", "S01.00XA"), ("813.41", "S52.531A"), ("807.2", "S22.20XA"),
    ("850.0", "S06.0X0A"),
)  # fmt: skip
_OBSERVATION = ("V71.4", "Z04.1")  # observed after an accident: on every film


@dataclass(frozen=True)
class Study:
    """What is decided about a film before it is drawn."""

    index: int
    image: str  # path below the registry
    patient: int
    day: date
    sites: tuple[str, ...]  # that are broken
    boxed: tuple[str, ...]  # whose boxes are handed over


def _silent(done: int, total: int) -> None:
    """No progress."""


def generate(
    root: Path,
    *,
    images: int,
    seed: int,
    conspicuity: float,
    height: int = 512,
    prevalence: float = 0.25,
    boxed_share: float = 0.8,
    workers: int = 2,
    progress: Callable[[int, int], None] = _silent,
) -> None:
    """Writes the registry to `root`, once; the same arguments give the same bytes.

    Args:
        root: folder to make. It appears complete or not at all.
        images: number of films, >= 1.
        seed: >= 0.
        conspicuity: of the fractures, in [0, 3]; see DIFFICULTIES.
        height: typical rows of a film, pixels, >= 64.
        prevalence: share of the films with a fracture, for each site by itself.
        boxed_share: share of the positives whose boxes are in regions.csv.
        workers: processes; 1 draws in this one. The bytes do not depend on it.
        progress: called with (done, total) in this process.

    Raises:
        ValueError: an argument is out of range, or `root` holds something else.
    """
    settings = {
        "version": VERSION, "images": images, "seed": seed, "height": height,
        "conspicuity": conspicuity, "prevalence": prevalence,
        "boxed_share": boxed_share,
    }  # fmt: skip
    _check(settings)
    root = Path(root)
    if _complete(root, settings):
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{root.name}.partial-", dir=root.parent))
    try:
        _fill(part, settings, workers, progress)
        part.chmod(0o755)  # mkdtemp's is for the owner alone
        try:
            os.rename(part, root)
        except OSError:  # somebody else was faster; equal arguments, equal bytes
            if not _complete(root, settings):
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _check(settings: Mapping) -> None:
    """Raises ValueError for arguments out of range."""
    for name, low, high in (
        ("images", 1, 10**6), ("seed", 0, 2**63), ("height", 64, 4096),
        ("conspicuity", 0, 3), ("prevalence", 0, 1), ("boxed_share", 0, 1),
    ):  # fmt: skip
        if not low <= settings[name] <= high:
            raise ValueError(f"phantom: {name}={settings[name]}; use {low} to {high}")


def _complete(root: Path, settings: Mapping) -> bool:
    """Whether root holds this registry; an empty or missing root does not."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    record = root / _RECORD
    if not record.is_file():
        raise ValueError(f"{root} is no phantom; name a new folder or remove it")
    found = json.loads(record.read_text())
    other = [k for k, v in settings.items() if found.get(k) != v]
    if other:
        differ = ", ".join(f"{k}={found.get(k)} not {settings[k]}" for k in other)
        raise ValueError(
            f"{root} holds another phantom ({differ}); name a new folder or remove it"
        )
    return True


def _fill(part: Path, settings: Mapping, count: int, progress) -> None:
    """Draws and writes all films, then the tables, then the record."""
    (part / "images").mkdir()
    studies = plan(
        settings["images"],
        settings["seed"],
        prevalence=settings["prevalence"],
        boxed_share=settings["boxed_share"],
    )
    film = functools.partial(
        _film, part, settings["seed"], settings["height"], settings["conspicuity"]
    )
    rows, regions = [], []
    for done, (row, boxes) in enumerate(_each(film, studies, count), 1):
        rows.append(row)
        regions.extend(boxes)
        progress(done, len(studies))
    _table(part / "studies.csv", STUDY_FIELDS, rows)
    _table(part / "regions.csv", REGION_FIELDS, regions)
    (part / _RECORD).write_text(json.dumps(dict(settings), indent=1) + "\n")


def _each(film: Callable, studies: list[Study], count: int) -> Iterator:
    """film(study) for each study, in order, over processes that end with this one."""
    return pool.map_in_order(
        film,
        studies,
        workers=count if count > 1 else 0,
        timeout_s=_FILM_S,
        on_timeout=_lost,
    )


def _lost(study: Study) -> NoReturn:
    raise RuntimeError(
        f"phantom: film {study.index} took over {_FILM_S:.0f} s, or its process ended "
        "(out of memory?); call it again, with fewer workers"
    )


def plan(
    images: int, seed: int, *, prevalence: float, boxed_share: float
) -> list[Study]:
    """Who has which films, when, and with which fractures.

    The shares are exact up to rounding, whatever the number of films.
    """
    rng = np.random.default_rng([seed, images, _PLAN])
    patients: list[int] = []
    while len(patients) < images:
        films = 1 + int(rng.choice(len(_FILMS), p=_FILMS))
        patients += [patients[-1] + 1 if patients else 1] * films
    start = {p: int(rng.integers(_DAYS)) for p in sorted(set(patients))}
    broken, boxed = {}, {}
    for site in fractures.SITES:
        order = rng.permutation(images)[: round(prevalence * images)]
        broken[site] = set(order.tolist())
        boxed[site] = set(order[: round(boxed_share * order.size)].tolist())
    studies = []
    for index, patient in enumerate(patients[:images]):
        start[patient] += int(rng.integers(1, 120))  # the next film is a later one
        studies.append(
            Study(
                index=index,
                image=f"images/{index:06d}.dcm",
                patient=patient,
                day=_FIRST_DAY + timedelta(days=start[patient]),
                sites=tuple(s for s in fractures.SITES if index in broken[s]),
                boxed=tuple(s for s in fractures.SITES if index in boxed[s]),
            )
        )
    return studies


def _film(root: Path, seed: int, height: int, conspicuity: float, study: Study):
    """Draws and writes one film; its row of studies.csv, its rows of regions.csv."""
    drawing = anatomy.draw(
        seed,
        study.index,
        height=height,
        conspicuity=conspicuity,
        sites=study.sites,
        patient=study.patient,
    )
    rng = np.random.default_rng([seed, study.index, dicom_file.ENCODING])
    patient_id = f"PHANTOM{study.patient:05d}"
    ids = {
        "patient_id": patient_id,
        "study_date": f"{study.day:%Y%m%d}",
        "entropy": ["phantom", str(seed), str(study.index)],
    }
    boxes = dicom_file.write(root / study.image, drawing, rng, ids)
    row = (
        study.image, patient_id, study.day.isoformat(), _codes(rng, study, drawing),
        drawing.view, drawing.sex, drawing.age,
    )  # fmt: skip
    regions = [
        (study.image, site, *(f"{v:.1f}" for v in box))
        for site in study.boxed
        for box in boxes[site]
    ]
    return row, regions


def _codes(rng: np.random.Generator, study: Study, drawing: anatomy.Drawing) -> str:
    """The record's codes: the fractures' among innocent ones, split by `;`."""
    modern = study.day >= _ICD10_SINCE
    extra = rng.permutation(len(_INNOCENT))[: int(rng.integers(0, 3))]
    codes = [_OBSERVATION[modern], *(_INNOCENT[i][modern] for i in extra)]
    for site in study.sites:
        box = drawing.boxes[site]
        # the patient's right is on the film's left; 1 and 2 are ICD-10-CM's sides
        sides = np.where(box[:, [0, 2]].mean(1) < drawing.pixels.shape[1] / 2, 1, 2)
        for side in np.unique(sides):
            count = int((sides == side).sum())
            if site == "clavicle":
                codes.append(f"S42.02{side}A" if modern else "810.02")
            elif modern:
                codes.append(f"S22.{3 if count == 1 else 4}{side}XA")
            else:
                codes.append(f"807.0{min(count, 9)}")
    return ";".join(dict.fromkeys(codes))


def _table(path: Path, fields: tuple[str, ...], rows: list) -> None:
    """Writes a CSV with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(fields)
        writer.writerows(rows)
