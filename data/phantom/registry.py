"""The phantom: a small seeded registry of drawn chest films with fractures.

It has exactly the form in which a hospital hands its data over (studies.csv,
regions.csv, DICOM files), so that all code from registry to report runs on it. How hard
its fractures are to see is a parameter. It shows no patient, and no number measured on
it is a clinical claim.

`anatomy` draws a film out of `tissue`, `bones`, `fractures` and `film`; `dicom_file`
encodes it.
"""

import csv
import dataclasses
import functools
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

import numpy as np

from data.cxr_registry.guard import locks, pool
from data.phantom import anatomy, dicom_file, fractures

draw = anatomy.draw

# Difficulty -> site -> conspicuity of its fractures: from 0 = they change no pixel to
# 1 = as plain as in a textbook. Chosen by what is measured in docs/laptop.md.
DIFFICULTIES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "impossible": {"rib": 0.0, "clavicle": 0.0},
        "hard": {"rib": 0.34, "clavicle": 0.2},
        "middle": {"rib": 0.46, "clavicle": 0.29},
        "easy": {"rib": 1.0, "clavicle": 1.0},
    }
)

_FILM_S = 600.0  # seconds that one film may take
VERSION = 5  # raise it when the same options give other bytes
STUDY_FIELDS = (
    "image", "patient_id", "study_date", "diagnosis_codes", "view", "sex", "age",
)  # fmt: skip
REGION_FIELDS = ("image", "site", "x0", "y0", "x1", "y1")
_RECORD = "phantom.json"
_PLAN = 6  # number of the stream of random numbers that plan the films
# Shares of the patients who have 1, 2 and 3 films.
_FILMS = (0.78, 0.16, 0.06)
_FIRST_DAY, _DAYS = date(2012, 1, 1), 3000
_ICD10_SINCE = date(2016, 1, 1)  # when the hospital changed its codes
# Codes that say nothing about the two sites, as (ICD-9-CM, ICD-10-CM): pneumonia,
# hip, hypertension, diabetes, scalp wound, wrist, sternum (a near miss), concussion.
_INNOCENT = (
    ("486", "J18.9"), ("820.8", "S72.001A"), ("401.9", "I10"), ("250.00", "E11.9"),
    ("873.0", "S01.00XA"), ("813.41", "S52.531A"), ("807.2", "S22.20XA"),
    ("850.0", "S06.0X0A"),
)  # fmt: skip
_OBSERVATION = ("V71.4", "Z04.1")  # observed after an accident: on every film


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhantomOptions:
    """What is drawn; equal options give equal bytes.

    Raises:
        ValueError: a value is out of range.
    """

    images: int  # films, 1 to 1,000,000
    seed: int  # >= 0
    height: int = 512  # typical rows of a film in pixels, 64 to 4096
    # site -> conspicuity of its fractures, 0 to 1; see DIFFICULTIES
    conspicuity: Mapping[str, float]
    prevalence: float = 0.25  # share of films with a fracture, of each site by itself
    boxed_share: float = 0.8  # share of the positives whose boxes are in regions.csv

    def __post_init__(self):
        for name, low, high in (
            ("images", 1, 10**6), ("seed", 0, 2**63), ("height", 64, 4096),
            ("prevalence", 0, 1), ("boxed_share", 0, 1),
        ):  # fmt: skip
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"phantom: {name}={value}; use {low} to {high}")
        named = isinstance(self.conspicuity, Mapping)
        if not named or set(self.conspicuity) != set(fractures.SITES):
            raise ValueError(f"phantom: conspicuity must name {fractures.SITES}")
        for site, value in self.conspicuity.items():
            if not 0 <= value <= 1:
                raise ValueError(f"phantom: conspicuity of {site}={value}; use 0 to 1")

    @property
    def name(self) -> str:
        """A folder's name that says all options."""
        plain = "-".join(f"{s[0]}{self.conspicuity[s]:g}" for s in fractures.SITES)
        return (
            f"phantom{VERSION}-{plain}-{self.images}x{self.height}px"
            f"-p{self.prevalence:g}-b{self.boxed_share:g}-s{self.seed}"
        )

    @property
    def record(self) -> dict[str, float]:
        """What phantom.json holds."""
        return {"version": VERSION, **dataclasses.asdict(self)}


@dataclasses.dataclass(frozen=True)
class PlannedFilm:
    """What is decided about a film before it is drawn."""

    index: int
    image: str  # path below the registry
    patient: int
    day: date
    sites: tuple[str, ...]  # that are broken
    boxed: tuple[str, ...]  # whose boxes are handed over


def _no_progress(done: int, total: int) -> None:
    """Takes the place of a progress bar where none is wanted."""


def generate(
    root: Path,
    options: PhantomOptions,
    *,
    workers: int = 2,
    progress: Callable[[int, int], None] = _no_progress,
) -> None:
    """Writes the registry to `root`, unless it is there.

    Args:
        root: folder to make. It appears complete or not at all. Runs that start
            together wait for the first of them, by a lock below `.locks` beside it.
        options: what is drawn.
        workers: processes; 1 draws in this one. The bytes do not depend on it.
        progress: called with (films done, films in all) in this process.

    Raises:
        ValueError: `root` holds something else.
    """
    root = Path(root)
    if _is_complete(root, options):
        return
    with locks.held(
        root.parent / ".locks" / root.name,
        notice="another process draws this phantom: waiting for its end",
    ):
        if not _is_complete(root, options):
            _draw(root, options, workers, progress)


def _draw(root: Path, options: PhantomOptions, workers: int, progress) -> None:
    """Draws beside `root`, then renames; only under the lock."""
    prefix = f".{root.name}.partial-"
    for killed in root.parent.glob(f"{glob.escape(prefix)}*"):
        shutil.rmtree(killed, ignore_errors=True)  # its drawer held this lock
    part = Path(tempfile.mkdtemp(prefix=prefix, dir=root.parent))
    try:
        _fill(part, options, workers, progress)
        part.chmod(0o755)  # mkdtemp's is for the owner alone
        os.rename(part, root)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _is_complete(root: Path, options: PhantomOptions) -> bool:
    """Whether root holds this phantom; an empty or missing root does not."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    file = root / _RECORD
    if not file.is_file():
        raise ValueError(f"{root} is not a phantom; name a new folder or remove it")
    wanted, record = options.record, json.loads(file.read_text())
    differing = [name for name in wanted if record.get(name) != wanted[name]]
    if differing:
        pairs = (f"{n}={record.get(n)} not {wanted[n]}" for n in differing)
        raise ValueError(
            f"{root} holds another phantom ({', '.join(pairs)}); name a new folder or "
            "remove it"
        )
    return True


def _fill(part: Path, options: PhantomOptions, workers: int, progress) -> None:
    """Draws and writes all films, then the tables, then the record."""
    (part / "images").mkdir()
    films = plan(
        options.images,
        options.seed,
        prevalence=options.prevalence,
        boxed_share=options.boxed_share,
    )
    draw_film = functools.partial(_film, part, options)
    rows, regions = [], []
    for done, (row, boxes) in enumerate(_draw_all(draw_film, films, workers), 1):
        rows.append(row)
        regions.extend(boxes)
        progress(done, len(films))
    _write_table(part / "studies.csv", STUDY_FIELDS, rows)
    _write_table(part / "regions.csv", REGION_FIELDS, regions)
    (part / _RECORD).write_text(json.dumps(options.record, indent=1) + "\n")


def _draw_all(draw_film: Callable, films: list[PlannedFilm], workers: int) -> Iterator:
    """draw_film(film) of each film, in order, by processes that end with this one."""
    return pool.map_in_order(
        draw_film,
        films,
        workers=workers if workers > 1 else 0,
        timeout_s=_FILM_S,
        on_timeout=_lost,
    )


def _lost(film: PlannedFilm) -> NoReturn:
    raise RuntimeError(
        f"phantom: film {film.index} took over {_FILM_S:.0f} s, or its process ended "
        "(out of memory?); call it again, with fewer workers"
    )


def plan(
    images: int, seed: int, *, prevalence: float, boxed_share: float
) -> list[PlannedFilm]:
    """Which films each patient has, when, and with which fractures.

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
    planned = []
    for index, patient in enumerate(patients[:images]):
        start[patient] += int(rng.integers(1, 120))  # the next film is a later one
        planned.append(
            PlannedFilm(
                index=index,
                image=f"images/{index:06d}.dcm",
                patient=patient,
                day=_FIRST_DAY + timedelta(days=start[patient]),
                sites=tuple(s for s in fractures.SITES if index in broken[s]),
                boxed=tuple(s for s in fractures.SITES if index in boxed[s]),
            )
        )
    return planned


def _film(root: Path, options: PhantomOptions, film: PlannedFilm):
    """Draws and writes one film; returns its rows of studies.csv and regions.csv."""
    drawing = anatomy.draw(
        options.seed,
        film.index,
        height=options.height,
        broken={site: options.conspicuity[site] for site in film.sites},
        patient=film.patient,
    )
    rng = np.random.default_rng([options.seed, film.index, dicom_file.ENCODING])
    patient_id = f"PHANTOM{film.patient:05d}"
    ids = {
        "patient_id": patient_id,
        "study_date": f"{film.day:%Y%m%d}",
        "entropy": ["phantom", str(options.seed), str(film.index)],
    }
    boxes = dicom_file.write(root / film.image, drawing, rng, ids)
    row = (
        film.image, patient_id, film.day.isoformat(), _codes(rng, film, drawing),
        drawing.view, drawing.sex, drawing.age,
    )  # fmt: skip
    regions = [
        (film.image, site, *(f"{v:.1f}" for v in box))
        for site in film.boxed
        for box in boxes[site]
    ]
    return row, regions


def _codes(
    rng: np.random.Generator, film: PlannedFilm, drawing: anatomy.Drawing
) -> str:
    """The record's codes, split by `;`: those of the fractures among innocent ones."""
    modern = film.day >= _ICD10_SINCE
    extra = rng.permutation(len(_INNOCENT))[: int(rng.integers(0, 3))]
    codes = [_OBSERVATION[modern], *(_INNOCENT[i][modern] for i in extra)]
    for site in film.sites:
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


def _write_table(path: Path, fields: tuple[str, ...], rows: list) -> None:
    """Writes a CSV file with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(fields)
        writer.writerows(rows)
